//! What a packet meets between two hosts: latency, loss, reordering, duplication, rates with bounded queues.

use std::time::Duration;

use crate::dice::Dice;

/// How packets get lost on one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LossModel {
    /// None are lost.
    #[default]
    None,
    /// Each packet is lost on its own with this probability.
    Random(f64),
    /// Gilbert-Elliott: two states, changed before each packet, each with its own loss.
    Bursty {
        /// Probability of going from good to bad.
        worsens: f64,
        /// Probability of going from bad to good; 1 / mean burst length in packets.
        recovers: f64,
        /// Loss in the good state.
        good: f64,
        /// Loss in the bad state.
        bad: f64,
    },
}

impl LossModel {
    /// Returns the mean loss in the long run.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Random(p) => p,
            Self::Bursty { worsens, recovers, good, bad } => {
                let share = worsens / (worsens + recovers).max(f64::MIN_POSITIVE);
                good * (1.0 - share) + bad * share
            }
        }
    }
}

/// One direction between two hosts. The default is a switched LAN: 0.2 ms, nothing lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkModel {
    /// Smallest one-way delay.
    pub latency: Duration,
    /// Up to this much more, drawn evenly for each packet; packets stay in order.
    pub jitter: Duration,
    /// Loss.
    pub loss: LossModel,
    /// Probability that a packet is held back by up to `reorder_by`, so that later ones overtake it.
    pub reorder: f64,
    /// Longest extra delay of a reordered packet.
    pub reorder_by: Duration,
    /// Probability that a packet comes twice.
    pub duplicate: f64,
}

impl Default for LinkModel {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(200),
            jitter: Duration::ZERO,
            loss: LossModel::None,
            reorder: 0.0,
            reorder_by: Duration::from_millis(10),
            duplicate: 0.0,
        }
    }
}

/// A rate with a drop-tail queue before it: one direction of a host's access line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateModel {
    /// Bits per second on the wire; `None` takes no time at all.
    pub bits_per_second: Option<u64>,
    /// Longest time a packet may wait in the queue; one that would wait longer is dropped.
    pub queue: Duration,
}

impl RateModel {
    /// No limit.
    pub const UNLIMITED: Self = Self { bits_per_second: None, queue: Duration::ZERO };

    /// Returns a limit with a queue of 50 ms.
    pub const fn limited(bits_per_second: u64) -> Self {
        Self { bits_per_second: Some(bits_per_second), queue: Duration::from_millis(50) }
    }
}

/// A [`RateModel`] at work.
#[derive(Clone, Debug)]
pub(crate) struct Shaper {
    model: RateModel,
    free_at: Duration,
}

impl Shaper {
    pub(crate) fn new(model: RateModel) -> Self {
        Self { model, free_at: Duration::ZERO }
    }

    /// Returns how long a packet that comes at `at` has to wait.
    pub(crate) fn backlog(&self, at: Duration) -> Duration {
        self.free_at.saturating_sub(at)
    }

    /// Returns how many bytes find room in the queue.
    pub(crate) fn room_bytes(&self, at: Duration) -> usize {
        let Some(rate) = self.model.bits_per_second else { return usize::MAX };
        let room = self.model.queue.saturating_sub(self.backlog(at));
        usize::try_from(room.as_nanos() * u128::from(rate) / 8_000_000_000).unwrap_or(usize::MAX)
    }

    /// Returns when the last bit of the packet has left, `None` when the queue is full.
    pub(crate) fn pass(&mut self, at: Duration, bytes: usize) -> Option<Duration> {
        let Some(rate) = self.model.bits_per_second else { return Some(at) };
        let wait = self.backlog(at);
        if wait > self.model.queue {
            return None;
        }
        let nanos = (bytes as u128 * 8 * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
        self.free_at = at + wait + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.free_at)
    }
}

/// One direction of a link at work.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) model: LinkModel,
    bad: bool,
    last_arrival: Duration,
}

