//! A path's machine: what each finding makes of its verdict. The same table holds for multicast, mesh and unicast.

use super::PathVerdict;

/// What was found about one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is asked for media from here on.
    Asked,
    /// A beacon or a have-map came by it, after none had for a while.
    Beacon,
    /// A verified fragment came by it.
    Media,
    /// Nothing comes by it, and another path advances.
    Silence,
    /// More than 15 % is lost on it.
    Loss,
    /// Less than 10 % is lost on it.
    Clean,
    /// No media is to be expected by it: it is parked, sends beacons only, or the whole stream is silent.
    Rest,
    /// Whoever should send by it refuses.
    Refusal,
    /// What carries it is gone: the interface, or the last neighbour.
    Gone,
    /// It is not wanted any longer.
    Release,
}

impl PathVerdict {
    /// All verdicts, in the order of the table's rows.
    pub(crate) const ALL: [Self; 7] =
        [Self::Off, Self::Joining, Self::Standby, Self::Delivering, Self::Silent, Self::Lossy, Self::Refused];

    /// Returns the verdict that follows.
    pub(crate) const fn after(self, event: Event) -> Self {
        TABLE[self as usize][event as usize]
    }
}

impl Event {
    /// All events, in the order of the table's columns.
    pub(crate) const ALL: [Self; 10] = [
        Self::Asked,
        Self::Beacon,
        Self::Media,
        Self::Silence,
        Self::Loss,
        Self::Clean,
        Self::Rest,
        Self::Refusal,
        Self::Gone,
        Self::Release,
    ];
}

/// Only media makes a path deliver. A path that never brought anything cannot fall silent: that it stays in `Joining`
/// says all that is known.
#[rustfmt::skip]
const TABLE: [[PathVerdict; 10]; 7] = {
    use PathVerdict::{Delivering, Joining, Lossy, Off, Refused, Silent, Standby};
    [
    // Asked     Beacon      Media       Silence  Loss     Clean       Rest     Refusal  Gone     Release
    [Joining,    Off,        Off,        Off,     Off,     Off,        Off,     Off,     Off,     Off], // Off
    [Joining,    Standby,    Delivering, Joining, Joining, Joining,    Joining, Refused, Joining, Off], // Joining
    [Standby,    Standby,    Delivering, Silent,  Standby, Standby,    Standby, Refused, Joining, Off], // Standby
    [Delivering, Delivering, Delivering, Silent,  Lossy,   Delivering, Standby, Refused, Joining, Off], // Delivering
    [Silent,     Standby,    Delivering, Silent,  Silent,  Silent,     Standby, Refused, Joining, Off], // Silent
    [Lossy,      Lossy,      Lossy,      Silent,  Lossy,   Delivering, Standby, Refused, Joining, Off], // Lossy
    [Joining,    Refused,    Delivering, Refused, Refused, Refused,    Refused, Refused, Refused, Off], // Refused
    ]
};
