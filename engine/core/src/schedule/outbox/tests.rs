use std::collections::BTreeMap;

use super::*;

const TAG: StreamTag = StreamTag([7; 4]);
const PATIENCE: Duration = Duration::from_secs(1);
/// 600 parts a second.
const RATE: f64 = 600.0 * PART_BYTES;

fn at(ms: u64) -> Now {
    Now(ms * 1_000)
}

/// A picture of `parts` parts, in one block.
fn picture(block: u64, parts: u32, queued: Now, random_access: bool) -> Parcel {
    let word = (1 << parts) - 1;
    let (begins, expires) = (random_access, queued.after(PATIENCE));
    Parcel { tag: TAG, block: BlockId(block), word, queued, expires, begins, random_access, echoes: 0 }
}

/// A random-access point of `blocks` blocks of 60 parts.
fn push_random_access(outbox: &mut Outbox, first: u64, blocks: u64, queued: Now) {
    for block in first..first + blocks {
        let parcel = Parcel { begins: block == first, ..picture(block, 60, queued, true) };
        outbox.push(parcel, Priority::Reference);
    }
}

/// Sends at [`RATE`] for a while; returns how many parts of each block went out.
fn run(outbox: &mut Outbox, ms: std::ops::Range<u64>) -> BTreeMap<u64, u32> {
    let (mut sent, mut credit) = (BTreeMap::new(), 0.0);
    for now in ms.map(at) {
        outbox.shed_stale(now, RATE);
        credit += RATE / PART_BYTES / 1_000.0;
        while credit >= 1.0
            && let Some(due) = outbox.pop_media(now, false)
        {
            credit -= 1.0;
            *sent.entry(due.block.0).or_default() += 1;
        }
    }
    sent
}

#[test]
fn pictures_give_way_to_a_random_access_point_that_would_be_late() {
    let mut outbox = Outbox::default();
    (0..10).for_each(|block| outbox.push(picture(block, 20, at(0), false), Priority::Reference));
    // 333 ms wait before it, it takes 400: with both it would be out after 733, past half its second.
    push_random_access(&mut outbox, 10, 4, at(1));
    let sent = run(&mut outbox, 1..500);
    assert_eq!(sent.keys().copied().collect::<Vec<_>>(), [10, 11, 12, 13]);
    assert!(sent.values().all(|parts| *parts == 60), "{sent:?}");
    assert_eq!(outbox.take_shed().len(), 10, "and the neighbour is told");
}

#[test]
fn pictures_stay_where_a_random_access_point_has_time() {
    let mut outbox = Outbox::default();
    (0..9).for_each(|block| outbox.push(picture(block, 20, at(0), false), Priority::Reference));
    push_random_access(&mut outbox, 9, 1, at(1));
    let sent = run(&mut outbox, 1..500);
    assert_eq!(sent.len(), 10, "{sent:?}");
    assert!(outbox.take_shed().is_empty());
}

#[test]
fn nothing_gives_way_to_a_random_access_point_that_is_too_late_all_the_same() {
    let mut outbox = Outbox::default();
    (0..9).for_each(|block| outbox.push(picture(block, 20, at(0), false), Priority::Reference));
    push_random_access(&mut outbox, 9, 11, at(1));
    let sent = run(&mut outbox, 1..302);
    assert!((0..9).all(|block| sent.get(&block) == Some(&20)), "{sent:?}");
}

#[test]
fn a_random_access_point_once_begun_is_finished_before_a_newer_one() {
    let mut outbox = Outbox::default();
    push_random_access(&mut outbox, 0, 5, at(0));
    let mut sent = run(&mut outbox, 0..200);
    outbox.push(picture(5, 20, at(200), false), Priority::Reference);
    outbox.push_pulled(picture(2, 1, at(200), true), Priority::Reference);
    push_random_access(&mut outbox, 6, 5, at(400));
    for (block, parts) in run(&mut outbox, 400..1_300) {
        *sent.entry(block).or_default() += parts;
    }
    let whole =
        |first: u64| (first..first + 5).all(|block| sent.get(&block).is_some_and(|parts| *parts >= 60));
    assert!(whole(0) && whole(6), "{sent:?}");
    assert!(!sent.contains_key(&5), "what lies between gives way: {sent:?}");
}

#[test]
fn a_random_access_point_that_waits_gives_way_to_newer_ones_alone() {
    let mut outbox = Outbox::default();
    // 400 ms each: all three would take longer than a second, two do not.
    push_random_access(&mut outbox, 0, 4, at(0));
    push_random_access(&mut outbox, 4, 4, at(0));
    outbox.push(picture(8, 20, at(0), false), Priority::Reference);
    push_random_access(&mut outbox, 9, 4, at(0));
    let sent = run(&mut outbox, 0..900);
    assert_eq!(sent.keys().copied().collect::<Vec<_>>(), [4, 5, 6, 7, 9, 10, 11, 12], "{sent:?}");
    assert!(sent.values().all(|parts| *parts == 60), "{sent:?}");
}

#[test]
fn every_group_that_waits_keeps_its_first_picture() {
    let mut outbox = Outbox::default();
    for group in 0..4 {
        push_random_access(&mut outbox, group * 10, 1, at(0));
        (1..10).for_each(|n| outbox.push(picture(group * 10 + n, 30, at(0), false), Priority::Reference));
    }
    let sent = run(&mut outbox, 0..999);
    assert!((0..4).all(|group| sent.get(&(group * 10)) == Some(&60)), "{sent:?}");
}

