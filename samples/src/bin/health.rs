//! Watches a stream and prints how it fares: `health GROUP NAME [PEER [INTERFACE]]`.
//!
//! It writes nothing anywhere, so it shows how little it takes to be a viewer that also passes the stream on.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use swarmcast::{CloseCause, Event, Group, SubscribeConfig, Swarm, SwarmConfig};
use tokio::time::{MissedTickBehavior, interval};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [group, name, network @ ..] = &arguments[..] else {
        bail!("say what to watch: health GROUP NAME [PEER [INTERFACE]]");
    };
    let mut config = SwarmConfig::new(Group::open(group)?);
    if let Some(peer) = network.first() {
        config.peers.push(peer.parse().context("PEER is IP:PORT or a ticket")?);
    }
    config.interfaces.extend(network.get(1).cloned());

    let (swarm, driver) = Swarm::bind(config).await?;
    tokio::spawn(driver.run());
    let mut subscriber = swarm.subscribe(SubscribeConfig::new(name)).await?;
    let counters = subscriber.counters();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let cause = loop {
        tokio::select! {
            event = subscriber.next() => match event {
                Some(Event::AccessUnit(_)) => {}
                Some(Event::Closed(cause)) => break cause,
                Some(Event::Opened { key, catalogue, .. }) => {
                    let codecs: Vec<_> = catalogue.tracks.iter().map(|track| &track.codec).collect();
                    println!("opened: {codecs:?} by {key}");
                }
                Some(other) => println!("{}: {other:?}", other.code().unwrap_or("event")),
                None => break CloseCause::Stopped,
            },
            _ = second.tick() => if let Some(health) = counters.read().await? {
                println!(
                    "{} access units, {} bytes, lost {}, repaired {}, {} neighbours, {} ms behind the live edge",
                    health.access_units, health.access_unit_bytes, health.lost, health.repaired, health.neighbours,
                    health.distance_to_live_edge.as_millis(),
                );
            },
        }
    };
    println!("closed: {cause:?}");
    swarm.close().await;
    Ok(())
}
