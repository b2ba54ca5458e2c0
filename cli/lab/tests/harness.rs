//! The lab measured by itself: what it promises about networks, faults and processes.

use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use swarmcast_lab::faults::{Blocked, Faults};
use swarmcast_lab::flow::{self, TcpFlow};
use swarmcast_lab::namespace;
use swarmcast_lab::switch::LinkProfile;
use swarmcast_lab::{Lab, Network, Process};

const SECOND: Duration = Duration::from_secs(1);

/// The lab, or `return` with a word on stderr.
macro_rules! lab {
    () => {
        match Lab::open_or_skip(module_path!()) {
            Some(lab) => lab,
            None => return Ok(()),
        }
    };
}

/// 500 datagrams, 1 ms apart.
fn delivered(network: &Network, from: usize, to: usize) -> Result<u32> {
    let (from, to) = (network.host(from), network.host(to));
    flow::datagrams_delivered(from, to, 500, 1_200, Duration::from_millis(1))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A process that writes an event every 20 ms.
fn ticker(network: &Network, host: usize) -> Result<Process> {
    let event = r#"{"event":"tick","t":1,"n":%d}\n"#;
    let script = format!("n=0; while :; do n=$((n+1)); printf '{event}' $n; sleep 0.02; done");
    Process::spawn(network.host(host), "ticker", Command::new("sh").args(["-c", &script]))
}

fn wait_tick(process: &Process, number: f64, timeout: Duration) -> Result<()> {
    process.wait_event_where("tick", timeout, |tick| tick.number("n") >= Some(number)).map(drop)
}

#[test]
fn a_clean_bridge_delivers_all_and_its_counters_agree() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 3)?;
    let before = (network.host(0).counters()?, network.host(2).counters()?);
    assert_eq!(delivered(&network, 0, 2)?, 500);
    let sent = network.host(0).counters()? - before.0;
    let received = network.host(2).counters()? - before.1;
    // 500 x (1,200 + 8 UDP + 20 IP + 14 Ethernet), and what hosts say of themselves.
    let expected = 500.0 * 1_242.0;
    for bytes in [sent.tx_bytes, received.rx_bytes] {
        assert!((bytes as f64 / expected - 1.0).abs() < 0.02, "{bytes} of {expected}");
    }
    assert!(network.host(0).link_local()?.is_unicast_link_local());
    Ok(())
}

/// The most bytes that one of 20 reads gives of runs of 20 datagrams of 1,000 bytes.
fn longest_run_read(network: &Network) -> Result<usize> {
    let (from, to) = (network.host(0), network.host(1));
    let receiver = to.namespace().enter(|| UdpSocket::bind((to.address(), 0)))??;
    receiver.set_read_timeout(Some(SECOND))?;
    setsockopt(&receiver, sockopt::UdpGroSegment, &true)?;
    let sender = from.namespace().enter(|| UdpSocket::bind((from.address(), 0)))??;
    setsockopt(&sender, sockopt::UdpGsoSegment, &1_000)?;
    let mut longest = 0;
    for _ in 0..20 {
        sender.send_to(&[0; 20_000], receiver.local_addr()?)?;
        longest = longest.max(receiver.recv(&mut [0; 65_536])?);
    }
    Ok(longest)
}

#[test]
fn a_host_can_join_what_arrives_together() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    assert_eq!(longest_run_read(&network)?, 1_000);
    network.host(1).join_arrivals()?;
    assert!(longest_run_read(&network)? > 1_000);
    Ok(())
}

#[test]
fn loss_is_random_and_can_be_lifted() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    network.host(1).set_ingress_faults(&Faults::loss(10.0))?;
    let received = delivered(&network, 0, 1)?;
    assert!((415..=485).contains(&received), "{received} of 500 at 10 % loss");
    assert!(network.host(1).dropped()? >= u64::from(500 - received));
    assert_eq!(delivered(&network, 1, 0)?, 500, "the other direction is clean");
    network.host(1).set_ingress_faults(&Faults::default())?;
    assert_eq!(delivered(&network, 0, 1)?, 500);
    Ok(())
}

#[test]
fn udp_is_blocked_while_tcp_passes() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    network.host(1).set_ingress_faults(&Faults::block([Blocked::Udp]))?;
    assert_eq!(delivered(&network, 0, 1)?, 0);
    let flow = TcpFlow::start(network.host(0), network.host(1))?;
    thread::sleep(SECOND / 5);
    assert!(flow.bits_per_second() > 1e6, "{} bit/s", flow.bits_per_second());
    Ok(())
}

