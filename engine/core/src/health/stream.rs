//! The stream's machine: what each finding makes of each verdict.

use super::Verdict;

/// What was found about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A verified fragment arrived that was of use.
    Fragment,
    /// Something was missing at its deadline.
    Loss,
    /// Nothing was missing at its deadline for two seconds.
    Clean,
    /// The newest beacon says that the publisher pauses, and nothing is missing.
    Pause,
    /// No fragment of use came for half a second, and no beacon excuses it.
    Silence,
    /// The time is over in which the stream had to be found, or had to come back.
    Expiry,
    /// The publisher ended the stream, and all of it was delivered or given up.
    Drained,
    /// The publisher was restarted.
    Reset,
}

impl Verdict {
    /// All verdicts, in the order of the table's rows.
    pub(crate) const ALL: [Self; 7] =
        [Self::Joining, Self::Live, Self::Degraded, Self::Starved, Self::Dead, Self::Paused, Self::Ended];

    /// Returns the verdict that follows.
    pub(crate) const fn after(self, event: Event) -> Self {
        TABLE[self as usize][event as usize]
    }
}

impl Event {
    /// All events, in the order of the table's columns.
    pub(crate) const ALL: [Self; 8] = [
        Self::Fragment,
        Self::Loss,
        Self::Clean,
        Self::Pause,
        Self::Silence,
        Self::Expiry,
        Self::Drained,
        Self::Reset,
    ];
}

/// A fragment alone makes a stream live; a fragment that comes amid losses is no reason to call it clean. `Joining`
/// does not starve, since nothing was taken away from the viewer. What ended stays ended: another run is another
/// subscription.
#[rustfmt::skip]
const TABLE: [[Verdict; 8]; 7] = {
    use Verdict::{Dead, Degraded, Ended, Joining, Live, Paused, Starved};
    [
    // Fragment Loss      Clean    Pause   Silence  Expiry Drained Reset
    [Live,      Joining,  Joining, Paused, Joining, Dead,  Ended,  Joining], // Joining
    [Live,      Degraded, Live,    Paused, Starved, Dead,  Ended,  Joining], // Live
    [Degraded,  Degraded, Live,    Paused, Starved, Dead,  Ended,  Joining], // Degraded
    [Live,      Starved,  Starved, Paused, Starved, Dead,  Ended,  Joining], // Starved
    [Live,      Dead,     Dead,    Paused, Dead,    Dead,  Ended,  Joining], // Dead
    [Live,      Paused,   Paused,  Paused, Starved, Dead,  Ended,  Joining], // Paused
    [Ended,     Ended,    Ended,   Ended,  Ended,   Ended, Ended,  Ended],   // Ended
    ]
};
