//! The protocol of Swarmcast as a state machine: no socket, no clock, no thread.
//!
//! A driver owns a [`node::Node`] and follows one rule: **one mutation, then drain**.
//! 1. Call [`node::Node::handle`] with the time and one [`node::Input`].
//! 2. Take [`node::Node::poll_event`] and [`node::Node::poll_action`] until both are `None`.
//! 3. While [`node::Node::poll_ready`] names a path, call [`node::Node::fill`] for it with the bytes that the path
//!    can take without waiting, and send what comes back. A path without credit is not asked again until it has
//!    some: call `fill` for it then.
//! 4. Wait until [`node::Node::poll_timeout`], or the next input.
//!
//! The driver, the simulator and the fuzzers use these calls only.

pub mod address;
pub mod catalogue;
mod clock;
mod delivery;
pub mod discovery;
mod few;
pub mod fragment;
pub mod group;
pub mod health;
pub mod ids;
mod leaf;
mod member;
pub mod memo;
pub mod multicast;
pub mod node;
pub mod parity;
mod playout;
mod schedule;
pub mod seal;
mod session;
pub mod stats;
pub mod window;
pub mod wire;
