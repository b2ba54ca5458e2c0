//! What is told instead of the truth.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{BlockId, Epoch, MediaTime, Now, PathId, Priority, StreamTag, Stripe};
use swarmcast_core::wire::{BlockHeader, Control, Datagram, HaveMap, SIGNATURE_BYTES, peek_tag};

/// Of the headers, fragments and beacons that it passes on, one in this many is altered: an honest share keeps it in
/// favour for longer.
const ALTERED_ONE_IN: u64 = 4;

/// Datagrams of the first run that are kept: some seconds of a small stream.
const RECORD_MAX: usize = 4096;
/// Offers of the first run that are kept.
const OFFERS_MAX: usize = 32;
/// Replayed datagrams to each neighbour every [`TICK`]: 2,000 a second.
const REPLAYED_A_TICK: usize = 20;
/// Ticks between two replays of the offers.
const OFFERS_EVERY: u64 = 100;

/// Rate of the flood.
const FLOOD_BITS_PER_SECOND: u64 = 50_000_000;
const FLOOD_LASTS: Duration = Duration::from_secs(10);
/// Bytes in which a forged header carries its only shard: as small as headers come, since each costs the receiver the
/// check of a signature.
const FORGED_SHARD_BYTES: usize = 64;

/// Wait between the first neighbour that throws it out and its return under a new name: the others are to have the
/// time to find it out by themselves.
const RETURN_AFTER: Duration = Duration::from_millis(500);

/// Time between two bursts of what is made up.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// How it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Flips bits in what it passes on.
    Alter,
    /// Sends again the first run of the stream that it saw, once there is a second, of which it tells nobody.
    Replay,
    /// Claims everything up to the newest block and more, and sends nothing of it.
    Boast,
    /// Sends 50 Mbit/s of forged headers for 10 s to one neighbour that does not publish: on a session as long as it
    /// has one, else as anybody might from outside.
    Flood,
}

impl Script {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "alter" => Some(Self::Alter),
            "replay" => Some(Self::Replay),
            "boast" => Some(Self::Boast),
            "flood" => Some(Self::Flood),
            _ => None,
        }
    }

    /// Returns how long it waits before it comes back under a new name to whoever throws it out.
    pub(crate) fn returns_after(self) -> Duration {
        if self == Self::Flood { TICK } else { RETURN_AFTER }
    }

    /// Whether it sends what a neighbour can prove to be false.
    pub(crate) fn forges(self) -> bool {
        matches!(self, Self::Alter | Self::Flood)
    }
}

/// What it knows, to lie well.
#[derive(Debug)]
pub(crate) struct Lies {
    script: Script,
    /// Datagrams and messages that were no truth.
    pub(crate) told: u64,
    turns: u64,
    ticks: u64,
    first_epoch: Option<Epoch>,
    first_tag: Option<StreamTag>,
    newest_tag: Option<StreamTag>,
    newest: BlockId,
    record: Vec<Bytes>,
    offers: Vec<Bytes>,
    replaying: bool,
    replay_at: BTreeMap<PathId, usize>,
    /// When the flood began, and for whom.
    flood: Option<(Now, SocketAddr)>,
    /// Bytes of it so far.
    flooded: u64,
}

