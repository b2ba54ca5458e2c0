//! CPU time of a publisher and a viewer in one process, beside plain iroh carrying the same bytes on the same machine.
//!
//! `cargo run --release -p swarmcast-net --example cost -- [Mbit/s] [seconds]`

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::presets;
use iroh::{Endpoint, EndpointAddr, RelayMode, TransportAddr};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{Epoch, StreamHandle};
use swarmcast_core::node::{Event, Publication, Subscription};
use swarmcast_net::{NetConfig, PeerAddress, Playout, bind};
use tokio::time::{interval, timeout};

const UNITS_PER_SECOND: u32 = 25;
const ALPN: &[u8] = b"cost";

/// Bytes of one of iroh's datagrams: the first path MTU less QUIC's headers.
const DATAGRAM_BYTES: usize = 1100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<u32> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let rate = arguments.first().copied().unwrap_or(20);
    let seconds = arguments.get(1).copied().unwrap_or(10);
    let unit_bytes = (rate * 125_000 / UNITS_PER_SECOND) as usize;
    let units = seconds * UNITS_PER_SECOND;
    for (name, (bytes, cpu)) in
        [("plain iroh", plain(unit_bytes, units).await?), ("swarmcast", swarmcast(unit_bytes, units).await?)]
    {
        let per_gigabyte = cpu.as_secs_f64() / (bytes as f64 / 1e9);
        println!("{name}: {bytes} bytes delivered, {cpu:.2?} CPU, {per_gigabyte:.2} s/GB, both ends");
    }
    Ok(())
}

/// Sends units as datagrams at their pace; returns the bytes that arrived and the CPU time that passed.
async fn plain(unit_bytes: usize, units: u32) -> Result<(usize, Duration), Box<dyn Error>> {
    let endpoint = || {
        Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).alpns(vec![ALPN.to_vec()]).bind()
    };
    let (from, to) = (endpoint().await?, endpoint().await?);
    let port = to.bound_sockets().iter().find(|a| a.is_ipv4()).ok_or("no IPv4 socket")?.port();
    let address = EndpointAddr::from_parts(to.id(), [TransportAddr::Ip(([127, 0, 0, 1], port).into())]);
    let (sending, receiving) = tokio::join!(from.connect(address, ALPN), async {
        let incoming = to.accept().await.ok_or("closed")?;
        Ok::<_, Box<dyn Error>>(incoming.accept()?.await?)
    });
    let (sending, receiving) = (sending?, receiving?);
    let before = cpu();
    let send = async {
        let payload = Bytes::from(vec![7; DATAGRAM_BYTES]);
        let batch = vec![payload; unit_bytes.div_ceil(DATAGRAM_BYTES)];
        let mut pace = interval(Duration::from_secs(1) / UNITS_PER_SECOND);
        for _ in 0..units {
            pace.tick().await;
            sending.send_many_datagrams(&batch)?;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        sending.close(0u32.into(), b"");
        Ok::<_, Box<dyn Error>>(())
    };
    let receive = async {
        let mut slots = vec![Bytes::new(); 64];
        let mut received = 0;
        while let Ok(count) = receiving.read_many_datagrams(&mut slots).await {
            received += slots[..count].iter().map(Bytes::len).sum::<usize>();
        }
        received
    };
    let (sent, received) = tokio::join!(send, receive);
    sent?;
    let spent = cpu() - before;
    tokio::join!(from.close(), to.close());
    Ok((received, spent))
}

/// Publishes units at their pace and watches them; returns the bytes that arrived and the CPU time that passed.
async fn swarmcast(unit_bytes: usize, units: u32) -> Result<(usize, Duration), Box<dyn Error>> {
    let mut config = NetConfig::new(GroupSpec::open("cost")?);
    config.discovery = false;
    let (publisher, driver) = bind(config.clone()).await?;
    let publishing = tokio::spawn(driver.run());
    let here = PeerAddress {
        peer: Some(publisher.peer()),
        addresses: vec![([127, 0, 0, 1], publisher.port()).into()],
    };
    config.peers = vec![here];
    let (viewer, driver) = bind(config).await?;
    let watching = tokio::spawn(driver.run());

    let track = Track {
        id: TrackId(0),
        kind: TrackKind::Video,
        codec: "test".into(),
        time_base: TimeBase { numerator: 1, denominator: UNITS_PER_SECOND },
        bitrate: 0,
        parameters: Bytes::new(),
    };
    let catalogue = Catalogue {
        name: "cost".into(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track],
        renditions: Vec::new(),
        multicast: None,
    };
    let publication = Publication::new(StreamHandle(0), catalogue, [1; 32], Epoch(1));
    let publication = publisher.publish(publication).await?;
    let playout_delay = Duration::from_secs(1);
    let subscription = Subscription::new(StreamHandle(0), "cost", playout_delay);
    let subscription = viewer.subscribe(subscription).await?;
    let before = cpu();
    let send = async {
        let payload = Bytes::from(vec![7; unit_bytes]);
        let mut pace = interval(Duration::from_secs(1) / UNITS_PER_SECOND);
        for dts in 0..i64::from(units) {
            pace.tick().await;
            let key = dts % i64::from(UNITS_PER_SECOND) == 0;
            let payload = payload.clone();
            let unit =
                AccessUnit { track: TrackId(0), dts, pts: dts, duration: 1, key, disposable: false, payload };
            publication.send(unit).await?;
        }
        publication.end().await?;
        Ok::<_, Box<dyn Error>>(())
    };
    let receive = async {
        let mut received = 0;
        while let Ok(playout) = subscription.receive().await {
            if let Playout::Event(Event::AccessUnit { unit, .. }) = playout {
                received += unit.payload.len();
            }
        }
        received
    };
    let (sent, received) = tokio::join!(send, timeout(Duration::from_secs(600), receive));
    sent?;
    let spent = cpu() - before;
    tokio::join!(publisher.close(), viewer.close());
    tokio::try_join!(publishing, watching)?;
    Ok((received?, spent))
}

/// Returns the CPU time that this process has used.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(Duration::ZERO, |time| Duration::from_nanos(time.num_nanoseconds().unsigned_abs()))
}
