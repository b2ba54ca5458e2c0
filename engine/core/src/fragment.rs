//! Cut access units into blocks, and join them again.
//!
//! A block holds whole records of one priority; only an access unit too long for a block spans several, which are then
//! numbered one behind the other, hold nothing else, and all but the first `continue`.

use std::time::Duration;

use bytes::Bytes;

use crate::catalogue::{AccessUnit, TRACKS_MAX};
use crate::ids::{BlockId, FragmentId, MediaTime, Now, Priority};
use crate::seal::{EpochKeys, VerifyError};
use crate::wire::{
    BlockHeader, DecodeError, RECORD_HEAD_BYTES_MAX, Record, RecordReader, RecordWriter, SHARD_PLAIN_BYTES,
    SHARDS_MAX, TAG_BYTES,
};

/// Longest time a block waits for more when more is known to be waiting.
pub const BLOCK_DURATION_MAX: Duration = Duration::from_millis(10);
/// Access units below this many bytes may wait for company: a header costs them 30 % and more.
pub const SMALL_UNIT_BYTES: usize = 400;
/// How long they may wait: two units of 20 ms audio share a header.
pub const SMALL_UNIT_WAIT: Duration = Duration::from_millis(40);

/// Rest of that wait in which they leave beside another block: one that comes alone wakes every node on its way once
/// more. Sound of 47 units a second beside 25 pictures makes 25 blocks so, and 24 when each waits to the end.
const SMALL_UNIT_REST: Duration = Duration::from_millis(20);

/// Plaintext of a block, not yet numbered and sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What is shed first.
    pub priority: Priority,
    /// Whether it goes on with the access unit of the block before.
    pub continues: bool,
    /// Whether it begins with a random-access point.
    pub random_access: bool,
    /// Presentation time of its first access unit.
    pub media_time: MediaTime,
    /// The records.
    pub plain: Vec<u8>,
}

/// An access unit with what the stream knows of it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What is sent.
    pub unit: AccessUnit,
    /// What is shed first.
    pub priority: Priority,
    /// Whether a joiner may start at it.
    pub random_access: bool,
    /// Its presentation time.
    pub media_time: MediaTime,
}

#[derive(Debug)]
struct Open {
    draft: Draft,
    /// A bit for each track that has a unit in it.
    tracks: u32,
    writer: RecordWriter,
    /// Whether it holds small units alone.
    small: bool,
    close_at: Now,
}

/// Collects access units into blocks, one open block a priority.
#[derive(Debug)]
pub struct Cutter {
    /// In the order in which they were opened.
    open: Vec<Open>,
    /// Most plaintext of a block.
    plain_bytes_max: usize,
}

impl Default for Cutter {
    fn default() -> Self {
        Self { open: Vec::new(), plain_bytes_max: SHARDS_MAX * SHARD_PLAIN_BYTES }
    }
}

impl Cutter {
    /// Lets blocks have at most `data_max` data shards from here on, so that parity has room beside them; 1 to 62, and
    /// 62 at first.
    pub fn limit_data(&mut self, data_max: u8) {
        self.plain_bytes_max = usize::from(data_max).clamp(1, SHARDS_MAX) * SHARD_PLAIN_BYTES;
    }

    /// Adds an access unit. `more` says that another is already waiting. Blocks that close are appended to `out`.
    pub fn push(&mut self, now: Now, work: &Submission, more: bool, out: &mut Vec<Draft>) {
        let record_bytes = RECORD_HEAD_BYTES_MAX + work.unit.payload.len();
        let small = work.unit.payload.len() < SMALL_UNIT_BYTES;
        // Small units stay within one shard, so that their block fits its header's datagram.
        let room = if small { SHARD_PLAIN_BYTES } else { self.plain_bytes_max };
        self.close_if(out, |open| !open.may_take(work, record_bytes, room));
        if record_bytes > self.plain_bytes_max {
            return span(work, self.plain_bytes_max, out);
        }
        let found = self.open.iter().position(|open| open.draft.priority == work.priority);
        let at = found.unwrap_or_else(|| {
            self.open.push(Open::new(now, work, record_bytes));
            self.open.len() - 1
        });
        let open = &mut self.open[at];
        open.tracks |= track_bit(work);
        open.writer.put(&work.unit, &mut open.draft.plain);
        open.draft.plain.extend_from_slice(&work.unit.payload);
        if !small {
            open.small = false;
            open.close_at = open.close_at.min(if more { now.after(BLOCK_DURATION_MAX) } else { now });
        }
        self.close_due(now, out);
    }

