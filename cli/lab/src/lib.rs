//! LAN lab: the shipped binary on hosts made of network namespaces.
//!
//! A [`Lab`] is the right to use this machine; a [`Network`] of [`Host`]s lives in it until it is dropped,
//! whatever happens. A [`Process`] runs on a host and is watched by the lines that it writes. What hosts did is
//! told by the kernel's interface counters, by recordings compared with the source, and by the events that processes
//! write.

pub mod arrivals;
pub mod clip;
pub mod clock;
pub mod clockface;
pub mod command;
pub mod compare;
pub mod counters;
pub mod event;
pub mod faults;
pub mod feed;
pub mod flow;
pub mod host;
pub mod lab;
pub mod namespace;
pub mod network;
pub mod output;
pub mod process;
pub mod recording;
pub mod report;
pub mod resources;
pub mod scenario;
pub mod swarm;
pub mod switch;
pub mod trend;

pub use host::Host;
pub use lab::Lab;
pub use network::Network;
pub use process::Process;
