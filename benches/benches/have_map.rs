//! Isolates the have-map: the window's state to a datagram and back, 20 ms apart at its most frequent.

use std::hint::black_box;
use std::time::Duration;

use swarmcast_benches::{block, criterion, sealer};
use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::window::Window;
use swarmcast_core::wire::{Datagram, HaveMap};

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("have_map");
    let sealer = sealer();
    let mut window = Window::new(BlockId(0), 64 << 20, Duration::from_secs(8));
    for number in 0..400 {
        let sealed = block(&sealer, number, if number % 2 == 0 { 1 } else { 3 });
        window.insert_header(Now(0), sealed.header);
        let kept = if number % 7 == 5 { 1 } else { 3 };
        for fragment in sealed.fragments.into_iter().take(kept) {
            window.insert_fragment(Now(0), fragment);
        }
    }
    let mut map = HaveMap::default();
    window.describe(&mut map);
    let tag = sealer.keys().tag();
    let datagram = Datagram::encode_have(tag, &map);
    group.bench_function("describe_400_blocks", |bencher| {
        bencher.iter(|| {
            let mut map = HaveMap::default();
            window.describe(&mut map);
            map
        });
    });
    group.bench_function("encode", |bencher| bencher.iter(|| Datagram::encode_have(tag, black_box(&map))));
    group.bench_function("decode", |bencher| bencher.iter(|| Datagram::decode(black_box(&datagram))));
    group.finish();
    criterion.final_summary();
}
