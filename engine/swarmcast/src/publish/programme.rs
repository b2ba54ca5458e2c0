//! A programme: one stream for each rendition, under one name, one identity and one run.

use std::sync::{Arc, Weak};

use swarmcast_core::catalogue::{AccessUnit, Catalogue, Rendition, Track, TrackId};
use swarmcast_core::group::{GroupSpec, check_name};
use swarmcast_core::ids::{StreamHandle, StreamKey};
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::Publication;
use swarmcast_core::seal::Sealer;
use swarmcast_media::CodecParameters;
use swarmcast_net::PublicationHandle;

use super::{PublishConfig, PublishError};

/// The stream of one rendition, and which of the source's tracks are in it, numbered from 0 in this order.
pub(super) struct Part {
    pub(super) publication: Publication,
    pub(super) tracks: Vec<TrackId>,
}

/// Divides what is published into streams. Without renditions it is one, of all tracks.
pub(super) fn divide(config: PublishConfig, group: &GroupSpec) -> Result<Vec<Part>, PublishError> {
    check_name(&config.name).map_err(|_| PublishError::Name)?;
    if config.renditions.is_empty() {
        let tracks = config.tracks.iter().map(|track| track.id).collect();
        let publication = publication(&config, (config.name.clone(), config.tracks.clone()), Vec::new());
        return Ok(vec![Part { publication, tracks }]);
    }
    let mut shares = Vec::new();
    let mut renditions: Vec<Rendition> = Vec::new();
    for own in &config.renditions {
        let shared = |track: &&Track| track.id == *own || !config.renditions.contains(&track.id);
        let tracks: Vec<Track> = config.tracks.iter().filter(shared).cloned().collect();
        let pictures = tracks.iter().find(|track| track.id == *own).ok_or(PublishError::Refused)?;
        let parameters = CodecParameters::decode(&pictures.parameters).map_err(|_| PublishError::Refused)?;
        let (width, height) = (parameters.width, parameters.height);
        let name = name(&config.name, (width, height), &renditions);
        check_name(&name).map_err(|_| PublishError::Name)?;
        let seed = config.identity.seed_of(&config.name, &name);
        let key = key(group, &seed, &config)?;
        let bitrate = tracks.iter().fold(0_u32, |sum, track| sum.saturating_add(track.bitrate));
        renditions.push(Rendition { key, name, width, height, bitrate });
        shares.push((tracks, seed));
    }
    let total: u64 = renditions.iter().map(|rendition| u64::from(rendition.bitrate.max(1))).sum();
    let mut parts = Vec::new();
    for (place, (mut tracks, seed)) in shares.into_iter().enumerate() {
        let of = tracks.iter().map(|track| track.id).collect();
        tracks.iter_mut().zip(0..).for_each(|(track, id)| track.id = TrackId(id));
        let rendition = &renditions[place];
        let share = u64::from(rendition.bitrate.max(1));
        let rate = u128::from(config.multicast_rate_max) * u128::from(share) / u128::from(total);
        let publication = Publication {
            key_seed: seed,
            multicast: at_place(config.multicast, place),
            multicast_rate_max: u64::try_from(rate).unwrap_or(u64::MAX),
            ..publication(&config, (rendition.name.clone(), tracks), renditions.clone())
        };
        parts.push(Part { publication, tracks: of });
    }
    Ok(parts)
}

fn publication(
    config: &PublishConfig,
    (name, tracks): (String, Vec<Track>),
    renditions: Vec<Rendition>,
) -> Publication {
    let catalogue = Catalogue { name, expiry: config.expiry, tracks, renditions, multicast: None };
    Publication {
        multicast: config.multicast,
        multicast_rate_max: config.multicast_rate_max,
        unicast_max: config.unicast_max,
        ..Publication::new(StreamHandle(0), catalogue, config.identity.seed, config.identity.epoch)
    }
}

/// Names a rendition: the first one as the programme, the others by their size, and by their place where that is taken.
fn name(programme: &str, (width, height): (u16, u16), before: &[Rendition]) -> String {
    if before.is_empty() {
        return programme.to_owned();
    }
    let name = format!("{programme}@{width}x{height}");
    if before.iter().any(|rendition| rendition.name == name) {
        format!("{name}.{}", before.len())
    } else {
        name
    }
}

fn key(group: &GroupSpec, seed: &[u8; 32], config: &PublishConfig) -> Result<StreamKey, PublishError> {
    let sealer = Sealer::new(group, seed, config.identity.epoch);
    sealer.map(|sealer| sealer.keys().key()).map_err(|_| PublishError::Refused)
}

