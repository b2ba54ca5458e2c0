//! Suppliers: who is asked, when a place changes hands, who is given up.

use super::*;

const MS: u64 = 1_000;
const STRIPE: Stripe = Stripe(3);
const ONE: StripeMask = StripeMask(1 << 3);

fn offerer(path: u32, depth: u8, rtt_ms: u64) -> Offerer {
    Offerer {
        path: PathId(path),
        distances: [Distance { round: 0, depth }; STRIPES as usize],
        gives: (StripeMask::ALL, Now(0)),
        leads: [Lead::default(); STRIPES as usize],
        consumes: StripeMask::default(),
        rtt: Duration::from_millis(rtt_ms),
        failures: 0,
    }
}

/// A neighbour that was ahead of the supplier with one stripe.
fn ahead(path: u32, depth: u8, by_ms: u64) -> Offerer {
    let mut offerer = offerer(path, depth, 20);
    offerer.leads[usize::from(STRIPE.0)].note(Now(1), Duration::from_millis(by_ms));
    offerer
}

/// One neighbour three hops from the publisher supplies everything.
fn supplied() -> Supply {
    let mut supply = Supply::new(Now(0));
    let asked = supply.assign(Now(0), BlockId(0), &[offerer(1, 3, 20)], false);
    assert_eq!(asked[&(PathId(1), None)], StripeMask::ALL);
    supply
}

fn improved(supply: &mut Supply, others: &[Offerer]) -> Option<Handover> {
    let offerers = [&[offerer(1, 3, 30)], others].concat();
    supply.improve(Now(2), &offerers, |time| BlockId(100 + time.as_millis() as u64), false)
}

#[test]
fn who_is_proven_to_be_sooner_is_asked_and_a_deeper_one_is_not() {
    assert_eq!(improved(&mut supplied(), &[offerer(2, 0, 1)]), None, "nothing is proven");
    assert_eq!(improved(&mut supplied(), &[ahead(2, 4, 50)]), None, "the trees stay flat");
    assert_eq!(improved(&mut supplied(), &[ahead(2, 3, 6)]), None, "too little is won");
    let heir = |handover: Option<Handover>| handover.map(|handover| (handover.heir.0, handover.stripe));
    assert_eq!(heir(improved(&mut supplied(), &[ahead(2, 3, 7)])), Some((2, STRIPE)));
    assert_eq!(heir(improved(&mut supplied(), &[ahead(2, 0, 7), ahead(3, 2, 30)])), Some((3, STRIPE)));
    let consumer = Offerer { consumes: StripeMask::ALL, ..ahead(2, 0, 50) };
    assert_eq!(improved(&mut supplied(), &[consumer]), None, "it is fed from here");
}

#[test]
fn a_proof_holds_for_the_supplier_that_it_was_about_and_for_four_seconds() {
    let supplier = Supplier::new(Now(0), PathId(1));
    let mut lead = Lead::default();
    lead.note(Now(1), Duration::from_millis(30));
    lead.note(Now(2), Duration::from_millis(20));
    assert_eq!(lead.over(supplier.since, Now(4_000 * MS)), Duration::from_millis(30));
    assert_eq!(lead.over(supplier.since, Now(4_001 * MS)), Duration::ZERO);
    assert_eq!(lead.over(Now(1), Now(2)), Duration::ZERO);
    lead.note(Now(5_000 * MS), Duration::from_millis(8));
    assert_eq!(lead.over(supplier.since, Now(5_000 * MS)), Duration::from_millis(8));
}

#[test]
fn a_place_changes_hands_at_one_block_once_nobody_refused() {
    let mut supply = supplied();
    let handover = improved(&mut supply, &[ahead(2, 0, 50)]).unwrap();
    assert_eq!(handover.from, BlockId(100 + 20 + 20 + 30), "an answer and the telling fit before it");
    let told_at = supply.tells_at().unwrap();
    assert_eq!(supply.poll_telling(Now(told_at.0 - 1)), None, "it may refuse until then");
    assert_eq!(supply.poll_telling(told_at), Some(handover));
    assert_eq!((supply.poll_telling(told_at), supply.tells_at()), (None, None));
    supply.handle_push(told_at, handover.heir, STRIPE, BlockId(169));
    assert_eq!(supply.supplier(STRIPE), Some(PathId(1)), "that was for another reason");
    supply.handle_push(told_at, handover.heir, STRIPE, BlockId(170));
    assert_eq!(supply.supplier(STRIPE), Some(PathId(2)));
}

#[test]
fn a_refusal_costs_nothing_before_the_supplier_was_told_and_is_undone_behind() {
    let mut supply = supplied();
    let handover = improved(&mut supply, &[ahead(2, 0, 50)]).unwrap();
    assert_eq!(supply.handle_choke(Now(3), PathId(2), ONE, BlockId(0)), []);
    assert_eq!((supply.tells_at(), supply.supplier(STRIPE)), (None, Some(PathId(1))));
    assert_eq!(improved(&mut supply, &[ahead(2, 0, 50)]), None, "it is not asked again at once");

    let mut supply = supplied();
    improved(&mut supply, &[ahead(2, 0, 50)]).unwrap();
    supply.poll_telling(supply.tells_at().unwrap()).unwrap();
    assert_eq!(supply.handle_choke(Now(3), PathId(2), ONE, BlockId(0)), [handover]);
    assert_eq!(supply.supplier(STRIPE), Some(PathId(1)));
}

