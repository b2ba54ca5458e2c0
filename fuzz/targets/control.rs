//! Any bytes as a control message, and as a catalogue.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::control(data));
