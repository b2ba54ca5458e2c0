//! What a window holds, written a second time and as plainly as can be.

use std::collections::VecDeque;
use std::time::Duration;

use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::window::WINDOW_BLOCKS_MAX;
use swarmcast_core::wire::{HAVE_BLOCKS_MAX, HaveMap, Want};

use super::{BLOCKS, Block, FIRST, Inserted, NUMBERS};

/// What the window counts for a block beside its datagrams.
const SLOT_BYTES: usize = 256;

/// What is held of one of the blocks: a bit for each fragment.
#[derive(Clone, Copy, Default)]
struct Held {
    header: bool,
    fragments: u64,
    touched: Option<Now>,
}

/// Blocks that are known, of most of which nothing can be held.
pub(super) struct Model {
    first: u64,
    /// When each block from the first on became evident.
    evident: VecDeque<Now>,
    held: [Held; NUMBERS.len()],
    keeps_parity: bool,
    bytes_max: usize,
    duration: Duration,
}

impl Block {
    /// Bits of the data shards.
    fn data(&self) -> u64 {
        (1 << self.header.header().data) - 1
    }
}

impl Model {
    pub(super) fn new(keeps_parity: bool, bytes_max: usize, duration: Duration) -> Self {
        let held = [Held::default(); NUMBERS.len()];
        Self { first: FIRST, evident: VecDeque::new(), held, keeps_parity, bytes_max, duration }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.evident.len() as u64
    }

    fn is_known(&self, number: u64) -> bool {
        (self.first..self.end()).contains(&number)
    }

    pub(super) fn expect(&mut self, now: Now, newest: u64) -> Inserted {
        if newest < self.first {
            return Inserted::Old;
        }
        if newest >= self.first + WINDOW_BLOCKS_MAX as u64 {
            return Inserted::Ahead;
        }
        while self.end() <= newest {
            self.evident.push_back(now);
        }
        Inserted::New
    }

    pub(super) fn insert_header(&mut self, now: Now, at: usize) -> Inserted {
        match self.expect(now, BLOCKS[at].number) {
            Inserted::New if self.held[at].header => Inserted::Duplicate,
            Inserted::New => {
                self.held[at].header = true;
                self.held[at].touched = Some(now);
                Inserted::New
            }
            refused => refused,
        }
    }

    pub(super) fn insert_fragment(&mut self, now: Now, at: usize, index: usize) -> Inserted {
        let (block, held) = (&BLOCKS[at], self.held[at]);
        if !self.is_known(block.number) || !held.header {
            return Inserted::Old;
        }
        if held.fragments >> index & 1 == 1 {
            return Inserted::Duplicate;
        }
        let is_parity = index >= usize::from(block.header.header().data);
        if is_parity && self.is_complete(at) && !self.keeps_parity {
            return Inserted::Spare;
        }
        self.held[at].fragments |= 1 << index;
        self.held[at].touched = Some(now);
        self.drop_parity(at);
        Inserted::New
    }

    pub(super) fn recover(&mut self, now: Now, at: usize) -> u64 {
        if !self.is_recoverable(at) {
            return 0;
        }
        let missing = BLOCKS[at].data() & !self.held[at].fragments;
        self.held[at].fragments |= missing;
        self.held[at].touched = Some(now);
        self.drop_parity(at);
        missing
    }

    fn drop_parity(&mut self, at: usize) {
        if self.is_complete(at) && !self.keeps_parity {
            self.held[at].fragments &= BLOCKS[at].data();
        }
    }

    pub(super) fn trim(&mut self, now: Now, keep: u64) {
        let keep = keep.min(self.newest_random_access().unwrap_or(keep));
        while self.bytes() > self.bytes_max {
            self.drop_oldest();
        }
        while self.first < keep && self.evident.front().is_some_and(|at| now.since(*at) > self.duration) {
            self.drop_oldest();
        }
    }

