//! What waits to be sent on one session, in the order of its use: control, pulled, pushed by priority.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{BlockId, Now, Priority, StreamTag};
use crate::wire::Want;

/// Most control datagrams that wait; the oldest goes, since all of them are repeated.
const CONTROL_MAX: usize = 128;
/// Most blocks that wait in one queue: 16 s of an ordinary stream.
const PARCELS_MAX: usize = 2048;
/// Bytes of a datagram that carries one part of a block: a shard and its head.
const PART_BYTES: f64 = 1040.0;

/// Parts of one block that wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) tag: StreamTag,
    pub(crate) block: BlockId,
    /// Which shards, and [`Want::HEADER`].
    pub(crate) word: u64,
    pub(crate) queued: Now,
    /// When it is of no use to the receiver any longer.
    pub(crate) expires: Now,
    /// Whether the block begins a random-access point.
    pub(crate) begins: bool,
    /// Whether it belongs to one.
    pub(crate) random_access: bool,
    /// How often the header goes again, behind the rest.
    pub(crate) echoes: u8,
}

impl Parcel {
    fn parts(&self) -> u32 {
        self.word.count_ones() + u32::from(self.echoes)
    }

    /// Returns what its parts take on the way, bytes.
    fn bytes(&self) -> f64 {
        f64::from(self.parts()) * PART_BYTES
    }

    fn shed(&self) -> Shed {
        Shed { tag: self.tag, block: self.block, word: self.word }
    }

    /// Returns the time that the receiver grants from queueing on.
    fn patience(&self) -> Duration {
        self.expires.since(self.queued)
    }

    /// Returns whether it has waited for so many thirds of the receiver's patience.
    fn waits(&self, now: Now, thirds: u32) -> bool {
        now.since(self.queued) > self.patience() * thirds / 3
    }

    /// Takes the next part: the header first, then the shards in order, and the header again where it is to be.
    fn next(&mut self) -> Option<Option<u8>> {
        if self.word & Want::HEADER != 0 {
            self.word &= !Want::HEADER;
            return Some(None);
        }
        let index = self.word.trailing_zeros();
        self.word &= self.word.wrapping_sub(1);
        if index < 64 {
            return Some(Some(index as u8));
        }
        self.echoes = self.echoes.checked_sub(1)?;
        Some(None)
    }
}

/// What was dropped unsent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shed {
    pub(crate) tag: StreamTag,
    pub(crate) block: BlockId,
    pub(crate) word: u64,
}

/// One part that is due: `index` is `None` for the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) tag: StreamTag,
    pub(crate) block: BlockId,
    pub(crate) index: Option<u8>,
    pub(crate) pulled: bool,
}

/// One of the queues, by priority.
#[derive(Clone, Copy, Debug)]
enum Queue {
    CatchUp,
    Pulled(usize),
    Pushed(usize),
}

use Queue::{CatchUp, Pulled, Pushed};

/// The order in which they are emptied: within a priority what was asked for goes before what is pushed, since it is
/// due earlier.
const ORDER: [Queue; 7] = [Pulled(0), Pushed(0), CatchUp, Pulled(1), Pushed(1), Pulled(2), Pushed(2)];
/// The order where uploads are limited: an answer is for one, and what joiners have missed is for those alone, while
/// many wait behind a push.
const LIMITED_ORDER: [Queue; 7] = [Pushed(0), Pulled(0), Pushed(1), Pulled(1), Pushed(2), Pulled(2), CatchUp];

/// The queues of one session.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Whether something was queued since nothing waited.
    stirred: bool,
    control: VecDeque<Bytes>,
    /// What a joiner has missed, oldest first.
    catch_up: VecDeque<Parcel>,
    pulled: [VecDeque<Parcel>; 3],
    pushed: [VecDeque<Parcel>; 3],
    /// The block of reference pictures that was last sent from.
    sending: Option<(StreamTag, BlockId)>,
    /// Of several streams whose pictures wait, that of which most does: it goes behind the others, so that it does not
    /// hold them up.
    heavy: Option<StreamTag>,
    /// Streams whose pictures are shed up to their next random-access point.
    broken: Vec<StreamTag>,
    /// What was dropped and is not yet told.
    shed: Vec<Shed>,
}

