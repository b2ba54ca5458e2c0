//! The real binary, as people and programs use it. Nothing leaves the loopback interface.

mod failures;
mod health;
mod listen;
mod process;
mod qualities;
mod schema;
mod simulate;
mod streams;
mod usage;
mod window;
