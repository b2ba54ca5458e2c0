//! ffmpeg's side alone: the sample clip demuxed to access units, and those muxed again to Matroska on /dev/null, with
//! no pace, codec or network. Bytes are those of the access units.

use std::path::Path;

use criterion::Throughput;
use swarmcast_benches::criterion;
use swarmcast_core::catalogue::{AccessUnit, Track};
use swarmcast_media::{Sink, SinkConfig, Source, SourceConfig};

fn demuxed(clip: &str) -> (Vec<Track>, Vec<AccessUnit>) {
    let config = SourceConfig { paced: false, ..SourceConfig::new(clip) };
    let mut source = Source::open(config).expect("the clip can be read");
    let units = std::iter::from_fn(|| source.next().expect("the clip is whole")).collect();
    (source.tracks().to_vec(), units)
}

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("media");
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/clip.mkv");
    let clip = clip.to_str().expect("a path in UTF-8");
    let (tracks, units) = demuxed(clip);
    let bytes: usize = units.iter().map(|unit| unit.payload.len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("demux", |bencher| bencher.iter(|| demuxed(clip).1.len()));
    group.bench_function("mux", |bencher| {
        bencher.iter(|| {
            let config = SinkConfig { format: Some("matroska".to_owned()), ..SinkConfig::new("/dev/null") };
            let mut sink = Sink::open(config, &tracks).expect("every track is taken");
            units.iter().for_each(|unit| sink.write(unit).expect("it takes all"));
            sink.finish().expect("it takes all").bytes
        });
    });
    group.finish();
    criterion.final_summary();
}
