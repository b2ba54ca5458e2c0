//! Copies an input to an output: `remux INPUT OUTPUT [paced]`, where `-` is stdin or stdout.

use std::error::Error;

use swarmcast_media::{Sink, SinkConfig, Source, SourceConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (input, output, paced) = match &arguments[..] {
        [input, output] => (input, output, false),
        [input, output, word] if word == "paced" => (input, output, true),
        _ => return Err("usage: remux INPUT OUTPUT [paced]".into()),
    };
    let mut source = Source::open(SourceConfig { paced, ..SourceConfig::new(input) })?;
    let mut sink = Sink::open(SinkConfig::new(output), source.tracks())?;
    while let Some(unit) = source.next()? {
        sink.write(&unit)?;
    }
    let counts = sink.finish()?;
    eprintln!("{} access units, {} bytes", counts.access_units, counts.bytes);
    for track in source.tracks() {
        if let Some(delay) = source.capture_delay(track.id) {
            eprintln!("{} from capture to encoded: p50 {:?}, p95 {:?}", track.codec, delay.p50, delay.p95);
        }
    }
    Ok(())
}
