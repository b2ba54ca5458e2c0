//! In step with others: the publisher's time, asked of the neighbours that are nearest to it.
//!
//! Who plays in step asks, and so does for a while whoever is asked: the time spreads from the publisher along the
//! mesh, each hop halving its own round trip and adding its error. Answers need nobody's trust, see
//! [`crate::clock::PublisherClock`].

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::Node;
use crate::ids::{Now, PathId, StreamTag};
use crate::wire::Control;

/// Questions that wait for an answer at most: four rounds.
const ASKED_MAX: usize = 16;
/// Neighbours asked in one round, where the publisher is none.
const ROUND_MAX: usize = 4;
/// Time between the first rounds, and how many those are: the fastest of eight is rarely held up.
const FIRST_PERIOD: Duration = Duration::from_millis(250);
const FIRST_ROUNDS: u32 = 8;
/// Time between two rounds later: clocks part by 0.2 ms meanwhile.
const PERIOD: Duration = Duration::from_secs(2);
/// How long a node that was asked goes on asking for others.
const FOR_OTHERS: Duration = Duration::from_secs(30);

/// One node's questions about one stream's clock.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    asked: BTreeMap<u64, (PathId, Now)>,
    /// When the next round begins; `None` while nobody wants the time.
    pub(super) ask_at: Option<Now>,
    rounds: u32,
    /// Until when others want it.
    wanted_until: Now,
}

impl Exchange {
    /// Begins to ask, unless it does already.
    pub(super) fn begin(&mut self, now: Now) {
        self.ask_at.get_or_insert(now);
    }

    /// Begins a round; returns whether anybody still wants the time.
    fn begin_round(&mut self, now: Now, in_step: bool) -> bool {
        if !in_step && now > self.wanted_until {
            *self = Self::default();
            return false;
        }
        self.rounds = self.rounds.saturating_add(1);
        self.ask_at = Some(now.after(if self.rounds <= FIRST_ROUNDS { FIRST_PERIOD } else { PERIOD }));
        true
    }

    fn note(&mut self, nonce: u64, path: PathId, now: Now) {
        while self.asked.len() >= ASKED_MAX {
            let oldest = self.asked.iter().min_by_key(|(_, (_, at))| *at).map(|(nonce, _)| *nonce);
            oldest.and_then(|oldest| self.asked.remove(&oldest));
        }
        self.asked.insert(nonce, (path, now));
    }

    /// Returns when that neighbour was asked this.
    fn take(&mut self, nonce: u64, path: PathId) -> Option<Now> {
        let (asked, at) = *self.asked.get(&nonce)?;
        if asked != path {
            return None;
        }
        self.asked.remove(&nonce);
        Some(at)
    }
}

impl Node {
    /// Asks for the publisher's time when a round is due.
    pub(super) fn ask_time(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let due = stream.exchange.ask_at.is_some_and(|at| at <= now);
        if !due || !stream.exchange.begin_round(now, stream.clock.is_in_step()) {
            return;
        }
        let publisher = stream.publisher();
        let mut nearest: Vec<_> = self
            .sessions
            .values()
            .filter_map(|session| {
                let remote = session.streams.get(&tag).filter(|remote| session.greeted && remote.offers)?;
                let depth = if session.peer == publisher { 0 } else { remote.depth() };
                Some((depth, session.path))
            })
            .collect();
        nearest.sort_unstable();
        let reaches_publisher = nearest.first().is_some_and(|(depth, _)| *depth == 0);
        nearest.truncate(if reaches_publisher { 1 } else { ROUND_MAX });
        for (_, path) in nearest {
            let nonce = self.rng.next_u64();
            if let Some(stream) = self.streams.get_mut(&tag) {
                stream.exchange.note(nonce, path, now);
            }
            self.send_control(path, &Control::AskTime { tag, nonce });
        }
    }

    /// Answers who asks for the publisher's time; who does not know it asks on.
    pub(super) fn handle_ask_time(&mut self, now: Now, path: PathId, tag: StreamTag, nonce: u64) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let known = match &stream.source {
            Some(source) => Some((source.time(now), Duration::ZERO)),
            None => {
                stream.exchange.wanted_until = now.after(FOR_OTHERS);
                stream.exchange.begin(now);
                stream.clock.publisher_time(now)
            }
        };
        if let Some((at, error)) = known {
            self.send_control(path, &Control::Time { tag, nonce, at, error });
        }
    }

    /// Takes a neighbour's answer.
    pub(super) fn handle_time(
        &mut self,
        now: Now,
        path: PathId,
        tag: StreamTag,
        (nonce, at, error): (u64, Duration, Duration),
    ) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        if let Some(asked) = stream.exchange.take(nonce, path) {
            stream.clock.handle_told(now, asked, at, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_asked_answers_and_once() {
        let mut exchange = Exchange::default();
        exchange.note(7, PathId(1), Now(5));
        assert_eq!(exchange.take(7, PathId(2)), None);
        assert_eq!([7, 7].map(|nonce| exchange.take(nonce, PathId(1))), [Some(Now(5)), None]);
        (0..40).for_each(|nonce| exchange.note(nonce, PathId(1), Now(nonce)));
        assert_eq!((exchange.asked.len(), exchange.take(23, PathId(1))), (ASKED_MAX, None));
    }

    #[test]
    fn rounds_are_fast_at_first_and_end_when_nobody_wants_them() {
        let mut exchange = Exchange::default();
        exchange.begin(Now(0));
        for round in 1..=9 {
            assert!(exchange.begin_round(Now(0), true), "{round}");
        }
        assert_eq!(exchange.ask_at, Some(Now(2_000_000)));
        assert!(!exchange.begin_round(Now(1), false));
        assert_eq!(exchange.ask_at, None);
    }
}
