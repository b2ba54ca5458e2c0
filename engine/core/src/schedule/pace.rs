//! The media rate controller of one session: a token bucket whose rate follows delay and sustained loss.
//!
//! Live media knows its rate, and random loss says nothing about room on the path; so the rate falls when the queue on
//! the path grows or when a third of all packets is lost, never below a share of the stream's own rate, and rises
//! otherwise. With the share at 0.66 a stream beside one greedy TCP flow keeps its sound and most of its pictures and
//! leaves the other flow its part.

use std::time::Duration;

use crate::ids::Now;
use crate::node::PathSample;

/// Bytes a second at first: 40 Mbit/s, doubled every sample without delay.
const START: f64 = 5e6;
/// Bytes a second at most: 2 Gbit/s.
const CEILING: f64 = 250e6;
/// Bytes a second at least, whatever the stream's rate: 200 kbit/s.
const FLOOR: f64 = 25e3;
/// Share of the stream's rate below which delay alone does not push.
const SHARE: f64 = 0.66;
/// Delay of the fastest packets of late that is somebody's standing queue: the fastest ones meet little jitter (CoDel,
/// RFC 8289 section 3.2).
const DELAY_MAX: Duration = Duration::from_millis(15);
/// And that delay over what the average packet waits beyond the fastest: jitter spreads packets more than it holds all.
const DELAY_SPREAD: f64 = 1.5;
/// Delay of theirs up to which a path has room. Between the two the rate stays: a flow that halves its own leaves the
/// queue for a moment, and that is no room.
const DELAY_FREE: Duration = Duration::from_millis(10);
/// For so long a queue does not stand still: another flow fills and drains it, if seldom by more than 2 ms within 2 s.
/// What does is a longer path.
const STEADY: Duration = Duration::from_secs(10);
/// Least by which a queue moves meanwhile, and the part of what the average packet waits that jitter moves it by.
const STEADY_WITHIN: Duration = Duration::from_millis(1);
const STEADY_SPREAD: f64 = 0.25;
/// Share of packets lost from which a queue may stand still as it is full.
const STEADY_LOSS: f64 = 0.02;
/// Share of packets lost over about a second that tells a path is overrun, even without delay: radio at its worst loses
/// a fifth at random.
const LOSS_MAX: f64 = 0.35;
/// Weight of one period in the packets sent and lost of late. A picture's packets are declared lost in the period
/// behind it, so the two are averaged before one is divided by the other.
const LOSS_WEIGHT: f64 = 0.05;
/// Factor by which the rate rises in a period once the path has shown a queue.
const GROWTH: f64 = 1.05;
/// Time between two decisions: a few round trips of a LAN, one of a continent.
const PERIOD: Duration = Duration::from_millis(45);
/// Bytes that may leave at once on a path that shows no queue: a random-access picture of an 8 Mbit/s stream.
const BURST: f64 = 131_072.0;
/// And at first: about what the queue of a 10 Mbit/s link holds.
const BURST_START: f64 = 65_536.0;
/// Time whose bytes may leave at once on a path that does: a fraction of the queue that a router grants.
const BURST_TIME: f64 = 0.01;

/// Token bucket and the rate that fills it.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    rate: f64,
    tokens: f64,
    /// Most tokens.
    depth: f64,
    filled_at: Now,
    decided_at: Now,
    limited: bool,
    /// Factor by which the rate rises: 2 until the path shows a queue, little from then on.
    growth: f64,
    rtt_floor: Duration,
    /// Since when the fastest packets have taken how long, at least and at most, while that was more than before.
    steady: Option<(Now, Duration, Duration)>,
    /// Packets sent and lost in a period of late.
    sent: f64,
    lost: f64,
    before: PathSample,
}

