//! Any inputs of two nodes, with a network that loses and alters, and a hostile neighbour.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::node(data));