#[test]
fn sound_is_kept_and_told_pictures_wait_for_the_next_random_access_point() {
    let mut outbox = Outbox::default();
    (0..60).for_each(|block| outbox.push(picture(block, 20, at(0), false), Priority::Reference));
    outbox.push(picture(60, 1, at(0), false), Priority::Essential);
    run(&mut outbox, 0..700);
    assert!(!outbox.take_shed().is_empty());
    outbox.push(picture(61, 1, at(700), false), Priority::Reference);
    outbox.push(picture(62, 1, at(700), false), Priority::Essential);
    outbox.push(picture(63, 1, at(700), true), Priority::Reference);
    outbox.push(picture(64, 1, at(700), false), Priority::Reference);
    let sent = run(&mut outbox, 700..800);
    assert_eq!(sent.keys().copied().collect::<Vec<_>>(), [62, 63, 64]);
}

#[test]
fn what_waits_out_of_order_is_shed_as_well() {
    let mut outbox = Outbox::default();
    // A newer picture and a newer random-access point came before those of block 10.
    outbox.push(picture(14, 40, at(0), false), Priority::Reference);
    outbox.push(picture(3, 40, at(0), false), Priority::Reference);
    push_random_access(&mut outbox, 20, 4, at(0));
    push_random_access(&mut outbox, 10, 3, at(1));
    outbox.shed_stale(at(400), RATE);
    let shed = outbox.take_shed();
    assert!(shed.iter().any(|shed| shed.block == BlockId(3)), "{shed:?}");
    assert!(shed.iter().all(|shed| shed.block < BlockId(10)), "{shed:?}");
}

#[test]
fn a_stream_that_is_shed_leaves_another_its_pictures() {
    let mut outbox = Outbox::default();
    let other = |block, queued| Parcel { tag: StreamTag([8; 4]), ..picture(block, 1, queued, false) };
    (0..60).for_each(|block| outbox.push(picture(block, 20, at(0), false), Priority::Reference));
    outbox.push(other(100, at(600)), Priority::Reference);
    run(&mut outbox, 0..690);
    assert!(outbox.take_shed().iter().all(|shed| shed.tag == TAG));
    outbox.push(picture(61, 1, at(700), false), Priority::Reference);
    outbox.push(other(101, at(700)), Priority::Reference);
    let sent = run(&mut outbox, 690..800);
    assert_eq!(sent.keys().copied().collect::<Vec<_>>(), [101], "{sent:?}");
}

#[test]
fn the_stream_of_which_most_waits_gives_way() {
    let mut outbox = Outbox::default();
    let light = |block, begins| Parcel { tag: StreamTag([8; 4]), ..picture(block, 4, at(0), begins) };
    for group in 0..3 {
        push_random_access(&mut outbox, group * 10, 1, at(0));
        outbox.push(light(100 + group * 10, true), Priority::Reference);
        for n in 1..10 {
            outbox.push(picture(group * 10 + n, 30, at(0), false), Priority::Reference);
            outbox.push(light(100 + group * 10 + n, false), Priority::Reference);
        }
    }
    let sent = run(&mut outbox, 0..999);
    assert!((100..130).all(|block| sent.get(&block) == Some(&4)), "{sent:?}");
    assert!((0..3).all(|group| sent.get(&(group * 10)) == Some(&60)), "{sent:?}");
    assert!(outbox.take_shed().iter().all(|shed| shed.tag == TAG));
}

#[test]
fn a_header_goes_again_behind_its_shards() {
    let mut outbox = Outbox::default();
    let parcel = Parcel { echoes: 2, ..picture(3, 2, at(0), false) };
    outbox.push(Parcel { word: parcel.word | Want::HEADER, ..parcel }, Priority::Reference);
    let sent = std::iter::from_fn(|| outbox.pop_media(at(1), false)).map(|due| due.index);
    assert_eq!(sent.collect::<Vec<_>>(), [None, Some(0), Some(1), None, None]);
    assert!(!outbox.has_media());
}

#[test]
fn what_is_told_to_go_next_goes_next() {
    let mut outbox = Outbox::default();
    outbox.push_catch_up(picture(1, 2, at(0), false));
    for (block, priority) in [(2, Priority::Disposable), (3, Priority::Reference), (4, Priority::Essential)] {
        outbox.push(picture(block, 2, at(0), false), priority);
        outbox.push_pulled(picture(block + 10, 3, at(0), false), priority);
    }
    assert_eq!(outbox.media_bytes(), 17.0 * PART_BYTES);
    let mut order = Vec::new();
    while let Some((place, block, parts)) = outbox.next() {
        let due = outbox.pop_media(at(1), true).unwrap();
        assert_eq!((due.block, place <= Outbox::ESSENTIAL), (block, [4, 14].contains(&block.0)));
        order.extend(if order.last() == Some(&block.0) { None } else { Some(block.0) });
        assert!(parts <= 3);
    }
    assert_eq!((order, outbox.pop_media(at(1), true)), (vec![4, 14, 3, 13, 2, 12, 1], None));
}

#[test]
fn answers_and_what_joiners_missed_go_before_pushes_unless_uploads_are_limited() {
    let order = |limited: bool| {
        let mut outbox = Outbox::default();
        outbox.push_catch_up(picture(1, 1, at(0), false));
        for (block, priority) in [(2, Priority::Reference), (3, Priority::Essential)] {
            outbox.push(picture(block, 1, at(0), false), priority);
            outbox.push_pulled(picture(block + 10, 1, at(0), false), priority);
        }
        std::iter::from_fn(|| outbox.pop_media(at(1), limited)).map(|due| due.block.0).collect::<Vec<_>>()
    };
    assert_eq!((order(false), order(true)), (vec![13, 3, 1, 12, 2], vec![3, 13, 2, 12, 1]));
}
