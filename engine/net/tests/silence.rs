//! Two nodes in network namespaces of their own, joined by one cable: they find each other, with and without a default
//! route, and speak to nobody else.
//!
//! Needs root, `ip` and `tcpdump`; says so loudly where it cannot run. The nodes are this test program again, started
//! inside the namespaces with a role in its environment.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{Epoch, StreamHandle};
use swarmcast_core::node::{Event, Publication, Subscription};
use swarmcast_net::{NetConfig, Playout, bind, now};
use tokio::time::{interval, timeout};

const ROLE: &str = "SWARMCAST_TEST_ROLE";
const PUBLISHER: &str = "publisher";
const VIEWER: &str = "viewer";

/// What the viewer prints before the microseconds from its start to the first access unit.
const JOINED: &str = "joined after us ";

/// How long the viewer watches: long enough for every probe that iroh makes at its start.
const WATCHED: Duration = Duration::from_secs(5);

/// Two namespaces, `left` and `right`, with a cable between them; removed when dropped.
struct Cable {
    left: String,
    right: String,
}

impl Cable {
    fn new(kind: &str, default_route: bool) -> Option<Self> {
        let name = |side: &str| format!("sc-{kind}-{side}-{}", std::process::id());
        let cable = Self { left: name("l"), right: name("r") };
        let made = run("ip", &["netns", "add", &cable.left]) && run("ip", &["netns", "add", &cable.right]);
        let linked = made
            && run(
                "ip",
                &[
                    "-n",
                    &cable.left,
                    "link",
                    "add",
                    "eth0",
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    &cable.right,
                ],
            );
        for (namespace, own, other) in
            [(&cable.left, "10.77.0.1", "10.77.0.2"), (&cable.right, "10.77.0.2", "10.77.0.1")]
        {
            let address = format!("{own}/24");
            let up = linked
                && run("ip", &["-n", namespace, "address", "add", &address, "dev", "eth0"])
                && run("ip", &["-n", namespace, "link", "set", "eth0", "up"])
                && run("ip", &["-n", namespace, "link", "set", "lo", "up"])
                && (!default_route || run("ip", &["-n", namespace, "route", "add", "default", "via", other]));
            if !up {
                return None;
            }
        }
        Some(cable)
    }

