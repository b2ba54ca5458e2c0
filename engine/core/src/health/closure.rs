//! The subscription's machine: open until it closes, once.

/// Whether a subscription goes on, and what closed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Closure {
    /// It goes on.
    #[default]
    Open,
    /// The stream ended, and all of it was delivered.
    Ended,
    /// The stream is dead, and nobody waits for it.
    Dead,
    /// The caller left.
    Local,
    /// There is no saying which stream is meant.
    Refused,
}

/// What may close a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// All of an ended stream was delivered or given up.
    Drained,
    /// The stream is dead, and there is neither patience nor a foreign source left.
    Died,
    /// The caller ends the subscription.
    Left,
    /// Several publishers have the name.
    Rejected,
}

impl Closure {
    /// All states, in the order of the table's rows.
    pub(crate) const ALL: [Self; 5] = [Self::Open, Self::Ended, Self::Dead, Self::Local, Self::Refused];

    /// Returns the state that follows: the first cause stands.
    pub(crate) const fn after(self, event: Event) -> Self {
        match (self, event) {
            (Self::Open, Event::Drained) => Self::Ended,
            (Self::Open, Event::Died) => Self::Dead,
            (Self::Open, Event::Left) => Self::Local,
            (Self::Open, Event::Rejected) => Self::Refused,
            (Self::Ended | Self::Dead | Self::Local | Self::Refused, _) => self,
        }
    }
}

impl Event {
    /// All events, in the order of the table's columns.
    pub(crate) const ALL: [Self; 4] = [Self::Drained, Self::Died, Self::Left, Self::Rejected];
}
