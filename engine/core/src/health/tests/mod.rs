//! The monitor in virtual time.

mod delivery;
mod paths;
mod random;
mod reasons;
mod stream;

use std::time::Duration;

use super::{
    Change, CloseCause, Monitor, Neighbours, PathCause, PathKind, PathVerdict, Reason, Unreached, Verdict,
};
use super::{Via, Wish, Word};
use crate::ids::{BlockId, Now, PathId, StreamHandle};
use crate::node::Subscription;
use crate::wire::StreamState;

const ETH0: PathId = PathId(7);
/// Time between two blocks: 30 pictures a second.
const BLOCK: u64 = 33;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn subscription() -> Subscription {
    Subscription::new(StreamHandle(1), "cam", Duration::from_secs(1))
}

impl Via {
    fn kind(self) -> PathKind {
        match self {
            Self::Multicast(_) => PathKind::Multicast,
            Self::Mesh => PathKind::Mesh,
            Self::Unicast => PathKind::Unicast,
        }
    }
}

/// One subscription, its clock, and all that was told of it.
struct Scene {
    monitor: Monitor,
    now: Now,
    delay: Duration,
    block: u64,
    /// What was told, with the time in ms.
    told: Vec<(u64, Change)>,
    verdict: Verdict,
    path: Option<PathKind>,
    paths: [PathVerdict; 3],
    closed: bool,
    /// Whether neighbours push, and the publisher: what was wished for.
    pushes: (bool, bool),
    /// Paths that bring nothing, and the newest block that came.
    blocked: Vec<PathKind>,
    held: u64,
}

impl Scene {
    fn new(subscription: &Subscription) -> Self {
        Self::with_seed(subscription, 1)
    }

    fn with_seed(subscription: &Subscription, seed: u64) -> Self {
        let mut scene = Self {
            monitor: Monitor::new(Now(0), subscription, seed),
            now: Now(0),
            delay: subscription.playout_delay,
            block: 0,
            told: Vec::new(),
            verdict: Verdict::Joining,
            path: None,
            paths: [PathVerdict::Off; 3],
            closed: false,
            pushes: (true, false),
            blocked: Vec::new(),
            held: 0,
        };
        scene.drain();
        scene
    }

    /// A subscription that has played by multicast and mesh for `duration`, with three neighbours.
    fn playing(subscription: &Subscription, duration: u64) -> Self {
        let mut scene = Self::new(subscription);
        scene.meet(3);
        scene.monitor.handle_network(true);
        scene.monitor.handle_multicast_up(ETH0, "eth0".into());
        scene.monitor.handle_opened(scene.now);
        scene.drain();
        scene.play(duration, &[Via::Multicast(ETH0), Via::Mesh]);
        assert_eq!(scene.verdict, Verdict::Live);
        scene
    }

    fn meet(&mut self, count: u32) {
        let why = if count > 0 { Unreached::NobodyFound } else { Unreached::NoAnswer };
        self.monitor.handle_neighbours(Neighbours { count, attempted: 4, why });
        self.drain();
    }

    fn ms(&self) -> u64 {
        self.now.0 / 1000
    }

    /// Takes all changes, and holds that they make a legal chain.
    fn drain(&mut self) {
        for _ in 0..64 {
            let Some(change) = self.monitor.poll(self.now) else {
                let next = self.monitor.next_timeout(self.now);
                assert!(
                    next.is_none_or(|at| at > self.now),
                    "a timeout of the past: {next:?} {:?}",
                    self.now
                );
                return;
            };
            assert!(!self.closed, "{change:?} after the end");
            match &change {
                Change::Verdict { from, to, .. } => {
                    assert_eq!(*from, self.verdict, "{change:?}");
                    let health = self.monitor.health(self.now);
                    assert_eq!(health.path, self.path.unwrap_or(health.path), "{change:?}");
                    self.verdict = *to;
                }
                Change::Path { from, to, .. } => {
                    assert_eq!(*from, self.path.unwrap_or(*from), "{change:?}");
                    self.path = Some(*to);
                }
                Change::PathVerdict { path, from, to, .. } => {
                    let known = &mut self.paths[*path as usize];
                    assert_eq!(*from, *known, "{change:?}");
                    *known = *to;
                }
                Change::Close(_) => self.closed = true,
                Change::Wish(Wish::ResumeMesh) => self.pushes.0 = true,
                Change::Wish(Wish::ParkMesh) => self.pushes.0 = false,
                // The publisher takes the neighbours' place, and gives it back.
                Change::Wish(Wish::StartUnicast) => self.pushes = (false, true),
                Change::Wish(Wish::StopUnicast) => self.pushes = (true, false),
                Change::Wish(_) | Change::ControlPlane(_) | Change::PathDue { .. } => {}
            }
            self.told.push((self.ms(), change));
        }
        panic!("changes without end: {:?}", &self.told[self.told.len() - 8..]);
    }

    /// Lets time pass, and timeouts fall.
    fn wait(&mut self, duration: u64) {
        let until = self.now.after(ms(duration));
        while let Some(at) = self.monitor.next_timeout(self.now).filter(|at| *at <= until) {
            self.now = at;
            self.drain();
        }
        self.now = until;
        self.drain();
    }

    /// One block by each of the paths.
    fn block(&mut self, vias: &[Via]) {
        self.block += 1;
        self.held = self.block;
        for (at, via) in vias.iter().enumerate() {
            self.monitor.handle_fragment(self.now, *via, BlockId(self.block), at == 0);
            self.monitor.handle_buffer(self.now.after(self.delay), false);
            self.drain();
        }
    }