impl Outbox {
    /// Last place in the order of queues of what goes before all else where uploads are limited.
    pub(crate) const ESSENTIAL: usize = 1;

    pub(crate) fn has_media(&self) -> bool {
        let mut queues = self.pulled.iter().chain(&self.pushed);
        !self.catch_up.is_empty() || queues.any(|queue| !queue.is_empty())
    }

    /// Returns whether anything waits: control, or with `media` that too.
    pub(crate) fn has_any(&mut self, media: bool) -> bool {
        if !self.stirred {
            return false;
        }
        let has_media = self.has_media();
        self.stirred = has_media || self.has_control();
        self.has_control() || (has_media && media)
    }

    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    pub(crate) fn push_control(&mut self, datagram: Bytes) {
        self.stirred = true;
        if self.control.len() == CONTROL_MAX {
            self.control.pop_front();
        }
        self.control.push_back(datagram);
    }

    pub(crate) fn pop_control(&mut self) -> Option<Bytes> {
        self.control.pop_front()
    }

    /// Queues parts of a block that was just made or received.
    pub(crate) fn push(&mut self, parcel: Parcel, priority: Priority) {
        self.stirred = true;
        if parcel.begins {
            self.broken.retain(|broken| *broken != parcel.tag);
        }
        if self.broken.contains(&parcel.tag) && priority != Priority::Essential && !parcel.random_access {
            self.shed.push(parcel.shed());
        } else {
            enqueue(&mut self.pushed[priority as usize], parcel);
        }
    }

    /// Queues parts of a block that were asked for, apart from those that wait already.
    pub(crate) fn push_pulled(&mut self, mut parcel: Parcel, priority: Priority) {
        self.stirred = true;
        let queues = self.pulled.iter().chain(&self.pushed).chain([&self.catch_up]).flatten();
        for waiting in queues.filter(|waiting| waiting.block == parcel.block && waiting.tag == parcel.tag) {
            parcel.word &= !waiting.word;
        }
        if parcel.word != 0 {
            enqueue(&mut self.pulled[priority as usize], parcel);
        }
    }

    /// Queues parts of a block that a joiner has missed.
    pub(crate) fn push_catch_up(&mut self, parcel: Parcel) {
        self.stirred = true;
        enqueue(&mut self.catch_up, parcel);
    }

    /// Forgets everything of a stream.
    pub(crate) fn forget_stream(&mut self, tag: StreamTag) {
        let queues = self.pulled.iter_mut().chain(&mut self.pushed).chain([&mut self.catch_up]);
        queues.for_each(|queue| queue.retain(|parcel| parcel.tag != tag));
        self.broken.retain(|broken| *broken != tag);
    }

    /// Keeps the pushes that `wanted` selects.
    pub(crate) fn retain_pushed(&mut self, mut wanted: impl FnMut(&Parcel) -> bool) {
        self.pushed.iter_mut().for_each(|queue| queue.retain(&mut wanted));
    }

    /// Returns the next part that is due, pushes before answers where uploads are `limited`; what has expired is
    /// dropped.
    pub(crate) fn pop_media(&mut self, now: Now, limited: bool) -> Option<Due> {
        for queue in if limited { LIMITED_ORDER } else { ORDER } {
            let (parcels, pulled) = match queue {
                CatchUp => (&mut self.catch_up, true),
                Pulled(priority) => (&mut self.pulled[priority], true),
                Pushed(priority) => (&mut self.pushed[priority], false),
            };
            let Some(due) = pop(parcels, now, pulled, (self.heavy, &mut self.shed)) else { continue };
            if matches!(queue, Pushed(priority) if priority == Priority::Reference as usize) {
                self.sending = Some((due.tag, due.block));
            }
            return Some(due);
        }
        None
    }

    /// Returns what goes next where uploads are limited: its place in the order of queues, its block, and how many
    /// parts of that wait.
    pub(crate) fn next(&self) -> Option<(usize, BlockId, u32)> {
        let front = |queue: Queue| {
            let parcels = match queue {
                CatchUp => &self.catch_up,
                Pulled(priority) => &self.pulled[priority],
                Pushed(priority) => &self.pushed[priority],
            };
            parcels.iter().find(|parcel| parcel.parts() > 0)
        };
        let queues = LIMITED_ORDER.into_iter().enumerate();
        let mut fronts = queues.filter_map(|(place, queue)| Some((place, front(queue)?)));
        fronts.next().map(|(place, parcel)| (place, parcel.block, parcel.parts()))
    }

