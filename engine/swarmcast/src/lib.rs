//! Publish and watch live streams in a LAN swarm.

mod group;
mod identity;

pub use group::{Group, GroupKeyError};
pub use identity::{Identity, IdentityError, StateDir};
