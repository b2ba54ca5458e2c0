//! Answers to one-shot questions: a DNS message from anybody on the LAN, to what it says of one node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use simple_dns::rdata::RData;
use simple_dns::{Name, Packet};
use swarmcast_core::discovery::{LanNode, decode};

/// Reads one answer: the first `service` in it, with the dialable addresses that stand beside it, at most
/// `addresses_max`. A node answers for itself alone, so an answer that names several services is not one of ours.
pub(super) fn read(
    message: &[u8],
    service: &str,
    addresses_max: usize,
    is_dialable: impl Fn(IpAddr) -> bool,
) -> Option<LanNode> {
    let packet = Packet::parse(message).ok()?;
    let is_ours =
        |name: &Name<'_>| name.to_string().to_ascii_lowercase().ends_with(service.trim_end_matches('.'));
    let (mut text, mut port, mut addresses) = (None, None, Vec::new());
    for record in packet.answers.iter().chain(&packet.additional_records) {
        match &record.rdata {
            RData::TXT(txt) if is_ours(&record.name) => text = Some(txt),
            RData::SRV(srv) if is_ours(&record.name) => port = Some(srv.port),
            RData::A(a) => addresses.push(IpAddr::V4(Ipv4Addr::from(a.address))),
            RData::AAAA(a) => addresses.push(IpAddr::V6(Ipv6Addr::from(a.address))),
            _ => {}
        }
    }
    let (text, port) = (text?, port?);
    let dialable = addresses.into_iter().filter(|ip| is_dialable(*ip)).take(addresses_max);
    let value_of = |key: &str| {
        let (_, value) = text.iter_raw().find(|(k, _)| *k == key.as_bytes())?;
        String::from_utf8(value?.to_vec()).ok()
    };
    decode(value_of, dialable.map(|ip| SocketAddr::new(ip, port)).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn what_was_fuzzed_is_read_or_refused() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/answer");
        let cases =
            std::fs::read_dir(corpus).expect("it is there").map(|case| case.expect("readable").path());
        let read =
            |path| super::read(&std::fs::read(path).expect("readable"), super::super::SERVICE, 4, |_| true);
        let nodes: Vec<_> = cases.map(read).collect();
        assert!(nodes.len() >= 8 && nodes.iter().flatten().count() >= 2, "{nodes:?}");
        assert!(nodes.iter().flatten().all(|node| node.addresses.len() <= 4));
    }
}
