//! What a publisher sends on one multicast path, and whether it sends media there at all.

use std::collections::VecDeque;
use std::time::Duration;

use super::Audience;
use crate::ids::{BlockId, Now, PathId};
use crate::wire::Want;

/// Share of fragments lost by the middle hearer past which media goes back to the mesh.
pub(crate) const LOSS_MAX: f64 = 0.15;
/// Share past which headers are sent again behind their block.
pub(crate) const ECHO_LOSS: f64 = 0.005;
/// Time before media is tried again after it failed, doubled with each failure.
const RETRY: Duration = Duration::from_secs(5);
/// Longest such time.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Time after which media that runs well makes earlier failures forgotten.
const FORGIVE: Duration = Duration::from_secs(60);
/// Time for which viewers may confirm a path before the lack of it counts.
const PATIENCE: Duration = Duration::from_secs(3);
/// Age at which what waits is dropped: the mesh has brought it by then.
const AGE_MAX: Duration = Duration::from_millis(500);
/// Bytes that may leave at once: two random-access pictures of an 8 Mbit/s stream.
const BURST: f64 = 262_144.0;

/// Parts of a block that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    block: BlockId,
    word: u64,
    queued: Now,
}

/// Whether media is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Beacons and offers only; media from `retry_at` on, when enough viewers confirm.
    Beacons {
        retry_at: Now,
    },
    Media {
        since: Now,
    },
}

/// One multicast path of a publication.
#[derive(Clone, Debug)]
pub(crate) struct Broadcast {
    phase: Phase,
    /// Viewers that must confirm beacons.
    hearers_min: usize,
    retry: Duration,
    /// Bytes a second at most.
    rate_max: f64,
    tokens: f64,
    filled_at: Now,
    waiting: VecDeque<Part>,
    /// Share of fragments lost, as the parity and the echo of headers go by.
    loss: f64,
    /// Whether pulls come too late for the viewers.
    hurried: bool,
}

impl Broadcast {
    /// Starts with beacons. `rate_max` is in bits a second, `hearers_min` the viewers that must confirm them.
    pub(crate) fn new(now: Now, rate_max: u64, hearers_min: usize) -> Self {
        Self {
            phase: Phase::Beacons { retry_at: now },
            hearers_min,
            retry: RETRY,
            rate_max: rate_max as f64 / 8.0,
            tokens: BURST,
            filled_at: now,
            waiting: VecDeque::new(),
            loss: 0.0,
            hurried: false,
        }
    }

    /// Decides anew whether media is sent. `rate` is what the stream takes, bytes a second.
    pub(crate) fn review(&mut self, now: Now, path: PathId, audience: &Audience, rate: f64) {
        let hearers = audience.hearers(now, path);
        match self.phase {
            Phase::Beacons { retry_at } => {
                if hearers >= self.hearers_min && now >= retry_at && rate < self.rate_max {
                    self.phase = Phase::Media { since: now };
                }
            }
            Phase::Media { since } => {
                let deaf = hearers == 0 && now.since(since) > PATIENCE;
                let lossy = audience.median_loss(now, path, since) > LOSS_MAX;
                if deaf || lossy || rate > self.rate_max {
                    let wait = if lossy { self.retry } else { Duration::ZERO };
                    self.retry = if lossy { (self.retry * 2).min(RETRY_MAX) } else { self.retry };
                    self.phase = Phase::Beacons { retry_at: now.after(wait) };
                    self.waiting.clear();
                } else if now.since(since) > FORGIVE {
                    self.retry = RETRY;
                }
            }
        }
        self.loss = if self.is_media() { audience.loss_to_mend(now, path, LOSS_MAX) } else { 0.0 };
        self.hurried = self.is_media() && audience.is_hurried(now, path);
    }

