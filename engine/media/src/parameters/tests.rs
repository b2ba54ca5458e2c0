use proptest::prelude::*;

use super::*;

fn sample() -> CodecParameters {
    CodecParameters {
        codec: "h264".to_owned(),
        tag: 0x3163_7661,
        extradata: vec![1, 77, 0, 30],
        format: "yuv420p".to_owned(),
        bit_rate: 8_000_000,
        profile: 77,
        level: 30,
        width: 1280,
        height: 720,
        sample_aspect_ratio: (1, 1),
        video_delay: 2,
        frame_rate: (25, 1),
        display_matrix: Some([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]),
        channels: 2,
        channel_mask: 3,
        sample_rate: 48_000,
        language: "eng".to_owned(),
        disposition: 1,
        ..CodecParameters::default()
    }
}

#[test]
fn every_field_survives() {
    let parameters = sample();
    assert_eq!(CodecParameters::decode(&parameters.encode().unwrap()), Ok(parameters));
}

#[test]
fn every_cut_is_an_error() {
    let whole = sample().encode().unwrap();
    for length in 0..whole.len() {
        assert_eq!(
            CodecParameters::decode(&whole[..length]),
            Err(ParametersError::Truncated),
            "{length} bytes"
        );
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(CodecParameters::decode(&longer), Err(ParametersError::TooLong));
    assert_eq!(CodecParameters::decode(&[0; PARAMETERS_BYTES_MAX + 1]), Err(ParametersError::TooLong));
    assert_eq!(CodecParameters::decode(&[2]), Err(ParametersError::Version(2)));
}

#[test]
fn values_that_overflow_in_ffmpeg_are_refused() {
    let delayed = CodecParameters { video_delay: 17, ..sample() };
    assert_eq!(delayed.encode(), Err(ParametersError::Field("reordering delay")));
    let divided = CodecParameters { frame_rate: (25, 0), ..sample() };
    assert_eq!(divided.encode(), Err(ParametersError::Field("ratio")));
    let layout = CodecParameters { channels: 3, ..sample() };
    assert_eq!(layout.encode(), Err(ParametersError::Field("channel layout")));
    let large = CodecParameters { extradata: vec![0; EXTRADATA_BYTES_MAX + 1], ..sample() };
    assert_eq!(large.encode(), Err(ParametersError::ExtradataTooLong(EXTRADATA_BYTES_MAX + 1)));
}

#[test]
fn the_largest_fits_a_track() {
    let name = "x".repeat(NAME_BYTES_MAX);
    let largest = CodecParameters {
        codec: name.clone(),
        format: name.clone(),
        language: name,
        extradata: vec![7; EXTRADATA_BYTES_MAX],
        ..sample()
    };
    assert!(largest.encode().unwrap().len() <= PARAMETERS_BYTES_MAX);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = CodecParameters::decode(&bytes);
    }

    #[test]
    fn what_decodes_encodes_alike(at in 0_usize..160, value: u8) {
        let mut bytes = sample().encode().unwrap();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        if let Ok(parameters) = CodecParameters::decode(&bytes) {
            prop_assert_eq!(parameters.encode().unwrap(), bytes);
        }
    }
}

#[test]
fn what_was_fuzzed_is_decoded_or_refused() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/parameters");
    let cases = std::fs::read_dir(corpus).unwrap().map(|case| std::fs::read(case.unwrap().path()).unwrap());
    let decoded: Vec<_> = cases.map(|case| CodecParameters::decode(&case)).collect();
    assert!(decoded.len() >= 8 && decoded.iter().flatten().count() >= 2, "{decoded:?}");
    for parameters in decoded.into_iter().flatten() {
        assert_eq!(CodecParameters::decode(&parameters.encode().unwrap()), Ok(parameters));
    }
}
