//! The caller's own URL, played when the swarm cannot deliver.

use std::time::{Duration, Instant};

use swarmcast_core::catalogue::{AccessUnit, Track, TrackId, TrackKind};
use swarmcast_media::{Interrupt, Source, SourceConfig, SourceError};
use tokio::sync::mpsc;

/// Access units that wait for the subscriber: 3 s of video at 30 and audio at 47 a second. A source that is faster
/// waits.
const UNITS_MAX: usize = 256;
/// Orders that wait for the source's thread, which ends the one before promptly.
const ORDERS_MAX: usize = 4;
/// Shortest time between two attempts to open the URL.
const RETRY: Duration = Duration::from_secs(1);

/// The caller's own URL, the last resort of a [`crate::Subscriber`]. It blocks, so it needs a thread of the caller's:
/// hand it to one with [`ForeignSource::run`]. Dropping it makes every attempt to play it fail.
#[derive(Debug)]
pub struct ForeignSource {
    url: String,
    orders: mpsc::Receiver<Order>,
}

/// Asks for the URL to be played until `interrupt` fires or nobody receives.
#[derive(Debug)]
struct Order {
    interrupt: Interrupt,
    brought: mpsc::Sender<Brought>,
}

/// What a foreign source hands over.
#[derive(Debug)]
pub(crate) enum Brought {
    /// It plays: its tracks. The unit that follows can be decoded by itself.
    Opened(Vec<Track>),
    /// An access unit, at its time.
    Unit(AccessUnit),
    /// It failed, or came to its end.
    Lost(Option<SourceError>),
}

/// Why one attempt to play is over.
enum Stop {
    /// The source failed.
    Failed { error: SourceError, played: bool },
    /// It came to its end.
    Ended,
    /// Nobody wants it any longer.
    Unwanted,
}

impl ForeignSource {
    /// Plays the URL each time it is wanted, until the subscriber is dropped. Blocks.
    pub fn run(mut self) {
        while let Some(order) = self.orders.blocking_recv() {
            self.serve(&order);
        }
    }

    /// Plays until nobody wants it, or it fails for good. A connection that broke after it had played is opened again
    /// before anybody is told.
    fn serve(&self, order: &Order) {
        loop {
            let again_at = Instant::now() + RETRY;
            let error = match self.play(order) {
                Stop::Unwanted => return,
                Stop::Failed { played: true, .. } if order.interrupt.wait_until(again_at) => continue,
                Stop::Failed { error, .. } => Some(error),
                Stop::Ended => None,
            };
            // Nobody wants to know any more when the subscriber was dropped.
            let _ = order.brought.blocking_send(Brought::Lost(error));
            return;
        }
    }

    fn play(&self, order: &Order) -> Stop {
        let mut played = false;
        match self.feed(order, &mut played) {
            Ok(stop) => stop,
            Err(SourceError::Interrupted) => Stop::Unwanted,
            Err(error) => Stop::Failed { error, played },
        }
    }

    fn feed(&self, order: &Order, played: &mut bool) -> Result<Stop, SourceError> {
        let interrupt = order.interrupt.clone();
        let mut source =
            Source::open(SourceConfig { prompt: true, interrupt, ..SourceConfig::new(&self.url) })?;
        let lead = lead(source.tracks());
        while let Some(unit) = source.next()? {
            if !*played {
                if !unit.key || lead != Some(unit.track) {
                    continue;
                }
                *played = true;
                if order.brought.blocking_send(Brought::Opened(source.tracks().to_vec())).is_err() {
                    return Ok(Stop::Unwanted);
                }
            }
            if order.brought.blocking_send(Brought::Unit(unit)).is_err() {
                return Ok(Stop::Unwanted);
            }
        }
        Ok(Stop::Ended)
    }
}

/// Returns the track with whose random-access points playing begins.
pub(crate) fn lead(tracks: &[Track]) -> Option<TrackId> {
    let video = tracks.iter().find(|track| track.kind == TrackKind::Video);
    video.or(tracks.first()).map(|track| track.id)
}

/// The subscriber's hold on a foreign source.
#[derive(Debug, Default)]
pub(crate) struct ForeignSwitch {
    orders: Option<mpsc::Sender<Order>>,
    /// The source, until the caller takes it to a thread.
    untaken: Option<ForeignSource>,
    playing: Option<Playing>,
}

#[derive(Debug)]
struct Playing {
    interrupt: Interrupt,
    brought: mpsc::Receiver<Brought>,
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.interrupt.interrupt();
    }
}

impl ForeignSwitch {
    /// Makes a switch for that URL.
    pub(crate) fn new(url: String) -> Self {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let untaken = Some(ForeignSource { url, orders });
        Self { orders: Some(sender), untaken, playing: None }
    }

    /// Returns whether there is a URL at all.
    pub(crate) fn exists(&self) -> bool {
        self.orders.is_some()
    }

    /// Hands the source over, once.
    pub(crate) fn take(&mut self) -> Option<ForeignSource> {
        self.untaken.take()
    }

    /// Has the URL played. Without a thread that does so, the next that comes of it is its end.
    pub(crate) fn start(&mut self) {
        self.untaken = None;
        let interrupt = Interrupt::new();
        let (sender, brought) = mpsc::channel(UNITS_MAX);
        let order = Order { interrupt: interrupt.clone(), brought: sender };
        // An order that finds no thread is dropped, and its sender with it.
        let _ = self.orders.as_ref().map(|orders| orders.try_send(order));
        self.playing = Some(Playing { interrupt, brought });
    }

    /// Ends the playing.
    pub(crate) fn stop(&mut self) {
        self.playing = None;
    }

    /// Waits for what the URL brings, for ever while it does not play; `None` when nothing will come of it. Dropping
    /// the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Brought> {
        let Some(playing) = &mut self.playing else { return std::future::pending().await };
        let brought = playing.brought.recv().await;
        if brought.is_none() {
            self.playing = None;
        }
        brought
    }
}

#[cfg(test)]
mod tests;