#[test]
fn who_ends_at_a_block_has_a_successor_from_there_on() {
    let mut supply = supplied();
    assert_eq!(supply.handle_choke(Now(3), PathId(1), ONE, BlockId(40)), []);
    assert!(supply.seeks() && !supply.is_vacant());
    let offerers = [offerer(1, 3, 20), offerer(2, 3, 20)];
    let asked = supply.assign(Now(4), BlockId(9), &offerers, false);
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), [((PathId(2), Some(BlockId(40))), ONE)]);
    assert!(!supply.seeks());
    assert_eq!(supply.handle_missed(Now(999 * MS), STRIPE, BlockId(41), |_| true), None, "once is nothing");
    supply.handle_push(Now(5), PathId(2), STRIPE, BlockId(40));
    assert_eq!(supply.supplier(STRIPE), Some(PathId(2)));
}

#[test]
fn without_a_successor_a_place_is_vacant_from_that_block_on() {
    let mut supply = supplied();
    supply.handle_choke(Now(3), PathId(1), ONE, BlockId(40));
    assert_eq!(supply.assign(Now(4), BlockId(39), &[offerer(1, 3, 20)], false).len(), 0);
    assert_eq!(supply.supplier(STRIPE), Some(PathId(1)));
    assert_eq!(supply.assign(Now(5), BlockId(40), &[offerer(1, 3, 20)], false).len(), 0);
    assert!(supply.is_vacant());
}

#[test]
fn who_withholds_what_it_has_is_left_sooner_than_who_waits_itself() {
    let at = |ms: u64| Now(ms * MS);
    let missed = |holds: bool, times: u64| {
        let mut supply = supplied();
        (1..=times).map(|n| supply.handle_missed(at(100 * n), STRIPE, BlockId(n), |_| holds)).last().flatten()
    };
    let gone = |handover: Option<Handover>| handover.map(|handover| (handover.heir, handover.former));
    assert_eq!(gone(missed(true, 1)), None);
    assert_eq!(gone(missed(true, 2)), Some((PathId(1), PathId(1))));
    assert_eq!(gone(missed(false, 7)), None);
    assert_eq!(gone(missed(false, 8)), Some((PathId(1), PathId(1))));
}

#[test]
fn an_heir_that_pushes_nothing_is_given_up_and_the_supplier_asked_again() {
    let mut supply = supplied();
    let handover = improved(&mut supply, &[ahead(2, 0, 50)]).unwrap();
    supply.poll_telling(supply.tells_at().unwrap()).unwrap();
    assert_eq!(supply.expire(Now(8_000 * MS)), []);
    assert_eq!(supply.expire(Now(8_100 * MS)), [handover]);
    assert_eq!(supply.supplier(STRIPE), Some(PathId(1)));
}

#[test]
fn who_is_asked_takes_the_place_of_a_supplier_that_goes() {
    let mut supply = supplied();
    let Handover { heir, stripe, .. } = improved(&mut supply, &[ahead(2, 0, 50)]).unwrap();
    supply.drop_path(Now(3), PathId(1));
    assert_eq!(supply.supplier(stripe), Some(heir));
    assert_eq!(supply.supplied_by(heir).len(), 1);
    assert!(supply.is_vacant());
}

#[test]
fn a_guest_keeps_the_depth_that_it_had_and_goes_home_to_who_is_no_deeper() {
    let mut supply = supplied();
    let offerers = [offerer(1, 3, 20), offerer(9, 0, 20)];
    let depth = |supply: &mut Supply, offerers: &[Offerer]| supply.distances(offerers).map(|told| told.depth);
    assert_eq!(depth(&mut supply, &offerers), [4; STRIPES as usize]);
    supply.begin_guest(Now(2), PathId(9));
    assert_eq!(supply.settle_guest(PathId(9), STRIPE), [(PathId(1), StripeMask::ALL)]);
    assert_eq!(depth(&mut supply, &offerers), [4; STRIPES as usize], "nobody is to lean on it");
    supply.end(PathId(9), BlockId(70));
    let home = [offerer(2, 5, 1), offerer(3, 4, 20), offerer(9, 0, 20)];
    let asked = supply.assign(Now(3), BlockId(60), &home, false);
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), [((PathId(3), Some(BlockId(70))), StripeMask::ALL)]);
    supply.handle_push(Now(4), PathId(3), STRIPE, BlockId(70));
    assert_eq!(depth(&mut supply, &home)[usize::from(STRIPE.0)], 5);
}