    /// Returns the bytes of media that wait.
    pub(crate) fn media_bytes(&self) -> f64 {
        let queues = self.pulled.iter().chain(&self.pushed).chain([&self.catch_up]).flatten();
        queues.map(Parcel::bytes).sum()
    }

    /// Returns what was dropped since the last call.
    pub(crate) fn take_shed(&mut self) -> Vec<Shed> {
        std::mem::take(&mut self.shed)
    }

    /// Sheds in whole runs what a path of `rate` bytes a second has no room for. What nothing refers to goes when it
    /// waited for a third of the receiver's patience; reference pictures then in favour of the next random-access
    /// point, and after two thirds without one, up to it: a large first picture leaves room for those behind it. Sound
    /// and data go only when they have expired.
    ///
    /// The picture at a random-access point keeps its room: what waits before it goes as soon as it would not be out
    /// in half the receiver's patience otherwise; the other half is left to the repair of losses. It gives way only to
    /// a newer one that is in time by that, and once begun to nothing. So each group of pictures shows at least its
    /// first where the path can carry those.
    ///
    /// Of several streams, that one has to give way of whose pictures most waits.
    pub(crate) fn shed_stale(&mut self, now: Now, rate: f64) {
        let Self { pushed: [essential, _, disposable], shed, .. } = self;
        drop_all(essential, shed, |parcel| parcel.expires <= now);
        keep_headers(disposable, essential, |parcel| parcel.waits(now, 1));
        drop_all(disposable, shed, |parcel| parcel.waits(now, 1));
        while self.make_room(now, rate) {}
        let heaviest = self.heaviest();
        let mut waiting = self.pushed[Priority::Reference as usize].iter();
        self.heavy = heaviest.filter(|tag| waiting.any(|parcel| parcel.tag != *tag));
        let Some(tag) = heaviest else { return };
        let [_, reference, disposable] = &mut self.pushed;
        let mut own = reference.iter().filter(|parcel| parcel.tag == tag);
        let waits = own.next().is_some_and(|front| front.waits(now, 2));
        if waits && !own.any(|parcel| parcel.begins) {
            drop_all(reference, &mut self.shed, |parcel| parcel.tag == tag && !parcel.random_access);
            drop_all(disposable, &mut self.shed, |parcel| parcel.tag == tag);
            self.broken.retain(|broken| *broken != tag);
            self.broken.push(tag);
        }
    }

    /// Returns the stream of whose reference pictures most waits.
    fn heaviest(&self) -> Option<StreamTag> {
        let reference = &self.pushed[Priority::Reference as usize];
        let first = reference.front()?.tag;
        if reference.iter().all(|parcel| parcel.tag == first) {
            return Some(first);
        }
        let mut parts = BTreeMap::<StreamTag, u32>::new();
        reference.iter().for_each(|parcel| *parts.entry(parcel.tag).or_default() += parcel.word.count_ones());
        parts.into_iter().max_by_key(|(_, parts)| *parts).map(|(tag, _)| tag)
    }