    pub(super) fn start_at(&mut self, first: u64) {
        while self.first < first && !self.evident.is_empty() {
            self.drop_oldest();
        }
        if self.evident.is_empty() {
            self.first = first;
        }
    }

    fn drop_oldest(&mut self) {
        self.evident.pop_front();
        if let Some(at) = NUMBERS.iter().position(|number| *number == self.first) {
            self.held[at] = Held::default();
        }
        self.first += 1;
    }

    pub(super) fn is_recoverable(&self, at: usize) -> bool {
        let held = self.held[at];
        let enough = held.fragments.count_ones() >= u32::from(BLOCKS[at].header.header().data);
        held.header && enough && !self.is_complete(at)
    }

    fn is_complete(&self, at: usize) -> bool {
        let missing = BLOCKS[at].data() & !self.held[at].fragments;
        self.held[at].header && (missing == 0 || BLOCKS[at].fragments.is_empty())
    }

    /// The have-map word of one of the blocks.
    fn word(&self, at: usize) -> u64 {
        let held = self.held[at];
        let inline = u64::from(held.header && BLOCKS[at].fragments.is_empty());
        held.fragments | inline | if held.header { Want::HEADER } else { 0 }
    }

    /// Word, what is missing, and both times of one of the blocks.
    pub(super) fn told(&self, at: usize) -> Option<(u64, u64, Now, Now)> {
        let number = BLOCKS[at].number;
        if !self.is_known(number) {
            return None;
        }
        let evident = self.evident[(number - self.first) as usize];
        let missing = match self.held[at].header {
            true => BLOCKS[at].data() & !self.word(at),
            false => Want::HEADER,
        };
        Some((self.word(at), missing, evident, self.held[at].touched.unwrap_or(evident)))
    }

    pub(super) fn bytes(&self) -> usize {
        let of_block = |(block, held): (&Block, &Held)| {
            let header = if held.header { block.header.datagram().len() } else { 0 };
            let fragments = block.fragments.iter().enumerate();
            let held = fragments.filter(|(index, _)| held.fragments >> index & 1 == 1);
            header + held.map(|(_, fragment)| fragment.datagram().len()).sum::<usize>()
        };
        self.evident.len() * SLOT_BYTES + BLOCKS.iter().zip(&self.held).map(of_block).sum::<usize>()
    }

    /// The first number whose block is not complete.
    pub(super) fn base(&self) -> u64 {
        let complete = |number: &u64| self.at(*number).is_some_and(|at| self.is_complete(at));
        (self.first..).find(|number| !complete(number)).unwrap_or(self.first)
    }

    fn at(&self, number: u64) -> Option<usize> {
        NUMBERS.iter().position(|other| *other == number)
    }

    pub(super) fn newest_random_access(&self) -> Option<u64> {
        let points = (0..NUMBERS.len()).filter(|at| self.held[*at].header && at % 4 == 0);
        points.map(|at| NUMBERS[at]).max()
    }

    pub(super) fn have_map(&self) -> HaveMap {
        let base = self.base();
        let (oldest, base_block) = (BlockId(self.first), BlockId(base));
        let mut map = HaveMap { oldest, base: base_block, ..HaveMap::default() };
        for (at, number) in NUMBERS.into_iter().enumerate() {
            if !(base..base + HAVE_BLOCKS_MAX as u64).contains(&number) || !self.held[at].header {
                continue;
            }
            let offset = (number - base) as usize;
            if self.is_complete(at) {
                map.complete.resize(offset / 8 + 1, 0);
                map.complete[offset / 8] |= 1 << (offset % 8);
            } else {
                map.partial.push((offset as u16, self.word(at)));
            }
        }
        map
    }

    /// The first so many blocks that are known and not complete.
    pub(super) fn holes(&self, count: usize) -> Vec<u64> {
        let complete = |number: &u64| self.at(*number).is_some_and(|at| self.is_complete(at));
        (self.first..self.end()).filter(|number| !complete(number)).take(count).collect()
    }
}