#[test]
fn a_cut_link_comes_back() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    network.host(1).cut()?;
    assert_eq!(delivered(&network, 0, 1)?, 0);
    network.host(1).mend()?;
    assert_eq!(delivered(&network, 0, 1)?, 500);
    Ok(())
}

#[test]
fn two_that_are_set_apart_reach_only_the_third() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 3)?;
    network.host(1).set_isolated(true)?;
    network.host(2).set_isolated(true)?;
    assert_eq!(delivered(&network, 1, 2)?, 0);
    assert_eq!(delivered(&network, 1, 0)?, 500);
    assert_eq!(delivered(&network, 0, 2)?, 500);
    Ok(())
}

#[test]
fn rates_are_limited_in_both_directions() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    for ingress in [false, true] {
        if ingress {
            network.host(1).limit_ingress(10_000_000)?;
        } else {
            network.host(0).limit_egress(10_000_000)?;
        }
        let flow = TcpFlow::start(network.host(0), network.host(1))?;
        thread::sleep(2 * SECOND);
        let rate = flow.bits_per_second();
        assert!((8e6..10.5e6).contains(&rate), "{rate} bit/s, ingress: {ingress}");
        drop(flow);
        network.host(usize::from(ingress)).unlimit()?;
    }
    Ok(())
}

#[test]
fn the_switch_delays_jitters_and_loses() -> Result<()> {
    let lab = lab!();
    let network = Network::switched(&lab, 2, LinkProfile::default())?;
    let plain = median(flow::round_trips(network.host(0), network.host(1), 20)?);
    assert!(plain < Duration::from_millis(5), "{plain:?}");
    let Some(switch) = network.switch() else { anyhow::bail!("a switched network has a switch") };
    let far = LinkProfile { delay: Duration::from_millis(15), ..LinkProfile::default() };
    switch.set_profile(0, far);
    switch.set_profile(1, LinkProfile { jitter: Duration::from_millis(20), ..far });
    let delayed = median(flow::round_trips(network.host(0), network.host(1), 40)?);
    assert!((32..=52).contains(&delayed.as_millis()), "15 + 15 + 0 to 20 ms: {delayed:?}");
    switch.set_profile(0, LinkProfile { loss: 0.1, ..far });
    let received = delivered(&network, 0, 1)?;
    assert!((415..=485).contains(&received), "{received} of 500 at 10 % loss");
    Ok(())
}

#[test]
fn the_switch_limits_the_rate() -> Result<()> {
    let lab = lab!();
    let queue = Duration::from_millis(50);
    let slow = LinkProfile { rate: Some(10_000_000), queue, ..LinkProfile::default() };
    let network = Network::switched(&lab, 2, slow)?;
    let flow = TcpFlow::start(network.host(0), network.host(1))?;
    thread::sleep(2 * SECOND);
    let rate = flow.bits_per_second();
    assert!((8e6..10.5e6).contains(&rate), "{rate} bit/s");
    Ok(())
}

#[test]
fn multicast_reaches_all_until_it_is_blocked() -> Result<()> {
    use std::net::{Ipv4Addr, UdpSocket};
    let lab = lab!();
    let network = Network::bridged(&lab, 3)?;
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let mut receivers = Vec::new();
    for host in &network.hosts()[1..] {
        let socket = host.namespace().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353)))??;
        host.namespace().enter(|| socket.join_multicast_v4(&group, &host.address()))??;
        socket.set_read_timeout(Some(SECOND / 5))?;
        receivers.push(socket);
    }
    network.host(2).set_ingress_faults(&Faults::block([Blocked::Multicast]))?;
    let sender = network.host(0).namespace().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    // No interface is named: the default route decides.
    sender.send_to(b"hello", (group, 5353))?;
    assert!(receivers[0].recv(&mut [0; 16]).is_ok());
    assert!(receivers[1].recv(&mut [0; 16]).is_err());
    assert_eq!(delivered(&network, 0, 2)?, 500, "unicast passes");
    Ok(())
}

