//! What goes into a node: one half of the contract between the core and its driver.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::catalogue::{AccessUnit, Catalogue, Quality};
use crate::health::{FallbackPolicy, PathKind};
use crate::ids::{ChannelId, Epoch, GroupId, PathId, PeerId, StreamHandle, StreamKey, WallClock};
use crate::multicast::MulticastChoice;

/// Everything that can happen to a node. One call of [`super::Node::handle`] takes one.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time that `poll_timeout` named has come. Harmless when early.
    Timeout,
    /// The driver woke late by this much; nobody else is charged for that time.
    Stalled(Duration),
    /// Wall clock against `now`; given at the start, and when the clock was set.
    WallClock(WallClock),
    /// A peer was found, or named by the user.
    Sighted(Sighting),
    /// A discovered peer withdrew its record.
    Vanished(PeerId),
    /// A session with a peer is up.
    Connected {
        /// Its number, never used before.
        path: PathId,
        /// Who is there, as the transport authenticated it.
        peer: PeerId,
        /// Whether this node dialled.
        dialed: bool,
        /// Where the peer was seen, so that it can be introduced to others; `None` behind a relay.
        remote: Option<SocketAddr>,
        /// Largest datagram payload in bytes that the path carries.
        datagram_bytes_max: usize,
    },
    /// A session that `Action::Connect` asked for did not come up.
    ConnectFailed {
        /// Whom it should have reached.
        peer: PeerId,
        /// Why not.
        why: ConnectError,
    },
    /// A session ended.
    Disconnected {
        /// Which.
        path: PathId,
    },
    /// One whole message of the session's reliable stream.
    Control {
        /// The session it came by.
        path: PathId,
        /// The message, without its length prefix; at most [`CONTROL_BYTES_MAX`].
        message: Bytes,
    },
    /// One datagram.
    Datagram {
        /// The path it came by.
        path: PathId,
        /// All of it.
        datagram: Bytes,
    },
    /// A multicast group that `Action::OpenMulticast` asked for is joined on an interface, and can be sent to.
    MulticastUp {
        /// Its number, never used before, for sessions neither.
        path: PathId,
        /// What it belongs to.
        channel: ChannelId,
        /// The interface.
        interface: Arc<str>,
        /// This host's address there: others see it as the source of what this node sends.
        local: IpAddr,
        /// Largest datagram payload in bytes that crosses the interface whole.
        datagram_bytes_max: usize,
    },
    /// A multicast path is over: the interface went down.
    MulticastDown {
        /// Which.
        path: PathId,
    },
    /// One datagram that came by multicast, of another node.
    Multicast {
        /// The path it came by.
        path: PathId,
        /// Who says to have sent it.
        from: SocketAddr,
        /// All of it.
        datagram: Bytes,
    },
    /// Datagrams that came together by one path: the same as each by itself at that time, in their order, at less cost.
    Run {
        /// The path they came by.
        path: PathId,
        /// Who says to have sent them by multicast; `None` on a session.
        from: Option<SocketAddr>,
        /// All of each.
        datagrams: Vec<Bytes>,
    },
    /// The system dropped datagrams since this process did not take them in time: local loss, not the network's.
    Overflow {
        /// How many, at least: a run that the system had joined counts as one.
        datagrams: u64,
    },
    /// What a probe that `Action::Probe` asked for met.
    Probed {
        /// Who was probed.
        peer: PeerId,
        /// What came of it.
        outcome: ProbeOutcome,
    },
    /// Whether any interface that this node uses is up and has carrier; given at the start and on each change.
    Network {
        /// Whether there is one.
        up: bool,
    },
    /// What the transport measured on paths; about every 50 ms on those in use, every 250 ms on the others.
    PathSamples(Vec<(PathId, PathSample)>),
    /// A command of the embedder.
    Command(Command),
}

/// Largest message on a session's reliable stream: a catalogue with 32 tracks of ordinary parameters.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;

