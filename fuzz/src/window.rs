//! The window as a state machine: whatever comes in whatever order, it says what a plain model of it says.

mod model;

use std::sync::LazyLock;
use std::time::Duration;

use swarmcast_core::ids::{BlockId, Now, StreamTag};
use swarmcast_core::seal::{VerifiedFragment, VerifiedHeader};
use swarmcast_core::window::{Inserted, Window};
use swarmcast_core::wire::{Datagram, HaveMap};

use super::feed::Feed;
use super::path::blank_header;
use super::signed::FORGE;
use model::Model;

/// Where windows start.
const FIRST: u64 = 1000;
const STEPS_MAX: usize = 300;
/// Data, parity and bytes of the last shard's plaintext; a block of one shard travels in its header.
const SHAPES: [(usize, u8, usize); 8] =
    [(1, 0, 40), (2, 1, 9), (3, 2, 1008), (1, 0, 1), (5, 3, 500), (4, 0, 1), (2, 4, 1000), (9, 1, 2)];
/// A run of blocks, those around both ends of the largest window, and one far behind that.
const NUMBERS: [u64; 24] = [
    FIRST - 1,
    FIRST,
    FIRST + 1,
    FIRST + 2,
    FIRST + 3,
    FIRST + 4,
    FIRST + 5,
    FIRST + 6,
    FIRST + 7,
    FIRST + 8,
    FIRST + 9,
    FIRST + 10,
    FIRST + 11,
    FIRST + 12,
    FIRST + 13,
    FIRST + 14,
    FIRST + 63,
    FIRST + 1999,
    FIRST + 2000,
    FIRST + 2001,
    FIRST + 8190,
    FIRST + 8191,
    FIRST + 8192,
    FIRST + 20_000,
];

/// A block with all its fragments, data before parity.
struct Block {
    number: u64,
    header: VerifiedHeader,
    fragments: Vec<VerifiedFragment>,
}

/// Signatures are dear to make, so all cases are about the same blocks.
static BLOCKS: LazyLock<Vec<Block>> = LazyLock::new(|| {
    let seal = |(at, number): (usize, u64)| {
        let (data, parity, last) = SHAPES[at % SHAPES.len()];
        let mut header = blank_header(number);
        header.random_access = at % 4 == 0;
        let sealed = FORGE.sealer.seal(header, &vec![at as u8; (data - 1) * 1008 + last], parity);
        Block { number, header: sealed.header, fragments: sealed.fragments }
    };
    NUMBERS.into_iter().enumerate().map(seal).collect()
});

/// Any headers and fragments, limits and times.
pub fn window(data: &[u8]) {
    let mut feed = Feed::new(data);
    let shape = feed.u8();
    let bytes_max = [2_000, 12_000, 40_000, 1 << 20][usize::from(shape & 3)];
    let duration = Duration::from_millis(u64::from(feed.u8()));
    let mut window = Window::new(BlockId(FIRST), bytes_max, duration);
    let mut model = Model::new(shape & 4 != 0, bytes_max, duration);
    if shape & 4 != 0 {
        window.keep_parity();
    }
    let mut now = Now(0);
    for _ in 0..STEPS_MAX {
        if feed.is_dry() {
            break;
        }
        step(&mut feed, &mut now, &mut window, &mut model);
        check(&window, &model);
    }
}

fn step(feed: &mut Feed<'_>, now: &mut Now, window: &mut Window, model: &mut Model) {
    let draw = feed.u8();
    let at = usize::from(draw) % NUMBERS.len();
    let block = &BLOCKS[at];
    match feed.u8() {
        0..=79 => {
            assert_eq!(window.insert_header(*now, block.header.clone()), model.insert_header(*now, at));
        }
        which @ 80..=199 => {
            let index = usize::from(which) % block.fragments.len().max(1);
            let Some(fragment) = block.fragments.get(index) else { return };
            // A header comes first, as in a node: without it nothing verifies a fragment.
            let inserted = window.insert_fragment(*now, fragment.clone());
            assert_eq!(inserted, model.insert_fragment(*now, at, index));
        }
        200..=214 => {
            let recovered = window.recover(*now, BlockId(block.number));
            assert_eq!(recovered, Ok(model.recover(*now, at)));
        }
        215..=224 => {
            assert_eq!(window.expect(*now, BlockId(block.number)), model.expect(*now, block.number));
        }
        225..=239 => {
            window.trim(*now, BlockId(block.number));
            model.trim(*now, block.number);
        }
        240..=243 => {
            window.start_at(BlockId(block.number));
            model.start_at(block.number);
        }
        _ => *now = now.after(Duration::from_millis(u64::from(draw))),
    }
}

/// Everything that the window tells is what the model tells.
fn check(window: &Window, model: &Model) {
    assert_eq!((window.first().0, window.end().0), (model.first(), model.end()));
    assert_eq!(window.newest(), (model.end() > model.first()).then(|| BlockId(model.end() - 1)));
    assert_eq!(window.base().0, model.base());
    assert_eq!(window.bytes(), model.bytes());
    assert_eq!(window.newest_random_access().map(|block| block.0), model.newest_random_access());
    for (at, block) in BLOCKS.iter().enumerate() {
        let slot = window.slot(BlockId(block.number));
        let told = slot.map(|slot| (slot.word(), slot.missing(), slot.evident(), slot.touched()));
        assert_eq!(told, model.told(at));
        let Some(slot) = slot else { continue };
        assert_eq!(slot.is_complete(), slot.missing() == 0);
        assert_eq!(slot.is_recoverable(), model.is_recoverable(at));
        assert!(!slot.is_complete() || slot.shards().count() == usize::from(block.header.header().data));
        for (index, fragment) in (0..).zip(&block.fragments) {
            let held = slot.word() >> index & 1 == 1;
            assert_eq!(slot.datagram(Some(index)), held.then(|| fragment.datagram()));
        }
    }
    let mut map = HaveMap::default();
    window.describe(&mut map, BlockId(0));
    assert_eq!(map, model.have_map());
    let bytes = Datagram::encode_have(StreamTag([1; 4]), &map);
    assert_eq!(Datagram::decode(&bytes), Ok(Datagram::Have(map)));
    let holes: Vec<u64> = window.holes(BlockId(0)).map(|(block, _)| block.0).take(32).collect();
    assert_eq!(holes, model.holes(32));
}
