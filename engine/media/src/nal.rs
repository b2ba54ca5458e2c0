//! Tells from the NAL units of H.264 and HEVC whether anything refers to an access unit.
//!
//! Containers seldom say so. Everything here is total: whatever cannot be understood counts as referred to.

/// How NAL units are told apart in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Start codes, as in MPEG-TS (H.264 annex B).
    StartCodes,
    /// A big-endian length of that many bytes, 1 to 4, before each unit, as in MP4 and Matroska.
    Lengths(usize),
}

/// Judges access units of one H.264 or HEVC track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disposability {
    codec: Codec,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    H264,
    /// With the highest temporal sub-layer, 0 to 6, where the codec data tells it.
    Hevc(Option<u8>),
}

impl Disposability {
    /// Makes a judge from the codec's name and codec data; none for other codecs.
    pub(crate) fn new(codec: &str, extradata: &[u8]) -> Option<Self> {
        let lengths = extradata.first() == Some(&1);
        let framing = |at: usize| match extradata.get(at) {
            Some(byte) if lengths => Framing::Lengths(usize::from(byte & 3) + 1),
            _ => Framing::StartCodes,
        };
        match codec {
            // avcC: byte 4 holds lengthSizeMinusOne (ISO/IEC 14496-15, 5.3.3.1).
            "h264" => Some(Self { codec: Codec::H264, framing: framing(4) }),
            // hvcC: byte 21 holds numTemporalLayers and lengthSizeMinusOne (ISO/IEC 14496-15, 8.3.3.1).
            "hevc" => {
                let layers = if lengths {
                    extradata.get(21).map(|byte| byte >> 3 & 7).filter(|&layers| layers > 0)
                } else {
                    sub_layers(extradata)
                };
                let highest = layers.map(|layers| layers - 1);
                Some(Self { codec: Codec::Hevc(highest), framing: framing(21) })
            }
            _ => None,
        }
    }

    /// Returns whether no other access unit refers to this one.
    pub(crate) fn is_disposable(self, payload: &[u8]) -> bool {
        let mut slices = units(self.framing, payload).filter_map(|unit| self.slice(unit)).peekable();
        slices.peek().is_some() && slices.all(|disposable| disposable)
    }

    /// Returns for a coded slice whether its picture is disposable, none for other NAL units.
    fn slice(self, unit: &[u8]) -> Option<bool> {
        let first = *unit.first()?;
        match self.codec {
            // nal_unit_type 1 to 5 are slices, nal_ref_idc 0 is never referred to (H.264, 7.4.1).
            Codec::H264 => (1..=5).contains(&(first & 0x1f)).then_some(first & 0x60 == 0),
            Codec::Hevc(highest) => {
                let kind = first >> 1 & 0x3f;
                let layer = unit.get(1).map(|byte| (byte & 7).saturating_sub(1));
                // Even types up to 14 are sub-layer non-reference pictures; only those of the highest sub-layer
                // are referred to by nobody (H.265, 7.4.2.2).
                let unreferenced = kind <= 14 && kind % 2 == 0 && highest.is_some() && layer == highest;
                (kind <= 31).then_some(unreferenced)
            }
        }
    }
}

/// Returns `sps_max_sub_layers` of the first HEVC sequence parameter set in start-code form, 1 to 7.
fn sub_layers(extradata: &[u8]) -> Option<u8> {
    let set = units(Framing::StartCodes, extradata)
        .find(|unit| unit.first().is_some_and(|b| b >> 1 & 0x3f == 33))?;
    // The two header bytes are followed by u(4) VPS id and u(3) sps_max_sub_layers_minus1 (H.265, 7.3.2.2).
    set.get(2).map(|byte| (byte >> 1 & 7) + 1).filter(|&layers| layers <= 7)
}

/// Walks over the NAL units; stops at the first that is cut short.
fn units(framing: Framing, payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || match framing {
        Framing::Lengths(bytes) => {
            let (length, after) = rest.split_at_checked(bytes)?;
            let length = length.iter().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
            let (unit, after) = after.split_at_checked(length)?;
            rest = after;
            Some(unit)
        }
        Framing::StartCodes => {
            let start = start_code(rest)? + 3;
            let unit = &rest[start..];
            let end = start_code(unit).unwrap_or(unit.len());
            rest = &unit[end..];
            Some(&unit[..end])
        }
    })
}

/// Returns where the next `00 00 01` begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The fields of an avcC record that matter here: version 1, four-byte lengths.
    const AVCC: [u8; 5] = [1, 77, 0, 30, 0xff];

    #[test]
    fn h264_without_references_is_disposable() {
        let judge = Disposability::new("h264", &AVCC).unwrap();
        assert!(judge.is_disposable(&[0, 0, 0, 1, 0x06, 0, 0, 0, 2, 0x01, 9]), "SEI, then nal_ref_idc 0");
        assert!(!judge.is_disposable(&[0, 0, 0, 2, 0x41, 9]), "nal_ref_idc 2");
        assert!(
            !judge.is_disposable(&[0, 0, 0, 2, 0x01, 9, 0, 0, 0, 2, 0x21, 9]),
            "one slice of two is referred to"
        );
        assert!(!judge.is_disposable(&[0, 0, 0, 1, 0x09]), "no slice at all");
        let start_codes = Disposability::new("h264", &[0, 0, 0, 1, 0x67]).unwrap();
        assert!(start_codes.is_disposable(&[0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x01, 9]));
        assert!(!start_codes.is_disposable(&[0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x65, 9]));
    }

    #[test]
    fn hevc_is_disposable_only_in_the_highest_sub_layer() {
        let mut hvcc = [0; 23];
        (hvcc[0], hvcc[21]) = (1, 2 << 3 | 3);
        let judge = Disposability::new("hevc", &hvcc).unwrap();
        let unit = |kind: u8, layer: u8| [0, 0, 0, 3, kind << 1, layer + 1, 0];
        assert!(judge.is_disposable(&unit(0, 1)), "TRAIL_N in sub-layer 1 of 2");
        assert!(!judge.is_disposable(&unit(0, 0)), "TRAIL_N below the highest sub-layer");
        assert!(!judge.is_disposable(&unit(1, 1)), "TRAIL_R");
        assert!(!judge.is_disposable(&unit(19, 1)), "IDR_W_RADL");
        let start_codes = Disposability::new("hevc", &[0, 0, 1, 33 << 1, 1, 0 << 1]).unwrap();
        assert!(start_codes.is_disposable(&[0, 0, 1, 8 << 1, 1, 0]), "RASL_N, one sub-layer");
    }

    #[test]
    fn other_codecs_are_not_judged() {
        assert_eq!(Disposability::new("av1", &[0x81, 0, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(extradata: Vec<u8>, payload: Vec<u8>, hevc: bool, lengths: bool) {
            let mut extradata = extradata;
            if lengths && let Some(first) = extradata.first_mut() {
                *first = 1;
            }
            let judge = Disposability::new(if hevc { "hevc" } else { "h264" }, &extradata).unwrap();
            let _ = judge.is_disposable(&payload);
        }
    }
}
