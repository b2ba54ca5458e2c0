//! The text of an identity file: five lines of name and value under a title, closed by a checksum.

use std::fmt::Write;

use swarmcast_core::ids::GroupId;

/// Most bytes of a record: the longest name and some room.
pub(super) const TEXT_BYTES_MAX: u64 = 1024;

const TITLE: &str = "swarmcast stream key, version 1: keep it secret";

/// What is kept of a stream between runs.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) group: GroupId,
    pub(super) name: String,
    pub(super) seed: [u8; 32],
    pub(super) epoch: u64,
}

impl Record {
    /// Prints the record with its checksum.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{TITLE}\ngroup {}\nname {}\nseed ", self.group, self.name);
        for byte in self.seed {
            let _ = write!(text, "{byte:02x}");
        }
        let _ = writeln!(text, "\nepoch {}", self.epoch);
        let sum = checksum(&text);
        text + "sum " + &sum + "\n"
    }

    /// Parses what [`Record::to_text`] printed; `None` when a single bit of it differs.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (body, sum) = text.rsplit_once("sum ")?;
        if sum.strip_suffix('\n')? != checksum(body) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        Some(Self {
            group: GroupId(bytes_of_hex(value("group")?)?),
            name: value("name")?.to_owned(),
            seed: bytes_of_hex(value("seed")?)?,
            epoch: value("epoch")?.parse().ok()?,
        })
    }
}

fn checksum(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex()[..32].to_owned()
}

/// Reads exactly `N` bytes of hexadecimal digits.
pub(super) fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
