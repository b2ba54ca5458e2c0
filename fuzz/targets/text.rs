//! Any text where something is named, and any discovery record.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::text(data));