#[test]
fn where_uploads_are_limited_only_who_is_nearer_than_this_node_ever_told_to_be_is_asked() {
    let mut supply = supplied();
    let round = |offerer: Offerer, round: u64| {
        let distances = offerer.distances.map(|told| Distance { round, ..told });
        Offerer { distances, ..offerer }
    };
    let told = supply.distances(&[round(offerer(1, 3, 20), 5)]);
    assert_eq!(told, [Distance { round: 5, depth: 4 }; STRIPES as usize]);
    // Further away by now, which those do not know who heard of the nearer place.
    supply.distances(&[round(offerer(1, 8, 20), 5)]);
    supply.drop_path(Now(3), PathId(1));
    let mut asks =
        |depth, at| supply.assign(Now(4), BlockId(9), &[round(offerer(2, depth, 20), at)], true).len();
    assert_eq!([asks(4, 5), asks(8, 5), asks(1, 4)], [0; 3], "they may be fed from here");
    assert_eq!(asks(13, 6), 1, "a newer round did not come from here");
}

#[test]
fn the_publisher_is_asked_whatever_it_told_last() {
    let mut supply = supplied();
    let here = Distance { round: 5, depth: 3 };
    supply.distances(&[Offerer { distances: [here; STRIPES as usize], ..offerer(1, 3, 20) }]);
    supply.drop_path(Now(3), PathId(1));
    assert_eq!(supply.assign(Now(4), BlockId(9), &[offerer(9, 0, 20)], true).len(), 1);
}

#[test]
fn a_refused_guest_has_all_its_suppliers_still() {
    // The publisher supplies one stripe in the mesh, and is asked for all.
    let mut supply = supplied();
    supply.handle_choke(Now(3), PathId(1), ONE, BlockId(0));
    supply.assign(Now(4), BlockId(9), &[offerer(9, 0, 20)], false);
    let before =
        |supply: &Supply| StripeMask::ALL.iter().map(|stripe| supply.supplier(stripe)).collect::<Vec<_>>();
    let mesh = before(&supply);
    assert_eq!((mesh[3], mesh[4]), (Some(PathId(9)), Some(PathId(1))));

    supply.begin_guest(Now(5), PathId(9));
    assert_eq!(supply.settle_guest(PathId(9), STRIPE), [], "that it pushed before");
    supply.handle_choke(Now(6), PathId(1), StripeMask(1 << 6), BlockId(0));
    assert!(supply.cancel_guest());
    let mut after = mesh.clone();
    after[6] = None;
    assert_eq!(before(&supply), after, "but for who went meanwhile");
    assert!(!supply.cancel_guest());

    supply.begin_guest(Now(7), PathId(9));
    let others = StripeMask(StripeMask::ALL.0 & !(1 << 3) & !(1 << 6));
    assert_eq!(supply.settle_guest(PathId(9), Stripe(4)), [(PathId(1), others)]);
    assert!(!supply.cancel_guest(), "it is a guest now");
}

#[test]
fn where_uploads_are_limited_who_gives_a_stripe_is_asked_and_again_once_it_does() {
    let asked = |supply: &mut Supply, at: u64, offerers: &[Offerer]| {
        let asked = supply.assign(Now(at), BlockId(9), offerers, true);
        asked.into_keys().map(|(path, _)| path.0).collect::<Vec<_>>()
    };
    let with = |path: u32, gives: u8, told: u64| {
        let gives = (StripeMask(gives << STRIPE.0), Now(told));
        Offerer { gives, ..offerer(path, 3, 20) }
    };
    assert_eq!(asked(&mut Supply::new(Now(0)), 1, &[with(1, 0, 0)]), []);
    assert_eq!(asked(&mut Supply::new(Now(0)), 1, &[with(1, 1, 0), with(2, 3, 0)]), [2]);

    let mut supply = Supply::new(Now(0));
    assert_eq!(asked(&mut supply, 1, &[with(1, 2, 0)]), [1]);
    supply.handle_choke(Now(10), PathId(1), StripeMask::ALL, BlockId(0));
    assert_eq!(asked(&mut supply, 20, &[with(1, 2, 5)]), [], "it told before it refused");
    assert_eq!(asked(&mut supply, 20, &[with(1, 2, 15)]), [1]);
}

#[test]
fn where_uploads_are_limited_who_is_nearer_by_three_hops_and_gives_the_stripe_takes_its_place() {
    let at = |path: u32, depth: u8, round: u64| {
        let offerer = offerer(path, depth, 20);
        Offerer { distances: [Distance { round, depth }; STRIPES as usize], ..offerer }
    };
    let improved = |others: &[Offerer]| {
        let mut supply = Supply::new(Now(0));
        supply.assign(Now(0), BlockId(0), &[at(1, 6, 5)], true);
        supply.distances(&[at(1, 6, 5)]);
        let offerers = [&[at(1, 6, 5)], others].concat();
        let handover = supply.improve(Now(2), &offerers, |_| BlockId(100), true);
        handover.map(|handover| (handover.heir.0, handover.former.0))
    };
    assert_eq!(improved(&[at(2, 4, 5), at(3, 4, 9)]), None);
    assert_eq!(improved(&[at(2, 3, 5), at(3, 2, 5)]), Some((3, 1)));
    assert_eq!(improved(&[at(2, 3, 4)]), None, "of an older round: it may be fed from here");
    assert_eq!(improved(&[Offerer { gives: (StripeMask::default(), Now(0)), ..at(2, 1, 5) }]), None);
}