    /// Returns whether media is sent.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self.phase, Phase::Media { .. })
    }

    /// Returns whether pulls come too late for the viewers.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Returns the share of fragments that parity should make good.
    pub(crate) fn loss(&self) -> f64 {
        self.loss
    }

    /// Queues a block that was just sealed: its header, its shards, and its header again where headers get lost; twice
    /// where pulls come too late.
    pub(crate) fn push(&mut self, now: Now, block: BlockId, word: u64) {
        if !self.is_media() {
            return;
        }
        self.waiting.push_back(Part { block, word, queued: now });
        let echoes = if self.loss > ECHO_LOSS { 1 + usize::from(self.hurried) } else { 0 };
        let echo = Part { block, word: Want::HEADER, queued: now };
        self.waiting.extend(std::iter::repeat_n(echo, echoes));
    }

    /// Queues parts that several viewers miss.
    pub(crate) fn repeat(&mut self, now: Now, block: BlockId, word: u64) {
        if self.is_media() {
            self.waiting.push_front(Part { block, word, queued: now });
        }
    }

    /// Returns whether something waits.
    pub(crate) fn has_media(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns whether the rate lets a datagram go.
    pub(crate) fn may_send(&mut self, now: Now) -> bool {
        let earned = now.since(self.filled_at).as_secs_f64() * self.rate_max;
        self.filled_at = now;
        self.tokens = (self.tokens + earned).min(BURST);
        self.tokens > 0.0
    }

    /// Returns when the rate lets the next datagram go.
    pub(crate) fn next_timeout(&self, now: Now) -> Now {
        now.after(Duration::from_secs_f64(((1500.0 - self.tokens) / self.rate_max).clamp(0.0005, 1.0)))
    }

    /// Takes note of bytes that left.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// Takes the next part: `None` in it is the header. What is too old goes and is counted in `shed`.
    pub(crate) fn pop(&mut self, now: Now, shed: &mut u64) -> Option<(BlockId, Option<u8>)> {
        while let Some(part) = self.waiting.front_mut() {
            if now.since(part.queued) > AGE_MAX {
                *shed += u64::from(part.word.count_ones());
            } else if part.word & Want::HEADER != 0 {
                part.word &= !Want::HEADER;
                return Some((part.block, None));
            } else if part.word != 0 {
                let index = part.word.trailing_zeros() as u8;
                part.word &= part.word - 1;
                return Some((part.block, Some(index)));
            }
            self.waiting.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Report;

    const PATH: PathId = PathId(1);
    const MEGABIT: u64 = 1_000_000;

    fn hear(audience: &mut Audience, now: Now, reporter: u64, received: u64, missed: u64) {
        let report =
            Report { reporter, beacon_ms: now.0 / 1000, hears: true, received, missed, ..Report::default() };
        audience.handle_report(now, &report, Some(PATH));
    }

    #[test]
    fn media_begins_with_two_hearers_and_ends_without() {
        let (mut broadcast, mut audience) = (Broadcast::new(Now(0), 10 * MEGABIT, 2), Audience::default());
        hear(&mut audience, Now(0), 1, 0, 0);
        broadcast.review(Now(1), PATH, &audience, 1e6);
        assert!(!broadcast.is_media());
        hear(&mut audience, Now(2), 2, 0, 0);
        broadcast.review(Now(3), PATH, &audience, 1e6);
        assert!(broadcast.is_media());
        broadcast.review(Now(3_100_000), PATH, &audience, 1e6);
        assert!(!broadcast.is_media(), "nobody confirmed for 3 s");
    }

    #[test]
    fn a_stream_past_the_rate_stays_with_beacons() {
        let (mut broadcast, mut audience) = (Broadcast::new(Now(0), 4 * MEGABIT, 1), Audience::default());
        hear(&mut audience, Now(0), 1, 0, 0);
        broadcast.review(Now(1), PATH, &audience, 600_000.0);
        assert!(!broadcast.is_media());
        broadcast.review(Now(2), PATH, &audience, 400_000.0);
        assert!(broadcast.is_media());
    }

    #[test]
    fn loss_past_fifteen_percent_sends_media_back_and_each_time_for_longer() {
        let (mut broadcast, mut audience) = (Broadcast::new(Now(0), 10 * MEGABIT, 1), Audience::default());
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..3 {
            while !broadcast.is_media() {
                now += 250_000;
                hear(&mut audience, Now(now), 1, 100, 0);
                broadcast.review(Now(now), PATH, &audience, 1e6);
            }
            while broadcast.is_media() {
                now += 250_000;
                hear(&mut audience, Now(now), 1, 80, 20);
                broadcast.review(Now(now), PATH, &audience, 1e6);
            }
            let failed = now;
            while !broadcast.is_media() {
                now += 250_000;
                hear(&mut audience, Now(now), 1, 100, 0);
                broadcast.review(Now(now), PATH, &audience, 1e6);
            }
            waits.push((now - failed) / 1_000_000);
        }
        assert_eq!(waits, [5, 10, 20]);
    }

    #[test]
    fn parts_leave_in_order_and_headers_again_where_they_get_lost() {
        let (mut broadcast, mut audience) = (Broadcast::new(Now(0), 10 * MEGABIT, 1), Audience::default());
        hear(&mut audience, Now(0), 1, 99, 1);
        broadcast.review(Now(0), PATH, &audience, 1e6);
        broadcast.push(Now(0), BlockId(4), Want::HEADER | 0b101);
        let mut shed = 0;
        let parts: Vec<_> = std::iter::from_fn(|| broadcast.pop(Now(1), &mut shed)).collect();
        let block = BlockId(4);
        assert_eq!(parts, [(block, None), (block, Some(0)), (block, Some(2)), (block, None)]);
        broadcast.hurried = true;
        broadcast.push(Now(0), block, Want::HEADER);
        assert_eq!(std::iter::from_fn(|| broadcast.pop(Now(1), &mut shed)).count(), 3);
        broadcast.hurried = false;
        broadcast.push(Now(1), block, 0b11);
        assert_eq!(broadcast.pop(Now(700_000), &mut shed), None);
        assert_eq!(shed, 3, "two shards and the header that was to be sent again");
    }

    #[test]
    fn the_rate_is_kept() {
        let mut broadcast = Broadcast::new(Now(0), 8 * MEGABIT, 1);
        broadcast.spend(BURST as usize);
        assert!(!broadcast.may_send(Now(0)));
        assert!(broadcast.may_send(Now(1000)));
        broadcast.spend(1001);
        assert!(!broadcast.may_send(Now(1000)));
    }
}