    /// Closes the blocks whose time has come, and with them those whose time is about to come.
    pub fn close_due(&mut self, now: Now, out: &mut Vec<Draft>) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.close_if(out, |open| {
                let rest = if open.small { SMALL_UNIT_REST } else { Duration::ZERO };
                open.close_at <= now.after(rest)
            });
        }
    }

    /// Closes all blocks.
    pub fn close_all(&mut self, out: &mut Vec<Draft>) {
        self.close_due(Now(u64::MAX), out);
    }

    /// Returns when [`Cutter::close_due`] has something to do.
    pub fn next_timeout(&self) -> Option<Now> {
        self.open.iter().map(|open| open.close_at).min()
    }

    /// Closes blocks, and before them one that begins with a random-access point: who starts there misses nothing that
    /// was published behind it.
    fn close_if(&mut self, out: &mut Vec<Draft>, leaves: impl Fn(&Open) -> bool) {
        if !self.open.iter().any(&leaves) {
            return;
        }
        for first in [true, false] {
            self.open.retain_mut(|open| {
                let goes = open.draft.random_access == first && (first || leaves(open));
                if goes {
                    out.push(open.take_draft());
                }
                !goes
            });
        }
    }
}

impl Open {
    fn new(now: Now, work: &Submission, record_bytes: usize) -> Self {
        let draft = Draft {
            priority: work.priority,
            continues: false,
            random_access: work.random_access,
            media_time: work.media_time,
            plain: Vec::with_capacity(record_bytes),
        };
        Self {
            draft,
            tracks: 0,
            writer: RecordWriter::new(),
            small: true,
            close_at: now.after(SMALL_UNIT_WAIT),
        }
    }

    /// Returns whether a unit may go out with or behind this block's: units of a track stay in order, so a droppable
    /// picture that waits for company leaves before the next reference, and a random-access point begins its block.
    fn may_take(&self, work: &Submission, record_bytes: usize, room: usize) -> bool {
        if self.draft.priority != work.priority {
            return self.tracks & track_bit(work) == 0;
        }
        let fits = self.draft.plain.len() + record_bytes <= room;
        fits && (self.draft.random_access || !work.random_access)
    }

    fn take_draft(&mut self) -> Draft {
        Draft { plain: std::mem::take(&mut self.draft.plain), ..self.draft }
    }
}

fn track_bit(work: &Submission) -> u32 {
    1 << (usize::from(work.unit.track.0) % TRACKS_MAX)
}

fn span(work: &Submission, plain_bytes_max: usize, out: &mut Vec<Draft>) {
    let mut head = Vec::with_capacity(RECORD_HEAD_BYTES_MAX);
    RecordWriter::new().put(&work.unit, &mut head);
    let payload = &work.unit.payload[..];
    let (first, others) = payload.split_at(payload.len().min(plain_bytes_max - head.len()));
    let draft = |plain, continues| Draft {
        priority: work.priority,
        continues,
        random_access: work.random_access && !continues,
        media_time: work.media_time,
        plain,
    };
    out.push(draft([&head, first].concat(), false));
    out.extend(others.chunks(plain_bytes_max).map(|part| draft(part.to_vec(), true)));
}

