//! The access-unit record: what stands in a block's plaintext before each payload.

use super::{DecodeError, Reader, put_varint, put_zigzag};
use crate::catalogue::{ACCESS_UNIT_BYTES_MAX, AccessUnit, TRACKS_MAX, TrackId};

/// Largest magnitude of a timestamp: the difference of two still fits a zigzag integer.
pub const TIMESTAMP_TICKS_MAX: i64 = (1 << 60) - 1;

/// Returns whether an access unit travels exactly as it is: its track, timestamps and length are within their limits.
pub fn is_carried(unit: &AccessUnit) -> bool {
    let in_range = |ticks: i64| (-TIMESTAMP_TICKS_MAX..=TIMESTAMP_TICKS_MAX).contains(&ticks);
    usize::from(unit.track.0) < TRACKS_MAX
        && in_range(unit.dts)
        && in_range(unit.pts)
        && unit.payload.len() <= ACCESS_UNIT_BYTES_MAX
}

/// Track and flags, two timestamps, duration and length at their widest.
pub const RECORD_HEAD_BYTES_MAX: usize = 1 + 8 + 8 + 8 + 8;

const FLAG_KEY: u8 = 0x20;
const FLAG_DISPOSABLE: u8 = 0x40;

/// The fields of a record before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The track.
    pub track: TrackId,
    /// Whether decoding can start here.
    pub key: bool,
    /// Whether nothing refers to it.
    pub disposable: bool,
    /// Decoding time in ticks.
    pub dts: i64,
    /// Presentation time in ticks.
    pub pts: i64,
    /// Duration in ticks, 0 when unknown.
    pub duration: u32,
    /// Payload bytes.
    pub bytes: usize,
}

/// Decoding time of the last record of each track in a block: the next one travels as a difference.
#[derive(Clone, Debug)]
struct LastDts([Option<i64>; TRACKS_MAX]);

impl LastDts {
    fn of(&mut self, track: TrackId) -> &mut Option<i64> {
        &mut self.0[usize::from(track.0) % TRACKS_MAX]
    }
}

/// Writes records into a block's plaintext.
#[derive(Clone, Debug)]
pub struct RecordWriter {
    last: LastDts,
}

impl RecordWriter {
    /// Starts a block.
    pub fn new() -> Self {
        Self { last: LastDts([None; TRACKS_MAX]) }
    }

    /// Appends a record's head; the payload follows it.
    pub fn put(&mut self, unit: &AccessUnit, out: &mut Vec<u8>) {
        let mut first = unit.track.0 & (TRACKS_MAX as u8 - 1);
        first |= if unit.key { FLAG_KEY } else { 0 };
        first |= if unit.disposable { FLAG_DISPOSABLE } else { 0 };
        out.push(first);
        let last = self.last.of(unit.track);
        put_zigzag(out, unit.dts.saturating_sub(last.unwrap_or(0)));
        *last = Some(unit.dts);
        put_zigzag(out, unit.pts.saturating_sub(unit.dts));
        put_varint(out, u64::from(unit.duration));
        put_varint(out, unit.payload.len() as u64);
    }
}

impl Default for RecordWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads records out of a block's plaintext.
#[derive(Clone, Debug)]
pub struct RecordReader<'a> {
    reader: Reader<'a>,
    whole: usize,
    last: LastDts,
}

impl<'a> RecordReader<'a> {
    /// Starts at the beginning of a block's plaintext.
    pub fn new(plain: &'a [u8]) -> Self {
        Self { reader: Reader::new(plain), whole: plain.len(), last: LastDts([None; TRACKS_MAX]) }
    }

    /// Reads the next record's head; returns it with the offset of its payload, or `None` at the end.
    /// Only the last record's payload may run past the end of the plaintext: it goes on in the next block.
    ///
    /// # Errors
    /// [`DecodeError`] when a head is cut short or a field is out of range.
    pub fn read(&mut self) -> Result<Option<(Record, usize)>, DecodeError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        let first = self.reader.u8()?;
        if first & 0x80 != 0 {
            return Err(DecodeError::Range("record flags"));
        }
        let track = TrackId(first & (TRACKS_MAX as u8 - 1));
        let last = self.last.of(track);
        let dts = self.reader.zigzag()?.saturating_add(last.unwrap_or(0));
        *last = Some(dts);
        let pts = dts.saturating_add(self.reader.zigzag()?);
        let duration = u32::try_from(self.reader.varint()?).map_err(|_| DecodeError::Range("duration"))?;
        let bytes = self.reader.varint()?;
        if bytes > ACCESS_UNIT_BYTES_MAX as u64 {
            return Err(DecodeError::Range("access unit length"));
        }
        let at = self.whole - self.reader.remaining();
        let bytes = bytes as usize;
        self.reader.take(bytes.min(self.reader.remaining()))?;
        let (key, disposable) = (first & FLAG_KEY != 0, first & FLAG_DISPOSABLE != 0);
        Ok(Some((Record { track, key, disposable, dts, pts, duration, bytes }, at)))
    }
}
