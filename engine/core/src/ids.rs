//! Identifiers and clocks: newtypes, so that a block number is never taken for a media time.

use std::fmt;
use std::time::Duration;

/// Monotonic time in microseconds, given by the driver with every call. Its origin is arbitrary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(pub u64);

impl Now {
    /// Returns the time `later` after this one; saturates at the end of time.
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(micros(later)))
    }

    /// Returns the time that has passed since `earlier`, zero when `earlier` is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Converts to whole microseconds; saturates after 584,000 years.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Wall-clock time in milliseconds since 1970, used for epochs and for the freshness of beacons only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallClock(pub u64);

/// Media time in microseconds on the publisher's media clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(pub i64);

/// Number of a block within an epoch, from 0, in the order in which blocks were closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u64);

impl BlockId {
    /// Returns the number that follows.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Number of a fragment: its block and its place in it (0 to 61, parity behind data).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentId {
    /// The block.
    pub block: BlockId,
    /// The shard within the block.
    pub index: u8,
}

/// One run of a publisher. Higher is newer; made of the wall clock in ms, so it survives a lost state file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Push unit of the mesh: 0 to [`STRIPES`] - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stripe(pub u8);

/// Number of stripes a stream is dealt onto: a lost supplier costs one eighth until pull repairs it.
pub const STRIPES: u8 = 8;

/// What is shed first when not all can be sent; part of the signed block header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Audio and data: shed last.
    Essential = 0,
    /// Video that other access units refer to.
    Reference = 1,
    /// Video that nothing refers to: shed first.
    Disposable = 2,
}

/// Ed25519 public key of a publisher's stream, the stream's identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub [u8; 32]);

/// Ed25519 public key of a node's transport endpoint, new for every process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 32]);

/// 16-byte identity of a group: a hash of its name and its secret, which tells neither.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub [u8; 16]);

/// 4-byte tag of a stream and epoch that stands at the head of every datagram of that stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamTag(pub [u8; 4]);

macro_rules! hex_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let head = self.0.iter().take(5);
                head.clone().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    )*};
}
hex_text!(StreamKey, PeerId, GroupId, StreamTag);

/// One way bytes travel between this node and others: a session with a neighbour, or a multicast interface.
/// The driver numbers them and never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

/// A stream's multicast groups on all interfaces, numbered by [`crate::node::Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// A subscription or publication of this node, numbered by [`crate::node::Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamHandle(pub u32);
