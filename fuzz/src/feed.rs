//! Bytes as a supply of fields: when they run out, everything is zero.

/// What is left of a case.
pub(crate) struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether everything has been used.
    pub(crate) fn is_dry(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.bytes(8).iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// A number whose size is drawn first, so that small ones and edges are as likely as others.
    pub(crate) fn number(&mut self) -> u64 {
        match self.u8() {
            small @ 0..=199 => u64::from(small),
            bits @ 200..=249 => (1_u64 << (bits - 186)).wrapping_add(u64::from(self.u8())).wrapping_sub(128),
            _ => self.u64(),
        }
    }
}