#[test]
fn a_host_behind_nat_is_reached_only_in_answer() -> Result<()> {
    let lab = lab!();
    let mut network = Network::bridged(&lab, 1)?;
    network.add_behind_nat(&lab)?;
    assert_eq!(flow::round_trips(network.host(1), network.host(0), 5)?.len(), 5);
    let (outside, inside) = (network.host(0), network.host(1));
    // A route that a neighbour might set by hand: the router still lets no stranger in.
    outside.namespace().configure(&["route add 10.78.0.0/24 via 10.77.0.2 dev eth0"])?;
    assert_eq!(flow::datagrams_delivered(outside, inside, 20, 100, Duration::from_millis(1))?, 0);
    Ok(())
}

#[test]
fn packets_to_other_networks_are_counted() -> Result<()> {
    use std::net::UdpSocket;
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    let host = network.host(0);
    host.watch_strangers()?;
    delivered(&network, 0, 1)?;
    assert_eq!(host.strangers()?, 0);
    let socket = host.namespace().enter(|| UdpSocket::bind("0.0.0.0:0"))??;
    socket.send_to(b"hello?", "192.0.2.1:53")?;
    assert_eq!(host.strangers()?, 1);
    Ok(())
}

#[test]
fn a_process_is_paused_resumed_and_killed() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 1)?;
    let process = ticker(&network, 0)?;
    wait_tick(&process, 3.0, 5 * SECOND)?;
    process.signal(Signal::SIGSTOP)?;
    // The pipe may hold what was written before the signal.
    thread::sleep(SECOND / 10);
    let stopped = process.events("tick").len() as f64;
    assert!(wait_tick(&process, stopped + 1.0, SECOND / 2).is_err(), "a stopped process writes nothing");
    process.signal(Signal::SIGCONT)?;
    wait_tick(&process, stopped + 3.0, 5 * SECOND)?;
    process.signal(Signal::SIGKILL)?;
    let exit = process.wait_exit(5 * SECOND)?;
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    Ok(())
}

#[test]
fn an_end_tells_its_code_and_its_processor_time() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 1)?;
    let script = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo so it goes >&2; exit 5";
    let process = Process::spawn(network.host(0), "busy", Command::new("sh").args(["-c", script]))?;
    let exit = process.wait_exit(30 * SECOND)?;
    assert_eq!(exit.code, Some(5));
    assert!(exit.cpu.user > 0.05, "{exit:?}");
    let missing = process.wait_event("never", SECOND);
    let message = missing.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("busy") && message.contains("so it goes"), "{message}");
    Ok(())
}

#[test]
fn dropping_a_network_ends_what_runs_on_it() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 1)?;
    let process = ticker(&network, 0)?;
    wait_tick(&process, 1.0, 5 * SECOND)?;
    let name = network.host(0).namespace().name().to_owned();
    drop(network);
    assert_eq!(process.wait_exit(5 * SECOND)?.signal, Some(9));
    assert!(!std::path::Path::new("/run/netns").join(name).exists());
    Ok(())
}

#[test]
fn a_scenario_that_panics_leaves_nothing_behind() -> Result<()> {
    let lab = lab!();
    let mut name = String::new();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let network = Network::switched(&lab, 2, LinkProfile::default());
        name =
            network.as_ref().map(|network| network.host(0).namespace().name().to_owned()).unwrap_or_default();
        panic!("as a failing assertion does, with {:?} up", network.is_ok());
    }));
    assert!(panicked.is_err());
    assert!(name.starts_with("swlab-"), "{name}");
    assert!(!std::path::Path::new("/run/netns").join(name).exists());
    Ok(())
}

#[test]
fn what_a_killed_run_left_behind_is_swept() -> Result<()> {
    let lab = lab!();
    // A process that has ended and been reaped: its id is free.
    let mut ended = Command::new("true").spawn()?;
    ended.wait()?;
    let name = format!("swlab-{}-0-h0", ended.id());
    swarmcast_lab::command::run("ip", &["netns", "add", &name])?;
    let mut orphan = Command::new("ip").args(["netns", "exec", &name, "sleep", "1000"]).spawn()?;
    let deadline = Instant::now() + 5 * SECOND;
    while swarmcast_lab::command::run("ip", &["netns", "pids", &name])?.trim().is_empty() {
        anyhow::ensure!(Instant::now() < deadline, "the orphan never entered the namespace");
    }
    assert!(namespace::sweep()? >= 1);
    assert!(!orphan.wait()?.success());
    assert!(!std::path::Path::new("/run/netns").join(name).exists());
    drop(lab);
    Ok(())
}
