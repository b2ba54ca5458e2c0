//! The window: what its have-map tells.

use std::time::Duration;

use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::window::Window;
use swarmcast_core::wire::{HaveMap, Want};

use crate::material::{blank_header, sealer};

/// A window of blocks 0 to 9 of a shard and a half, of which those lack their shards that are named.
fn lacking(lacks: &[u64]) -> Window {
    let mut window = Window::new(BlockId(0), 64 << 20, Duration::from_secs(8));
    let sealer = sealer();
    for block in 0..10 {
        let sealed = sealer.seal(blank_header(block), &[1; 1_500], 0);
        window.insert_header(Now(0), sealed.header);
        for fragment in sealed.fragments.into_iter().filter(|_| !lacks.contains(&block)) {
            window.insert_fragment(Now(0), fragment);
        }
    }
    window
}

/// The first block held, the first that is not complete, and those that are in part.
fn told(window: &Window, wanted: u64) -> (u64, u64, Vec<u64>) {
    let mut map = HaveMap::default();
    window.describe(&mut map, BlockId(wanted));
    assert!(map.partial.iter().all(|(_, word)| *word == Want::HEADER));
    let partial = map.partial.iter().map(|(offset, _)| map.base.0 + u64::from(*offset)).collect();
    (map.oldest.0, map.base.0, partial)
}

#[test]
fn holes_that_are_given_up_are_not_told_of() {
    assert_eq!(told(&lacking(&[2, 3, 7]), 0), (0, 2, vec![2, 3, 7]));
    assert_eq!(told(&lacking(&[2, 3, 7]), 2), (0, 2, vec![2, 3, 7]), "they are still looked for");
    assert_eq!(told(&lacking(&[2, 3, 7]), 5), (5, 7, vec![7]));
    assert_eq!(told(&lacking(&[2, 3, 7]), 99), (10, 10, vec![]));
    assert_eq!(told(&lacking(&[]), 5), (0, 10, vec![]), "where nothing is missing all of it is held");
}
