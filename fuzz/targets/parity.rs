//! Blocks with parity, honest or not, lost in part.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::parity(data));
