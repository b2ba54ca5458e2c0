//! Datagrams over iroh and nothing else.

use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, TransportAddr};
use nix::time::ClockId;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::{Cost, Outcome, Plan, cpu};

const ALPN: &[u8] = b"cost";

/// Bytes of one of iroh's datagrams: the first path MTU less QUIC's headers.
const DATAGRAM_BYTES: usize = 1100;

/// Time for the last datagrams to arrive.
const FLUSH: Duration = Duration::from_millis(200);

/// Sends units as datagrams at their pace, to each viewer by a connection of its own.
pub(super) async fn run(plan: Plan) -> Outcome<Cost> {
    let from = endpoint().await?;
    let (mut connections, mut viewers) = (Vec::new(), JoinSet::new());
    for _ in 0..plan.viewers {
        let to = endpoint().await?;
        let (sending, receiving) = tokio::join!(dial(&from, address(&to)?), accept(&to));
        connections.push(sending?);
        viewers.spawn(count(to, receiving?));
    }
    let sent = |connections: &[Connection]| -> u64 {
        connections.iter().map(|connection| connection.stats().udp_tx.bytes).sum()
    };
    let units = batch(plan);
    let mut pace = interval(plan.period());
    let (mut before, mut sent_before) = (cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID), 0);
    for unit in 0..plan.warm_up + plan.units {
        pace.tick().await;
        if unit == plan.warm_up {
            (before, sent_before) = (cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID), sent(&connections));
        }
        connections.iter().try_for_each(|connection| connection.send_many_datagrams(&units).map(|_| ()))?;
    }
    tokio::time::sleep(FLUSH).await;
    let spent = cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID) - before;
    let sent = sent(&connections) - sent_before;
    connections.iter().for_each(|connection| connection.close(0u32.into(), b""));
    let all: usize = viewers.join_all().await.into_iter().sum();
    let warm_up = plan.unit_bytes * plan.warm_up as usize * plan.viewers;
    let upload = sent as f64 / (plan.unit_bytes * plan.units as usize) as f64;
    from.close().await;
    Ok(Cost { delivered: all.saturating_sub(warm_up), cpu: spent, upload })
}

/// A unit as datagrams.
pub(super) fn batch(plan: Plan) -> Vec<Bytes> {
    vec![Bytes::from(vec![7; DATAGRAM_BYTES]); plan.unit_bytes.div_ceil(DATAGRAM_BYTES)]
}

/// An endpoint that speaks to nobody unasked.
pub(super) async fn endpoint() -> Outcome<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled);
    Ok(builder.alpns(vec![ALPN.to_vec()]).bind().await?)
}

pub(super) fn address(of: &Endpoint) -> Outcome<EndpointAddr> {
    let port = of.bound_sockets().iter().find(|a| a.is_ipv4()).ok_or("no IPv4 socket")?.port();
    Ok(EndpointAddr::from_parts(of.id(), [TransportAddr::Ip(([127, 0, 0, 1], port).into())]))
}

pub(super) async fn dial(from: &Endpoint, to: EndpointAddr) -> Outcome<Connection> {
    Ok(from.connect(to, ALPN).await?)
}

pub(super) async fn accept(to: &Endpoint) -> Outcome<Connection> {
    let incoming = to.accept().await.ok_or("closed")?;
    Ok(incoming.accept()?.await?)
}

/// Returns the bytes that arrive until the other end closes. Keeps the endpoint until then.
pub(super) async fn count(endpoint: Endpoint, connection: Connection) -> usize {
    let mut slots = vec![Bytes::new(); 64];
    let mut received = 0;
    while let Ok(count) = connection.read_many_datagrams(&mut slots).await {
        received += slots[..count].iter().map(Bytes::len).sum::<usize>();
    }
    endpoint.close().await;
    received
}
