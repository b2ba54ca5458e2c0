//! Any bytes as a track's codec parameters: what decodes, encodes to the same again.

#![no_main]

#[path = "../../engine/media/src/parameters.rs"]
pub mod parameters;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(decoded) = parameters::CodecParameters::decode(data) {
        let again = decoded.encode().expect("what was decoded is within its limits");
        assert_eq!(parameters::CodecParameters::decode(&again), Ok(decoded));
    }
});
