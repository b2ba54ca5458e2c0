//! The whole path: cut, seal, encode, decode, verify, join. What arrives is what was sent, or nothing.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use swarmcast_core::catalogue::{AccessUnit, TrackId};
use swarmcast_core::fragment::{
    BLOCK_DURATION_MAX, Cutter, Draft, JoinError, Joiner, SMALL_UNIT_WAIT, Submission,
};
use swarmcast_core::ids::{BlockId, MediaTime, Now, Priority, Stripe};
use swarmcast_core::seal::{EpochKeys, Sealer, VerifiedFragment, VerifiedHeader};
use swarmcast_core::wire::{BlockHeader, DATAGRAM_BYTES_MAX, Datagram, SHARD_PLAIN_BYTES, peek_tag};

use crate::material::{sealer, submissions};

/// Cuts units that come `gap` apart; returns each draft with the time at which it was closed.
fn cut(work: &[Submission], more: &[bool], gap: Duration) -> Vec<(Now, Draft)> {
    cut_by(Cutter::default(), work, more, gap)
}

fn cut_by(mut cutter: Cutter, work: &[Submission], more: &[bool], gap: Duration) -> Vec<(Now, Draft)> {
    let (mut drafts, mut now) = (Vec::new(), Now(0));
    let mut dated = Vec::new();
    for (at, work) in work.iter().enumerate() {
        let next = now.after(gap);
        while let Some(due) = cutter.next_timeout().filter(|due| *due < next) {
            cutter.close_due(due, &mut drafts);
            dated.extend(drafts.drain(..).map(|draft| (due, draft)));
        }
        now = next;
        cutter.push(now, work, more.get(at).copied().unwrap_or(false), &mut drafts);
        dated.extend(drafts.drain(..).map(|draft| (now, draft)));
    }
    cutter.close_all(&mut drafts);
    dated.extend(drafts.drain(..).map(|draft| (now.after(SMALL_UNIT_WAIT), draft)));
    dated
}

/// Seals drafts as blocks from 0 on; returns each block's datagrams, header first.
fn seal(sealer: &Sealer, drafts: &[(Now, Draft)]) -> Vec<Vec<Bytes>> {
    seal_with(sealer, drafts, 0)
}

fn seal_with(sealer: &Sealer, drafts: &[(Now, Draft)], parity: u8) -> Vec<Vec<Bytes>> {
    let blocks = drafts.iter().zip(0..).map(|((now, draft), block)| {
        let header = BlockHeader {
            block: BlockId(block),
            stripe: Stripe((block % 8) as u8),
            priority: draft.priority,
            continues: draft.continues,
            random_access: draft.random_access,
            data: 0,
            parity: 0,
            last_shard_bytes: 0,
            closed: now.since(Now(0)),
            media_time: draft.media_time,
            leaves: Vec::new(),
        };
        let sealed = sealer.seal(header, &draft.plain, parity);
        let fragments = sealed.fragments.iter().map(|fragment| fragment.datagram().clone());
        std::iter::once(sealed.header.datagram().clone()).chain(fragments).collect()
    });
    blocks.collect()
}

/// Takes a block's datagrams as bytes and verifies all of them.
fn receive(keys: &EpochKeys, datagrams: &[Bytes]) -> (VerifiedHeader, Vec<VerifiedFragment>) {
    for datagram in datagrams {
        assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        assert_eq!(peek_tag(datagram), Some(keys.tag()));
    }
    assert_eq!(Datagram::decode(&datagrams[0]), Ok(Datagram::Header));
    let header = keys.verify_header(datagrams[0].clone()).expect("it is the publisher's");
    let fragments = datagrams[1..].iter().map(|datagram| match Datagram::decode(datagram) {
        Ok(Datagram::Fragment(view)) => header.verify(view, datagram.clone()).expect("it is of this block"),
        other => panic!("{other:?} is no fragment"),
    });
    let fragments = fragments.collect();
    (header, fragments)
}

fn join(
    joiner: &mut Joiner,
    keys: &EpochKeys,
    datagrams: &[Bytes],
    out: &mut Vec<AccessUnit>,
) -> Result<(), JoinError> {
    let (header, fragments) = receive(keys, datagrams);
    let inline = header.inline_shard().into_iter();
    joiner.push(keys, header.header(), inline.chain(fragments.iter().map(VerifiedFragment::shard)), out)
}

