//! What the name of a subscription stands for: a stream, or one rendition of a programme.

use std::collections::BTreeMap;

use rand_chacha::rand_core::Rng;

use super::stream::{Stream, Subscriber};
use super::watch::Watch;
use super::{Known, Node};
use crate::catalogue::{Catalogue, Rendition};
use crate::ids::{BlockId, Now, StreamHandle, StreamKey};
use crate::multicast::{MulticastChoice, MulticastGroup};
use crate::window::Window;

impl Watch {
    /// Returns whether a publisher's stream is what the subscription asks for: by its name, or as the rendition that is
    /// picked of the programme with that name.
    fn wants(&self, key: StreamKey, catalogue: &Catalogue, offers: &BTreeMap<StreamKey, Known>) -> bool {
        let name = &self.subscription.name;
        if let Some((_, current, _)) = self.current {
            return current == key && [&*catalogue.name, catalogue.programme()].contains(&&**name);
        }
        let named = match self.picks(catalogue) {
            Some(picked) => picked.key == key,
            None => catalogue.name == *name,
        };
        // Only the programme's own key says which renditions it has.
        let vouches = |pinned: &StreamKey| {
            let known = offers.get(pinned).map(|known| &known.catalogue.renditions);
            known.is_some_and(|renditions| renditions.iter().any(|rendition| rendition.key == key))
        };
        named && self.subscription.publisher.is_none_or(|pinned| pinned == key || vouches(&pinned))
    }

    /// Returns the rendition that is wanted of a programme; `None` when it is no programme of the name asked for.
    fn picks<'a>(&self, catalogue: &'a Catalogue) -> Option<&'a Rendition> {
        let renditions = &catalogue.renditions;
        let asked = catalogue.programme() == self.subscription.name;
        self.subscription.quality.pick(renditions).filter(|_| asked).map(|place| &renditions[place])
    }
}

impl Node {
    /// Returns the name by which people know what is watched.
    pub(super) fn title<'a>(&'a self, watch: &'a Watch) -> &'a str {
        let stream = watch.current.and_then(|(tag, ..)| self.streams.get(&tag));
        stream.map_or(&watch.subscription.name, |stream| stream.catalogue.programme())
    }

    /// Listens where the publisher says that it multicasts, unless the user named a place or wants none.
    pub(super) fn follow_groups(&mut self, handle: StreamHandle, name: &str, group: Option<MulticastGroup>) {
        let Some(watch) = self.watches.get_mut(&handle) else { return };
        if watch.subscription.multicast == MulticastChoice::Auto {
            if watch.listens != name {
                name.clone_into(&mut watch.listens);
                self.close_channel(handle);
            }
            self.open_channel(handle, name, group.map_or(MulticastChoice::Auto, MulticastChoice::At));
        }
    }

    /// Listens where the rendition is that a programme's own stream tells of, since by multicast alone nobody else
    /// does.
    fn follow_programme(&mut self, catalogue: &Catalogue) {
        let elsewhere = |(handle, watch): (&StreamHandle, &Watch)| {
            let picked = watch.picks(catalogue).filter(|_| watch.current.is_none())?;
            let moves = catalogue.name == watch.listens && picked.name != watch.listens;
            moves.then(|| (*handle, picked.name.clone()))
        };
        let moving: Vec<_> = self.watches.iter().filter_map(elsewhere).collect();
        moving.into_iter().for_each(|(handle, name)| self.follow_groups(handle, &name, None));
    }

    /// Opens a candidate for each subscription that a known offer may answer, itself or by what it says of renditions.
    pub(super) fn consider(&mut self, now: Now, key: StreamKey) {
        let Some(Known { catalogue, .. }) = self.offers.get(&key) else { return };
        if !catalogue.renditions.is_empty() {
            let catalogue = catalogue.clone();
            self.follow_programme(&catalogue);
            let others = catalogue.renditions.iter().filter(|rendition| rendition.key != key);
            others.for_each(|rendition| self.consider_one(now, rendition.key));
        }
        self.consider_one(now, key);
    }

    fn consider_one(&mut self, now: Now, key: StreamKey) {
        let Some(known) = self.offers.get(&key) else { return };
        let (offer, catalogue) = (known.offer.clone(), known.catalogue.clone());
        let wants = |watch: &Watch| watch.wants(key, &catalogue, &self.offers);
        let wanting = self.watches.iter().find(|(_, watch)| wants(watch)).map(|(handle, _)| *handle);
        let Some(handle) = wanting else { return };
        let Ok(keys) = self.config.keys(key, offer.epoch) else { return };
        let tag = keys.tag();
        if self.streams.contains_key(&tag) {
            return;
        }
        let Some(watch) = self.watches.get_mut(&handle) else { return };
        watch.monitor.handle_offered(now);
        let delay = watch.subscription.playout_delay;
        let window = Window::new(BlockId(0), self.config.window_bytes_max, self.config.window_duration);
        let mut stream = Stream::new(now, keys, (offer, catalogue), window, self.rng.next_u64());
        if watch.subscription.in_step {
            stream.clock.keep_step();
            stream.exchange.begin(now);
        }
        let grown = watch.grown;
        let nonce = self.rng.next_u64();
        stream.subscriber = Some(Subscriber {
            handle,
            delay,
            grown,
            playout: None,
            nonce,
            drawn: now,
            fresh: false,
            challenge_at: now,
            finished: false,
        });
        self.streams.insert(tag, stream);
        self.challenge(now, tag);
    }
}
