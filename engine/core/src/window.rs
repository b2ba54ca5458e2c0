//! The window: verified fragments of one stream, its have-map, and what is missing in it.
//!
//! A block is complete once its header and its data shards are held. Parity shards are kept as long as they may give
//! back a data shard that is missing; a complete block drops them, since whoever holds the data never needs them again
//! and neighbours ask for data only. The publisher keeps them: it sends them from here.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{BlockId, Now};
use crate::parity;
use crate::seal::{VerifiedFragment, VerifiedHeader, VerifyError};
use crate::wire::{HAVE_BLOCKS_MAX, HaveMap, PARTIALS_MAX, Want};

/// Most blocks a window spans: 8 s at 250 blocks a second, four times over.
pub const WINDOW_BLOCKS_MAX: usize = 8192;

/// What a slot costs beside its datagrams: shards' handles and the header's leaves.
const SLOT_BYTES: usize = 256;

/// What became of something that was put into the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was missing and is held from here on.
    New,
    /// It was there already.
    Duplicate,
    /// Its block has left the window, or lies before its start.
    Old,
    /// It lies too far ahead.
    Ahead,
    /// It is parity of a block that is complete without it.
    Spare,
}

/// One block's place in the window.
#[derive(Clone, Debug)]
pub struct Slot {
    header: Option<VerifiedHeader>,
    shards: Vec<Option<VerifiedFragment>>,
    word: u64,
    /// Whether parity gave back something that the header does not name: the publisher signed nonsense.
    unsound: bool,
    evident: Now,
    touched: Now,
}

impl Slot {
    fn new(now: Now) -> Self {
        Self { header: None, shards: Vec::new(), word: 0, unsound: false, evident: now, touched: now }
    }

    /// Returns the header once it is held.
    pub fn header(&self) -> Option<&VerifiedHeader> {
        self.header.as_ref()
    }

    /// Returns the have-map word: a bit for each shard held, parity behind data, and [`Want::HEADER`].
    pub fn word(&self) -> u64 {
        self.word
    }

    /// Returns when it was first known that the block exists.
    pub fn evident(&self) -> Now {
        self.evident
    }

    /// Returns when something of the block last arrived, or became evident.
    pub fn touched(&self) -> Now {
        self.touched
    }

    /// Returns the bits that are missing: the header alone as long as it is, since only what a header names is wanted,
    /// and data shards from then on; parity is never missed.
    pub fn missing(&self) -> u64 {
        match &self.header {
            None => Want::HEADER,
            Some(header) => header.header().data_word() & !self.word,
        }
    }

    /// Returns whether data is missing that the shards held give back.
    pub fn is_recoverable(&self) -> bool {
        let Some(header) = &self.header else { return false };
        let held = (self.word & Want::SHARDS).count_ones();
        !self.unsound && !self.is_complete() && held >= u32::from(header.header().data)
    }

    /// Returns whether header and all data shards are held.
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// Returns the sealed data shards in order; fewer than there are when the block is not complete.
    pub fn shards(&self) -> impl Iterator<Item = &[u8]> {
        let inline = self.header.as_ref().and_then(VerifiedHeader::inline_shard);
        inline.into_iter().chain(self.data_shards().iter().flatten().map(VerifiedFragment::shard))
    }

    /// Returns the datagram of a shard, or of the header for `None`.
    pub fn datagram(&self, index: Option<u8>) -> Option<&Bytes> {
        match index {
            None => self.header.as_ref().map(VerifiedHeader::datagram),
            Some(index) => self.shards.get(usize::from(index))?.as_ref().map(VerifiedFragment::datagram),
        }
    }

    fn data_shards(&self) -> &[Option<VerifiedFragment>] {
        let data = self.header.as_ref().map_or(0, |header| usize::from(header.header().data));
        self.shards.get(..data).unwrap_or_default()
    }

    /// Computes the data shards that are missing.
    fn recover(&self) -> Result<Vec<VerifiedFragment>, VerifyError> {
        let Some(header) = self.header.as_ref().filter(|_| self.is_recoverable()) else {
            return Ok(Vec::new());
        };
        let held: Vec<_> =
            self.shards.iter().map(|shard| shard.as_ref().map(VerifiedFragment::shard)).collect();
        let (data, parity) = held.split_at(self.data_shards().len());
        // Fails only when too few are held.
        let made = parity::recover(data, parity).unwrap_or_default();
        made.iter().map(|(index, shard)| header.rebuild(*index, shard)).collect()
    }

    /// Returns whether a shard is parity that nothing needs.
    fn is_spare(&self, index: u8) -> bool {
        usize::from(index) >= self.data_shards().len() && (self.unsound || self.is_complete())
    }