/// Returns where the rendition of that place is multicast when the programme is there: at one port for each.
pub(crate) fn at_place(choice: MulticastChoice, place: usize) -> MulticastChoice {
    let MulticastChoice::At(mut group) = choice else { return choice };
    match u16::try_from(place).ok().and_then(|place| group.port.checked_add(place)) {
        Some(port) => group.port = port,
        None => return MulticastChoice::Off,
    }
    MulticastChoice::At(group)
}

/// The way of a source's access units into one stream.
#[derive(Clone, Debug)]
pub(super) struct Route {
    publication: Weak<PublicationHandle>,
    tracks: Arc<[TrackId]>,
}

impl Route {
    pub(super) fn new(publication: &Arc<PublicationHandle>, tracks: Vec<TrackId>) -> Self {
        Self { publication: Arc::downgrade(publication), tracks: tracks.into() }
    }

    /// Sends what belongs into the stream; `None` once the publication is over.
    pub(super) async fn send(&self, unit: &AccessUnit) -> Option<()> {
        let Some(unit) = self.renumbered(unit) else { return Some(()) };
        let publication = self.publication.upgrade()?;
        publication.send(unit).await.ok()
    }

    /// As [`Route::send`], blocking the thread.
    pub(super) fn send_blocking(&self, unit: &AccessUnit) -> Option<()> {
        let Some(unit) = self.renumbered(unit) else { return Some(()) };
        self.publication.upgrade()?.send_blocking(unit).ok()
    }

    fn renumbered(&self, unit: &AccessUnit) -> Option<AccessUnit> {
        let place = self.tracks.iter().position(|track| *track == unit.track)?;
        Some(AccessUnit { track: TrackId(u8::try_from(place).ok()?), ..unit.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, data_track};

    fn pictures(id: u8, width: u16, bitrate: u32) -> Track {
        let parameters = CodecParameters {
            codec: "h264".to_owned(),
            format: "yuv420p".to_owned(),
            width,
            height: width / 2,
            ..CodecParameters::default()
        };
        let parameters = parameters.encode().unwrap().into();
        Track { kind: crate::TrackKind::Video, bitrate, parameters, ..data_track(TrackId(id)) }
    }

    #[test]
    fn each_rendition_has_its_own_pictures_and_all_else() {
        let group = GroupSpec::open("lobby").unwrap();
        let identity = Identity::ephemeral().unwrap();
        let at: MulticastChoice = "239.1.2.3:5000".parse().unwrap();
        let tracks =
            vec![pictures(0, 640, 900), pictures(1, 320, 300), pictures(2, 320, 200), data_track(TrackId(3))];
        let config = PublishConfig {
            renditions: [0, 1, 2].map(TrackId).to_vec(),
            multicast: at,
            ..PublishConfig::new("cam", tracks, identity)
        };
        let parts = divide(config.clone(), &group).unwrap();
        let of: Vec<_> =
            parts.iter().map(|part| part.tracks.iter().map(|id| id.0).collect::<Vec<_>>()).collect();
        assert_eq!(of, [[0, 3], [1, 3], [2, 3]]);
        let catalogues: Vec<_> = parts.iter().map(|part| &part.publication.catalogue).collect();
        let names: Vec<_> = catalogues.iter().map(|catalogue| catalogue.name.as_str()).collect();
        assert_eq!(names, ["cam", "cam@320x160", "cam@320x160.2"]);
        assert!(catalogues.iter().all(|catalogue| catalogue.renditions == catalogues[0].renditions));
        assert!(catalogues.iter().all(|c| c.tracks.iter().map(|track| track.id.0).eq([0, 1])));
        assert_eq!(parts[0].publication.key_seed, config.identity.seed, "the programme's own key");
        let rates: Vec<_> = catalogues[0].renditions.iter().map(|rendition| rendition.bitrate).collect();
        assert_eq!(rates, [900, 300, 200]);
        let (most, sum) =
            (config.multicast_rate_max, parts.iter().map(|part| part.publication.multicast_rate_max).sum());
        assert!((most - 3..=most).contains(&sum), "the rate is shared: {sum}");
        assert_eq!(parts[2].publication.multicast, "239.1.2.3:5002".parse().unwrap());

        let again = divide(config, &group).unwrap();
        assert_eq!(again[1].publication.key_seed, parts[1].publication.key_seed, "the same key in each run");
        assert_ne!(parts[1].publication.key_seed, parts[2].publication.key_seed);
    }

    #[test]
    fn without_renditions_it_is_one_stream() {
        let group = GroupSpec::open("lobby").unwrap();
        let tracks = vec![pictures(0, 640, 900), data_track(TrackId(1))];
        let parts =
            divide(PublishConfig::new("cam", tracks, Identity::ephemeral().unwrap()), &group).unwrap();
        let [part] = &parts[..] else { panic!("one part") };
        assert!(part.publication.catalogue.renditions.is_empty() && part.tracks.len() == 2);
        assert_eq!(part.publication.catalogue.programme(), "cam");
    }
}
