//! Any access units: cut, sealed, lost in part, joined.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::journey(data));
