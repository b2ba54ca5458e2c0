//! Interface counters of the kernel.

use std::ops::Sub;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// What passed an interface, link-layer headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

impl Counters {
    /// Reads the counters of `interface` inside `namespace`.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn read(namespace: &Namespace, interface: &str) -> Result<Self> {
        // `/proc/net` is the view of the process's first thread; this one stands in another namespace.
        let table = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        parse(&table, interface).with_context(|| format!("no interface {interface} in {}", namespace.name()))
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes - earlier.rx_bytes,
            rx_packets: self.rx_packets - earlier.rx_packets,
            tx_bytes: self.tx_bytes - earlier.tx_bytes,
            tx_packets: self.tx_packets - earlier.tx_packets,
        }
    }
}

/// Finds an interface in the table that `proc_net(5)` describes.
fn parse(table: &str, interface: &str) -> Option<Counters> {
    let (_, row) =
        table.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == interface)?;
    let column: Vec<u64> = row.split_whitespace().map_while(|word| word.parse().ok()).collect();
    Some(Counters {
        rx_bytes: *column.first()?,
        rx_packets: *column.get(1)?,
        tx_bytes: *column.get(8)?,
        tx_packets: *column.get(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Counters, parse};

    const TABLE: &str = "\
Inter-|   Receive                    |  Transmit
 face |bytes    packets errs (...)    |bytes    packets errs (...)
    lo:       0       0    0    0    0     0     0     0      0      0    0    0    0     0    0     0
  eth0: 1500 10 1 2 3 4 5 6 3000 20 0 0 0 0 0 0
";

    #[test]
    fn the_row_of_the_interface_is_read() {
        let expected = Counters { rx_bytes: 1500, rx_packets: 10, tx_bytes: 3000, tx_packets: 20 };
        assert_eq!(parse(TABLE, "eth0"), Some(expected));
        assert_eq!(parse(TABLE, "eth1"), None);
    }
}
