//! Any headers and fragments in a window, held against a model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::window(data));
