//! The control plane's machine: losing everybody who introduces peers is not losing the stream.

use super::ControlPlane;

/// What was found about the neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// There is one.
    Met,
    /// There is none.
    Alone,
}

impl ControlPlane {
    /// All states, in the order of the table's rows.
    pub(crate) const ALL: [Self; 3] = [Self::Searching, Self::Up, Self::Lost];

    /// Returns the state that follows.
    pub(crate) const fn after(self, event: Event) -> Self {
        match (self, event) {
            (_, Event::Met) => Self::Up,
            (Self::Searching, Event::Alone) => Self::Searching,
            (Self::Up | Self::Lost, Event::Alone) => Self::Lost,
        }
    }
}

impl Event {
    /// All events, in the order of the table's columns.
    pub(crate) const ALL: [Self; 2] = [Self::Met, Self::Alone];
}
