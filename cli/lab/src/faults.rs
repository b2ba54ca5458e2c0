//! What can happen to the packets of a host.

use anyhow::{Context, Result};

/// Faults at a host's interface, behind its byte counters; ARP and IPv6 neighbour discovery pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Of 10,000 IP packets, how many are lost at random.
    pub loss_per_10_000: u32,
    /// What is lost altogether.
    pub blocked: Vec<Blocked>,
}

/// A kind of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// UDP to multicast groups: IP multicast media and mDNS.
    Multicast,
    /// UDP to multicast groups that carries more than so many bytes: media, while beacons pass.
    MulticastAbove(u16),
    /// All UDP, as behind a firewall that lets TCP pass.
    Udp,
    /// What the host with this index sends to this host alone: sessions, while multicast passes.
    UnicastOf(usize),
    /// What anybody sends to this host alone.
    Unicast,
    /// Membership queries: what a switch or router asks, so that it knows who listens to which group.
    Queries,
    /// All IP packets.
    Everything,
}

impl Faults {
    /// Random loss alone, in percent, with two digits behind the point.
    pub fn loss(percent: f64) -> Self {
        Self { loss_per_10_000: (percent * 100.0).round() as u32, ..Self::default() }
    }

    /// Nothing is lost at random, but all of these kinds.
    pub fn block(kinds: impl IntoIterator<Item = Blocked>) -> Self {
        Self { blocked: kinds.into_iter().collect(), ..Self::default() }
    }

    /// The nftables script that puts these faults in a table of that name in place of those before, in one
    /// transaction; they strike what `interface` receives.
    pub(crate) fn ruleset(&self, table: &str, interface: &str) -> String {
        let mut rules = String::from("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n");
        for kind in &self.blocked {
            rules.push_str(&kind.rules());
        }
        if self.loss_per_10_000 > 0 {
            let draw = format!("numgen random mod 10000 lt {}", self.loss_per_10_000);
            rules.push_str(&format!("meta protocol {{ ip, ip6 }} {draw} counter drop\n"));
        }
        // The first line makes the second succeed where there is no such table yet.
        format!(
            "table netdev {table}\ndelete table netdev {table}\ntable netdev {table} {{\n\
             chain in {{\ntype filter hook ingress device \"{interface}\" priority 0;\n{rules}}}\n}}\n"
        )
    }
}

impl Blocked {
    fn rules(self) -> String {
        let to_groups = |more: &str| {
            format!(
                "ip daddr 224.0.0.0/4 meta l4proto udp {more} counter drop\n\
                 ip6 daddr ff00::/8 meta l4proto udp {more} counter drop\n"
            )
        };
        match self {
            Self::Multicast => to_groups(""),
            // The length that UDP states includes its header.
            Self::MulticastAbove(bytes) => to_groups(&format!("udp length > {}", u32::from(bytes) + 8)),
            Self::Udp => "meta l4proto udp counter drop\n".to_owned(),
            Self::UnicastOf(index) => format!(
                "meta protocol {{ ip, ip6 }} ether saddr {} ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 \
                 counter drop\n",
                crate::network::hardware_address(index)
            ),
            Self::Unicast => {
                "meta protocol { ip, ip6 } ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 \
                              counter drop\n"
                    .to_owned()
            }
            Self::Queries => {
                "ip protocol igmp counter drop\nicmpv6 type mld-listener-query counter drop\n".to_owned()
            }
            Self::Everything => "meta protocol { ip, ip6 } counter drop\n".to_owned(),
        }
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

/// An nftables script that counts the UDP datagrams to one IPv4 group that reach `interface`.
pub(crate) fn group_counter(interface: &str, group: std::net::Ipv4Addr) -> String {
    format!(
        "table netdev count {{\nchain in {{\ntype filter hook ingress device \"{interface}\" priority -10;\n\
         ip daddr {group} counter\n}}\n}}\n"
    )
}

/// Bytes of an Ethernet header, which interfaces count and nftables does not.
const ETHERNET_BYTES: u64 = 14;

/// An nftables script that counts mDNS, question and answer, in and out of `interface`.
pub(crate) fn discovery_counter(interface: &str) -> String {
    let rules = "udp dport 5353 counter accept\nudp sport 5353 counter accept\n";
    format!(
        "table inet discovery {{\nchain in {{\ntype filter hook input priority 0;\niifname != {interface} accept\n\
         {rules}}}\nchain out {{\ntype filter hook output priority 0;\noifname != {interface} accept\n{rules}}}\n}}\n"
    )
}

/// Sums the bytes on the wire that the rules of one chain counted.
pub(crate) fn counted_bytes(listing: &str, chain: &str) -> Result<u64> {
    let listing: serde_json::Value = serde_json::from_str(listing).context("`nft -j` writes JSON")?;
    let objects = listing["nftables"].as_array().context("`nft -j` lists objects")?;
    let rules = objects.iter().map(|object| &object["rule"]).filter(|rule| rule["chain"] == chain);
    let counters = rules.filter_map(|rule| rule["expr"].as_array()).flatten().map(|part| &part["counter"]);
    let bytes = counters.filter_map(|counter| {
        Some(counter["bytes"].as_u64()? + ETHERNET_BYTES * counter["packets"].as_u64()?)
    });
    Ok(bytes.sum())
}

/// Sums the counters of the rules in a listing of `nft -j`.
pub(crate) fn counted(listing: &str) -> Result<u64> {
    let listing: serde_json::Value = serde_json::from_str(listing).context("`nft -j` writes JSON")?;
    let objects = listing["nftables"].as_array().context("`nft -j` lists objects")?;
    let expressions = objects.iter().filter_map(|object| object["rule"]["expr"].as_array()).flatten();
    Ok(expressions.filter_map(|expression| expression["counter"]["packets"].as_u64()).sum())
}

#[cfg(test)]
mod tests {
    use super::{Blocked, Faults, counted, counted_bytes};

    #[test]
    fn loss_is_drawn_in_hundredths_of_a_percent() {
        let ruleset = Faults::loss(0.25).ruleset("lab", "eth0");
        assert!(ruleset.contains("numgen random mod 10000 lt 25 counter drop"), "{ruleset}");
        assert!(!ruleset.contains("udp"), "{ruleset}");
    }

    #[test]
    fn a_limit_of_bytes_counts_the_udp_header() {
        let ruleset = Faults::block([Blocked::MulticastAbove(400)]).ruleset("lab", "eth0");
        assert_eq!(ruleset.matches("udp length > 408 counter drop").count(), 2, "{ruleset}");
    }

    #[test]
    fn the_bytes_of_a_chain_are_those_on_the_wire() {
        let listing = r#"{"nftables":[
            {"rule":{"chain":"in","expr":[{"counter":{"packets":2,"bytes":100}},{"accept":null}]}},
            {"rule":{"chain":"in","expr":[{"counter":{"packets":1,"bytes":50}}]}},
            {"rule":{"chain":"out","expr":[{"counter":{"packets":5,"bytes":900}}]}}]}"#;
        assert_eq!(counted_bytes(listing, "in").ok(), Some(150 + 3 * 14));
    }

    #[test]
    fn the_counters_of_all_rules_are_summed() {
        let listing = r#"{"nftables":[{"chain":{}},
            {"rule":{"expr":[{"match":{}},{"counter":{"packets":3,"bytes":9}},{"drop":null}]}},
            {"rule":{"expr":[{"counter":{"packets":4,"bytes":9}}]}}]}"#;
        assert_eq!(counted(listing).ok(), Some(7));
    }
}
