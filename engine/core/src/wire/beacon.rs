//! The beacon: the publisher's signed word that it lives, and how far it is.

use std::time::Duration;

use super::{DecodeError, Reader, SIGNATURE_BYTES, datagram::kind, put_varint};
use crate::ids::{BlockId, Epoch, StreamTag, WallClock};

/// Most challenges that one beacon answers; at one beacon every 20 ms that is 400 joins a second.
pub const NONCES_MAX: usize = 8;

/// Set in the state when media is multicast.
const FLAG_MULTICAST: u8 = 0x10;
/// Set in the state when the publisher serves no more viewers alone.
const FLAG_FULL: u8 = 0x20;

/// What the publisher says of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamState {
    /// Media is sent.
    Live = 0,
    /// The publisher lives and has nothing to send.
    Paused = 1,
    /// Nothing follows the newest block.
    Ended = 2,
}

/// Everything a beacon says, apart from its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The run it speaks of.
    pub epoch: Epoch,
    /// Time since the epoch began on the publisher's clock, in microseconds; orders beacons.
    pub at: Duration,
    /// Wall clock at the publisher.
    pub wall: WallClock,
    /// State of the source.
    pub state: StreamState,
    /// Whether media is multicast on some path.
    pub multicast: bool,
    /// Whether it would refuse one more viewer who asks for all of the stream.
    pub full: bool,
    /// Number of blocks made so far: the newest is one less.
    pub blocks: u64,
    /// Newest block that begins with a random-access point.
    pub random_access: Option<BlockId>,
    /// What its blocks take on the wire without their parity, bytes per second with all headers; 0 when not yet known.
    pub rate: u64,
    /// Challenges that this beacon answers, at most [`NONCES_MAX`].
    pub nonces: Vec<u64>,
}

impl Beacon {
    /// Returns the newest block, if there is one.
    pub fn newest(&self) -> Option<BlockId> {
        self.blocks.checked_sub(1).map(BlockId)
    }

    /// Appends the signed part of the datagram.
    pub fn encode(&self, tag: StreamTag, out: &mut Vec<u8>) {
        out.push(kind::BEACON);
        out.extend_from_slice(&tag.0);
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        put_varint(out, self.at.as_micros() as u64);
        put_varint(out, self.wall.0);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(self.state as u8 | flag(self.multicast, FLAG_MULTICAST) | flag(self.full, FLAG_FULL));
        put_varint(out, self.blocks);
        put_varint(out, self.random_access.map_or(0, |block| block.0.saturating_add(1)));
        put_varint(out, self.rate);
        self.nonces.iter().take(NONCES_MAX).for_each(|nonce| out.extend_from_slice(&nonce.to_be_bytes()));
    }

    /// Reads a beacon datagram; returns it and the offset of its signature.
    ///
    /// # Errors
    /// [`DecodeError`] when it is cut short, too long, or a field is out of range.
    pub fn decode(datagram: &[u8]) -> Result<(Self, usize), DecodeError> {
        let signed = datagram.len().checked_sub(SIGNATURE_BYTES).ok_or(DecodeError::Truncated)?;
        let mut reader = Reader::new(&datagram[..signed]);
        match reader.u8()? {
            kind::BEACON => {}
            other => return Err(DecodeError::UnknownKind(other)),
        }
        reader.take(4)?;
        let mut beacon = Self {
            epoch: Epoch(reader.u64()?),
            at: Duration::from_micros(reader.varint()?),
            wall: WallClock(reader.varint()?),
            state: StreamState::Live,
            multicast: false,
            full: false,
            blocks: 0,
            random_access: None,
            rate: 0,
            nonces: Vec::new(),
        };
        let state = reader.u8()?;
        beacon.multicast = state & FLAG_MULTICAST != 0;
        beacon.full = state & FLAG_FULL != 0;
        beacon.state = match state & !(FLAG_MULTICAST | FLAG_FULL) {
            0 => StreamState::Live,
            1 => StreamState::Paused,
            2 => StreamState::Ended,
            _ => return Err(DecodeError::Range("state")),
        };
        beacon.blocks = reader.varint()?;
        beacon.random_access = reader.varint()?.checked_sub(1).map(BlockId);
        beacon.rate = reader.varint()?;
        while reader.remaining() > 0 {
            if beacon.nonces.len() == NONCES_MAX {
                return Err(DecodeError::Range("nonces"));
            }
            beacon.nonces.push(reader.u64()?);
        }
        if beacon.random_access.is_some_and(|block| block.0 >= beacon.blocks) {
            return Err(DecodeError::Range("random-access block"));
        }
        Ok((beacon, signed))
    }
}