impl Pace {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            rate: START,
            tokens: BURST_START,
            depth: BURST_START,
            filled_at: now,
            decided_at: now,
            limited: false,
            growth: 2.0,
            rtt_floor: Duration::MAX,
            steady: None,
            sent: 0.0,
            lost: 0.0,
            before: PathSample::default(),
        }
    }

    /// Takes what the transport measured; `stream_rate` is the sum of what is pushed on this path, bytes a second.
    pub(crate) fn handle_sample(&mut self, now: Now, sample: PathSample, stream_rate: f64) {
        if now.since(self.decided_at) < PERIOD {
            return;
        }
        self.refill(now);
        self.decided_at = now;
        let sent = sample.packets_sent.saturating_sub(self.before.packets_sent);
        let lost = sample.packets_lost.saturating_sub(self.before.packets_lost);
        self.before = sample;
        let floor = (stream_rate * SHARE).max(FLOOR);
        self.sent += LOSS_WEIGHT * (sent as f64 - self.sent);
        self.lost += LOSS_WEIGHT * (lost as f64 - self.lost);
        let spread = sample.rtt.saturating_sub(sample.rtt_low);
        if !sample.rtt_low.is_zero() {
            self.rtt_floor = self.rtt_floor.min(sample.rtt_low);
        }
        let queue_min = DELAY_MAX.max(spread.mul_f64(DELAY_SPREAD));
        let mut delay = sample.rtt_low.saturating_sub(self.rtt_floor);
        if self.is_steady(now, sample.rtt_low, delay > queue_min, spread) {
            self.rtt_floor = sample.rtt_low;
            delay = Duration::ZERO;
        }
        // Where packets are so far apart, those that take longest pass for lost ones.
        let jitters = spread > DELAY_MAX.max(sample.rtt_low);
        let overrun = self.lost > LOSS_MAX * self.sent && !jitters;
        if overrun {
            self.rate = (self.rate * 0.8).max((floor / 2.0).min(self.rate));
            self.depth = self.rate * BURST_TIME;
            self.growth = GROWTH;
        } else if delay > queue_min {
            let factor = if self.growth > GROWTH { 0.5 } else { 0.85 };
            // Below its share, which it may be before the stream's rate is known, it rises beside the other flow.
            self.rate = (self.rate * factor).max(floor.min(self.rate * GROWTH));
            self.depth = self.rate * BURST_TIME;
            self.growth = GROWTH;
        } else if self.limited && (delay <= DELAY_FREE || self.rate < floor) {
            self.rate = (self.rate * self.growth).min(CEILING);
            self.depth = (self.depth * self.growth).min(BURST).max(self.rate * BURST_TIME);
        }
        self.limited = false;
    }

    /// Returns whether what seems a queue has stood still for long enough to be a longer path; `low` is what the
    /// fastest packets of late took.
    fn is_steady(&mut self, now: Now, low: Duration, is_queue: bool, spread: Duration) -> bool {
        if !is_queue || self.lost > STEADY_LOSS * self.sent {
            self.steady = None;
            return false;
        }
        let (since, least, most) = self.steady.unwrap_or((now, low, low));
        let (least, most) = (least.min(low), most.max(low));
        if most - least > STEADY_WITHIN.max(spread.mul_f64(STEADY_SPREAD)) {
            self.steady = Some((now, low, low));
            return false;
        }
        self.steady = Some((since, least, most));
        now.since(since) >= STEADY
    }

    /// Returns what may leave in the long run, bytes a second.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns how many bytes may leave.
    pub(crate) fn allowance(&mut self, now: Now) -> usize {
        self.refill(now);
        self.limited |= self.tokens < 1.0;
        self.tokens.max(0.0) as usize
    }

    /// Takes note that media was given up, since it would not have left in time.
    pub(crate) fn handle_shed(&mut self) {
        self.limited = true;
    }

    /// Takes note of bytes that left; may overdraw by a datagram.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// Returns when the next full datagram may leave.
    pub(crate) fn next_timeout(&self, now: Now) -> Now {
        let wanted = (1200.0 - self.tokens).max(0.0);
        now.after(Duration::from_secs_f64((wanted / self.rate).clamp(0.0005, 1.0)))
    }

    fn refill(&mut self, now: Now) {
        let earned = now.since(self.filled_at).as_secs_f64() * self.rate;
        self.filled_at = now;
        self.tokens = (self.tokens + earned).min(self.depth.max(self.rate * BURST_TIME).max(3000.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate from `start` after 10 s of a stream of 1 MB/s whose fastest and average packets take so long,
    /// milliseconds, by turns a tenth more and less.
    fn rate(start: f64, low: u64, average: u64) -> f64 {
        let ms = Duration::from_millis;
        let mut pace = Pace { rate: start, ..Pace::new(Now(0)) };
        let near = PathSample { rtt: ms(1), rtt_low: ms(1), ..PathSample::default() };
        pace.handle_sample(Now(50_000), near, 1e6);
        for tick in 2..200 {
            let now = Now(tick * 50_000);
            let all = pace.allowance(now);
            pace.spend(all);
            pace.allowance(now);
            let moved = ms(low).mul_f64(if tick % 20 < 10 { 1.1 } else { 0.9 });
            let sample = PathSample { rtt: moved + ms(average - low), rtt_low: moved, ..near };
            pace.handle_sample(now, sample, 1e6);
        }
        pace.rate()
    }

    #[test]
    fn what_takes_longer_and_stays_so_is_a_longer_path_unless_it_is_full() {
        let after = |lost: u64, moves: u64| {
            let mut pace = Pace::new(Now(0));
            let mut sample = PathSample::default();
            for tick in 1..400 {
                pace.handle_shed();
                sample.packets_sent += 50;
                sample.packets_lost += lost;
                let late = if tick < 20 { 0 } else { 120_000 + tick % 20 / 10 * moves };
                sample.rtt_low = Duration::from_micros(1_000 + late);
                sample.rtt = sample.rtt_low + Duration::from_millis(1);
                pace.handle_sample(Now(tick * 50_000), sample, 1e6);
            }
            pace.rate()
        };
        assert_eq!(after(0, 900), CEILING);
        assert!(after(0, 4_000) < 1e6, "another flow fills it");
        assert!(after(2, 0) < 1e6, "it is full, and loses the rest");
    }

    #[test]
    fn losses_told_behind_a_burst_are_a_share_of_it() {
        let all = |lost_each: u64, average: u64| {
            let ms = Duration::from_millis;
            let mut pace = Pace::new(Now(0));
            let mut sample = PathSample { rtt: ms(average), rtt_low: ms(9), ..PathSample::default() };
            for tick in 2..200 {
                // A picture of 40 packets, and in the next period sound and what the picture lost.
                sample.packets_sent += if tick % 2 == 0 { 40 } else { 2 };
                sample.packets_lost += if tick % 2 == 0 { 0 } else { lost_each };
                pace.handle_sample(Now(tick * 50_000), sample, 1e6);
            }
            pace.rate()
        };
        assert!(all(8, 9) >= START, "a fifth is what radio loses");
        assert!(all(20, 9) < 1e6, "half is an overrun path");
        assert!(all(20, 60) >= START, "or one whose packets are 50 ms apart");
    }

    #[test]
    fn where_media_is_given_up_the_rate_rises_though_nothing_waits() {
        let after = |sheds: bool| {
            let mut pace = Pace { rate: 1e5, ..Pace::new(Now(0)) };
            for tick in 1..5 {
                if sheds {
                    pace.handle_shed();
                }
                pace.handle_sample(Now(tick * 50_000), PathSample::default(), 0.0);
            }
            pace.rate()
        };
        assert_eq!([false, true].map(after), [1e5, 16e5]);
    }

    #[test]
    fn a_standing_queue_takes_the_rate_to_its_share_and_jitter_does_not() {
        let share = |rate: f64| (rate / 1e6 - SHARE).abs() < 0.04;
        assert!(share(rate(START, 50, 60)) && share(rate(1e5, 50, 60)));
        assert!(rate(START, 10, 60) >= CEILING);
        assert_eq!(rate(START, 13, 60), START, "it stays where there is little of one");
        assert!((SHARE..2.0 * SHARE).contains(&(rate(1e5, 13, 60) / 1e6)), "but not below the share");
        assert!(rate(START, 40, 70) >= START, "jitter of which no packet is free");
        let mut pace = Pace::new(Now(0));
        pace.handle_sample(Now(50_000), PathSample::default(), 1e6);
        assert_eq!(pace.rtt_floor, Duration::MAX, "nothing was measured");
    }
}
