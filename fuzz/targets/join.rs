//! Any plaintext in any blocks, sealed and signed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmcast_fuzz::join(data));
