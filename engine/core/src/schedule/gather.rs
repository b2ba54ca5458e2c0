//! Pulls that a publisher gathers for a moment: what many miss is multicast once instead of being sent to each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{BlockId, Now, PathId};

/// Time for which pulls are gathered: viewers notice the same loss within a few milliseconds of each other.
const GATHER: Duration = Duration::from_millis(8);
/// Neighbours that must miss a fragment before it is multicast again.
const MANY: u32 = 3;
/// Time in which what was multicast again reaches everybody: pulls that come meanwhile are answered by it.
const UNDER_WAY: Duration = Duration::from_millis(40);
/// Most blocks that are gathered for at a time.
const BLOCKS_MAX: usize = 512;

/// Pulls of one stream, by block and neighbour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gather {
    wanted: BTreeMap<BlockId, Vec<(PathId, u64)>>,
    repeated: BTreeMap<BlockId, (Now, u64)>,
    due: Option<Now>,
}

/// What becomes of gathered pulls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Parts to multicast again.
    pub(crate) repeat: Vec<(BlockId, u64)>,
    /// Parts to send to one neighbour.
    pub(crate) single: Vec<(PathId, BlockId, u64)>,
}

impl Gather {
    /// Takes a pull of parts that are held; returns those that must be served at once, since too much waits already.
    pub(crate) fn handle_pull(&mut self, now: Now, path: PathId, block: BlockId, word: u64) -> u64 {
        self.repeated.retain(|_, (at, _)| now.since(*at) < UNDER_WAY);
        let under_way = self.repeated.get(&block).map_or(0, |(_, word)| *word);
        let word = word & !under_way;
        if word == 0 {
            return 0;
        }
        if self.wanted.len() >= BLOCKS_MAX && !self.wanted.contains_key(&block) {
            return word;
        }
        self.due = self.due.or(Some(now.after(GATHER)));
        let wants = self.wanted.entry(block).or_default();
        match wants.iter_mut().find(|(wanting, _)| *wanting == path) {
            Some((_, wanted)) => *wanted |= word,
            None => wants.push((path, word)),
        }
        0
    }

    /// Returns when gathered pulls are to be served.
    pub(crate) fn next_timeout(&self) -> Option<Now> {
        self.due
    }

    /// Serves what was gathered: what three or more miss goes to all.
    pub(crate) fn serve(&mut self, now: Now) -> Served {
        let mut served = Served::default();
        if self.due.is_none_or(|due| due > now) {
            return served;
        }
        self.due = None;
        for (block, wants) in std::mem::take(&mut self.wanted) {
            let misses = |bit: u32| wants.iter().filter(|(_, word)| word >> bit & 1 == 1).count() as u32;
            let many = (0..64).filter(|bit| misses(*bit) >= MANY).fold(0, |word, bit| word | 1 << bit);
            if many != 0 {
                self.repeated.insert(block, (now, many));
                served.repeat.push((block, many));
            }
            let single = wants.into_iter().map(|(path, word)| (path, block, word & !many));
            served.single.extend(single.filter(|(.., word)| *word != 0));
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockId = BlockId(5);

    #[test]
    fn what_three_miss_goes_to_all_and_the_rest_to_each() {
        let mut gather = Gather::default();
        for (path, word) in [(1, 0b011), (2, 0b001), (3, 0b001), (2, 0b100)] {
            assert_eq!(gather.handle_pull(Now(0), PathId(path), BLOCK, word), 0);
        }
        assert_eq!(gather.serve(Now(7_999)), Served::default());
        let served = gather.serve(Now(8_000));
        assert_eq!(served.repeat, [(BLOCK, 0b001)]);
        assert_eq!(served.single, [(PathId(1), BLOCK, 0b010), (PathId(2), BLOCK, 0b100)]);
        assert_eq!(gather.next_timeout(), None);
    }

    #[test]
    fn a_pull_that_crossed_the_repetition_is_answered_by_it() {
        let mut gather = Gather::default();
        (1..4).for_each(|path| assert_eq!(gather.handle_pull(Now(0), PathId(path), BLOCK, 1), 0));
        gather.serve(Now(8_000));
        gather.handle_pull(Now(20_000), PathId(4), BLOCK, 1);
        assert_eq!(gather.next_timeout(), None);
        gather.handle_pull(Now(48_000), PathId(4), BLOCK, 1);
        assert_eq!(gather.serve(Now(60_000)).single, [(PathId(4), BLOCK, 1)]);
    }

    #[test]
    fn pulls_past_the_limit_are_not_kept() {
        let mut gather = Gather::default();
        (0..BLOCKS_MAX as u64)
            .for_each(|n| assert_eq!(gather.handle_pull(Now(0), PathId(1), BlockId(n), 1), 0));
        assert_eq!(gather.handle_pull(Now(0), PathId(1), BlockId(9_999), 0b11), 0b11);
    }
}
