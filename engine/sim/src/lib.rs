//! A deterministic world for cores: real [`swarmcast_core::node::Node`]s under virtual time.
//!
//! One seed decides everything: links with latency, jitter, loss, reordering and duplicates, access lines with
//! bounded queues, clocks that drift, sessions that come up, fall silent and end, discovery, churn, and members
//! that lie. Oracles judge every step; the same seed gives the same [`trace::Digest`].
//!
//! ```
//! use swarmcast_sim::scenario::Scenario;
//!
//! let report = Scenario::new(7, 3).run()?;
//! println!("{report}");
//! assert!(report.violations.is_empty());
//! # Ok::<(), swarmcast_core::group::GroupError>(())
//! ```

pub mod clock;
pub mod continuity;
pub mod dice;
pub mod hostile;
pub mod lan;
mod ledger;
mod line;
pub mod link;
mod memo;
pub mod network;
pub mod oracle;
mod process;
pub mod report;
pub mod scenario;
pub mod session;
pub mod settled;
pub mod trace;
pub mod workload;
pub mod world;