impl Lies {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script,
            told: 0,
            turns: 0,
            ticks: 0,
            first_epoch: None,
            first_tag: None,
            newest_tag: None,
            newest: BlockId(0),
            record: Vec::new(),
            offers: Vec::new(),
            replaying: false,
            replay_at: BTreeMap::new(),
            flood: None,
            flooded: 0,
        }
    }

    /// Keeps the offers of the first run, and notices that of the second.
    pub(crate) fn overhear_control(&mut self, message: &Bytes) {
        let Ok(Control::Offer(offer)) = Control::decode(message) else { return };
        let first = *self.first_epoch.get_or_insert(offer.epoch);
        self.replaying |= self.script == Script::Replay && offer.epoch > first;
        let new = offer.epoch == first && !self.offers.contains(message);
        if new && self.offers.len() < OFFERS_MAX {
            self.offers.push(message.clone());
        }
    }

    /// Returns whether a message of the honest half is kept from a neighbour: it is to hear of the first run alone.
    pub(crate) fn withholds(&self, message: &Bytes) -> bool {
        let offer = matches!(Control::decode(message), Ok(Control::Offer(_)));
        offer && self.replaying && !self.offers.contains(message)
    }

    /// Keeps the first run, and notices the second. Returns whether the honest half may know of the datagram.
    pub(crate) fn overhear(&mut self, datagram: &Bytes) -> bool {
        match Datagram::decode(datagram) {
            Ok(Datagram::Header | Datagram::Fragment(_) | Datagram::Beacon) => {}
            Ok(Datagram::Pull(_)) => return self.script != Script::Boast,
            _ => return true,
        }
        let Some(tag) = peek_tag(datagram) else { return true };
        let first = *self.first_tag.get_or_insert(tag);
        if self.newest_tag != Some(tag) {
            (self.newest_tag, self.newest) = (Some(tag), BlockId(0));
        }
        if let Ok((header, ..)) = BlockHeader::decode(datagram) {
            self.newest = self.newest.max(header.block);
        }
        if self.script == Script::Replay {
            if tag == first && self.record.len() < RECORD_MAX {
                self.record.push(datagram.clone());
            }
            self.replaying |= tag != first;
        }
        true
    }

    /// Returns what is sent instead of a datagram of the honest half.
    pub(crate) fn tampered(&mut self, datagram: Bytes) -> Option<Bytes> {
        let decoded = Datagram::decode(&datagram);
        let media = matches!(decoded, Ok(Datagram::Header | Datagram::Fragment(_)));
        match (self.script, decoded) {
            (Script::Alter, Ok(Datagram::Header | Datagram::Fragment(_) | Datagram::Beacon)) => {
                self.turns += 1;
                let altered = self.turns.is_multiple_of(ALTERED_ONE_IN);
                Some(if altered { self.altered(&datagram) } else { datagram })
            }
            (Script::Boast, Ok(Datagram::Have(map))) => {
                self.told += 1;
                let tag = peek_tag(&datagram)?;
                Some(Datagram::encode_have(tag, &boasted(map)).into())
            }
            (Script::Boast, Ok(Datagram::Nack(_) | Datagram::Shed(_))) => None,
            (Script::Boast, _) if media => None,
            _ => Some(datagram),
        }
    }

    /// Flips one bit behind the stream's tag, so that the receiver has to look closely.
    fn altered(&mut self, datagram: &Bytes) -> Bytes {
        self.told += 1;
        let mut bytes = datagram.to_vec();
        // A stride that has no factor in common with the usual lengths comes to every place.
        let place = 5 + (self.told * 7919) as usize % (bytes.len() - 5).max(1);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << (self.told % 8);
        }
        bytes.into()
    }

    /// Begins a burst; `victim` is the address of a neighbour that does not publish.
    pub(crate) fn tick(&mut self, now: Now, victim: Option<SocketAddr>) {
        self.ticks += 1;
        if self.script == Script::Flood && self.flood.is_none() && self.newest_tag.is_some() {
            self.flood = victim.map(|victim| (now, victim));
        }
    }

    /// Makes up this burst's part of the flood, and tells for whom.
    pub(crate) fn flood(&mut self, now: Now) -> Option<(SocketAddr, Vec<Bytes>)> {
        let (began, victim) = self.flood.filter(|(began, _)| now.since(*began) < FLOOD_LASTS)?;
        let forged = self.forged(began, now);
        self.told += forged.len() as u64;
        Some((victim, forged))
    }

    /// Makes up messages for one neighbour, `fresh` when it came since the last burst.
    pub(crate) fn made_up_messages(&mut self, fresh: bool) -> Vec<Bytes> {
        let due = self.replaying && (fresh || self.ticks.is_multiple_of(OFFERS_EVERY));
        let offers = if due { self.offers.clone() } else { Vec::new() };
        self.told += offers.len() as u64;
        offers
    }

    /// Makes up this burst's datagrams for one neighbour.
    pub(crate) fn made_up_datagrams(&mut self, path: PathId) -> Vec<Bytes> {
        let made_up = if self.replaying { self.replayed(path) } else { Vec::new() };
        self.told += made_up.len() as u64;
        made_up
    }

    fn replayed(&mut self, path: PathId) -> Vec<Bytes> {
        let at = self.replay_at.entry(path).or_default();
        let burst: Vec<_> = self.record.iter().cycle().skip(*at).take(REPLAYED_A_TICK).cloned().collect();
        *at = (*at + burst.len()) % self.record.len().max(1);
        burst
    }

    /// Forges headers of blocks that do not exist yet, each another, so that none is taken for a double: as many as are
    /// due since the flood began, whatever ticks came late.
    fn forged(&mut self, began: Now, now: Now) -> Vec<Bytes> {
        let Some(tag) = self.newest_tag else { return Vec::new() };
        let due = FLOOD_BITS_PER_SECOND / 8 * now.since(began).as_millis() as u64 / 1_000;
        let mut burst = Vec::new();
        while self.flooded < due {
            self.turns += 1;
            let header = BlockHeader {
                block: BlockId(self.newest.0 + 1 + self.turns % 64),
                stripe: Stripe((self.turns % 8) as u8),
                priority: Priority::Essential,
                continues: false,
                random_access: self.turns.is_multiple_of(2),
                data: 1,
                parity: 0,
                last_shard_bytes: FORGED_SHARD_BYTES as u16,
                closed: now_in_stream(self.newest),
                media_time: MediaTime(0),
                leaves: Vec::new(),
            };
            let mut datagram = Vec::with_capacity(192);
            header.encode(tag, &[self.turns as u8; FORGED_SHARD_BYTES], &mut datagram);
            datagram.extend_from_slice(&[self.turns as u8; SIGNATURE_BYTES]);
            self.flooded += datagram.len() as u64;
            burst.push(datagram.into());
        }
        burst
    }
}

/// A close time that is plausible for a block: 100 blocks a second.
fn now_in_stream(block: BlockId) -> Duration {
    Duration::from_millis(10).saturating_mul(u32::try_from(block.0).unwrap_or(u32::MAX))
}

/// Claims everything and 64 blocks that are yet to come, received from the publisher itself.
fn boasted(map: HaveMap) -> HaveMap {
    let complete = vec![0xff; map.complete.len() + 8];
    HaveMap { depths: [1; 8], oldest: BlockId(0), complete, partial: Vec::new(), ..map }
}
