//! What is sent to whom, when: outbox, pace, suppliers, pulls, and multicast with what its viewers report.

mod arrivals;
mod audience;
mod broadcast;
mod gather;
mod outbox;
mod pace;
mod parity_rate;
mod pull;
mod rate_meter;
mod reception;
mod supply;
mod uplink;

pub(crate) use audience::Audience;
pub(crate) use broadcast::{Broadcast, ECHO_LOSS, LOSS_MAX};
pub(crate) use gather::Gather;
pub(crate) use outbox::{Due, Outbox, Parcel, Shed};
pub(crate) use pace::Pace;
pub(crate) use parity_rate::ParityRate;
pub(crate) use pull::{PullSource, Pulls, comes_too_late};
pub(crate) use rate_meter::RateMeter;
pub(crate) use reception::Reception;
pub(crate) use supply::{Distance, Handover, Lead, Offerer, Supply};
pub(crate) use uplink::{PACKET_BYTES, Uplink};