    /// Starts this program again in a namespace.
    fn start(&self, namespace: &str, role: &str) -> Child {
        let program = std::env::current_exe().expect("a test program has a path");
        Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(program)
            .args(["--exact", "node_of_another_test", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`ip netns exec` runs")
    }

    /// Captures what passes on the right side, and returns once it does.
    fn capture(&self, path: &Path) -> Running {
        // Into a file: nobody reads a pipe meanwhile, and what fills it stops the capture.
        let file = File::create(path).expect("the directory for temporary files takes one");
        let capture = Command::new("ip")
            .args(["netns", "exec", &self.right, "tcpdump", "-i", "eth0", "-nn", "-l", "-q"])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::piped())
            .spawn();
        let mut capture = Running(capture.expect("`ip netns exec` runs"));
        let mut told = BufReader::new(capture.0.stderr.take().expect("piped")).lines();
        assert!(told.any(|line| line.is_ok_and(|line| line.contains("listening on"))), "tcpdump captures");
        capture
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        run("ip", &["netns", "delete", &self.left]);
        run("ip", &["netns", "delete", &self.right]);
    }
}

/// A process that is killed when its test ends, however it ends.
struct Running(Child);

impl Running {
    /// Waits for its end and returns what it printed.
    fn output(&mut self) -> String {
        let mut printed = String::new();
        let stdout = self.0.stdout.take();
        stdout.map(|mut stdout| std::io::Read::read_to_string(&mut stdout, &mut printed));
        let _ = self.0.wait();
        printed
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn nodes_find_each_other_and_speak_to_nobody_else() {
    let name = "nodes_find_each_other_and_speak_to_nobody_else";
    if !run("tcpdump", &["--version"]) {
        eprintln!("SKIPPED {name}: needs tcpdump");
        return;
    }
    for (kind, default_route) in [("route", true), ("bare", false)] {
        let Some(cable) = Cable::new(kind, default_route) else {
            eprintln!(
                "SKIPPED nodes_find_each_other_and_speak_to_nobody_else: needs root and network namespaces"
            );
            return;
        };
        let path = std::env::temp_dir().join(&cable.right);
        let capture = cable.capture(&path);
        let publisher = Running(cable.start(&cable.left, PUBLISHER));
        let mut viewer = Running(cable.start(&cable.right, VIEWER));
        let told = viewer.output();
        drop(publisher);
        drop(capture);
        let captured = std::fs::read_to_string(&path).expect("the capture");
        let _ = std::fs::remove_file(&path);

        let joined = told.lines().find_map(|line| line.split_once(JOINED)?.1.parse::<u64>().ok());
        let joined =
            joined.map(Duration::from_micros).unwrap_or_else(|| panic!("the viewer never joined: {told}"));
        let addresses: Vec<IpAddr> = captured.lines().flat_map(addresses_of).collect();
        println!("{kind}: joined after {joined:?}; {} packets captured", captured.lines().count());
        assert!(joined < Duration::from_secs(1), "{kind}: {joined:?}");
        let wire = |address: &str| addresses.contains(&address.parse().expect("an address"));
        assert!(wire("10.77.0.1") && wire("10.77.0.2") && wire("224.0.0.251"), "the capture works");
        let strangers: Vec<_> = addresses.iter().filter(|address| !is_local(**address)).collect();
        assert!(strangers.is_empty(), "{kind}: {strangers:?}");
    }
}

/// Returns both addresses of one line of tcpdump, such as `.. IP 10.77.0.1.4433 > 10.77.0.2.4433: UDP, length 9`.
fn addresses_of(line: &str) -> Vec<IpAddr> {
    let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("IP")).skip(1);
    let (from, to) = (words.next(), words.nth(1).and_then(|word| word.strip_suffix(':')));
    let ends = from.into_iter().chain(to);
    ends.filter_map(|end| {
        let without_port = end.rsplit_once('.').map_or(end, |(address, _)| address);
        end.parse().or_else(|_| without_port.parse()).ok()
    })
    .collect()
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.octets()[..3] == [10, 77, 0] || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified(),
    }
}

#[test]
fn addresses_are_read_from_captures_of_both_families() {
    let read = |line: &str| addresses_of(line).iter().map(IpAddr::to_string).collect::<Vec<_>>();
    assert_eq!(read("1.5 IP 10.77.0.1.5353 > 224.0.0.251.5353: UDP, length 9"), ["10.77.0.1", "224.0.0.251"]);
    assert_eq!(read("1.5 IP6 fe80::1.5353 > ff02::fb.5353: UDP, length 9"), ["fe80::1", "ff02::fb"]);
    assert_eq!(read("1.5 IP6 :: > ff02::16: HBH ICMP6, length 9"), ["::", "ff02::16"]);
    assert_eq!(read("1.5 IP 10.77.0.1.4000 > 8.8.8.8.53: UDP, length 9"), ["10.77.0.1", "8.8.8.8"]);
    assert!(read("1.5 ARP, Request who-has 10.77.0.2, length 28").is_empty());
    assert!(!is_local("8.8.8.8".parse().expect("an address")));
}

/// Does nothing by itself: a process that another test started in a namespace of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_of_another_test() {
    match std::env::var(ROLE).as_deref() {
        Ok(PUBLISHER) => publish().await,
        Ok(VIEWER) => watch().await,
        _ => {}
    }
}

async fn publish() {
    let (handle, driver) =
        bind(NetConfig::new(GroupSpec::open("silence").expect("valid"))).await.expect("sockets");
    let running = tokio::spawn(driver.run());
    let track = Track {
        id: TrackId(0),
        kind: TrackKind::Video,
        codec: "test".into(),
        time_base: TimeBase::MICROS,
        bitrate: 0,
        parameters: Bytes::new(),
    };
    let catalogue = Catalogue {
        name: "cam".into(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track],
        renditions: Vec::new(),
        multicast: None,
    };
    let publication = Publication::new(StreamHandle(0), catalogue, [3; 32], Epoch(1));
    let publication = handle.publish(publication).await.expect("published");
    let mut pace = interval(Duration::from_millis(40));
    // Ends when the test kills it, or by itself if the test cannot.
    for number in 0..1500 {
        pace.tick().await;
        let dts = number * 40_000;
        let payload = Bytes::from(vec![number as u8; 20_000]);
        let unit = AccessUnit {
            track: TrackId(0),
            dts,
            pts: dts,
            duration: 40_000,
            key: number % 25 == 0,
            disposable: false,
            payload,
        };
        publication.send(unit).await.expect("the publication runs");
    }
    handle.close().await;
    running.await.expect("no panic");
}

async fn watch() {
    let started = now();
    let (handle, driver) =
        bind(NetConfig::new(GroupSpec::open("silence").expect("valid"))).await.expect("sockets");
    let running = tokio::spawn(driver.run());
    let subscription = Subscription::new(StreamHandle(0), "cam", Duration::from_secs(1));
    let subscription = handle.subscribe(subscription).await.expect("the node runs");
    let mut first = None;
    let watch = async {
        while let Ok(playout) = subscription.receive().await {
            if matches!(playout, Playout::Event(Event::AccessUnit { .. })) && first.is_none() {
                first = Some(now().since(started));
            }
        }
    };
    let _ = timeout(WATCHED, watch).await;
    if let Some(first) = first {
        println!("{JOINED}{}", first.as_micros());
    }
    handle.close().await;
    running.await.expect("no panic");
}
