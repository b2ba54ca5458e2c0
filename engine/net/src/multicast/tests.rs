//! Multicast on loopback and in network namespaces, by real sockets.

mod overflow;

use std::net::{IpAddr, Ipv4Addr};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::time::timeout;

use super::*;
use crate::tests::namespace::{self, Namespace};

/// Longest wait for anything that must happen.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Wait in which nothing may happen.
const SILENCE: Duration = Duration::from_millis(200);

const CHANNEL: ChannelId = ChannelId(3);

fn group(text: &str) -> MulticastGroup {
    match text.parse() {
        Ok(swarmcast_core::multicast::MulticastChoice::At(group)) => group,
        other => panic!("{text}: {other:?}"),
    }
}

fn multicast(interface: &str) -> Multicast {
    let names = if interface.is_empty() { Vec::new() } else { vec![interface.to_owned()] };
    Multicast::new(names, PathIds::default())
}

/// Datagrams of all lengths that differ in every byte: runs of equal ones, shorter ends, lone ones.
fn datagrams(count: usize) -> Vec<Bytes> {
    let size = |number: usize| match number % 50 {
        0 => 1162,
        49 => 1 + number % 1000,
        _ => 1085,
    };
    let fill = |number: usize, at: usize| (number * 31 + at * 7 + number / 256) as u8;
    (0..count).map(|number| (0..size(number)).map(|at| fill(number, at)).collect()).collect()
}

/// A node's multicast that has joined on one interface.
struct Joined {
    multicast: Multicast,
    path: PathId,
}

impl Joined {
    async fn new(mut multicast: Multicast, groups: &[MulticastGroup]) -> Self {
        multicast.open(CHANNEL, groups.to_vec());
        let path = up(&mut multicast).await;
        Self { multicast, path }
    }

    /// Sends everything, as fast as the socket takes it.
    async fn send(&mut self, datagrams: &[Bytes]) {
        for batch in datagrams.chunks(40) {
            while self.multicast.credit(self.path) == Some(0) {
                let event = timeout(WAIT_MAX, self.multicast.next()).await.expect("it becomes writable");
                assert!(!matches!(event, MulticastEvent::Received { .. }), "it hears itself: {event:?}");
            }
            self.multicast.send(self.path, &mut batch.to_vec());
        }
        while self.multicast.credit(self.path) == Some(0) {
            timeout(WAIT_MAX, self.multicast.next()).await.expect("it becomes writable");
        }
    }