    /// Puts a fragment into its place.
    fn put(&mut self, fragment: VerifiedFragment) {
        let index = fragment.id().index;
        if let Some(place) = self.shards.get_mut(usize::from(index)) {
            *place = Some(fragment);
            self.word |= 1 << index;
        }
    }

    /// Drops the parity shards; returns the bytes that are free from here on.
    fn drop_parity(&mut self) -> usize {
        let Some(header) = &self.header else { return 0 };
        self.word &= header.header().data_word() | Want::HEADER;
        let parity = self.shards.get_mut(usize::from(header.header().data)..).unwrap_or_default();
        parity.iter_mut().filter_map(Option::take).map(|shard| shard.datagram().len()).sum()
    }

    fn bytes(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |header| header.datagram().len());
        header + self.shards.iter().flatten().map(|shard| shard.datagram().len()).sum::<usize>() + SLOT_BYTES
    }
}

/// Verified fragments from the oldest block still of use to the newest known.
#[derive(Clone, Debug)]
pub struct Window {
    first: BlockId,
    slots: VecDeque<Slot>,
    /// Blocks from `first` on that are complete without a hole.
    complete: usize,
    bytes: usize,
    bytes_max: usize,
    duration: Duration,
    keeps_parity: bool,
    newest_random_access: Option<BlockId>,
}

impl Window {
    /// Makes an empty window that begins at `first`.
    pub fn new(first: BlockId, bytes_max: usize, duration: Duration) -> Self {
        Self {
            first,
            slots: VecDeque::new(),
            complete: 0,
            bytes: 0,
            bytes_max,
            duration,
            keeps_parity: false,
            newest_random_access: None,
        }
    }

    /// Keeps the parity of complete blocks, as the publisher does, for as long as their data.
    pub fn keep_parity(&mut self) {
        self.keeps_parity = true;
    }

    /// Moves the start of a window; what lies before is dropped, as is everything when `first` lies behind the end.
    pub fn start_at(&mut self, first: BlockId) {
        while self.first < first && self.drop_oldest() {}
        if self.slots.is_empty() {
            self.first = first;
        }
    }

    /// Returns the oldest block that may be held.
    pub fn first(&self) -> BlockId {
        self.first
    }

    /// Returns the block behind the newest known.
    pub fn end(&self) -> BlockId {
        BlockId(self.first.0 + self.slots.len() as u64)
    }

    /// Returns the newest block known to exist.
    pub fn newest(&self) -> Option<BlockId> {
        if self.slots.is_empty() { None } else { Some(BlockId(self.end().0 - 1)) }
    }

    /// Returns the first block that is not complete.
    pub fn base(&self) -> BlockId {
        BlockId(self.first.0 + self.complete as u64)
    }

    /// Returns the bytes pinned.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the newest block held that begins with a random-access point.
    pub fn newest_random_access(&self) -> Option<BlockId> {
        self.newest_random_access
    }

    /// Returns a block's place.
    pub fn slot(&self, block: BlockId) -> Option<&Slot> {
        self.slots.get(self.index(block)?)
    }

    /// Takes note that blocks up to `newest` exist.
    pub fn expect(&mut self, now: Now, newest: BlockId) -> Inserted {
        if newest < self.first {
            return Inserted::Old;
        }
        let count = newest.0 - self.first.0 + 1;
        if count > WINDOW_BLOCKS_MAX as u64 {
            return Inserted::Ahead;
        }
        while (self.slots.len() as u64) < count {
            self.slots.push_back(Slot::new(now));
            self.bytes += SLOT_BYTES;
        }
        Inserted::New
    }

    /// Takes a verified header, and its inline shard with it.
    pub fn insert_header(&mut self, now: Now, header: VerifiedHeader) -> Inserted {
        let (block, random_access) = (header.header().block, header.header().random_access);
        match self.expect(now, block) {
            Inserted::New => {}
            refused => return refused,
        }
        let Some(index) = self.index(block) else { return Inserted::Old };
        let slot = &mut self.slots[index];
        if slot.header.is_some() {
            return Inserted::Duplicate;
        }
        self.bytes += header.datagram().len();
        slot.word |= Want::HEADER;
        if header.header().is_inline() {
            slot.word |= 1;
        } else {
            slot.shards = vec![None; usize::from(header.header().shards())];
        }
        slot.touched = now;
        slot.header = Some(header);
        if random_access {
            self.newest_random_access = self.newest_random_access.max(Some(block));
        }
        self.advance();
        Inserted::New
    }

