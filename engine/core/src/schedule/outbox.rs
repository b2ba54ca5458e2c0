//! What waits to be sent on one session, in the order of its use: control, pulled, pushed by priority.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{BlockId, Now, Priority, StreamTag};
use crate::wire::{Want, Want as Shards};

/// Most control datagrams that wait; the oldest goes, since all of them are repeated.
const CONTROL_MAX: usize = 128;
/// Most blocks that wait in one queue: 16 s of an ordinary stream.
const PARCELS_MAX: usize = 2048;

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
    pub(crate) random_access: bool,
}

impl Parcel {
    /// Takes the next part: the header first, then the shards in order.
    fn next(&mut self) -> Option<Option<u8>> {
        if self.word & Want::HEADER != 0 {
            self.word &= !Want::HEADER;
            return Some(None);
        }
        let index = self.word.trailing_zeros();
        self.word &= self.word.wrapping_sub(1);
        if index < 64 { Some(Some(index as u8)) } else { None }
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

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    control: VecDeque<Bytes>,
    pulled: VecDeque<Parcel>,
    pushed: [VecDeque<Parcel>; 3],
    /// Set by priority while a stream waits for its next random-access point after something was shed.
    broken: [bool; 3],
}

impl Outbox {
    pub(crate) fn has_media(&self) -> bool {
        !self.pulled.is_empty() || self.pushed.iter().any(|queue| !queue.is_empty())
    }

    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    pub(crate) fn push_control(&mut self, datagram: Bytes) {
        if self.control.len() == CONTROL_MAX {
            self.control.pop_front();
        }
        self.control.push_back(datagram);
    }

    pub(crate) fn pop_control(&mut self) -> Option<Bytes> {
        self.control.pop_front()
    }

    /// Queues parts of a block as a push; parts of the block that came last are merged.
    pub(crate) fn push(&mut self, parcel: Parcel, priority: Priority) {
        enqueue(&mut self.pushed[priority as usize], parcel);
    }

    /// Queues parts of a block that were asked for; what waits as a push already is moved up.
    pub(crate) fn push_pulled(&mut self, mut parcel: Parcel) {
        for waiting in self.pushed.iter_mut().flatten().chain(&mut self.pulled) {
            if waiting.block == parcel.block && waiting.tag == parcel.tag {
                parcel.word |= waiting.word & parcel.word;
                waiting.word &= !parcel.word;
            }
        }
        enqueue(&mut self.pulled, parcel);
    }

    /// Forgets what a receiver got elsewhere.
    pub(crate) fn forget_stream(&mut self, tag: StreamTag) {
        self.pulled.retain(|parcel| parcel.tag != tag);
        self.pushed.iter_mut().for_each(|queue| queue.retain(|parcel| parcel.tag != tag));
    }

    /// Forgets pushes of a stream that `unwanted` selects.
    pub(crate) fn retain_pushed(&mut self, mut wanted: impl FnMut(&Parcel) -> bool) {
        self.pushed.iter_mut().for_each(|queue| queue.retain(&mut wanted));
    }

    /// Returns the next part that is due. What cannot be of use any longer is taken out and told in `shed`.
    pub(crate) fn pop_media(&mut self, now: Now, backlog_max: Duration, shed: &mut Vec<Shed>) -> Option<Due> {
        self.shed_pushed(now, backlog_max, shed);
        if let Some(due) = pop(&mut self.pulled, now, true) {
            return Some(due);
        }
        self.pushed.iter_mut().find_map(|queue| pop(queue, now, false))
    }

    /// Sheds in whole runs: what nothing refers to when it waited too long; reference pictures from the first that
    /// waited too long up to the next random-access point, and what refers to them with them; sound and data only
    /// when they have expired.
    fn shed_pushed(&mut self, now: Now, backlog_max: Duration, shed: &mut Vec<Shed>) {
        let [essential, reference, disposable] = &mut self.pushed;
        let drop = |parcel: Parcel, shed: &mut Vec<Shed>| {
            shed.push(Shed {
                tag: parcel.tag,
                block: parcel.block,
                word: parcel.word & (Shards::SHARDS | Want::HEADER),
            });
        };
        while essential.front().is_some_and(|parcel| parcel.expires <= now) {
            essential.pop_front().into_iter().for_each(|parcel| drop(parcel, shed));
        }
        let stale = |parcel: &Parcel| parcel.expires <= now || now.since(parcel.queued) > backlog_max;
        let was_broken = self.broken[Priority::Reference as usize];
        if reference.front().is_some_and(stale) || was_broken {
            let mut broken = was_broken;
            let skipped = reference.front().is_some_and(stale);
            while let Some(front) = reference.front() {
                if front.random_access && !(stale(front)) {
                    broken = false;
                    break;
                }
                broken = true;
                reference.pop_front().into_iter().for_each(|parcel| drop(parcel, shed));
            }
            self.broken[Priority::Reference as usize] = broken || (skipped && reference.is_empty());
            disposable.drain(..).for_each(|parcel| drop(parcel, shed));
        }
        while disposable.front().is_some_and(|parcel| now.since(parcel.queued) > backlog_max / 2) {
            disposable.pop_front().into_iter().for_each(|parcel| drop(parcel, shed));
        }
    }
}

fn enqueue(queue: &mut VecDeque<Parcel>, parcel: Parcel) {
    if let Some(last) = queue.back_mut().filter(|last| last.block == parcel.block && last.tag == parcel.tag) {
        last.word |= parcel.word;
        return;
    }
    if queue.len() == PARCELS_MAX {
        queue.pop_front();
    }
    queue.push_back(parcel);
}

fn pop(queue: &mut VecDeque<Parcel>, now: Now, pulled: bool) -> Option<Due> {
    while let Some(front) = queue.front_mut() {
        if front.expires > now
            && let Some(index) = front.next()
        {
            return Some(Due { tag: front.tag, block: front.block, index, pulled });
        }
        queue.pop_front();
    }
    None
}