    /// Takes what arrives until nothing does for a while: datagrams, and how many were dropped.
    async fn receive(&mut self, count: usize) -> (Vec<Bytes>, u64) {
        let (mut all, mut dropped) = (Vec::new(), 0);
        while all.len() + (dropped as usize) < count {
            let event = timeout(WAIT_MAX, self.multicast.next()).await;
            match event.unwrap_or_else(|_| panic!("{} of {count} came, {dropped} dropped", all.len())) {
                MulticastEvent::Received { path, datagrams, overflow } => {
                    assert_eq!(path, self.path);
                    assert!(datagrams.len() < 128, "others have their turn");
                    all.extend(datagrams.into_iter().map(|(_, datagram)| datagram));
                    dropped += overflow;
                }
                MulticastEvent::Told(Input::Network { up: true }) => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
        (all, dropped)
    }

    async fn assert_silent(&mut self) {
        let quiet = timeout(SILENCE, async {
            loop {
                match self.multicast.next().await {
                    MulticastEvent::Told(Input::Network { .. }) => {}
                    other => return other,
                }
            }
        });
        if let Ok(event) = quiet.await {
            panic!("unexpected: {event:?}");
        }
    }
}

/// Waits for the next thing that the core is told, other than of the network.
async fn told(multicast: &mut Multicast) -> Input {
    loop {
        match timeout(WAIT_MAX, multicast.next()).await.expect("something in time") {
            MulticastEvent::Told(Input::Network { .. }) => {}
            MulticastEvent::Told(input) => return input,
            other => panic!("unexpected: {other:?}"),
        }
    }
}

async fn up(multicast: &mut Multicast) -> PathId {
    match told(multicast).await {
        Input::MulticastUp { path, channel, datagram_bytes_max, .. } => {
            assert_eq!(channel, CHANNEL);
            assert!((1162..=1414).contains(&datagram_bytes_max));
            path
        }
        other => panic!("unexpected: {other:?}"),
    }
}

fn assert_same(received: &[Bytes], sent: &[Bytes]) {
    assert_eq!(received.len(), sent.len());
    let differs = received.iter().zip(sent).position(|(received, sent)| received != sent);
    assert_eq!(differs, None, "the first datagram that differs");
}

/// A foreign program's socket that sends from `from` by the interface that has `by`.
fn foreign_sender(from: &str, by: Ipv4Addr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    socket.set_multicast_if_v4(&by).expect("it has an interface");
    socket.bind(&SocketAddr::new(from.parse().expect("an address"), 0).into()).expect("a local address");
    socket
}

#[tokio::test]
async fn every_node_of_a_host_hears_every_other_and_none_itself() {
    let groups = MulticastGroup::derive(swarmcast_core::ids::GroupId([1; 16]), "every node of a host");
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Joined::new(multicast("lo"), &groups).await);
    }
    let sent = datagrams(500);
    for sender in 0..3 {
        nodes[sender].send(&sent).await;
        for listener in (0..3).filter(|listener| *listener != sender) {
            let (received, _) = nodes[listener].receive(sent.len()).await;
            assert_same(&received, &sent);
        }
        nodes[sender].assert_silent().await;
    }
    let bytes: usize = sent.iter().map(Bytes::len).sum();
    let transport = nodes[0].multicast.transport();
    assert_eq!(transport.multicast_bytes_sent, bytes as u64);
    assert_eq!(transport.multicast_datagrams_received, 2 * sent.len() as u64);
    assert_eq!(transport.udp_bytes_received, 2 * bytes as u64);
}

#[tokio::test]
async fn a_group_with_a_source_brings_nothing_of_others() {
    let at = group("232.9.9.1:24601,source=127.0.0.9");
    let mut node = Joined::new(multicast("lo"), &[at]).await;
    for (from, payload) in [("127.0.0.8", "theirs"), ("127.0.0.9", "its own")] {
        let sent = foreign_sender(from, Ipv4Addr::LOCALHOST)
            .send_to(payload.as_bytes(), &at.socket_address().into());
        assert_eq!(sent.expect("loopback takes it"), payload.len());
    }
    let (received, _) = node.receive(1).await;
    assert_eq!(received, ["its own"]);
    node.assert_silent().await;
}

#[tokio::test]
async fn a_closed_channel_is_over_without_a_word_and_can_be_opened_again() {
    let at = group("239.255.9.2:24602");
    let mut node = Joined::new(multicast("lo"), &[at]).await;
    let payload = b"hello";
    let send = || {
        foreign_sender("127.0.0.1", Ipv4Addr::LOCALHOST)
            .send_to(payload, &at.socket_address().into())
            .expect("loopback")
    };
    send();
    assert_eq!(node.receive(1).await.0.len(), 1);
    node.multicast.close(CHANNEL);
    assert_eq!(node.multicast.credit(node.path), None);
    send();
    node.assert_silent().await;
    node.multicast.open(CHANNEL, vec![at]);
    let again = up(&mut node.multicast).await;
    assert_ne!(std::mem::replace(&mut node.path, again), again);
    send();
    assert_eq!(node.receive(1).await.0.len(), 1);
    // Opened and closed before anybody heard of it.
    node.multicast.close(CHANNEL);
    node.multicast.open(CHANNEL, vec![at]);
    node.multicast.close(CHANNEL);
    node.assert_silent().await;
}

