//! The real binary, as people and programs use it. Nothing leaves the loopback interface.

mod failures;
mod health;
mod process;
mod schema;
mod streams;
mod usage;
