//! What is sent to whom, when: outbox, pace, suppliers, pulls.

mod outbox;
mod pace;
mod pull;
mod supply;

pub(crate) use outbox::{Due, Outbox, Parcel, Shed};
pub(crate) use pace::Pace;
pub(crate) use pull::{PullSource, Pulls};
pub(crate) use supply::{Offerer, Supply};