/// What the embedder asks of a node.
#[derive(Clone, Debug)]
pub enum Command {
    /// Starts a stream; answered by [`super::Event::Published`].
    Publish(Box<Publication>),
    /// Sends one access unit. Invalid units are dropped and counted.
    Send {
        /// The publication.
        stream: StreamHandle,
        /// What to send.
        unit: AccessUnit,
        /// Whether another unit is already waiting behind this one, so that a block may wait for it.
        more: bool,
    },
    /// Ends a publication: tells everybody the last fragment, and lingers until they have it, at most 5 s.
    End {
        /// The publication.
        stream: StreamHandle,
    },
    /// Subscribes to a stream by name; answered by events.
    Subscribe(Box<Subscription>),
    /// Ends a subscription; answered by one [`super::Event::Closed`].
    Unsubscribe {
        /// The subscription.
        stream: StreamHandle,
    },
    /// Goes over to a path now, whatever the policy; `Multicast` and `Mesh` take back a fall to a lower one.
    Fall {
        /// The subscription.
        stream: StreamHandle,
        /// Where to.
        to: PathKind,
    },
    /// Tells how the caller's foreign source does, after [`super::Event::Path`] named [`PathKind::Foreign`].
    Foreign {
        /// The subscription.
        stream: StreamHandle,
        /// Whether it plays; `false` when it failed or ended.
        plays: bool,
    },
    /// Tells that everything is played later than it is due: so much longer a lost fragment may be waited for.
    Grown {
        /// The subscription.
        stream: StreamHandle,
        /// By how much, at most [`Subscription::GROWN_MAX`]; zero as at first.
        by: Duration,
    },
}

/// What a probe of a peer's TCP port met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeOutcome {
    /// The node there answered the hello.
    Answered,
    /// The host is there and took the connection, the node did not answer.
    Mute,
    /// The host is there and refused: nobody listens.
    Refused,
    /// Nothing came back in time.
    Silent,
    /// There is no route.
    NoRoute,
    /// The system forbids to send (`EPERM`).
    Forbidden,
}

/// How a stream is published.
#[derive(Clone)]
pub struct Publication {
    /// Number under which events and commands speak of it; chosen by the embedder, unique in the node.
    pub handle: StreamHandle,
    /// What it is made of.
    pub catalogue: Catalogue,
    /// Ed25519 seed of the stream key.
    pub key_seed: [u8; 32],
    /// This run's epoch, already stored where the next run finds it.
    pub epoch: Epoch,
    /// Whether and where it is multicast.
    pub multicast: MulticastChoice,
    /// Most bits a second on each multicast interface; a stream that needs more stays with beacons there.
    pub multicast_rate_max: u64,
    /// Most viewers that may have all of the stream pushed from here.
    pub unicast_max: usize,
}

impl Publication {
    /// Default of [`Publication::multicast_rate_max`]: half of a Fast Ethernet.
    pub const MULTICAST_RATE_MAX: u64 = 50_000_000;
    /// Default of [`Publication::unicast_max`].
    pub const UNICAST_MAX: usize = 8;

    /// Publishes with the defaults.
    pub fn new(handle: StreamHandle, catalogue: Catalogue, key_seed: [u8; 32], epoch: Epoch) -> Self {
        Self {
            handle,
            catalogue,
            key_seed,
            epoch,
            multicast: MulticastChoice::Auto,
            multicast_rate_max: Self::MULTICAST_RATE_MAX,
            unicast_max: Self::UNICAST_MAX,
        }
    }
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication")
            .field("handle", &self.handle)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// What is watched, and how patiently.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Number under which events and commands speak of it; chosen by the embedder, unique in the node.
    pub handle: StreamHandle,
    /// The stream's name.
    pub name: String,
    /// The publisher, when the user pinned it: the key of the stream, or of the programme whose rendition it is.
    pub publisher: Option<StreamKey>,
    /// Which rendition, where the name is a programme's.
    pub quality: Quality,
    /// How long after its close time at the publisher a block may still be waited for (50 ms to 60 s).
    pub playout_delay: Duration,
    /// Whether and where multicast is listened for.
    pub multicast: MulticastChoice,
    /// Who decides on fallback.
    pub fallback: FallbackPolicy,
    /// Whether the caller has a foreign source for the last resort: then `Dead` closes nothing before that failed.
    pub foreign: bool,
    /// How long a better path must be clean before delivery returns to it (default 5 s), doubled with each relapse.
    pub hold_down: Duration,
    /// How long the stream is looked for before it is dead (`NoSuchStream`, `NoReachablePeers`); `None` is for ever.
    pub find_within: Option<Duration>,
    /// Whether a dead stream is waited for: then `Dead` closes nothing.
    pub waits: bool,
    /// Whether the publisher's clock is asked for, so that all who do are told the same instants (default `false`).
    pub in_step: bool,
}