impl Link {
    pub(crate) fn new(model: LinkModel) -> Self {
        Self { model, bad: false, last_arrival: Duration::ZERO }
    }

    /// Returns when a packet that departs at `departs` arrives: never, once or twice.
    pub(crate) fn carry(&mut self, dice: &mut Dice, departs: Duration) -> [Option<Duration>; 2] {
        if self.loses(dice) {
            return [None, None];
        }
        let direct = departs + self.model.latency + dice.duration(Duration::ZERO, self.model.jitter);
        let first = if dice.chance(self.model.reorder) {
            direct + dice.duration(Duration::ZERO, self.model.reorder_by)
        } else {
            self.last_arrival = self.last_arrival.max(direct);
            self.last_arrival
        };
        let second = dice.chance(self.model.duplicate);
        [Some(first), second.then(|| first + dice.duration(Duration::ZERO, self.model.reorder_by))]
    }

    fn loses(&mut self, dice: &mut Dice) -> bool {
        match self.model.loss {
            LossModel::None => false,
            LossModel::Random(p) => dice.chance(p),
            LossModel::Bursty { worsens, recovers, good, bad } => {
                self.bad ^= dice.chance(if self.bad { recovers } else { worsens });
                dice.chance(if self.bad { bad } else { good })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn arrivals(model: LinkModel, packets: u32) -> Vec<[Option<Duration>; 2]> {
        let (mut link, mut dice) = (Link::new(model), Dice::new(7));
        (0..packets).map(|n| link.carry(&mut dice, MS * n)).collect()
    }

    #[test]
    fn bursty_loss_has_its_mean_and_comes_in_runs() {
        let loss = LossModel::Bursty { worsens: 0.01, recovers: 0.19, good: 0.0, bad: 1.0 };
        assert!((loss.mean() - 0.05).abs() < 1e-9);
        let lost: Vec<bool> = arrivals(LinkModel { loss, ..LinkModel::default() }, 100_000)
            .iter()
            .map(|a| a[0].is_none())
            .collect();
        let total = lost.iter().filter(|l| **l).count();
        assert!((4_000..6_000).contains(&total), "{total} lost");
        let runs = lost.windows(2).filter(|w| !w[0] && w[1]).count();
        assert!((700..1_300).contains(&runs), "{runs} bursts of 1 / 0.19 packets each");
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_breaks_it() {
        let jittery = LinkModel { jitter: MS * 20, ..LinkModel::default() };
        let ordered = arrivals(jittery, 1_000);
        assert!(ordered.windows(2).all(|w| w[0][0] <= w[1][0]));
        let shuffled = arrivals(LinkModel { reorder: 0.02, ..jittery }, 10_000);
        let overtaken = shuffled.windows(2).filter(|w| w[0][0] > w[1][0]).count();
        assert!(overtaken > 20, "{overtaken} overtaken");
    }

    #[test]
    fn duplicates_come_behind_the_first_copy() {
        let twice = arrivals(LinkModel { duplicate: 0.01, ..LinkModel::default() }, 10_000);
        let copies: Vec<_> = twice.iter().filter_map(|a| a[1].map(|second| (a[0], second))).collect();
        assert!((60..140).contains(&copies.len()), "{} copies", copies.len());
        assert!(copies.iter().all(|(first, second)| *first <= Some(*second)));
    }

    #[test]
    fn a_full_queue_drops_and_a_rate_delays() {
        let mut shaper = Shaper::new(RateModel::limited(10_000_000));
        let departures: Vec<_> = (0..100).map(|_| shaper.pass(Duration::ZERO, 1_250)).collect();
        assert_eq!(departures[0], Some(MS));
        let passed = departures.iter().flatten().count();
        assert_eq!(passed, 51, "50 ms of queue and the packet on the wire");
        assert_eq!(shaper.pass(MS * 60, 1_250), Some(MS * 61));
    }
}
