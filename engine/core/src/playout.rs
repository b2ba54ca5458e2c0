//! Playout: deadlines, and delivery in order.

use std::time::Duration;

use crate::catalogue::{AccessUnit, Catalogue, TRACKS_MAX, TrackKind};
use crate::clock::PublisherClock;
use crate::fragment::Joiner;
use crate::ids::{BlockId, MediaTime, Now, Priority};
use crate::node::GapCause;
use crate::seal::EpochKeys;
use crate::window::{Slot, Window};

/// Time that a joiner leaves to the run of older blocks beyond its playout delay: on a path with half again the
/// stream's rate a group of pictures of one second takes two.
pub(crate) const CATCH_UP_GRACE: Duration = Duration::from_secs(3);

/// Blocks whose headers are missing in a row, behind which the time of the next header is no longer looked for.
const BEHIND_MAX: u64 = 64;

/// What comes out of playout.
#[derive(Debug)]
pub(crate) enum Delivery {
    Unit { unit: AccessUnit, due: Now, closed: Duration },
    Gap { track: crate::catalogue::TrackId, from: MediaTime, to: MediaTime, cause: GapCause },
}

/// Counts of one round of delivery.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lost: u64,
    pub(crate) skipped: u64,
    pub(crate) malformed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct TrackPlay {
    /// Media time and duration of the last unit delivered.
    last: Option<(MediaTime, i64)>,
    /// Why units may be missing since.
    broken: Option<GapCause>,
    /// Whether it waits for a key unit.
    awaits_key: bool,
}

/// Delivery of one subscription.
#[derive(Debug)]
pub(crate) struct Playout {
    delay: Duration,
    /// How much longer than the delay a lost fragment may be waited for, since all is played that much later.
    grown: Duration,
    next: BlockId,
    joined: Now,
    /// What was closed before is waited for as if it had been closed then.
    excused_until: Now,
    /// Whether a random-access point was reached; nothing before it is delivered.
    begun: bool,
    joiner: Joiner,
    tracks: [TrackPlay; TRACKS_MAX],
    last_media: MediaTime,
    /// Media time of the newest unit or block that was delivered, skipped or given up.
    reached: MediaTime,
    /// When the last block delivered is due.
    dry_at: Option<Now>,
}

impl Playout {
    /// Starts at a block, with time to catch up.
    pub(crate) fn new(now: Now, delay: Duration, first: BlockId) -> Self {
        Self {
            delay,
            grown: Duration::ZERO,
            next: first,
            joined: now,
            excused_until: now.after(CATCH_UP_GRACE),
            begun: false,
            joiner: Joiner::default(),
            tracks: [TrackPlay::default(); TRACKS_MAX],
            last_media: MediaTime::default(),
            reached: MediaTime::default(),
            dry_at: None,
        }
    }

    /// Catches up as after a join: this node did not run for a while.
    pub(crate) fn handle_stalled(&mut self, now: Now) {
        (self.joined, self.excused_until) = (now, now.after(CATCH_UP_GRACE));
    }

    /// Waits for what was closed while nothing came as if it were closed now. To give it up would show nothing sooner,
    /// and a random-access point that is overdue is of use to all that follows it.
    pub(crate) fn handle_starved(&mut self, now: Now) {
        self.excused_until = self.excused_until.max(now);
    }

    /// Waits so much longer than the playout delay from now on, for what is told to be due as before.
    pub(crate) fn set_grown(&mut self, grown: Duration) {
        self.grown = grown;
    }

    /// Returns the next block to be delivered.
    pub(crate) fn next(&self) -> BlockId {
        self.next
    }

    /// Returns the media time of the last access unit delivered.
    pub(crate) fn last_media(&self) -> MediaTime {
        self.last_media
    }

    /// Returns when what was delivered is played, but for the last access unit's duration; `None` before the first.
    /// A joiner is given time to draw level: what it catches up with is due later than others have it.
    pub(crate) fn dry_at(&self) -> Option<Now> {
        let level_at = self.joined.after((CATCH_UP_GRACE + self.delay) / 2);
        self.dry_at.map(|at| at.after(self.grown).max(level_at))
    }

    /// Returns when [`Playout::deliver`] gives the next block up: one whose header is missing as soon as the first
    /// known one behind it is due, which was closed no sooner.
    pub(crate) fn next_timeout(&self, clock: &PublisherClock, window: &Window) -> Option<Now> {
        let slot = window.slot(self.next)?;
        let closed = |slot: &Slot| clock.local(slot.header()?.header().closed);
        let bound = || {
            let behind =
                (self.next.0 + 1..=self.next.0 + BEHIND_MAX).map_while(|block| window.slot(BlockId(block)));
            behind.filter_map(closed).next().map_or(slot.evident(), |closed| closed.min(slot.evident()))
        };
        let closed = closed(slot).unwrap_or_else(bound);
        Some(closed.max(self.excused_until).after(self.delay + self.grown))
    }

    /// Delivers what is complete and gives up what is overdue, in order.
    pub(crate) fn deliver(&mut self, now: Now, stream: View<'_>, out: &mut Vec<Delivery>) -> Tally {
        let mut tally = Tally::default();
        if self.next < stream.window.first() {
            tally.lost += stream.window.first().0 - self.next.0;
            self.lose(None, GapCause::Late, stream.catalogue);
            self.next = stream.window.first();
        }
        while let Some(slot) = stream.window.slot(self.next) {
            if slot.is_complete() {
                self.deliver_block(slot, &stream, out, &mut tally);
            } else if self.next_timeout(stream.clock, stream.window).is_some_and(|at| at <= now) {
                tally.lost += u64::from(slot.missing().count_ones());
                let cause = if (stream.is_shed)(self.next) { GapCause::Shed } else { GapCause::Late };
                self.lose(slot.header().map(|header| header.header().priority), cause, stream.catalogue);
            } else {
                break;
            }
            let media = slot.header().map(|header| header.header().media_time);
            self.reached = self.reached.max(media.unwrap_or_default());
            self.next = self.next.next();
        }
        tally
    }

