//! Whatever is seen in whatever order: no lie, no second close, no loop.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::health::FallbackPolicy;
use crate::node::ProbeOutcome;

/// Something that may be seen.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Time(u64),
    Stall(u64),
    Fragment(u8, bool),
    Beacon(u8, bool),
    MulticastBeacon,
    Neighbour(bool),
    Neighbours(u32),
    Network(bool),
    Probe(u8),
    Lost,
    Forged,
    Overflow,
    Up,
    Down,
    Loss(u8),
    Rest,
    Busy(u64),
    Buffer(u64, bool),
    Opened,
    Reset,
    Drained,
    Fall(u8),
    Foreign(bool),
    Left,
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        20 => (1_u64..700).prop_map(Seen::Time),
        2 => (1_u64..6000).prop_map(Seen::Stall),
        20 => (0_u8..3, any::<bool>()).prop_map(|(via, useful)| Seen::Fragment(via, useful)),
        6 => (0_u8..20, any::<bool>()).prop_map(|(state, level)| Seen::Beacon(state, level)),
        4 => Just(Seen::MulticastBeacon),
        4 => any::<bool>().prop_map(Seen::Neighbour),
        3 => (0_u32..4).prop_map(Seen::Neighbours),
        1 => any::<bool>().prop_map(Seen::Network),
        2 => (0_u8..6).prop_map(Seen::Probe),
        3 => Just(Seen::Lost),
        3 => Just(Seen::Forged),
        1 => Just(Seen::Overflow),
        2 => Just(Seen::Up),
        1 => Just(Seen::Down),
        2 => (0_u8..30).prop_map(Seen::Loss),
        1 => Just(Seen::Rest),
        1 => (100_u64..3000).prop_map(Seen::Busy),
        8 => (0_u64..2000, any::<bool>()).prop_map(|(left, hole)| Seen::Buffer(left, hole)),
        1 => Just(Seen::Opened),
        1 => Just(Seen::Reset),
        1 => (0_u8..4).prop_map(Seen::Fall),
        1 => any::<bool>().prop_map(Seen::Foreign),
    ]
}

fn subscriptions() -> impl Strategy<Value = Subscription> {
    let policy =
        prop_oneof![Just(FallbackPolicy::Auto), Just(FallbackPolicy::Manual), Just(FallbackPolicy::Off)];
    (policy, any::<bool>(), any::<bool>(), 50_u64..4000, proptest::option::of(500_u64..9000)).prop_map(
        |(fallback, foreign, waits, delay, find)| Subscription {
            fallback,
            foreign,
            waits,
            playout_delay: ms(delay),
            find_within: find.map(ms),
            ..subscription()
        },
    )
}