/// Why a verified block could not be turned into access units; its publisher is at fault, or not of this group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A shard could not be opened.
    #[error(transparent)]
    Open(#[from] VerifyError),
    /// A record could not be read.
    #[error(transparent)]
    Record(#[from] DecodeError),
    /// The block continues an access unit whose beginning is not there, or breaks one off.
    #[error("block does not continue the one before")]
    Sequence,
}

/// An access unit whose next block is still to come.
#[derive(Debug)]
struct Partial {
    record: Record,
    payload_at: usize,
    plain: Vec<u8>,
    next: BlockId,
}

/// Opens blocks in their order and joins their records to access units.
#[derive(Debug, Default)]
pub struct Joiner {
    partial: Option<Partial>,
}

impl Joiner {
    /// Opens a complete block that follows the last one and appends the access units that it completes. `shards`
    /// are its data shards in order.
    ///
    /// # Errors
    /// [`JoinError`] when the block holds no such thing; access units before the fault are kept.
    pub fn push<'a>(
        &mut self,
        keys: &EpochKeys,
        header: &BlockHeader,
        shards: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<AccessUnit>,
    ) -> Result<(), JoinError> {
        let begun = self.partial.take();
        if header.continues != begun.as_ref().is_some_and(|begun| begun.next == header.block) {
            return Err(JoinError::Sequence);
        }
        let (record, mut plain) = match begun {
            Some(begun) if header.continues => (Some((begun.record, begun.payload_at)), begun.plain),
            // A shard is opened where it is put: the last one needs room for its tag.
            _ => (None, Vec::with_capacity(usize::from(header.data) * SHARD_PLAIN_BYTES + TAG_BYTES)),
        };
        let mut opened = 0;
        for (index, shard) in (0..header.data).zip(shards) {
            keys.open(FragmentId { block: header.block, index }, shard, &mut plain)?;
            opened += 1;
        }
        if opened != header.data {
            return Err(JoinError::Sequence);
        }
        match record {
            Some((record, payload_at)) => self.go_on(header.block, record, payload_at, plain, out),
            None => self.read_records(header.block, plain, out),
        }
    }

    /// Returns whether an access unit was begun that the next block has to continue.
    pub fn is_begun(&self) -> bool {
        self.partial.is_some()
    }

    /// Forgets a begun access unit, since a block of it is lost. Returns whether there was one.
    pub fn reset(&mut self) -> bool {
        self.partial.take().is_some()
    }

    fn go_on(
        &mut self,
        block: BlockId,
        record: Record,
        payload_at: usize,
        plain: Vec<u8>,
        out: &mut Vec<AccessUnit>,
    ) -> Result<(), JoinError> {
        let end = payload_at + record.bytes;
        match plain.len().cmp(&end) {
            std::cmp::Ordering::Less => {
                self.partial = Some(Partial { record, payload_at, plain, next: block.next() });
            }
            std::cmp::Ordering::Equal => out.push(unit(record, Bytes::from(plain).slice(payload_at..end))),
            std::cmp::Ordering::Greater => return Err(JoinError::Sequence),
        }
        Ok(())
    }

    fn read_records(
        &mut self,
        block: BlockId,
        plain: Vec<u8>,
        out: &mut Vec<AccessUnit>,
    ) -> Result<(), JoinError> {
        let mut records = Vec::new();
        let mut reader = RecordReader::new(&plain);
        let mut outcome = Ok(());
        loop {
            match reader.read() {
                Ok(Some(read)) => records.push(read),
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(error.into());
                    break;
                }
            }
        }
        if let [(record, payload_at)] = records[..]
            && payload_at + record.bytes > plain.len()
        {
            return self.go_on(block, record, payload_at, plain, out);
        }
        let plain = Bytes::from(plain);
        for (record, at) in records {
            if at + record.bytes > plain.len() {
                return Err(JoinError::Sequence);
            }
            out.push(unit(record, plain.slice(at..at + record.bytes)));
        }
        outcome
    }
}

fn unit(record: Record, payload: Bytes) -> AccessUnit {
    AccessUnit {
        track: record.track,
        dts: record.dts,
        pts: record.pts,
        duration: record.duration,
        key: record.key,
        disposable: record.disposable,
        payload,
    }
}
