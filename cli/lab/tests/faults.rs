//! The lab's faults measured by themselves: what passes, what does not, and what comes back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use swarmcast_lab::clip::Clip;
use swarmcast_lab::faults::{Blocked, Faults};
use swarmcast_lab::feed::{Feed, HttpServer, TransportStream};
use swarmcast_lab::flow;
use swarmcast_lab::switch::LinkProfile;
use swarmcast_lab::{Host, Lab, Network, Process};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 7, 7);
const PORT: u16 = 24_600;
const TENTH: Duration = Duration::from_millis(100);
/// So many datagrams in a row are not just late.
const MISSED_WHEN_EXPIRED: u32 = 10;

/// The lab, or `return` with a word on stderr.
macro_rules! lab {
    () => {
        match Lab::open_or_skip(module_path!()) {
            Some(lab) => lab,
            None => return Ok(()),
        }
    };
}

/// A plain receiver of the group on a host.
fn receiver(host: &Host) -> Result<UdpSocket> {
    let socket = host.namespace().enter(|| {
        let socket = UdpSocket::bind((GROUP, PORT))?;
        socket.join_multicast_v4(&GROUP, &host.address())?;
        std::io::Result::Ok(socket)
    })??;
    socket.set_read_timeout(Some(TENTH))?;
    Ok(socket)
}

/// Sends one datagram of `bytes` to the group and tells whether it arrives, not one that was sent earlier.
fn hears(from: &Host, receiver: &UdpSocket, bytes: usize) -> Result<bool> {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let mut arrived = [0; 2_000];
    receiver.set_nonblocking(true)?;
    while receiver.recv(&mut arrived).is_ok() {}
    receiver.set_nonblocking(false)?;
    let number = SENT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut datagram = vec![0; bytes];
    datagram[..number.len()].copy_from_slice(&number);
    let sender = from.namespace().enter(|| UdpSocket::bind((from.address(), 0)))??;
    sender.send_to(&datagram, (GROUP, PORT))?;
    while let Ok(length) = receiver.recv(&mut arrived) {
        if arrived[..length] == datagram {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many of 20 datagrams arrive at one host alone.
fn unicast(network: &Network, from: usize, to: usize) -> Result<u32> {
    flow::datagrams_delivered(network.host(from), network.host(to), 20, 100, Duration::from_millis(1))
}

#[test]
fn media_is_blocked_while_beacons_pass() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    let (from, to) = (network.host(0), network.host(1));
    let receiver = receiver(to)?;
    to.set_ingress_faults(&Faults::block([Blocked::MulticastAbove(400)]))?;
    assert!(hears(from, &receiver, 400)?);
    assert!(!hears(from, &receiver, 401)?);
    assert_eq!(unicast(&network, 0, 1)?, 20);
    to.set_ingress_faults(&Faults::default())?;
    assert!(hears(from, &receiver, 1_200)?);
    Ok(())
}

#[test]
fn sessions_are_blocked_while_multicast_passes() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 3)?;
    let receiver = receiver(network.host(1))?;
    network.host(1).set_ingress_faults(&Faults::block([Blocked::UnicastOf(0)]))?;
    assert_eq!((unicast(&network, 0, 1)?, unicast(&network, 2, 1)?), (0, 20));
    assert!(hears(network.host(0), &receiver, 100)?);
    network.host(1).set_ingress_faults(&Faults::block([Blocked::Unicast]))?;
    assert_eq!(unicast(&network, 2, 1)?, 0);
    assert!(hears(network.host(0), &receiver, 100)?);
    Ok(())
}

#[test]
fn what_a_host_sends_is_lost_behind_its_back() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 3)?;
    let receivers = [receiver(network.host(1))?, receiver(network.host(2))?];
    network.host(0).set_egress_faults(&Faults::block([Blocked::Multicast]))?;
    for receiver in &receivers {
        assert!(!hears(network.host(0), receiver, 100)?);
    }
    assert!(hears(network.host(1), &receivers[1], 100)?, "others still send");
    assert_eq!(unicast(&network, 0, 1)?, 20);
    network.host(0).set_faults(&Faults::block([Blocked::Everything]))?;
    assert_eq!((unicast(&network, 0, 1)?, unicast(&network, 1, 0)?), (0, 0));
    network.host(0).set_faults(&Faults::default())?;
    assert_eq!((unicast(&network, 0, 1)?, unicast(&network, 1, 0)?), (20, 20));
    Ok(())
}