    fn deliver_block(&mut self, slot: &Slot, stream: &View<'_>, out: &mut Vec<Delivery>, tally: &mut Tally) {
        let Some(header) = slot.header().map(|verified| verified.header()) else { return };
        if header.continues && !self.joiner.is_begun() {
            return;
        }
        let mut units = Vec::new();
        if self.joiner.push(stream.keys, header, slot.shards(), &mut units).is_err() {
            tally.malformed += 1;
            self.lose(Some(header.priority), GapCause::Late, stream.catalogue);
        }
        let due = stream.clock.local(header.closed).unwrap_or(self.joined).after(self.delay);
        self.dry_at = self.dry_at.max(Some(due));
        for unit in units {
            self.deliver_unit(unit, (due, header.closed), stream.catalogue, out, tally);
        }
    }

    fn deliver_unit(
        &mut self,
        unit: AccessUnit,
        (due, closed): (Now, Duration),
        catalogue: &Catalogue,
        out: &mut Vec<Delivery>,
        tally: &mut Tally,
    ) {
        let Some(track) = catalogue.track(unit.track) else {
            tally.malformed += 1;
            return;
        };
        self.begun |= unit.key && catalogue.lead_track().is_some_and(|lead| lead.id == track.id);
        if !self.begun {
            return;
        }
        let play = &mut self.tracks[usize::from(unit.track.0) % TRACKS_MAX];
        let media = MediaTime(track.time_base.to_micros(unit.dts));
        self.reached = self.reached.max(media);
        if play.awaits_key && !unit.key {
            tally.skipped += 1;
            return;
        }
        play.awaits_key = false;
        let duration = track.time_base.to_micros(i64::from(unit.duration));
        if let (Some(cause), Some((last, length))) = (play.broken.take(), play.last)
            && media.0.saturating_sub(last.0) > length.max(1).saturating_mul(3) / 2
        {
            out.push(Delivery::Gap { track: unit.track, from: last, to: media, cause });
        }
        play.last = Some((media, duration));
        self.last_media = self.last_media.max(media);
        out.push(Delivery::Unit { unit, due, closed });
    }

    /// Tells what is missing at the end of the stream, where no unit follows that would show it.
    pub(crate) fn close(&mut self, catalogue: &Catalogue, out: &mut Vec<Delivery>) {
        for track in &catalogue.tracks {
            let play = &mut self.tracks[usize::from(track.id.0) % TRACKS_MAX];
            if let (Some(cause), Some((from, length))) = (play.broken.take(), play.last)
                && self.reached.0.saturating_sub(from.0) > length.max(1).saturating_mul(3) / 2
            {
                out.push(Delivery::Gap { track: track.id, from, to: self.reached, cause });
            }
        }
    }

    /// Marks the tracks that a lost block may have belonged to; of an unknown block, all.
    fn lose(&mut self, priority: Option<Priority>, cause: GapCause, catalogue: &Catalogue) {
        let begun = self.joiner.reset();
        for track in &catalogue.tracks {
            let video = track.kind == TrackKind::Video;
            let touched = match priority {
                None => true,
                Some(Priority::Essential) => !video,
                Some(Priority::Reference | Priority::Disposable) => video,
            };
            let play = &mut self.tracks[usize::from(track.id.0) % TRACKS_MAX];
            if touched || (begun && video) {
                play.broken = Some(play.broken.unwrap_or(cause));
                play.awaits_key |= video && (begun || priority != Some(Priority::Disposable));
            }
        }
    }
}

/// What delivery reads of a stream.
pub(crate) struct View<'a> {
    pub(crate) window: &'a Window,
    pub(crate) keys: &'a EpochKeys,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) clock: &'a PublisherClock,
    pub(crate) is_shed: &'a dyn Fn(BlockId) -> bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::GroupSpec;
    use crate::ids::Epoch;
    use crate::seal::Sealer;
    use crate::wire::BlockHeader;

    #[test]
    fn a_block_without_header_holds_up_nothing_behind_its_time() {
        let group = GroupSpec::open("lobby").expect("a name");
        let sealer = Sealer::new(&group, &[1; 32], Epoch(1)).expect("a key");
        let (delay, closed) = (Duration::from_millis(100), Duration::from_millis(500));
        let mut window = Window::new(BlockId(0), 1 << 24, Duration::from_secs(60));
        let mut clock = PublisherClock::default();
        let playout = Playout { excused_until: Now(0), ..Playout::new(Now(0), delay, BlockId(0)) };
        clock.handle_arrival(Now(600_000), closed);
        window.expect(Now(640_000), BlockId(1));
        assert_eq!(playout.next_timeout(&clock, &window), Some(Now(740_000)), "it was closed by then");
        let header = BlockHeader::unsealed(BlockId(1), closed);
        window.insert_header(Now(650_000), sealer.seal(header, &[0; 3000], 0).header);
        assert_eq!(playout.next_timeout(&clock, &window), Some(Now(700_000)), "the next one was closed");
    }
}
