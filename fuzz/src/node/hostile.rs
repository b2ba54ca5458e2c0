//! The hostile neighbour: a member of the group who says and sends anything, and may hold the publisher's key.

use bytes::Bytes;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{BlockId, Epoch, FragmentId, PeerId};
use swarmcast_core::node::Input;
use swarmcast_core::seal::Sealer;
use swarmcast_core::wire::{
    Control, Datagram, HaveMap, Hello, StripeMask, SubscribeFrom, Want, encode_fragment,
};

use super::super::feed::Feed;
use super::super::signed::{FORGE, draw_beacon, draw_header};
use super::{HOSTILE, VIEWER, World, catalogue};

impl World {
    pub(super) fn connect_hostile(&mut self) {
        let (path, peer) = (self.hostile, HOSTILE);
        self.handle(
            VIEWER,
            Input::Connected { path, peer, dialed: false, remote: None, datagram_bytes_max: 1162 },
        );
        let secret = blake3::derive_key("swarmcast 2026 open group secret", b"fuzz");
        let key = blake3::derive_key("swarmcast 2026 membership proof", &secret);
        let proof = *blake3::keyed_hash(&key, &[HOSTILE.0, [VIEWER as u8 + 1; 32]].concat()).as_bytes();
        let group = GroupSpec::open("fuzz").expect("the name is acceptable").id();
        self.hear(&Control::Hello(Hello { group, proof }));
    }

    /// Lets the hostile neighbour say something on its reliable stream.
    fn hear(&mut self, control: &Control) {
        let (path, message) = (self.hostile, Bytes::from(control.encode()));
        self.handle(VIEWER, Input::Control { path, message });
    }

    /// Lets the hostile neighbour say any control message.
    pub(super) fn say(&mut self, feed: &mut Feed<'_>) {
        let (tag, stripes) = (FORGE.sealer.keys().tag(), StripeMask(feed.u8()));
        let control = match feed.u8() % 9 {
            0 => Control::Challenge { tag, nonce: feed.u64() },
            1 => {
                let from = match feed.u8() & 1 {
                    0 => SubscribeFrom::RandomAccess,
                    _ => SubscribeFrom::Block(BlockId(feed.number())),
                };
                Control::Subscribe { tag, stripes, from, patience_ms: feed.number() as u32 }
            }
            2 => Control::Unsubscribe { tag, stripes, from: BlockId(feed.number()) },
            3 => Control::Choke { tag, stripes, from: BlockId(feed.number()) },
            4 => Control::Finished { tag },
            5 => Control::Peers(vec![(PeerId([feed.u8(); 32]), ([127, 0, 0, 1], feed.u16()).into())]),
            6 if !self.offers.is_empty() => {
                let at = usize::from(feed.u8()) % self.offers.len();
                let (path, message) = (self.hostile, self.offers[at].clone());
                return self.handle(VIEWER, Input::Control { path, message });
            }
            7 if !self.honest => return self.offer_other(feed),
            _ => {
                let (path, message) = (self.hostile, feed.message().into());
                return self.handle(VIEWER, Input::Control { path, message });
            }
        };
        self.hear(&control);
    }

    /// Offers another run of the stream, or another stream of its name: both with a signature that holds.
    fn offer_other(&mut self, feed: &mut Feed<'_>) {
        let seed = [if feed.u8() & 1 == 0 { 7 } else { 8 }; 32];
        let epoch = Epoch(FORGE.sealer.keys().epoch().0 + u64::from(feed.u8() % 4) - 1);
        let group = GroupSpec::open("fuzz").expect("the name is acceptable");
        let sealer = Sealer::new(&group, &seed, epoch).expect("every seed makes a key");
        let offer = sealer.seal_offer(&catalogue(), u64::from(feed.u8()), HOSTILE).expect("in range");
        self.hear(&Control::Offer(Box::new(offer)));
    }

    /// Lets the hostile neighbour send any unsigned datagram.
    pub(super) fn throw(&mut self, feed: &mut Feed<'_>) {
        let tag = FORGE.sealer.keys().tag();
        let count = usize::from(feed.u8() % 9);
        let mut wants = || {
            (0..count)
                .map(|_| Want { block: BlockId(feed.number()), word: feed.number() })
                .collect::<Vec<_>>()
        };
        let datagram = match count {
            0 => feed.message(),
            1 | 2 => Datagram::encode_pull(tag, &wants()),
            3 | 4 => Datagram::encode_nack(tag, &wants()),
            5 => Datagram::encode_shed(tag, &wants()),
            _ => {
                let map = HaveMap {
                    depths: [feed.u8() & 15; 8],
                    ages: [feed.u8() & 15; 8],
                    gives: StripeMask(feed.u8()),
                    beacon_ms: feed.number(),
                    oldest: BlockId(feed.number()),
                    base: BlockId(feed.number()),
                    complete: feed.bytes(count).to_vec(),
                    partial: (0..count).map(|_| (feed.u16(), feed.u64())).collect(),
                };
                Datagram::encode_have(tag, &map)
            }
        };
        let path = self.hostile;
        self.handle(VIEWER, Input::Datagram { path, datagram: datagram.into() });
    }

    /// Lets the hostile neighbour sign as the publisher, headers with their shards and beacons, right or wrong.
    pub(super) fn forge(&mut self, feed: &mut Feed<'_>) {
        let path = self.hostile;
        if feed.u8() & 3 == 0 {
            let datagram = FORGE.beacon(&draw_beacon(feed));
            return self.handle(VIEWER, Input::Datagram { path, datagram });
        }
        let (header, shards) = draw_header(feed);
        let sealed = if feed.u8() & 1 == 0 {
            let plain = feed.bytes(3000).to_vec();
            let plain = if plain.is_empty() { &[0] } else { &plain[..] };
            Some(FORGE.sealer.seal(header.clone(), plain, header.parity))
        } else {
            None
        };
        let mut datagrams = match sealed {
            Some(sealed) => std::iter::once(sealed.header.datagram().clone())
                .chain(sealed.fragments.iter().map(|fragment| fragment.datagram().clone()))
                .collect(),
            None => {
                let mut datagrams = vec![FORGE.header(&header, &[0; 40])];
                for (index, shard) in (0..).zip(&shards) {
                    let id = FragmentId { block: header.block, index };
                    let mut out = Vec::new();
                    encode_fragment(FORGE.sealer.keys().tag(), id, &mut out);
                    out.extend_from_slice(shard);
                    datagrams.push(out.into());
                }
                datagrams
            }
        };
        if feed.u8() & 1 == 1 {
            datagrams.reverse();
        }
        datagrams.into_iter().for_each(|datagram| self.handle(VIEWER, Input::Datagram { path, datagram }));
    }
}