#[test]
fn a_listener_that_hears_no_queries_goes_silent_until_it_joins_again() -> Result<()> {
    let lab = lab!();
    let network = Network::snooped(&lab, 4)?;
    let from = network.host(0);
    network.host(1).watch_group(GROUP)?;
    let (deaf, well) = (receiver(network.host(1))?, receiver(network.host(2))?);
    // Their reports travel.
    std::thread::sleep(2 * TENTH);
    assert!(hears(from, &deaf, 100)? && hears(from, &well, 100)?);
    network.host(1).set_ingress_faults(&Faults::block([Blocked::Queries]))?;
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut missed = 0;
    while missed < MISSED_WHEN_EXPIRED {
        anyhow::ensure!(Instant::now() < deadline, "the membership never expires");
        missed = if hears(from, &deaf, 100)? { 0 } else { missed + 1 };
        std::thread::sleep(TENTH);
    }
    let counted = network.host(1).group_datagrams()?;
    // Behind one more of the bridge's terms.
    std::thread::sleep(Duration::from_secs(4));
    let stays_silent = !hears(from, &deaf, 100)?;
    assert!(stays_silent, "nothing made it a listener again");
    assert!(hears(from, &well, 100)?, "the other one answers the queries");
    assert_eq!(network.host(1).group_datagrams()?, counted);
    let address = network.host(1).address();
    network.host(1).namespace().enter(|| {
        deaf.leave_multicast_v4(&GROUP, &address)?;
        deaf.join_multicast_v4(&GROUP, &address)
    })??;
    std::thread::sleep(2 * TENTH);
    assert!(hears(from, &deaf, 100)?, "a report makes it a listener again");
    Ok(())
}

#[test]
fn the_switch_duplicates_reorders_and_fails_for_a_while() -> Result<()> {
    let lab = lab!();
    let network = Network::switched(&lab, 2, LinkProfile::default())?;
    let switch = network.switch().context("a switched network has a switch")?;
    let (from, to) = (network.host(0), network.host(1));
    let numbers = || -> Result<Vec<u32>> {
        let receiver = to.namespace().enter(|| UdpSocket::bind((to.address(), 0)))??;
        receiver.set_read_timeout(Some(2 * TENTH))?;
        let sender = from.namespace().enter(|| UdpSocket::bind((from.address(), 0)))??;
        // Few enough to wait in the receiver's buffer.
        for number in 0..200_u32 {
            sender.send_to(&number.to_be_bytes(), receiver.local_addr()?)?;
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut buffer = [0; 4];
        Ok(std::iter::from_fn(|| receiver.recv(&mut buffer).is_ok().then(|| u32::from_be_bytes(buffer)))
            .collect())
    };
    switch.set_profile(0, LinkProfile { duplicated: 0.2, ..LinkProfile::default() });
    let twice = numbers()?.len();
    assert!((215..=265).contains(&twice), "{twice} of 240");
    assert!(switch.disturbed() >= 15);
    switch.set_profile(0, LinkProfile { overtaken: 0.2, ..LinkProfile::default() });
    let overtaken = numbers()?;
    assert_eq!(overtaken.len(), 200);
    assert!(overtaken.windows(2).filter(|pair| pair[0] > pair[1]).count() >= 15);
    let outage = (2 * TENTH, TENTH);
    switch.set_profile(0, LinkProfile { outage, ..LinkProfile::default() });
    let arrived = numbers()?;
    let holes = arrived.windows(2).filter(|pair| pair[1] - pair[0] > 20).count();
    assert!(holes >= 1 && (60..=140).contains(&arrived.len()), "{holes} holes, {} arrived", arrived.len());
    Ok(())
}

#[test]
fn a_feed_falls_silent_and_a_server_serves_in_real_time() -> Result<()> {
    let lab = lab!();
    let network = Network::bridged(&lab, 2)?;
    let stream = TransportStream::of(&lab, &Clip::SLOW, 10)?;
    // Tells of each 4 KiB that came: a tenth of a second.
    let script = r#"while [ -n "$(head -c 4096 | tr -d '\0')" ]; do echo '{"event":"tick","t":1}'; done"#;
    let (process, pipe) =
        Process::spawn_fed(network.host(0), "reader", Command::new("sh").args(["-c", script]))?;
    let feed = Feed::start(stream.clone(), pipe);
    let ticks = || process.events("tick").len();
    let deadline = Instant::now() + Duration::from_secs(5);
    while ticks() < 3 {
        anyhow::ensure!(Instant::now() < deadline, "the feed never begins");
    }
    feed.set_paused(true);
    std::thread::sleep(3 * TENTH);
    let silent = ticks();
    std::thread::sleep(5 * TENTH);
    assert_eq!(ticks(), silent);
    feed.set_paused(false);
    let server = HttpServer::start(network.host(1), stream)?;
    let fetched = fetch(network.host(0), &server, Duration::from_secs(2))?;
    // A second ahead and two in real time, at 345 kbit/s.
    assert!((90_000..160_000).contains(&fetched), "{fetched} bytes, {} told", server.served());
    assert!(ticks() > silent);
    Ok(())
}

/// Bytes that the server sends to a client on `host` in `time`.
fn fetch(host: &Host, server: &HttpServer, time: Duration) -> Result<usize> {
    let url = server.url();
    let address = url.trim_start_matches("http://").trim_end_matches("/live.ts").to_owned();
    let mut connection = host.namespace().enter(|| TcpStream::connect(address))??;
    connection.set_read_timeout(Some(TENTH))?;
    connection.write_all(b"GET /live.ts HTTP/1.0\r\n\r\n")?;
    let end = Instant::now() + time;
    let (mut fetched, mut buffer) = (0, [0; 16_384]);
    while Instant::now() < end {
        fetched += connection.read(&mut buffer).unwrap_or(0);
    }
    Ok(fetched)
}