impl Subscription {
    /// Default of [`Subscription::hold_down`].
    pub const HOLD_DOWN: Duration = Duration::from_secs(5);
    /// Most that [`Command::Grown`] lengthens the wait: what a player's jitter buffer grows by.
    pub const GROWN_MAX: Duration = Duration::from_secs(1);

    /// Watches with the defaults: whoever publishes under the name, multicast, automatic fallback, no foreign source.
    pub fn new(handle: StreamHandle, name: impl Into<String>, playout_delay: Duration) -> Self {
        Self {
            handle,
            name: name.into(),
            publisher: None,
            quality: Quality::Auto,
            playout_delay,
            multicast: MulticastChoice::Auto,
            fallback: FallbackPolicy::Auto,
            foreign: false,
            hold_down: Self::HOLD_DOWN,
            find_within: None,
            waits: false,
            in_step: false,
        }
    }
}

/// A peer that may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its transport key.
    pub peer: PeerId,
    /// Where it can be reached; may be empty when the transport knows by itself.
    pub addresses: Vec<SocketAddr>,
    /// The group it says it belongs to; `None` when the user named the peer.
    pub group: Option<GroupId>,
    /// Whether the user named it: always dialled, and again when lost.
    pub manual: bool,
    /// Names of the streams that it publishes itself, as announced: a hint that orders dialling, nothing more.
    pub publishes: Vec<String>,
}

/// What the transport knows of a path, cumulative since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathSample {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Smallest round-trip time of late, see [`RttLow`]: a queue that does not empty adds to it, jitter hardly does.
    pub rtt_low: Duration,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets that the transport declared lost.
    pub packets_lost: u64,
    /// Bytes that the transport holds unsent.
    pub bytes_queued: u64,
    /// Largest datagram payload now; grows with path-MTU discovery.
    pub datagram_bytes_max: usize,
}

/// The smallest round-trip time of late, as [`PathSample::rtt_low`] has it: of this span of 0.25 s and 12 answers at
/// least, and of the one before. Fewer of them tell of jitter more than of the path.
#[derive(Clone, Copy, Debug)]
pub struct RttLow {
    began: Duration,
    answered: Duration,
    answers: u32,
    spans: [Duration; 2],
}

impl Default for RttLow {
    fn default() -> Self {
        Self { began: Duration::ZERO, answered: Duration::MAX, answers: 0, spans: [Duration::MAX; 2] }
    }
}

impl RttLow {
    const SPAN: Duration = Duration::from_millis(250);
    const ANSWERS: u32 = 12;

    /// Takes the round-trip time of one packet, answered `at` a time on a clock of the caller's. What is answered at
    /// the same time is one answer.
    pub fn add(&mut self, at: Duration, round_trip: Duration) {
        if at.saturating_sub(self.began) >= Self::SPAN && self.answers >= Self::ANSWERS {
            self.spans = [Duration::MAX, self.spans[0]];
            (self.began, self.answers) = (at, 0);
        }
        self.answers += u32::from(at != self.answered);
        self.answered = at;
        self.spans[0] = self.spans[0].min(round_trip);
    }

    /// Returns it, once there is one.
    pub fn get(&self) -> Option<Duration> {
        Some(self.spans[0].min(self.spans[1])).filter(|low| *low < Duration::MAX)
    }
}

/// Why a session did not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing answered within the time limit.
    #[error("no answer")]
    TimedOut,
    /// Something answered that refused.
    #[error("refused")]
    Refused,
    /// No route, or no address at all.
    #[error("unreachable")]
    Unreachable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_packet_counts_for_two_spans_and_is_forgotten_then() {
        let ms = Duration::from_millis;
        let mut low = RttLow::default();
        assert_eq!(low.get(), None);
        let mut told = |at: u64, trip: u64| {
            low.add(ms(at), ms(trip));
            low.get().unwrap()
        };
        // Every tenth packet of a path with jitter is fast, from 500 ms on none.
        let all: Vec<_> =
            (0..120).map(|n| told(10 * n, if n < 50 && n % 10 == 0 { 2 } else { 60 })).collect();
        assert!(all[..60].iter().all(|low| *low == ms(2)), "{all:?}");
        assert!(all[100..].iter().all(|low| *low == ms(60)), "{all:?}");
        assert!((500..511).all(|n| told(n * 1_000, 70) == ms(60)), "eleven answers are no span");
        assert!((0..24).all(|_| told(510_000, 70) == ms(60)), "those of one time are one");
        assert!((512..540).any(|n| told(n * 1_000, 70) == ms(70)));
    }
}