#[tokio::test]
async fn ipv6_is_used_where_there_is_no_ipv4() {
    let Some(host) = Namespace::new() else { return };
    host.run(
        "ip link add d0 type veth peer name other
         ip address add fd09::7/64 dev d0 nodad
         ip link set other up
         ip link set d0 up",
    );
    let groups = [group("239.255.9.4:24604"), group("[ff14::9:4]:24604")];
    let _inside = host.enter();
    let mut nodes = Vec::new();
    for names in ["", "d0"] {
        let mut multicast = multicast(names);
        multicast.open(CHANNEL, groups.to_vec());
        let Input::MulticastUp { path, local, interface, .. } = told(&mut multicast).await else { panic!() };
        assert_eq!((local, &*interface), ("fd09::7".parse::<IpAddr>().expect("an address"), "d0"));
        nodes.push(Joined { multicast, path });
    }
    let sent = datagrams(200);
    nodes[0].send(&sent).await;
    assert_same(&nodes[1].receive(sent.len()).await.0, &sent);
}

/// The pair of sockets of one host, without what watches the interfaces.
struct Wired {
    sender: Sender,
    receiver: Receiver,
}

impl Wired {
    async fn new(host: &Namespace, group: MulticastGroup) -> Self {
        Self::on("eth0", host, group).await
    }

