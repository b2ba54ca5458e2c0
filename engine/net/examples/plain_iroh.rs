//! The yardstick for processor time: datagrams over iroh and nothing else, as fast as a stream.
//!
//! `plain_iroh send BITS_PER_SECOND` prints its address, then sends to each connection at that rate until it is ended.
//! `plain_iroh receive ADDRESS` takes what comes and tells each second how much it was.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, PortmapperConfig, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode};
use nix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const ALPN: &[u8] = b"plain";

/// A datagram that fits before path-MTU discovery, as the stream's own do.
const DATAGRAM_BYTES: usize = 1_100;

/// Time between two batches: that of the stream's shortest blocks.
const BATCH: Duration = Duration::from_millis(10);

/// Datagrams read at once.
const READ_MAX: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, rate] if role == "send" => send(rate.parse().map_err(|_| "a rate is a number")?).await,
        [role, address] if role == "receive" => receive(address).await,
        _ => Err("usage: plain_iroh send BITS_PER_SECOND | receive ADDRESS".into()),
    }
}

/// An endpoint that speaks to nobody unasked.
async fn endpoint() -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal)
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled);
    Ok(builder.bind().await?)
}

async fn send(bits_per_second: u64) -> Result<()> {
    let endpoint = endpoint().await?;
    let socket = endpoint.bound_sockets().into_iter().find(|socket| socket.is_ipv4());
    let port = socket.ok_or("no IPv4 socket")?.port();
    println!(r#"{{"event":"started","t":{},"endpoint":"{}","port":{port}}}"#, now()?, endpoint.id());
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        // Ends with the connection; the process ends all of them.
        tokio::spawn(send_to(connection, bits_per_second));
    }
    Ok(())
}

async fn send_to(connection: Connection, bits_per_second: u64) -> Result<()> {
    let mut ticks = interval(BATCH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut owed = 0.0;
    loop {
        ticks.tick().await;
        owed += bits_per_second as f64 / 8.0 * BATCH.as_secs_f64();
        let count = (owed / DATAGRAM_BYTES as f64) as usize;
        owed -= (count * DATAGRAM_BYTES) as f64;
        let batch = vec![Bytes::from_static(&[0x55; DATAGRAM_BYTES]); count];
        connection.send_many_datagrams(&batch)?;
    }
}

async fn receive(address: &str) -> Result<()> {
    let (id, socket) = address.split_once('@').ok_or("an address is ENDPOINT@IP:PORT")?;
    let id: EndpointId = id.parse().map_err(|_| "no endpoint")?;
    let address = EndpointAddr::new(id).with_ip_addr(socket.parse().map_err(|_| "no socket address")?);
    let endpoint = endpoint().await?;
    let connection = endpoint.connect(address, ALPN).await?;
    let mut bytes: u64 = 0;
    let mut slots = vec![Bytes::new(); READ_MAX];
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            count = connection.read_many_datagrams(&mut slots) => {
                bytes += slots[..count?].iter().map(|datagram| datagram.len() as u64).sum::<u64>();
            }
            _ = ticks.tick() => println!(r#"{{"event":"stats","t":{},"bytes":{bytes}}}"#, now()?),
        }
    }
}

/// CLOCK_MONOTONIC, seconds.
fn now() -> Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 * 1e-9)
}