fn of_track(units: &[AccessUnit], track: u8) -> Vec<&AccessUnit> {
    units.iter().filter(|unit| unit.track == TrackId(track)).collect()
}

/// Whether `part` is what remains of `whole` when some units are left out.
fn is_subsequence(part: &[&AccessUnit], whole: &[&AccessUnit]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|unit| whole.any(|other| other == unit))
}

fn gaps() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0_u64), Just(1), Just(10), Just(20), Just(40), 0..100_u64]
        .prop_map(Duration::from_millis)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_arrives_is_what_was_sent(
        work in submissions(20),
        more in vec(any::<bool>(), 20),
        gap in gaps(),
        data_max in prop_oneof![4 => Just(62), 2 => 40..62_u8, 1 => 1..40_u8],
        parity in 0..=14_u8,
    ) {
        let sealer = sealer();
        let mut cutter = Cutter::default();
        cutter.limit_data(data_max);
        let drafts = cut_by(cutter, &work, &more, gap);
        for (_, draft) in &drafts {
            prop_assert!(draft.plain.len() <= usize::from(data_max) * SHARD_PLAIN_BYTES);
        }
        let blocks = seal_with(&sealer, &drafts, parity);
        let (mut joiner, mut units) = (Joiner::default(), Vec::new());
        for datagrams in &blocks {
            join(&mut joiner, sealer.keys(), datagrams, &mut units).expect("every block is there, in order");
        }
        prop_assert!(!joiner.reset(), "nothing is left over");
        prop_assert_eq!(units.len(), work.len());
        let sent: Vec<AccessUnit> = work.into_iter().map(|work| work.unit).collect();
        for track in 0..4 {
            prop_assert_eq!(of_track(&units, track), of_track(&sent, track));
        }
    }

    #[test]
    fn lost_blocks_cost_only_what_was_in_them(
        work in submissions(16),
        lost in vec(proptest::bool::weighted(0.3), 200),
        gap in gaps(),
        tells_of_loss in any::<bool>(),
    ) {
        let sealer = sealer();
        let drafts = cut(&work, &[], gap);
        let blocks = seal(&sealer, &drafts);
        let (mut joiner, mut units) = (Joiner::default(), Vec::new());
        for (datagrams, lost) in blocks.iter().zip(&lost) {
            if *lost && tells_of_loss {
                joiner.reset();
            } else if !*lost {
                let _ = join(&mut joiner, sealer.keys(), datagrams, &mut units);
            }
        }
        let sent: Vec<AccessUnit> = work.iter().map(|work| work.unit.clone()).collect();
        for track in 0..4 {
            prop_assert!(is_subsequence(&of_track(&units, track), &of_track(&sent, track)));
        }
        // A unit whose blocks all came is there: count the units that begin in blocks of their own.
        let whole_blocks = (0..drafts.len()).filter(|at| {
            let spans = drafts.get(at + 1).is_some_and(|(_, next)| next.continues);
            !lost[*at] && !spans && !drafts[*at].1.continues
        });
        prop_assert!(units.len() >= whole_blocks.count());
    }

    #[test]
    fn reordered_and_repeated_blocks_never_make_a_unit_up(
        work in submissions(8),
        order in vec(any::<proptest::sample::Index>(), 0..60),
    ) {
        let sealer = sealer();
        let blocks = seal(&sealer, &cut(&work, &[], Duration::from_millis(40)));
        let (mut joiner, mut units) = (Joiner::default(), Vec::new());
        for at in order {
            let _ = join(&mut joiner, sealer.keys(), &blocks[at.index(blocks.len())], &mut units);
        }
        for unit in &units {
            prop_assert!(work.iter().any(|work| work.unit == *unit), "nobody sent {:?}", unit);
        }
    }

    #[test]
    fn shards_in_the_wrong_place_or_number_are_refused(
        work in submissions(1),
        first in any::<proptest::sample::Index>(),
        second in any::<proptest::sample::Index>(),
    ) {
        let sealer = sealer();
        let blocks = seal(&sealer, &cut(&work, &[], Duration::ZERO));
        let (header, fragments) = receive(sealer.keys(), &blocks[0]);
        prop_assume!(fragments.len() > 1);
        let mut shards: Vec<&[u8]> = fragments.iter().map(VerifiedFragment::shard).collect();
        let mut units = Vec::new();
        let mut push = |shards: &[&[u8]]| {
            Joiner::default().push(sealer.keys(), header.header(), shards.iter().copied(), &mut units)
        };
        prop_assert_eq!(push(&shards[1..]).is_err(), true);
        prop_assert_eq!(push(&shards[..shards.len() - 1]), Err(JoinError::Sequence));
        let (first, second) = (first.index(shards.len()), second.index(shards.len()));
        shards.swap(first, second);
        prop_assert_eq!(push(&shards).is_ok(), first == second);
    }

    #[test]
    fn blocks_close_in_time_and_keep_to_their_limits(work in submissions(20), gap in gaps()) {
        let drafts = cut(&work, &[], gap);
        for (_, draft) in &drafts {
            prop_assert!((1..=62 * 1008).contains(&draft.plain.len()));
        }
        let (mut cutter, mut out) = (Cutter::default(), Vec::new());
        for (at, work) in work.iter().enumerate() {
            let now = Now(1000 * at as u64);
            cutter.close_due(now, &mut out);
            cutter.push(now, work, at % 2 == 0, &mut out);
            let due = cutter.next_timeout();
            prop_assert!(due.is_none_or(|due| due > now && due <= now.after(SMALL_UNIT_WAIT)));
        }
        cutter.close_all(&mut out);
        prop_assert_eq!(cutter.next_timeout(), None);
    }
}

