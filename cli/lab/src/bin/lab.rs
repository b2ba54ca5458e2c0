//! Runs the lab's scenarios at full length.

fn main() {}
