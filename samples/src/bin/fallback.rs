//! Watches a stream, and plays a URL of its own while the stream starves: `fallback GROUP NAME URL [PEER [INTERFACE]]`.
//!
//! This is fallback by hand. The engine tells what it sees, the program decides: it goes to its URL as soon as the
//! stream starves, and comes back with the first picture that can be decoded by itself once the stream lives again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use swarmcast::{
    Event, FallbackPolicy, Group, Interrupt, Source, SourceConfig, SubscribeConfig, Swarm, SwarmConfig,
    Verdict,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [group, name, url, network @ ..] = &arguments[..] else {
        bail!("say what to watch: fallback GROUP NAME URL [PEER [INTERFACE]]");
    };
    let mut config = SwarmConfig::new(Group::open(group)?);
    if let Some(peer) = network.first() {
        config.peers.push(peer.parse().context("PEER is IP:PORT or a ticket")?);
    }
    config.interfaces.extend(network.get(1).cloned());
    let (swarm, driver) = Swarm::bind(config).await?;
    tokio::spawn(driver.run());

    let (fallback, waits) = (FallbackPolicy::Manual, true);
    let config = SubscribeConfig { fallback, waits, ..SubscribeConfig::new(name) };
    let mut subscriber = swarm.subscribe(config).await?;
    let (mut lead, mut watched) = (None, 0);
    let mut own = None;
    while let Some(event) = subscriber.next().await {
        match event {
            Event::Opened { catalogue, .. } => lead = catalogue.lead_track().map(|track| track.id),
            Event::Verdict { to: Verdict::Starved, reason, last_media, .. } if own.is_none() => {
                println!("starved behind {last_media:?} ({reason:?}): playing {url}");
                own = Some(play(url));
            }
            Event::AccessUnit(delivery) if delivery.unit.key && lead == Some(delivery.unit.track) => {
                if let Some((interrupt, played)) = own.take() {
                    interrupt.interrupt();
                    println!("back after {} access units of {url}", played.load(Ordering::Relaxed));
                }
                watched += 1;
            }
            Event::AccessUnit(_) if own.is_none() => watched += 1,
            Event::AccessUnit(_) => {}
            Event::Closed(cause) => println!("closed after {watched} access units: {cause:?}"),
            other => println!("{}: {other:?}", other.code().unwrap_or("event")),
        }
    }
    swarm.close().await;
    Ok(())
}

/// Plays the program's own source on a thread, and counts its access units until it is interrupted.
fn play(url: &str) -> (Interrupt, Arc<AtomicU64>) {
    let (interrupt, played) = (Interrupt::new(), Arc::new(AtomicU64::new(0)));
    let config = SourceConfig { prompt: true, interrupt: interrupt.clone(), ..SourceConfig::new(url) };
    let counter = Arc::clone(&played);
    thread::spawn(move || -> Result<()> {
        let mut source = Source::open(config)?;
        while source.next()?.is_some() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    (interrupt, played)
}
