//! Suppliers: who is asked, when a place changes hands, who is given up.

use super::*;

const MS: u64 = 1_000;
const STRIPE: Stripe = Stripe(3);
const ONE: StripeMask = StripeMask(1 << 3);

fn offerer(path: u32, depth: u8, rtt_ms: u64) -> Offerer {
    Offerer {
        path: PathId(path),
        depths: [depth; STRIPES as usize],
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
    let asked = supply.assign(Now(0), BlockId(0), &[offerer(1, 3, 20)]);
    assert_eq!(asked[&(PathId(1), None)], StripeMask::ALL);
    supply
}

fn improved(supply: &mut Supply, others: &[Offerer]) -> Option<Handover> {
    let offerers = [&[offerer(1, 3, 30)], others].concat();
    supply.improve(Now(2), &offerers, |time| BlockId(100 + time.as_millis() as u64))
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
    assert_eq!(lead.over(supplier, Now(4_000 * MS)), Duration::from_millis(30));
    assert_eq!(lead.over(supplier, Now(4_001 * MS)), Duration::ZERO);
    assert_eq!(lead.over(Supplier::new(Now(1), PathId(4)), Now(2)), Duration::ZERO);
    lead.note(Now(5_000 * MS), Duration::from_millis(8));
    assert_eq!(lead.over(supplier, Now(5_000 * MS)), Duration::from_millis(8));
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
    let asked = supply.assign(Now(4), BlockId(9), &offerers);
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
    assert_eq!(supply.assign(Now(4), BlockId(39), &[offerer(1, 3, 20)]).len(), 0);
    assert_eq!(supply.supplier(STRIPE), Some(PathId(1)));
    assert_eq!(supply.assign(Now(5), BlockId(40), &[offerer(1, 3, 20)]).len(), 0);
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
    assert_eq!(supply.depths(&offerers), [4; STRIPES as usize]);
    assert_eq!(supply.replace_all(Now(2), PathId(9)), [(PathId(1), StripeMask::ALL)]);
    assert_eq!(supply.depths(&offerers), [4; STRIPES as usize], "nobody is to lean on it");
    supply.end(PathId(9), BlockId(70));
    let home = [offerer(2, 5, 1), offerer(3, 4, 20), offerer(9, 0, 20)];
    let asked = supply.assign(Now(3), BlockId(60), &home);
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), [((PathId(3), Some(BlockId(70))), StripeMask::ALL)]);
    supply.handle_push(Now(4), PathId(3), STRIPE, BlockId(70));
    assert_eq!(supply.depths(&home)[usize::from(STRIPE.0)], 5);
}