    fn beacon(&mut self, state: StreamState, level: bool) {
        self.monitor.handle_beacon(self.now, Word { made: self.now, state, level });
        self.drain();
    }

    fn multicast_beacon(&mut self) {
        self.monitor.handle_multicast_beacon(self.now, ETH0);
        self.drain();
    }

    /// The publisher sends and beacons; neighbours tell what they have.
    fn play(&mut self, duration: u64, vias: &[Via]) {
        let until = self.ms() + duration;
        let mut ticks = 0;
        while self.ms() < until {
            self.block(vias);
            if ticks % 8 == 0 {
                self.beacon(StreamState::Live, true);
                if vias.contains(&Via::Multicast(ETH0)) {
                    self.multicast_beacon();
                }
                self.hear();
            }
            ticks += 1;
            self.wait(BLOCK);
        }
    }

    /// The publisher sends, and what is wished for is done, as far as paths are not blocked: multicast brings the
    /// newest block, the others all that is missing.
    fn run(&mut self, duration: u64) {
        let until = self.ms() + duration;
        while self.ms() < until {
            self.block += 1;
            let ticks = self.block % 8;
            for (via, asked) in
                [(Via::Multicast(ETH0), true), (Via::Mesh, self.pushes.0), (Via::Unicast, self.pushes.1)]
            {
                if self.blocked.contains(&via.kind()) {
                    continue;
                }
                if ticks == 0 {
                    self.beacon(StreamState::Live, self.held == self.block);
                }
                match via {
                    Via::Multicast(_) if ticks == 0 => self.multicast_beacon(),
                    Via::Mesh if ticks.is_multiple_of(4) => self.hear(),
                    _ => {}
                }
                // Pushed whether it came by another path or not, and what is missing before it.
                let missing = self.held + 1..=self.block;
                let first = self.block.min(self.held + 1);
                let first = if via == Via::Multicast(ETH0) { self.block } else { first };
                for block in (first..=self.block).filter(|_| asked) {
                    self.monitor.handle_fragment(self.now, via, BlockId(block), missing.contains(&block));
                    self.held = self.held.max(block);
                    self.monitor.handle_buffer(self.now.after(self.delay), false);
                    self.drain();
                }
            }
            self.wait(BLOCK);
        }
    }

    /// A subscription that has played by multicast for long enough that its neighbours are parked.
    fn running(subscription: &Subscription) -> Self {
        let mut scene = Self::new(subscription);
        scene.meet(3);
        scene.monitor.handle_network(true);
        scene.monitor.handle_multicast_up(ETH0, "eth0".into());
        scene.monitor.handle_opened(scene.now);
        scene.drain();
        scene.run(8000);
        assert_eq!((scene.verdict, scene.path), (Verdict::Live, Some(PathKind::Multicast)));
        assert_eq!(scene.pushes, (false, false));
        scene.forget();
        scene
    }

    fn last_fragment(&self) -> u64 {
        self.monitor.health(self.now).last_fragment.map_or(0, |at| at.0 / 1000)
    }

    /// Returns each change of the path in use: when, where to, why.
    fn switches(&self) -> Vec<(u64, PathKind, PathCause)> {
        let switch = |(at, change): &(u64, Change)| match change {
            Change::Path { to, cause, .. } => Some((*at, *to, cause.clone())),
            _ => None,
        };
        self.told.iter().filter_map(switch).collect()
    }

    /// Returns each change of multicast's verdict: when, to what, why.
    fn multicast(&self) -> Vec<(u64, PathVerdict, Option<Reason>)> {
        let verdict = |(at, change): &(u64, Change)| match change {
            Change::PathVerdict { path: PathKind::Multicast, to, reason, .. } => {
                Some((*at, *to, reason.clone()))
            }
            _ => None,
        };
        self.told.iter().filter_map(verdict).collect()
    }

    /// A neighbour's have-map, as new as the stream.
    fn hear(&mut self) {
        self.monitor.handle_neighbour(self.now, Some(BlockId(self.block)));
        self.drain();
    }

    /// Lets time pass while neighbours give signs of life.
    fn wait_among_neighbours(&mut self, duration: u64) {
        let until = self.ms() + duration;
        while self.ms() < until {
            self.hear();
            self.wait(100.min(until - self.ms()));
        }
    }

    fn forget(&mut self) {
        self.told.clear();
    }

    /// Returns each change of verdict: when, to what, why.
    fn verdicts(&self) -> Vec<(u64, Verdict, Option<Reason>)> {
        let verdict = |(at, change): &(u64, Change)| match change {
            Change::Verdict { to, reason, .. } => Some((*at, *to, reason.clone())),
            _ => None,
        };
        self.told.iter().filter_map(verdict).collect()
    }

    /// Returns when a change was told first.
    fn when(&self, is: impl Fn(&Change) -> bool) -> Option<u64> {
        self.told.iter().find(|(_, change)| is(change)).map(|(at, _)| *at)
    }

    fn wished(&self, wish: Wish) -> Vec<u64> {
        self.told.iter().filter(|(_, change)| *change == Change::Wish(wish)).map(|(at, _)| *at).collect()
    }

    fn closes(&self) -> Vec<(u64, CloseCause)> {
        let close = |(at, change): &(u64, Change)| match change {
            Change::Close(cause) => Some((*at, cause.clone())),
            _ => None,
        };
        self.told.iter().filter_map(close).collect()
    }
}
