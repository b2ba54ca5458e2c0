//! Any bytes as a DNS message that answers a question on the LAN: what it says of a node is within limits.

#![no_main]

#[path = "../../engine/net/src/discovery/answer.rs"]
mod answer;

const SERVICE: &str = "_swarmcast._udp.local";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(node) = answer::read(data, SERVICE, 4, |ip| !ip.is_unspecified()) {
        assert!(node.addresses.len() <= 4 && node.addresses.iter().all(|at| !at.ip().is_unspecified()));
    }
});
