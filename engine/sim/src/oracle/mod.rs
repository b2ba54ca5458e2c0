//! What must never happen, checked after every step.

mod evidence;
mod host;
mod subscription;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use swarmcast_core::catalogue::TrackId;
use swarmcast_core::health::{PathCause, PathKind, PathVerdict, Reason, Verdict};
use swarmcast_core::ids::{Epoch, PathId, StreamHandle};

pub(crate) use evidence::{Evidence, HOPS_MAX};
pub(crate) use host::HostOracle;
pub(crate) use subscription::{ON_TIME_SLACK, SubscriptionOracle};
pub(crate) use verdict::Scene;
pub use verdict::{PathChange, PathVerdictChange, VerdictChange};

use crate::network::HostId;

/// A broken rule, with the place to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, {at:?}, {host}: {breach}")]
pub struct Violation {
    /// Seed of the world.
    pub seed: u64,
    /// True time since the world began.
    pub at: Duration,
    /// The host whose process broke it.
    pub host: HostId,
    /// Which rule.
    pub breach: Breach,
}

/// The rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// An access unit was delivered that nobody published, or not like this.
    #[error("{track:?}: delivered what was not published: dts {dts}, {bytes} bytes, number {index:?}")]
    Unpublished {
        /// The track it claims.
        track: TrackId,
        /// Its decoding time in ticks.
        dts: i64,
        /// Its size.
        bytes: usize,
        /// The number its payload gives itself.
        index: Option<u64>,
    },
    /// An access unit came twice, or behind a later one of its track.
    #[error("{track:?}: unit {got} behind unit {expected}")]
    Disorder {
        /// The track.
        track: TrackId,
        /// The lowest number that may come.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// Access units were skipped and no gap told of it.
    #[error("{track:?}: {count} units from {from} on are missing without a gap")]
    Untold {
        /// The track.
        track: TrackId,
        /// The first one missing.
        from: u64,
        /// How many.
        count: u64,
    },
    /// A subscription, or a track behind a gap, did not begin with a random-access point.
    #[error("{track:?}: begins with unit {index}, which is no random-access point of the lead track")]
    FirstNotKey {
        /// The track.
        track: TrackId,
        /// The unit.
        index: u64,
    },
    /// Access units were delivered before the stream was opened.
    #[error("access unit before `Opened`")]
    NotOpened,
    /// A stream was opened that nobody publishes.
    #[error("opened a stream that nobody publishes")]
    UnknownStream,
    /// A run was opened that was over, or older than one that was opened before.
    #[error("opened {epoch:?}, which is over")]
    StaleRun {
        /// The run.
        epoch: Epoch,
    },
    /// Something was told of a subscription that is closed.
    #[error("{event} behind `Closed`")]
    AfterClosed {
        /// What it was.
        event: &'static str,
    },
    /// Something was told of a subscription or publication that the host does not have.
    #[error("event of unknown {stream:?}")]
    UnknownHandle {
        /// The number it gave.
        stream: StreamHandle,
    },
    /// Access units that should long be there are neither delivered nor told as a gap.
    #[error("{track:?}: stuck before unit {next}, {count} are overdue")]
    Overdue {
        /// The track.
        track: TrackId,
        /// The first one.
        next: u64,
        /// How many.
        count: u64,
    },
    /// A live stream is watched for a long time and nothing was delivered.
    #[error("nothing delivered {waited:?} after the subscription began")]
    Unserved {
        /// How long it has been.
        waited: Duration,
    },
    /// A stream ended long ago and its subscription is still open.
    #[error("still open {waited:?} after the stream ended")]
    NotClosed {
        /// How long it has been.
        waited: Duration,
    },
    /// A verdict does not begin where the last one ended, or takes a step that the machine does not have.
    #[error("verdict goes from {from:?} to {to:?}, it was {was:?}")]
    VerdictChain {
        /// What was told before.
        was: Verdict,
        /// What it claims to have been.
        from: Verdict,
        /// What it is.
        to: Verdict,
    },
    /// `Starved` was told although useful fragments came, or the publisher had said that it pauses.
    #[error("starved {idle:?} after the last useful fragment, {excuse:?} after word of a pause")]
    FalseStarved {
        /// Time since the last useful fragment.
        idle: Duration,
        /// Age of the publisher's word.
        excuse: Option<Duration>,
    },
    /// `Dead` was told too early.
    #[error("dead {idle:?} after the last useful fragment")]
    FalseDead {
        /// Time since the last useful fragment or excuse.
        idle: Duration,
    },
    /// `Paused` was told although the source was not silent.
    #[error("paused while the source was sending")]
    FalsePaused,
    /// A verdict blames somebody who is not at fault.
    #[error("{verdict:?} because of {reason:?}")]
    Blamed {
        /// The verdict.
        verdict: Verdict,
        /// Its reason.
        reason: Option<Reason>,
    },
    /// A verdict that is due was not told.
    #[error("still {verdict:?} and not {due:?}, {idle:?} after the last thing of use")]
    Unmoved {
        /// What is told.
        verdict: Verdict,
        /// What should be.
        due: Verdict,
        /// Time since the last useful fragment, or since the source fell silent.
        idle: Duration,
    },
    /// A path event does not begin where the last one ended, or its cause goes the other way.
    #[error("path goes from {from:?} to {to:?}, it was {was:?}")]
    PathChain {
        /// What was told before.
        was: PathKind,
        /// What it claims to have been.
        from: PathKind,
        /// What it is.
        to: PathKind,
    },
    /// A path was left or returned to for a cause that is not there.
    #[error("{cause:?}, {since_multicast:?} after the last fragment by multicast")]
    PathUntrue {
        /// The cause.
        cause: PathCause,
        /// Time since the last fragment by multicast.
        since_multicast: Option<Duration>,
    },
    /// A path's verdict does not begin where the last one ended.
    #[error("verdict on {path:?} goes on from {from:?}, it was {was:?}")]
    PathVerdictChain {
        /// The path.
        path: PathKind,
        /// What was told before.
        was: PathVerdict,
        /// What it claims to have been.
        from: PathVerdict,
    },
    /// Something was told that was known.
    #[error("{what} was told again")]
    Repeated {
        /// What.
        what: &'static str,
    },
    /// A stream is dead and its subscription, which does not wait, is still open.
    #[error("still open {waited:?} after the stream was dead")]
    DeadAndOpen {
        /// How long it has been.
        waited: Duration,
    },
    /// The window pins more than it may.
    #[error("window of {bytes} bytes, {limit} allowed")]
    WindowBytes {
        /// What it pins.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// More neighbours than allowed.
    #[error("{count} neighbours, {limit} allowed")]
    Neighbours {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// One step queued more than any step may.
    #[error("one step queued more than {limit} {what}")]
    Flood {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The node asks to be woken at once, again and again.
    #[error("{calls} timeouts in a row left the next one in the past")]
    NoProgress {
        /// How many in a row.
        calls: u32,
    },
    /// A batch or a datagram is larger than the path allows.
    #[error("{bytes} bytes for {path:?}, {limit} allowed")]
    Oversized {
        /// The path.
        path: PathId,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// An action or a batch is for a path that the driver never named.
    #[error("{path:?} was never given")]
    UnknownPath {
        /// The path.
        path: PathId,
    },
}
