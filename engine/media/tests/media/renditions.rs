//! One source in several qualities: decoded once, with key pictures at the same times.

use swarmcast_core::catalogue::{AccessUnit, Track, TrackKind};
use swarmcast_media::{
    CodecParameters, RenditionConfig, Sink, SinkConfig, Source, SourceConfig, SourceError,
};

use crate::clips::{clip, decode, directory, path};

fn open(input: &str, looped: bool) -> Result<Source, SourceError> {
    let rendition =
        |width, height, bitrate| RenditionConfig { size: Some((width, height)), bitrate: Some(bitrate) };
    let renditions = vec![rendition(640, 360, 800_000), rendition(320, 240, 200_000)];
    Source::open(SourceConfig { looped, paced: false, renditions, ..SourceConfig::new(input) })
}

fn read(source: &mut Source, units: usize) -> Vec<AccessUnit> {
    (0..units).map_while(|_| source.next().expect("readable")).collect()
}

fn pts(units: &[AccessUnit], track: &Track, keys: bool) -> Vec<i64> {
    units.iter().filter(|unit| unit.track == track.id && (unit.key || !keys)).map(|unit| unit.pts).collect()
}

#[test]
fn a_coded_file_is_decoded_once_and_encoded_in_each_quality() {
    let mut source = open(&clip(), false).expect("a clip");
    let tracks = source.tracks().to_vec();
    let [high, low, sound] = &tracks[..] else { panic!("three tracks: {tracks:?}") };
    assert_eq!(source.renditions(), [high.id, low.id]);
    let sizes = [high, low].map(|track| {
        let parameters = CodecParameters::decode(&track.parameters).expect("whole");
        (parameters.width, parameters.height, parameters.sample_aspect_ratio)
    });
    assert_eq!(sizes[0], (640, 360, (1, 1)));
    assert_eq!(sizes[1], (320, 240, (4, 3)), "16:9 stays 16:9");
    assert_eq!((high.bitrate, low.bitrate, sound.kind), (800_000, 200_000, TrackKind::Audio));

    let units = read(&mut source, usize::MAX);
    assert_eq!(pts(&units, high, false).len(), 250, "to the last picture that a decoder holds back");
    assert_eq!(pts(&units, high, false), pts(&units, low, false));
    let keys = pts(&units, high, true);
    assert_eq!((keys.len(), &keys), (10, &pts(&units, low, true)));

    let mut whole = Source::open(SourceConfig { paced: false, ..SourceConfig::new(clip()) }).expect("a clip");
    let original = read(&mut whole, usize::MAX);
    let heard = |units: &[AccessUnit], track: &Track| {
        let of = units.iter().filter(|unit| unit.track == track.id);
        of.map(|unit| (unit.pts, unit.payload.clone())).collect::<Vec<_>>()
    };
    assert_eq!(heard(&units, sound), heard(&original, &whole.tracks()[1]), "sound passes through, once");

    let directory = directory();
    for track in [high, low] {
        let file = path(&directory, &format!("{}.mkv", track.id.0));
        let mut sink = Sink::open(SinkConfig::new(&file), std::slice::from_ref(track)).expect("an output");
        units
            .iter()
            .filter(|unit| unit.track == track.id)
            .for_each(|unit| sink.write(unit).expect("writable"));
        sink.finish().expect("completed");
        assert_eq!(decode(&file).0, 250);
    }
}

#[test]
fn key_pictures_stay_together_over_loops() {
    let mut source = open(&clip(), true).expect("a clip");
    let tracks = source.tracks().to_vec();
    let units = read(&mut source, 2_400);
    let keys = tracks[..2].iter().map(|track| pts(&units, track, true)).collect::<Vec<_>>();
    let shorter = keys[0].len().min(keys[1].len());
    assert!(shorter > 20 && keys[0][..shorter] == keys[1][..shorter], "{keys:?}");
    let rises =
        |keys: &[i64]| keys.windows(2).all(|pair| (500_000..=1_100_000).contains(&(pair[1] - pair[0])));
    assert!(rises(&keys[0]), "{keys:?}");
}

#[test]
fn sound_alone_has_no_renditions() {
    let error = open("lavfi:sine=duration=1", false).err();
    assert!(matches!(error, Some(SourceError::NoPictures { .. })), "{error:?}");
}
