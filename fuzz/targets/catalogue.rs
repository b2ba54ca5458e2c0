//! Any catalogue, and altered ones.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::catalogue(data));