impl Scene {
    fn see(&mut self, seen: Seen) {
        let (now, monitor) = (self.now, &mut self.monitor);
        match seen {
            Seen::Time(duration) => return self.wait(duration),
            Seen::Stall(duration) => {
                self.now = now.after(ms(duration));
                self.monitor.handle_stalled(self.now, ms(duration));
            }
            Seen::Fragment(via, useful) => {
                self.block += 1;
                let via = [Via::Multicast(ETH0), Via::Mesh, Via::Unicast][usize::from(via)];
                monitor.handle_fragment(now, via, BlockId(self.block), useful);
            }
            Seen::Beacon(state, level) => {
                let state = match state {
                    0 => StreamState::Ended,
                    1..8 => StreamState::Paused,
                    _ => StreamState::Live,
                };
                monitor.handle_beacon(now, Word { made: now, state, level });
            }
            Seen::MulticastBeacon => monitor.handle_multicast_beacon(now, ETH0),
            Seen::Neighbour(newer) => {
                monitor.handle_neighbour(now, newer.then_some(BlockId(self.block + 3)));
            }
            Seen::Neighbours(count) => {
                monitor.handle_neighbours(Neighbours { count, attempted: 4, why: Unreached::NoAnswer });
            }
            Seen::Network(up) => monitor.handle_network(up),
            Seen::Probe(outcome) => {
                use ProbeOutcome::{Answered, Forbidden, Mute, NoRoute, Refused, Silent};
                let all = [Answered, Mute, Refused, Silent, NoRoute, Forbidden];
                monitor.handle_probe(all[usize::from(outcome)]);
            }
            Seen::Lost => monitor.handle_lost(now),
            Seen::Forged => (0..20).for_each(|_| monitor.handle_forged(now)),
            Seen::Overflow => monitor.handle_overflow(now),
            Seen::Up => monitor.handle_multicast_up(ETH0, "eth0".into()),
            Seen::Down => monitor.handle_multicast_down(ETH0),
            Seen::Loss(percent) => monitor.handle_multicast_loss(ETH0, f64::from(percent) / 100.0),
            Seen::Rest => monitor.handle_multicast_rest(),
            Seen::Busy(wait) => {
                monitor.handle_unicast_refused(now, PathCause::Busy { retry_after: ms(wait) })
            }
            Seen::Buffer(left, hole) => monitor.handle_buffer(now.after(ms(left)), hole),
            Seen::Opened => monitor.handle_opened(now),
            Seen::Reset => monitor.handle_reset(now),
            Seen::Drained => monitor.handle_drained(),
            Seen::Fall(to) => monitor.handle_fall(now, PathKind::ALL[usize::from(to)]),
            Seen::Foreign(plays) => monitor.handle_foreign(now, plays),
            Seen::Left => monitor.handle_left(),
        }
        self.drain();
    }
}

/// Returns whether something is seen that may make a stream live.
fn is_useful(seen: Seen) -> bool {
    matches!(seen, Seen::Fragment(_, true))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is seen: changes are a chain and end, timeouts lie ahead, one close is the last word (all of this is
    /// held by `Scene::drain`), only a fragment makes live, and nothing starves for time that this process slept.
    #[test]
    fn no_sequence_of_evidence_lies(
        subscription in subscriptions(),
        sights in vec(seen(), 1..120),
        end in prop_oneof![Just(Seen::Left), Just(Seen::Drained)],
    ) {
        let mut scene = Scene::new(&subscription);
        let mut proof = false;
        for sight in sights {
            let before = scene.told.len();
            proof = (proof && !matches!(sight, Seen::Reset)) || is_useful(sight);
            scene.see(sight);
            for (_, change) in &scene.told[before..] {
                if let Change::Verdict { from, to, .. } = change {
                    let mends = *from == Verdict::Degraded && *to == Verdict::Live;
                    prop_assert!(*to != Verdict::Live || is_useful(sight) || mends, "{change:?} by {sight:?}");
                    prop_assert!(*to != Verdict::Degraded || proof, "{change:?} by {sight:?}");
                    let slept = matches!(sight, Seen::Stall(_));
                    let worse = from != to && matches!(to, Verdict::Starved | Verdict::Dead);
                    prop_assert!(!slept || !worse, "{change:?} by {sight:?}");
                }
            }
        }
        let was_open = !scene.closed;
        scene.see(end);
        prop_assert!(scene.closed || !was_open);
        prop_assert_eq!(scene.closes().len(), 1);
    }

    /// However the time between two fragments is slept away, a stream that gets some starves no sooner.
    #[test]
    fn stalls_are_never_charged(stalls in vec((1_u64..3000, 1_u64..460), 1..40)) {
        let mut scene = Scene::playing(&subscription(), 1000);
        scene.forget();
        for (stall, pause) in stalls {
            scene.wait(pause / 2);
            scene.see(Seen::Stall(stall));
            scene.wait(pause - pause / 2);
            scene.block(&[Via::Multicast(ETH0)]);
        }
        prop_assert_eq!(scene.verdicts(), []);
    }
}