    /// Takes a fragment that its block's header verified. Data may be recoverable then: see [`Window::recover`].
    pub fn insert_fragment(&mut self, now: Now, fragment: VerifiedFragment) -> Inserted {
        let id = fragment.id();
        let Some(index) = self.index(id.block) else { return Inserted::Old };
        let slot = &mut self.slots[index];
        let Some(place) = slot.shards.get_mut(usize::from(id.index)) else { return Inserted::Old };
        if place.is_some() {
            return Inserted::Duplicate;
        }
        if !self.keeps_parity && slot.is_spare(id.index) {
            return Inserted::Spare;
        }
        self.bytes += fragment.datagram().len();
        slot.put(fragment);
        slot.touched = now;
        self.settle(index);
        Inserted::New
    }

    /// Computes the data shards of a block that are missing, as soon as any `data` of its shards are held, and puts
    /// them into their places; returns their bits of the word, 0 when there was nothing to do or too little to do
    /// it with. The shards are the publisher's own bytes, verified like those that arrive.
    ///
    /// # Errors
    /// [`VerifyError::Leaf`] when the publisher signed parity that is none: the block keeps what it has of data,
    /// and its parity is refused from then on.
    pub fn recover(&mut self, now: Now, block: BlockId) -> Result<u64, VerifyError> {
        let Some(index) = self.index(block) else { return Ok(0) };
        let slot = &mut self.slots[index];
        let recovered = slot.recover().inspect_err(|_| slot.unsound = true);
        let mut word = 0;
        for fragment in recovered.iter().flatten() {
            word |= 1 << fragment.id().index;
            self.bytes += fragment.datagram().len();
            slot.put(fragment.clone());
            slot.touched = now;
        }
        self.settle(index);
        recovered.map(|_| word)
    }

    /// Drops blocks that nobody needs: older than the window's duration and than the newest random-access point, and
    /// whatever is oldest while the memory limit is passed. Blocks from `keep` on go only for the memory limit.
    pub fn trim(&mut self, now: Now, keep: BlockId) {
        let keep = keep.min(self.newest_random_access().unwrap_or(keep));
        while self.bytes > self.bytes_max && self.drop_oldest() {}
        while self.first < keep
            && self.slots.front().is_some_and(|slot| now.since(slot.evident) > self.duration)
        {
            self.drop_oldest();
        }
    }

    /// Returns the blocks of a range that are not complete, oldest first.
    pub fn holes(&self, from: BlockId) -> impl Iterator<Item = (BlockId, &Slot)> {
        let skip = from.max(self.base()).0 - self.first.0;
        let numbered = self.slots.iter().enumerate().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        numbered
            .filter(|(_, slot)| !slot.is_complete())
            .map(|(at, slot)| (BlockId(self.first.0 + at as u64), slot))
    }

    /// Fills in the have-map's description of this window. Where something is missing before `wanted`, which is not
    /// looked for any longer, only what lies behind is told of: else each hole would be told until it leaves.
    pub fn describe(&self, map: &mut HaveMap, wanted: BlockId) {
        let gone = wanted.min(self.end()).0.saturating_sub(self.first.0) as usize;
        let oldest = if self.complete < gone { gone } else { 0 };
        let rest = self.slots.iter().skip(oldest.max(self.complete));
        let complete = oldest.max(self.complete) + rest.take_while(|slot| slot.is_complete()).count();
        map.oldest = BlockId(self.first.0 + oldest as u64);
        map.base = BlockId(self.first.0 + complete as u64);
        let behind = self.slots.iter().skip(complete).take(HAVE_BLOCKS_MAX).enumerate();
        for (offset, slot) in behind {
            if slot.is_complete() {
                map.complete.resize(offset / 8 + 1, 0);
                map.complete[offset / 8] |= 1 << (offset % 8);
            } else if slot.word != 0 && map.partial.len() < PARTIALS_MAX {
                map.partial.push((offset as u16, slot.word));
            }
        }
    }

    fn index(&self, block: BlockId) -> Option<usize> {
        let index = usize::try_from(block.0.checked_sub(self.first.0)?).ok()?;
        if index < self.slots.len() { Some(index) } else { None }
    }

    /// Draws the conclusions of what a block holds.
    fn settle(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if !self.keeps_parity && (slot.unsound || slot.is_complete()) {
            self.bytes -= slot.drop_parity();
        }
        self.advance();
    }

    fn advance(&mut self) {
        while self.slots.get(self.complete).is_some_and(Slot::is_complete) {
            self.complete += 1;
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(slot) = self.slots.pop_front() else { return false };
        self.bytes -= slot.bytes();
        // All others were older: an empty window may start over at a smaller number.
        self.newest_random_access = self.newest_random_access.filter(|block| *block != self.first);
        self.first = self.first.next();
        self.complete = self.complete.saturating_sub(1);
        self.advance();
        true
    }
}
