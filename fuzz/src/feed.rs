//! Bytes as a supply of fields: when they run out, everything is zero.

use swarmcast_core::wire::put_varint;

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

/// Numbers around which decoders decide.
const EDGES: [u64; 16] =
    [0, 1, 8, 16, 17, 32, 62, 64, 128, 250, 1024, 2000, 16 << 10, 60 << 10, 16 << 20, u32::MAX as u64];

impl Feed<'_> {
    fn edge(&mut self) -> u64 {
        let choice = self.u8();
        EDGES[usize::from(choice & 15)].wrapping_add(u64::from(choice >> 4 & 3)).saturating_sub(1)
    }

    /// A message: bytes as they are, or fields one behind the other with numbers near the limits of the format.
    pub(crate) fn message(&mut self) -> Vec<u8> {
        if self.u8() & 1 == 0 {
            return self.bytes(usize::MAX).to_vec();
        }
        let mut out = vec![self.u8() & 0x1f];
        if out[0] & 0x10 != 0 {
            out.extend_from_slice(&[1; 4]);
        }
        while !self.is_dry() && out.len() < 4096 {
            let before = out.len();
            let field = self.u8();
            match field % 8 {
                0..=2 => put_varint(&mut out, self.edge()),
                3 => put_varint(&mut out, self.number()),
                4 => out.push(self.u8()),
                5 => out.extend_from_slice(&1_u64.rotate_left(u32::from(self.u8())).to_be_bytes()),
                6 => out.extend_from_slice(&[0; 32]),
                _ => out.extend_from_slice(self.bytes(usize::from(field >> 3))),
            }
            let made = out[before..].to_vec();
            if field >= 0xf0 {
                (0..self.edge().min(70)).for_each(|_| out.extend_from_slice(&made));
            }
        }
        out
    }
}
