//! What can happen to the packets that reach a host.

use anyhow::{Context, Result};

/// Faults at the receiver's interface, behind its byte counters; ARP and IPv6 neighbour discovery pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngressFaults {
    /// Of 10,000 IP packets, how many are lost at random.
    pub loss_per_10_000: u32,
    /// Whether UDP to multicast groups is lost: IP multicast media and mDNS.
    pub block_multicast: bool,
    /// Whether all UDP is lost, as behind a firewall that lets TCP pass.
    pub block_udp: bool,
}

impl IngressFaults {
    /// Random loss alone, in percent, with two digits behind the point.
    pub fn loss(percent: f64) -> Self {
        Self { loss_per_10_000: (percent * 100.0).round() as u32, ..Self::default() }
    }

    /// The nftables script that puts these faults in place of those before, in one transaction.
    pub(crate) fn ruleset(&self, interface: &str) -> String {
        let mut rules = String::from("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n");
        if self.block_udp {
            rules.push_str("meta l4proto udp counter drop\n");
        }
        if self.block_multicast {
            rules.push_str("ip daddr 224.0.0.0/4 udp dport 0-65535 counter drop\n");
            rules.push_str("ip6 daddr ff00::/8 udp dport 0-65535 counter drop\n");
        }
        if self.loss_per_10_000 > 0 {
            let draw = format!("numgen random mod 10000 lt {}", self.loss_per_10_000);
            rules.push_str(&format!("meta protocol {{ ip, ip6 }} {draw} counter drop\n"));
        }
        // The first line makes the second succeed where there is no such table yet.
        format!(
            "table netdev lab\ndelete table netdev lab\ntable netdev lab {{\n\
             chain in {{\ntype filter hook ingress device \"{interface}\" priority 0;\n{rules}}}\n}}\n"
        )
    }
}

/// An nftables script that counts what leaves for elsewhere than the lab's network, multicast and the host itself.
pub(crate) const STRANGERS: &str = "\
table inet lab {
chain out {
type filter hook output priority 0;
ip daddr != { 10.77.0.0/16, 127.0.0.0/8, 224.0.0.0/4, 255.255.255.255 } counter
ip6 daddr != { ::1, fe80::/10, ff00::/8 } counter
}
}
";

/// Sums the counters of the rules in a listing of `nft -j`.
pub(crate) fn counted(listing: &str) -> Result<u64> {
    let listing: serde_json::Value = serde_json::from_str(listing).context("`nft -j` writes JSON")?;
    let objects = listing["nftables"].as_array().context("`nft -j` lists objects")?;
    let expressions = objects.iter().filter_map(|object| object["rule"]["expr"].as_array()).flatten();
    Ok(expressions.filter_map(|expression| expression["counter"]["packets"].as_u64()).sum())
}

#[cfg(test)]
mod tests {
    use super::{IngressFaults, counted};

    #[test]
    fn loss_is_drawn_in_hundredths_of_a_percent() {
        let ruleset = IngressFaults::loss(0.25).ruleset("eth0");
        assert!(ruleset.contains("numgen random mod 10000 lt 25 counter drop"), "{ruleset}");
        assert!(!ruleset.contains("udp"), "{ruleset}");
    }

    #[test]
    fn the_counters_of_all_rules_are_summed() {
        let listing = r#"{"nftables":[{"chain":{}},
            {"rule":{"expr":[{"match":{}},{"counter":{"packets":3,"bytes":9}},{"drop":null}]}},
            {"rule":{"expr":[{"counter":{"packets":4,"bytes":9}}]}}]}"#;
        assert_eq!(counted(listing).ok(), Some(7));
    }
}