    async fn on(interface: &str, host: &Namespace, group: MulticastGroup) -> Self {
        let open = || {
            let interface = interfaces(&[interface.to_owned()]).expect("the system lists them").remove(0);
            let place = Place::new(&interface, group).expect("it has the family");
            let sender = Sender::new(place.sender()?)?;
            let receiver = Receiver::new(Arc::new(place.receiver()?), sender.local(), place.only_source());
            io::Result::Ok(Self { sender, receiver })
        };
        // IPv6 has no routes before the wire's other end was noticed.
        let wired = async {
            loop {
                match host.within(open) {
                    Ok(wired) => return wired,
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(WAIT_MAX, wired).await.expect("sockets in time")
    }

    async fn send(&mut self, datagrams: &[Bytes]) {
        let mut gone = self.sender.send(&mut datagrams.to_vec());
        while !gone {
            let socket = self.sender.socket();
            timeout(WAIT_MAX, socket.writable()).await.expect("in time").expect("the socket works");
            gone = self.sender.flush();
        }
    }

    async fn receive(&mut self, count: usize) -> Vec<Bytes> {
        let mut all = Vec::new();
        while all.len() < count {
            let arrived = timeout(WAIT_MAX, self.receiver.next()).await;
            let arrived = arrived.unwrap_or_else(|_| panic!("{} of {count} came", all.len()));
            assert_eq!((arrived.overflow, arrived.broken), (0, false));
            all.extend(arrived.datagrams.into_iter().map(|(_, datagram)| datagram));
        }
        all
    }
}

#[tokio::test]
async fn runs_arrive_byte_for_byte_with_and_without_help_of_the_interface() {
    for offload in ["on", "off"] {
        let Some(hosts) = namespace::pair(1) else { return };
        let settings = format!("ethtool -K eth0 tx-udp-segmentation {offload}");
        hosts.iter().for_each(|host| host.run(&settings));
        for at in ["239.255.9.5:24605", "[ff14::9:5]:24605"] {
            let mut one = Wired::new(&hosts[0], group(at)).await;
            let mut other = Wired::new(&hosts[1], group(at)).await;
            let sent = datagrams(1_000);
            one.send(&sent).await;
            assert_same(&other.receive(sent.len()).await, &sent);
            other.send(&sent).await;
            assert_same(&one.receive(sent.len()).await, &sent);
        }
    }
}

#[tokio::test]
async fn the_one_source_of_an_ipv6_group_hears_its_viewers_and_they_hear_nobody_else() {
    let Some(hosts) = namespace::pair(1) else { return };
    let mut source = Wired::new(&hosts[0], group("[ff14::9:9]:24609,source=fd09:0::1")).await;
    let mut viewer = Wired::new(&hosts[1], group("[ff14::9:9]:24609,source=fd09:0::1")).await;
    let mut deceived = Wired::new(&hosts[1], group("[ff14::9:9]:24609,source=fd09:0::7")).await;
    let sent = datagrams(3);
    viewer.send(&sent[..1]).await;
    assert_same(&source.receive(1).await, &sent[..1]);
    source.send(&sent[1..]).await;
    assert_same(&viewer.receive(2).await, &sent[1..]);
    let heard = timeout(SILENCE, deceived.receiver.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test]
async fn an_interface_that_refuses_runs_gets_datagrams_one_by_one() {
    let Some(hosts) = namespace::pair(1) else { return };
    // Too small for the datagrams: the system splits each into packets, but no run into datagrams.
    hosts.iter().for_each(|host| host.run("ip link set eth0 mtu 1000"));
    let at = group("239.255.9.11:24611");
    let (mut one, mut other) = (Wired::new(&hosts[0], at).await, Wired::new(&hosts[1], at).await);
    let sent = datagrams(200);
    one.send(&sent).await;
    assert_same(&other.receive(sent.len()).await, &sent);
    assert_eq!(one.sender.transport().multicast_datagrams_refused, 0);
}

#[tokio::test]
async fn what_a_firewall_of_the_host_refuses_is_counted() {
    let Some(hosts) = namespace::pair(1) else { return };
    let at = group("239.255.9.12:24612");
    let (mut one, mut other) = (Wired::new(&hosts[0], at).await, Wired::new(&hosts[1], at).await);
    hosts[0].run(
        "nft add table inet t
         nft add chain inet t out '{ type filter hook output priority 0; }'
         nft add rule inet t out udp dport 24612 drop",
    );
    let sent = datagrams(100);
    one.send(&sent).await;
    assert_eq!(one.sender.transport().multicast_datagrams_refused, sent.len() as u64);
    hosts[0].run("nft flush ruleset");
    one.send(&sent).await;
    assert_same(&other.receive(sent.len()).await, &sent);
}

#[tokio::test]
async fn a_path_brings_what_came_by_its_own_interface_alone() {
    let Some(hosts) = namespace::pair(2) else { return };
    for at in ["239.255.9.10:24610", "[ff14::9:10]:24610"] {
        let at = group(at);
        let mut sender = Wired::on("eth1", &hosts[1], at).await;
        let mut right = Wired::on("eth1", &hosts[0], at).await;
        let mut wrong = Wired::on("eth0", &hosts[0], at).await;
        let sent = datagrams(5);
        sender.send(&sent).await;
        assert_same(&right.receive(sent.len()).await, &sent);
        let heard = timeout(SILENCE, wrong.receiver.next()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

#[tokio::test]
async fn what_a_slow_interface_does_not_take_waits_and_goes_out_in_order() {
    let Some(hosts) = namespace::pair(1) else { return };
    hosts[0].run("ethtool -K eth0 tx-udp-segmentation off");
    hosts[0].run("tc qdisc add dev eth0 root tbf rate 40mbit burst 64kbit limit 4mb");
    // Has the receiving end take packets from one queue; else each processor that sends some has a queue of its own,
    // and they overtake each other.
    hosts[1].run("ethtool -K eth0 gro on");
    let at = group("239.255.9.6:24606");
    let (mut slow, mut other) = (Wired::new(&hosts[0], at).await, Wired::new(&hosts[1], at).await);
    slow.sender.socket().writable().await.expect("the socket works");
    let sent = datagrams(2_000);
    assert!(!slow.sender.send(&mut sent.clone()), "2 MB do not fit the socket");
    assert_eq!(slow.sender.credit(), 0);
    let (received, ()) = tokio::join!(other.receive(sent.len()), slow.send(&[]));
    assert_same(&received, &sent);
    assert!(slow.sender.credit() > 0);
}

#[tokio::test]
async fn joining_again_tells_the_network_so() {
    let Some(hosts) = namespace::pair(1) else { return };
    let at = group("239.255.9.7:24607");
    // A router's ear: membership reports (IGMPv3, RFC 3376, section 4.2.14) go to this group.
    let ear = hosts[1].within(|| {
        let ear = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(2))).expect("a raw socket");
        let reports = Ipv4Addr::new(224, 0, 0, 22);
        let interface = interfaces(&["eth0".to_owned()]).expect("the system lists them").remove(0);
        ear.join_multicast_v4_n(&reports, &InterfaceIndexOrAddress::Index(interface.index)).expect("joined");
        ear.set_nonblocking(true).expect("a socket");
        UdpSocket::from_std(ear.into()).expect("a runtime")
    });
    let IpAddr::V4(address) = at.address else { panic!("an IPv4 group") };
    let reported = async |kind: u8| {
        let report = async {
            let mut packet = [0; 1500];
            loop {
                let size = ear.recv(&mut packet).await.expect("the ear works");
                // The first record is behind an IP header of 24 bytes and 8 of the report.
                let record = packet[..size].get(32..40).expect("a report");
                if record[0] == kind && record[4..8] == address.octets() {
                    return;
                }
            }
        };
        timeout(WAIT_MAX, report).await.expect("a report in time");
    };
    const LEFT: u8 = 3;
    const JOINED: u8 = 4;
    let _inside = hosts[0].enter();
    // As long as one process is a member, the system has nothing to tell: all of them must leave.
    let mut node = Joined::new(multicast(""), &[at]).await;
    let mut other = Joined::new(multicast(""), &[at]).await;
    reported(JOINED).await;
    let path = node.path;
    node.multicast.rejoin(path);
    other.multicast.rejoin(other.path);
    let rejoined = async {
        reported(LEFT).await;
        reported(JOINED).await;
    };
    tokio::select! {
        () = rejoined => {}
        () = async { loop { tokio::join!(node.assert_silent(), other.assert_silent()); } } => {}
    }
    hosts[1]
        .within(|| foreign_sender("10.9.0.2", Ipv4Addr::new(10, 9, 0, 2)))
        .send_to(b"heard", &at.socket_address().into())
        .expect("the wire takes it");
    assert_eq!(node.receive(1).await.0, ["heard"]);
    assert_eq!(node.path, path);
}

#[tokio::test]
async fn interfaces_come_and_go_and_are_told() {
    let Some(host) = Namespace::new() else { return };
    // The interfaces are looked at from within.
    let _inside = host.enter();
    // The kernel finds a carrier up to a second after both ends are up.
    host.run(
        "ip link add d0 type veth peer name other0
         ip address add 10.9.0.1/24 dev d0
         ip link set other0 up
         ip link set d0 up
         tries=0
         until ip link show d0 | grep -q 'state UP'; do
             tries=$((tries + 1)) && [ $tries -lt 500 ]
             sleep 0.01
         done",
    );
    let mut node = multicast("");
    let next = async |node: &mut Multicast| match timeout(WAIT_MAX, node.next()).await.expect("in time") {
        MulticastEvent::Told(input) => format!("{input:?}"),
        other => panic!("unexpected: {other:?}"),
    };
    assert_eq!(next(&mut node).await, "Network { up: true }");
    node.open(CHANNEL, vec![group("239.255.9.8:24608")]);
    assert!(
        next(&mut node)
            .await
            .starts_with("MulticastUp { path: PathId(0), channel: ChannelId(3), interface: \"d0\"")
    );
    host.run("ip link set d0 down");
    assert_eq!(next(&mut node).await, "Network { up: false }");
    assert_eq!(next(&mut node).await, "MulticastDown { path: PathId(0) }");
    host.run("ip link set d0 up");
    assert_eq!(next(&mut node).await, "Network { up: true }");
    assert!(next(&mut node).await.starts_with("MulticastUp { path: PathId(1)"));
    host.run(
        "ip link add d1 type veth peer name other1
         ip address add 10.9.1.1/24 dev d1
         ip link set other1 up
         ip link set d1 up",
    );
    let second = next(&mut node).await;
    assert!(second.starts_with("MulticastUp { path: PathId(2)") && second.contains("\"d1\""), "{second}");
    host.run("ip link set d1 mtu 1300");
    assert_eq!(next(&mut node).await, "MulticastDown { path: PathId(2) }");
    assert!(next(&mut node).await.ends_with("datagram_bytes_max: 1272 }"));
    host.run("ip link delete d0");
    assert_eq!(next(&mut node).await, "MulticastDown { path: PathId(1) }");
}