fn picture(track: u8, dts: i64, bytes: usize, priority: Priority) -> Submission {
    let unit = AccessUnit {
        track: TrackId(track),
        dts,
        pts: dts,
        duration: 1,
        key: false,
        disposable: priority == Priority::Disposable,
        payload: vec![dts as u8; bytes].into(),
    };
    Submission { unit, priority, random_access: false, media_time: MediaTime(0) }
}

#[test]
fn a_block_waits_as_long_as_its_units_allow() {
    let wait = |bytes: usize, more: bool| {
        let (mut cutter, mut out) = (Cutter::default(), Vec::new());
        cutter.push(Now(5_000), &picture(0, 1, bytes, Priority::Reference), more, &mut out);
        assert_eq!(cutter.next_timeout().is_none(), !out.is_empty());
        cutter.next_timeout().map(|due| due.since(Now(5_000)))
    };
    assert_eq!((wait(399, false), wait(399, true)), (Some(SMALL_UNIT_WAIT), Some(SMALL_UNIT_WAIT)));
    assert_eq!((wait(400, false), wait(400, true)), (None, Some(BLOCK_DURATION_MAX)));
    assert_eq!((wait(50_000, false), wait(50_000, true)), (None, Some(BLOCK_DURATION_MAX)));
    assert_eq!(wait(200_000, true), None, "what fills blocks by itself does not wait");
}

#[test]
fn small_units_that_waited_leave_with_the_next_picture_and_before_it() {
    let leave = |waited: u64, random_access: bool| {
        let (mut cutter, mut out) = (Cutter::default(), Vec::new());
        cutter.push(Now(0), &picture(1, 1, 300, Priority::Essential), false, &mut out);
        let next = Submission { random_access, ..picture(0, 1, 3000, Priority::Reference) };
        cutter.push(Now(waited), &next, false, &mut out);
        out.iter().map(|draft| draft.priority).collect::<Vec<_>>()
    };
    assert_eq!(leave(19_999, false), [Priority::Reference]);
    assert_eq!(leave(20_000, false), [Priority::Essential, Priority::Reference]);
    assert_eq!(leave(20_000, true), [Priority::Reference, Priority::Essential]);
}

#[test]
fn a_droppable_picture_that_waits_goes_out_before_the_next_reference() {
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    cutter.push(Now(0), &picture(0, 1, 100, Priority::Disposable), false, &mut out);
    assert!(out.is_empty(), "it waits for company");
    cutter.push(Now(5_000), &picture(0, 2, 3000, Priority::Reference), false, &mut out);
    let priorities: Vec<_> = out.iter().map(|draft| draft.priority).collect();
    assert_eq!(priorities, [Priority::Disposable, Priority::Reference]);
}

#[test]
fn a_random_access_point_goes_out_before_what_was_published_behind_it() {
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    let start = Submission { random_access: true, ..picture(0, 1, 100, Priority::Reference) };
    cutter.push(Now(0), &start, false, &mut out);
    assert!(out.is_empty(), "it waits for company");
    cutter.push(Now(1_000), &picture(1, 1, 3000, Priority::Essential), false, &mut out);
    let starts: Vec<_> = out.iter().map(|draft| draft.random_access).collect();
    assert_eq!(starts, [true, false]);
}
