//! The swarmcast command.

fn main() {}