    /// Sheds the oldest group of pictures, but for its first, or where there are none but such, the oldest of them:
    /// when the front has waited for a third of the receiver's patience, or the newest random-access point has no
    /// room. Returns whether it did.
    fn make_room(&mut self, now: Now, rate: f64) -> bool {
        let [essential, reference, _] = &self.pushed;
        let Some(tag) = self.heaviest() else { return false };
        let is_own = |parcel: &&Parcel| parcel.tag == tag;
        let begins = |parcel: &Parcel| parcel.begins && parcel.tag == tag;
        let newest = reference.iter().rposition(begins).filter(|at| *at > 0);
        let (Some(newest), Some(front)) = (newest, reference.iter().find(is_own).copied()) else {
            return false;
        };
        let start = reference[newest];
        let behind = reference.iter().skip(newest).filter(is_own);
        let picture = behind.take_while(|parcel| parcel.random_access);
        let first = self.catch_up.iter().chain(&self.pulled[0]).chain(&self.pulled[1]).chain(essential);
        let alone: f64 = first.chain(picture).map(Parcel::bytes).sum();
        let others: f64 = reference.iter().take(newest).map(Parcel::bytes).sum();
        let sent = |bytes: f64| now.after(Duration::from_secs_f64((bytes / rate.max(1.0)).min(60.0)));
        let possible = sent(alone) < start.expires;

        let begun = self.begun_random_access();
        // Relays push blocks in the order of their arrival, so a newer one may wait before it.
        let older = || {
            let before = reference.iter().take(newest);
            before.filter(|parcel| parcel.tag == start.tag && parcel.block < start.block)
        };
        let oldest = older().find(|parcel| !parcel.random_access);
        let late = start.queued.after(start.patience() / if oldest.is_some() { 2 } else { 1 });
        let crowded = possible && sent(others + alone) > late;
        let whole = oldest.is_none();
        let oldest = oldest.or_else(|| older().find(|parcel| begun.is_none_or(|last| parcel.block > last)));
        let Some(oldest) = oldest.copied().filter(|_| crowded || (!whole && front.waits(now, 1))) else {
            return false;
        };
        let behind =
            |parcel: &&Parcel| parcel.tag == oldest.tag && parcel.block > oldest.block && parcel.begins;
        let end = reference.iter().filter(behind).map(|next| next.block).min().unwrap_or(start.block);
        let goes = |parcel: &Parcel| {
            parcel.tag == oldest.tag
                && parcel.block < end
                && (!parcel.random_access || (whole && parcel.block >= oldest.block))
        };
        let Self { pulled: [_, repairs @ ..], pushed: [_, pushed @ ..], shed, .. } = self;
        pushed.iter_mut().chain(repairs).for_each(|queue| drop_all(queue, shed, goes));
        true
    }

    /// Returns the last block of the random-access point at the front, when parts of it have been sent.
    fn begun_random_access(&self) -> Option<BlockId> {
        let reference = &self.pushed[Priority::Reference as usize];
        let front = reference.front().filter(|parcel| parcel.random_access)?;
        let begun = !front.begins || self.sending == Some((front.tag, front.block));
        let rest = reference.iter().skip(1).take_while(|parcel| parcel.random_access && !parcel.begins);
        let last = rest.last().unwrap_or(front);
        if begun { Some(last.block) } else { None }
    }
}

/// Moves the headers of blocks that go to another queue: who has a header knows that nothing refers to its block, and
/// plays on behind it; a block of which nothing came may have been a reference.
fn keep_headers(queue: &mut VecDeque<Parcel>, to: &mut VecDeque<Parcel>, goes: impl Fn(&Parcel) -> bool) {
    for parcel in queue.iter_mut().filter(|parcel| goes(parcel) && parcel.word & Want::HEADER != 0) {
        parcel.word &= !Want::HEADER;
        enqueue(to, Parcel { word: Want::HEADER, ..*parcel });
    }
}

fn drop_all(queue: &mut VecDeque<Parcel>, shed: &mut Vec<Shed>, goes: impl Fn(&Parcel) -> bool) {
    queue.retain(|parcel| {
        let goes = goes(parcel);
        if goes {
            shed.push(parcel.shed());
        }
        !goes
    });
}

fn enqueue(queue: &mut VecDeque<Parcel>, parcel: Parcel) {
    if let Some(last) = queue.back_mut().filter(|last| last.block == parcel.block && last.tag == parcel.tag) {
        last.word |= parcel.word;
        last.echoes = last.echoes.max(parcel.echoes);
        return;
    }
    if queue.len() == PARCELS_MAX {
        queue.pop_front();
    }
    queue.push_back(parcel);
}

/// Takes the next part of a queue, of the heavy stream when no other waits.
fn pop(
    queue: &mut VecDeque<Parcel>,
    now: Now,
    pulled: bool,
    (heavy, shed): (Option<StreamTag>, &mut Vec<Shed>),
) -> Option<Due> {
    loop {
        let light = heavy.and_then(|heavy| queue.iter().position(|parcel| parcel.tag != heavy));
        let at = light.unwrap_or(0);
        let next = queue.get_mut(at)?;
        if next.expires <= now {
            shed.push(next.shed());
        } else if let Some(index) = next.next() {
            return Some(Due { tag: next.tag, block: next.block, index, pulled });
        }
        queue.remove(at);
    }
}

#[cfg(test)]
mod tests;
