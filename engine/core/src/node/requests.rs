//! What neighbours say to have, ask for, lack and refuse.

use super::Node;
use super::sending::parcel;
use crate::ids::{Now, PathId, StreamTag};
use crate::session::Remote;
use crate::wire::{Datagram, HaveMap, Want};

impl Node {
    pub(super) fn handle_have(
        &mut self,
        now: Now,
        path: PathId,
        tag: StreamTag,
        map: &HaveMap,
        bytes: usize,
    ) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.stats.control_bytes_from_peers += bytes as u64;
        let newest_max = stream.newest_max(now);
        let round_max = stream.round_max();
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let publisher = session.peer == stream.publisher();
        let remote = session.streams.or_insert_with(tag, || Remote::new(now));
        remote.handle_have(now, map, (newest_max, round_max));
        if publisher {
            remote.be_publisher();
        }
        remote.forget_before(stream.window.first());
        if stream.supply.is_vacant() {
            stream.supply_at = stream.supply_at.min(now);
        }
        self.witness_have(now, path, tag);
    }

    pub(super) fn handle_pull(
        &mut self,
        now: Now,
        path: PathId,
        tag: StreamTag,
        wants: &[Want],
        bytes: usize,
    ) {
        let crowded = self.is_crowded();
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.stats.control_bytes_from_peers += bytes as u64;
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let remote = session.streams.or_insert_with(tag, || Remote::new(now));
        remote.handle_pull(now);
        let (mut lacking, mut refused) = (Vec::new(), Vec::new());
        for want in wants {
            let slot = stream.window.slot(want.block);
            let data = slot.and_then(|slot| slot.header()).map_or(0, |header| header.header().data_word());
            let wanted = if want.word == Want::BLOCK { data | Want::HEADER } else { want.word };
            let mut held = slot.map_or(0, |slot| slot.word()) & wanted;
            let lacks = wanted & !held;
            if let Some(source) = stream.source.as_mut().filter(|source| source.is_multicast()) {
                held = source.gather.handle_pull(now, path, want.block, held);
            }
            if crowded && held != 0 {
                refused.push(Want { block: want.block, word: held });
            } else if let Some(header) = slot.and_then(|slot| slot.header()).filter(|_| held != 0) {
                let parcel = parcel(stream, now, want.block, held, remote.patience(now));
                session.outbox.push_pulled(parcel, header.header().priority);
            }
            if lacks != 0 {
                lacking.push(Want { block: want.block, word: lacks });
            }
        }
        if !lacking.is_empty() {
            remote.open_want = true;
            let nack = Datagram::encode_nack(tag, &lacking);
            stream.count_control(session.peer, nack.len());
            session.outbox.push_control(nack.into());
        }
        if !refused.is_empty() {
            stream.stats.shed += refused.iter().map(|want| u64::from(want.word.count_ones())).sum::<u64>();
            let shed = Datagram::encode_shed(tag, &refused);
            stream.count_control(session.peer, shed.len());
            session.outbox.push_control(shed.into());
        }
    }

    pub(super) fn handle_lack(&mut self, now: Now, path: PathId, tag: StreamTag, wants: &[Want], shed: bool) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let remote = session.streams.or_insert_with(tag, || Remote::new(now));
        for want in wants {
            if shed {
                stream.pulls.handle_busy(now, path);
                remote.refuse(*want);
            } else {
                remote.handle_nack(*want, stream.window.end());
            }
            stream.pulls.refuse(path, want.block, want.word);
        }
        stream.look_elsewhere(now);
    }
}
