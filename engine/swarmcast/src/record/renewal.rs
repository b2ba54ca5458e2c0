//! One recording over several renditions: their parameter sets travel in the stream, in front of each key unit.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use swarmcast_core::catalogue::{AccessUnit, Track, TrackId, TrackKind};
use swarmcast_media::CodecParameters;

/// What goes in front of the key units of each track whose parameter sets are not those that the output begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renewal(BTreeMap<TrackId, Bytes>);

impl Renewal {
    /// Compares an output's tracks with those of another rendition; `None` where the output cannot go on with them.
    ///
    /// Every key unit gets them, also of the rendition with which the output began, once it is played again: a decoder
    /// knows those which it read last.
    pub(super) fn new(output: &[Track], renewed: &[Track]) -> Option<Self> {
        if output.len() != renewed.len() {
            return None;
        }
        let tracks = output.iter().zip(renewed);
        let sets = tracks.map(|(before, now)| match parameter_sets(now) {
            Some(sets) if parameter_sets(before).is_some() && is_alike(before, now) => {
                Some(Some((now.id, sets)))
            }
            _ => (before == now).then_some(None),
        });
        let sets: Option<Vec<_>> = sets.collect();
        Some(Self(sets?.into_iter().flatten().collect()))
    }

    /// Puts the parameter sets in front of a key unit.
    pub(super) fn apply(&self, unit: &mut AccessUnit) {
        if let Some(sets) = self.0.get(&unit.track).filter(|_| unit.key) {
            let mut payload = BytesMut::with_capacity(sets.len() + unit.payload.len());
            payload.extend_from_slice(sets);
            payload.extend_from_slice(&unit.payload);
            unit.payload = payload.freeze();
        }
    }
}

fn is_alike(before: &Track, now: &Track) -> bool {
    (before.id, &before.codec, before.time_base) == (now.id, &now.codec, now.time_base)
}

/// Returns the parameter sets of H.264 or HEVC as they may stand in the stream (ISO/IEC 14496-10 and 23008-2, annex B).
fn parameter_sets(track: &Track) -> Option<Bytes> {
    if track.kind != TrackKind::Video || !matches!(track.codec.as_str(), "h264" | "hevc") {
        return None;
    }
    let extradata = CodecParameters::decode(&track.parameters).ok()?.extradata;
    let is_stream = extradata.starts_with(&[0, 0, 1]) || extradata.starts_with(&[0, 0, 0, 1]);
    is_stream.then(|| extradata.into())
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::data_track;

    fn pictures(codec: &str, extradata: &[u8]) -> Track {
        let parameters = CodecParameters {
            codec: codec.to_owned(),
            extradata: extradata.to_vec(),
            ..CodecParameters::default()
        };
        let parameters = parameters.encode().unwrap().into();
        Track { kind: TrackKind::Video, codec: codec.to_owned(), parameters, ..data_track(TrackId(0)) }
    }

    fn unit(track: u8, key: bool) -> AccessUnit {
        let payload = Bytes::from_static(b"unit");
        AccessUnit { track: TrackId(track), dts: 0, pts: 0, duration: 0, key, disposable: false, payload }
    }

    #[test]
    fn key_units_bring_what_a_decoder_has_to_know() {
        let (high, low) = (pictures("h264", &[0, 0, 1, 7]), pictures("h264", &[0, 0, 0, 1, 8]));
        let sound = data_track(TrackId(1));
        let renewal =
            Renewal::new(&[high.clone(), sound.clone()], &[low, sound.clone()]).expect("it goes on");
        let applied = |track, key| {
            let mut unit = unit(track, key);
            renewal.apply(&mut unit);
            unit.payload
        };
        assert_eq!(applied(0, true), &[0, 0, 0, 1, 8, b'u', b'n', b'i', b't'][..]);
        assert_eq!(
            (applied(0, false), applied(1, true)),
            (Bytes::from_static(b"unit"), Bytes::from_static(b"unit"))
        );
        let back = Renewal::new(&[high.clone(), sound.clone()], &[high, sound]).expect("it goes on");
        assert_ne!(back, Renewal::default(), "the decoder has read the other one's since");
    }

    #[test]
    fn what_cannot_be_told_in_the_stream_needs_another_file() {
        let h264 = pictures("h264", &[0, 0, 1, 7]);
        assert_eq!(Renewal::new(from_ref(&h264), &[pictures("h264", &[1, 100, 0, 31])]), None, "avcC");
        assert_eq!(Renewal::new(from_ref(&h264), &[pictures("hevc", &[0, 0, 1, 7])]), None);
        assert_eq!(Renewal::new(&[h264], &[]), None);
        let vp9 = pictures("vp9", &[]);
        assert_eq!(Renewal::new(from_ref(&vp9), from_ref(&vp9)), Some(Renewal::default()));
    }
}
