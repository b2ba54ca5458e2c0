//! Suppliers that fail, refuse, or are left for others.

use super::Node;
use crate::ids::{BlockId, Now, PathId, StreamTag};
use crate::schedule::Handover;
use crate::wire::{Control, StripeMask, SubscribeFrom};

impl Node {
    /// Leaves suppliers whose stripes had to be repaired.
    pub(super) fn give_up_missed(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let sessions = &self.sessions;
        let holds = |path: PathId, block: BlockId| {
            let remote = sessions.get(&path).and_then(|session| session.streams.get(&tag));
            remote.is_some_and(|remote| remote.holds(block) != 0)
        };
        let missed = std::mem::take(&mut stream.missed).into_iter();
        let over: Vec<_> = missed
            .filter_map(|(stripe, block)| {
                stream.supply.handle_missed(now, stripe, block, |path| holds(path, block))
            })
            .collect();
        stream.stats.unkept += over.len() as u64;
        stream.supply_at = if over.is_empty() { stream.supply_at } else { now };
        over.into_iter().for_each(|handover| self.undo(tag, handover));
    }

    /// Tells suppliers whose places others took from which block on they are not needed.
    pub(super) fn tell_suppliers(&mut self, now: Now, tag: StreamTag) {
        while let Some(handover) = self.streams.get_mut(&tag).and_then(|s| s.supply.poll_telling(now)) {
            let Handover { stripe, former, from, .. } = handover;
            let stripes = StripeMask::default().with(stripe);
            self.send_control(former, &Control::Unsubscribe { tag, stripes, from });
        }
    }

    /// Leaves who was to take a supplier's place, and asks that to go on.
    pub(super) fn undo(&mut self, tag: StreamTag, handover: Handover) {
        let Handover { stripe, heir, .. } = handover;
        let stripes = StripeMask::default().with(stripe);
        self.send_control(heir, &Control::Unsubscribe { tag, stripes, from: BlockId(0) });
        self.go_on(tag, handover);
    }

    /// Asks a supplier to go on after all.
    fn go_on(&mut self, tag: StreamTag, Handover { stripe, heir, former, from }: Handover) {
        let subscriber = self.streams.get(&tag).and_then(|stream| stream.subscriber.as_ref());
        let Some(subscriber) = subscriber.filter(|_| heir != former) else { return };
        let patience_ms = u32::try_from(subscriber.delay.as_millis()).unwrap_or(u32::MAX);
        let (stripes, from) = (StripeMask::default().with(stripe), SubscribeFrom::Block(from));
        self.send_control(former, &Control::Subscribe { tag, stripes, from, patience_ms });
    }

    /// Takes a neighbour's word that it does not push stripes, or only until a block.
    pub(super) fn handle_choke(
        &mut self,
        now: Now,
        path: PathId,
        tag: StreamTag,
        (stripes, from): (StripeMask, BlockId),
    ) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        // Who speaks of what nobody can know of yet is not waited for.
        let from = if from <= stream.newest_max(now) { from } else { BlockId(0) };
        let back = stream.supply.handle_choke(now, path, stripes, from);
        stream.supply_at = if stream.supply.seeks() { now } else { stream.supply_at };
        back.into_iter().for_each(|handover| self.go_on(tag, handover));
    }
}
