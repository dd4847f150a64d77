#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test may fail by panicking"
)]

use super::*;
use crate::actor::samples::{NOW, credit_of, lock_of, with_first_voucher};
use protocol_spec::{Condition, Op, Opened, Preimage, channel::Clock};

static NO_MARKS: BTreeSet<u64> = BTreeSet::new();

/// Seen by endpoints of which `open` show no dispute.
fn seen(disputes: &[Facts], open: usize, now: UnixSeconds) -> Sighting<'_> {
    let needed = (disputes.len() + open) / 2 + 1;
    let number = disputes.first().map(|facts| facts.dispute_no);
    Sighting {
        disputes,
        open,
        needed,
        shared: number.filter(|_| disputes.len() >= needed),
        marked: &NO_MARKS,
        withdrawn: Amount::ZERO,
        now,
        latest: now,
    }
}

fn step_of(entry: &mut Entry, disputes: &[Facts], now: UnixSeconds) -> Option<Step> {
    entry.step(&seen(disputes, 0, now))
}

/// In a dispute in which voucher `seq` with `paid` was shown of the hub, with its locks.
fn facts(seq: u64, paid: u128) -> Facts {
    let shown = Shown {
        seq: Seq(seq),
        paid: Amount(paid),
        live: true,
        opened: true,
        window_end: NOW.after(1000),
        ..Shown::default()
    };
    Facts {
        disputed: true,
        shown,
        ..Facts::default()
    }
}

/// A restored hub may have signed two vouchers of one seq: the one that pays less does not keep back the other.
#[test]
fn r21_a_voucher_is_shown_when_it_pays_more_whatever_its_seq() {
    for ops in [vec![credit_of(100)], vec![credit_of(100), lock_of(5)]] {
        let mut entry = with_first_voucher(&ops);
        let mut shows = |seq, paid| match step_of(&mut entry, &[facts(seq, paid)], NOW) {
            Some(Step::Show { voucher, locks, .. }) => {
                assert!(locks.is_empty(), "no witness is known");
                voucher
            }
            Some(step) => panic!("{step:?}"),
            None => false,
        };
        for seq in [0, 1, 2] {
            assert!(shows(seq, 99), "seq {seq}");
        }
        assert!(!shows(1, 100), "it is there");
        assert!(!shows(2, 100), "a newer one is there");
        // Without locks of either side a newer seq alone changes nothing.
        assert_eq!(shows(0, 100), ops.len() > 1);
        let mut acknowledged = facts(1, 100);
        (acknowledged.shown.live, acknowledged.shown.opened) = (false, false);
        let step = step_of(&mut entry, &[acknowledged], NOW);
        let shown = matches!(step, Some(Step::Show { voucher: true, .. }));
        assert_eq!(
            shown,
            ops.len() > 1,
            "our own voucher acknowledges it, without its locks"
        );
        assert_eq!(
            step_of(&mut entry, &[facts(1, 99)], NOW.after(1000)),
            Some(Step::Finalize)
        );
    }
}

/// One endpoint that says the voucher is there, or that the window is over, keeps nothing back.
#[test]
fn r21_what_one_endpoint_does_not_show_is_shown_whatever_the_others_say() {
    let mut entry = with_first_voucher(&[credit_of(100)]);
    let (honest, satisfied) = (facts(0, 0), facts(9, 1_000_000));
    let mut over = facts(0, 0);
    over.shown.window_end = NOW;
    for disputes in [
        vec![honest, satisfied],
        vec![satisfied, honest, over],
        vec![over, honest],
    ] {
        let step = step_of(&mut entry, &disputes, NOW);
        assert!(matches!(step, Some(Step::Show { voucher: true, .. })), "{step:?}");
    }
    assert_eq!(
        step_of(&mut entry, &[satisfied, over], NOW),
        None,
        "half is not most"
    );
    assert_eq!(step_of(&mut entry, &[over], NOW), Some(Step::Finalize));
    assert_eq!(step_of(&mut entry, &[], NOW), None);
}

/// One that shows the window over, on a channel that is open, had the account emptied by what it named for gas.
#[test]
fn only_as_many_as_must_agree_have_a_dispute_finalized() {
    let mut entry = with_first_voucher(&[credit_of(100)]);
    let mut over = facts(9, 100);
    over.shown.window_end = NOW;
    assert_eq!(entry.step(&seen(&[over], 2, NOW)), None);
    assert_eq!(entry.step(&seen(&[over], 1, NOW)), None, "of two");
    let two = [over, over];
    assert_eq!(entry.step(&seen(&two, 1, NOW)), Some(Step::Finalize));
}

/// Without the word of as many as must agree nothing is taken for done for good.
#[test]
fn locks_resolved_in_a_dispute_that_one_invented_are_resolved_in_the_real_one() {
    let mut entry = with_open_lock();
    let mut number = facts(1, 100);
    let resolves = |entry: &mut Entry, disputes: &[Facts], open| {
        let step = entry.step(&seen(disputes, open, NOW));
        matches!(step, Some(Step::Show { locks, .. }) if locks.contains(&1))
    };
    for fake in 1..20 {
        number.dispute_no = Seq(fake);
        assert!(resolves(&mut entry, &[number], 2));
        entry.defence.resolved.2.insert(1);
    }
    number.dispute_no = Seq(1);
    assert!(resolves(&mut entry, &[number, number], 1));
    entry.defence.resolved.2.insert(1);
    let mut counted = number;
    counted.shown.counted = Amount(5);
    assert!(!resolves(&mut entry, &[number, counted], 1), "it is done");
}

const ACT_S: u64 = protocol_spec::limits::ACT_DEFAULT_S;

/// A lock that expires an hour from [`NOW`], which this client can open.
fn with_open_lock() -> Entry {
    with_opened(&[])
}

/// With more operations in its voucher.
fn with_opened(more: &[Op]) -> Entry {
    let preimage = Preimage([3; 32]);
    let condition = Condition::preimage(&preimage);
    let mut op = lock_of(5);
    if let Op::LockAdd { lock, .. } = &mut op {
        lock.hash = condition.hash;
    }
    let ops = [&[credit_of(100), op][..], more].concat();
    let mut entry = with_first_voucher(&ops);
    let opened = Opened::by_hash(condition, preimage.into()).unwrap();
    let clock = Clock { now: NOW, chain: NOW };
    entry.channel.learn_witness(1, &opened, clock).unwrap();
    entry
}

/// The whole transaction fails when one of its locks has expired: it must not be waited for any longer.
#[test]
fn r21_what_is_shown_with_a_lock_is_tried_no_longer_than_the_lock_lives() {
    let mut entry = with_open_lock();
    let mut dispute = facts(0, 0);
    (dispute.shown.live, dispute.shown.opened) = (false, false);
    let mut left = |window_s, now: UnixSeconds| {
        dispute.shown.window_end = NOW.after(window_s);
        match step_of(&mut entry, &[dispute], now) {
            Some(Step::Show {
                voucher: true,
                locks,
                left,
            }) => (locks.len(), left.as_secs()),
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(left(1000, NOW), (1, 1000));
    assert_eq!(left(5000, NOW), (1, 3600));
    assert_eq!(left(5000, NOW.after(3600)), (0, 1400), "then without it");
}

/// What a resolver takes may come after the window, and a client may be away until then.
#[test]
fn r17_locks_of_the_stored_voucher_are_resolved_after_the_window_until_they_expire() {
    let over = |seq, paid| {
        let mut over = facts(seq, paid);
        over.shown.window_end = NOW;
        over
    };
    let mut entry = with_open_lock();
    let shows = Step::Show {
        voucher: false,
        locks: BTreeSet::from([1]),
        left: Duration::from_secs(3600),
    };
    assert_eq!(step_of(&mut entry, &[over(1, 100)], NOW), Some(shows));
    // Another voucher is stored, or this one without its locks: too late for those.
    let mut without = over(1, 100);
    (without.shown.live, without.shown.opened) = (false, false);
    for other in [over(0, 0), over(2, 100), over(1, 60), without] {
        assert_eq!(
            step_of(&mut entry, &[other], NOW),
            Some(Step::Finalize),
            "{other:?}"
        );
    }
    let expired = NOW.after(3600);
    assert_eq!(
        step_of(&mut entry, &[over(1, 100)], expired),
        Some(Step::Finalize)
    );
    let mut counted = over(1, 100);
    counted.shown.counted = Amount(5);
    assert_eq!(
        step_of(&mut entry, &[counted], NOW),
        Some(Step::Finalize),
        "it is done"
    );
}

/// What a step resolves, with the witnesses that go to the chain.
fn resolves(entry: &mut Entry, seen: &Sighting<'_>) -> (bool, Vec<(String, Witness)>) {
    match entry.step(seen) {
        Some(Step::Show { voucher, locks, .. }) => (voucher, entry.evidence_of(&locks).witnesses),
        step => panic!("{step:?}"),
    }
}

/// A newer voucher takes the count of the older one away. A lock that was resolved before counts again in it, for ever.
#[test]
fn r17_a_lock_that_was_resolved_in_time_is_shown_with_the_newer_voucher_after_its_expiry() {
    let late = NOW.after(4000);
    let (mut before, marked) = (facts(0, 60), BTreeSet::from([1]));
    before.shown.counted = Amount(5);
    before.shown.window_end = late.after(1000);
    let disputes = [before];
    let known = Witness::from(Preimage([3; 32]));
    let with = |witness: Witness| (true, vec![("1".to_owned(), witness)]);
    // One endpoint shows the mark, or it was stored.
    for told in [true, false] {
        let mut entry = with_open_lock();
        let mut sighting = seen(&disputes, 0, late);
        assert_eq!(resolves(&mut entry, &sighting), (true, Vec::new()), "not in time");
        match told {
            true => sighting.marked = &marked,
            false => entry.channel.mark(Side::Hub, 1),
        }
        assert_eq!(resolves(&mut entry, &sighting), with(known.clone()));
        match entry.step(&sighting) {
            Some(Step::Show { left, .. }) => assert_eq!(left.as_secs(), 1000, "it lives for ever"),
            step => panic!("{step:?}"),
        }
    }
    // Resolved by somebody else who holds the key: no witness is needed. Of one that was given up nothing is wanted.
    let mut entry = with_first_voucher(&[credit_of(100), lock_of(5)]);
    let sighting = Sighting {
        marked: &marked,
        ..seen(&disputes, 0, late)
    };
    assert_eq!(resolves(&mut entry, &sighting), with(Witness::default()));
    entry.channel.consent(1).unwrap();
    assert_eq!(resolves(&mut entry, &sighting), (true, Vec::new()));
}

/// After the window, too, until the dispute is final; then nothing is waited for, whatever one endpoint says.
#[test]
fn r17_a_marked_lock_that_is_not_counted_is_shown_until_the_dispute_is_final() {
    let mut over = facts(1, 100);
    over.shown.window_end = NOW;
    let (disputes, marked) = ([over], BTreeSet::from([1]));
    let at = |now| Sighting {
        marked: &marked,
        ..seen(&disputes, 0, now)
    };
    let (mut entry, period) = (with_open_lock(), 86_400);
    let late = NOW.after(period - 1);
    let left = Duration::from_secs(1);
    let locks = BTreeSet::from([1]);
    let voucher = false;
    assert_eq!(entry.step(&at(late)), Some(Step::Show { voucher, locks, left }));
    assert_eq!(entry.step(&at(NOW.after(period))), Some(Step::Finalize));
}

/// What counts already may be a lock that has expired: it hides none that was opened later.
#[test]
fn r21_the_count_of_a_lock_that_has_expired_hides_no_other() {
    let mut later = lock_of(5);
    if let Op::LockAdd { lock, .. } = &mut later {
        (lock.id, lock.expiry) = (2, NOW.after(7200));
        lock.hash = Condition::preimage(&Preimage([4; 32])).hash;
    }
    let mut entry = with_opened(&[later]);
    let clock = Clock { now: NOW, chain: NOW };
    let preimage = Preimage([4; 32]);
    let opened = Opened::by_hash(Condition::preimage(&preimage), preimage.into()).unwrap();
    entry.channel.learn_witness(2, &opened, clock).unwrap();
    let mut first = facts(1, 100);
    first.shown.counted = Amount(5);
    first.shown.window_end = NOW.after(6000);
    let disputes = [first];
    let sighting = seen(&disputes, 0, NOW.after(4000));
    let (voucher, shown) = resolves(&mut entry, &sighting);
    let ids: Vec<&str> = shown.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((voucher, ids), (false, vec!["2"]));
}

/// R27: after a cancel both go on. What is marked for good needs no dispute; one endpoint's word is not enough for that.
#[test]
fn r21_no_dispute_is_started_for_a_lock_whose_mark_is_final() {
    let due = NOW.after(3600 - ACT_S);
    let (mut entry, marked) = (with_open_lock(), BTreeSet::from([1]));
    let sighting = Sighting {
        marked: &marked,
        ..seen(&[], 1, due)
    };
    assert!(matches!(entry.step(&sighting), Some(Step::Dispute { .. })));
    entry.channel.mark(Side::Hub, 1);
    assert_eq!(entry.step(&sighting), None);
    let mut held = with_first_voucher(&[credit_of(100), lock_of(5)]);
    assert_eq!(held.step(&sighting), None, "nothing is known to open it");
}

/// Whoever submits a voucher may keep back what its locks are. They are to be opened while the window is open, also those
/// that nobody can resolve yet.
#[test]
fn r17_a_voucher_that_stands_without_its_opening_is_shown_again_in_the_window() {
    let mut unopened = facts(1, 100);
    unopened.shown.opened = false;
    let shows = |entry: &mut Entry, facts: Facts| match step_of(entry, &[facts], NOW) {
        Some(Step::Show { voucher, locks, .. }) => Some((voucher, locks.len())),
        _ => None,
    };
    let mut held = with_first_voucher(&[credit_of(100), lock_of(5)]);
    assert_eq!(shows(&mut held, unopened), Some((true, 0)));
    assert_eq!(shows(&mut held, facts(1, 100)), None, "it is opened");
    assert_eq!(shows(&mut with_open_lock(), unopened), Some((true, 1)));
    unopened.shown.window_end = NOW;
    assert_eq!(
        step_of(&mut with_open_lock(), &[unopened], NOW),
        Some(Step::Finalize),
        "too late"
    );
}

#[test]
fn r21_a_voucher_known_by_an_acknowledgement_is_shown_and_its_locks_in_one_transaction() {
    let (stored, mut acknowledged) = (facts(1, 100), facts(1, 100));
    (acknowledged.shown.live, acknowledged.shown.opened) = (false, false);
    let less = |live| {
        let mut less = facts(1, 60);
        (less.shown.live, less.shown.opened) = (live, live);
        less
    };
    let both = (true, BTreeSet::from([1]));
    let cases = [
        (vec![acknowledged], both.clone()),
        (vec![less(false)], both.clone()),
        (vec![stored, acknowledged], both),
        // Another voucher of this seq is stored: its locks are not ours to resolve.
        (vec![less(true)], (true, BTreeSet::new())),
    ];
    for (disputes, shows) in cases {
        let mut entry = with_open_lock();
        match step_of(&mut entry, &disputes, NOW) {
            Some(Step::Show { voucher, locks, .. }) => assert_eq!((voucher, locks), shows),
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn r21_a_dispute_begins_by_expiry_less_act_and_not_after_the_expiry() {
    let mut entry = with_open_lock();
    let due = NOW.after(3600 - ACT_S);
    let before = UnixSeconds(due.0 - 1);
    assert_eq!(entry.step(&seen(&[], 1, before)), None);
    let left = Duration::from_secs(ACT_S);
    let locks = BTreeSet::from([1]);
    assert_eq!(
        entry.step(&seen(&[], 1, due)),
        Some(Step::Dispute { locks, left })
    );
    assert_eq!(
        entry.step(&seen(&[], 1, NOW.after(3600))),
        None,
        "it is worth nothing"
    );
    // By the own clock when that is ahead of the chain.
    let sighting = Sighting {
        latest: due,
        ..seen(&[], 1, NOW)
    };
    assert!(matches!(entry.step(&sighting), Some(Step::Dispute { .. })));
    // A lock that nobody here can open is no reason.
    let mut entry = with_first_voucher(&[lock_of(5)]);
    assert_eq!(entry.step(&seen(&[], 1, due)), None);
    // Nor is one that was given up.
    assert!(with_open_lock().channel.consent(1).is_err(), "R11");
}

/// Whether there is a dispute most say; where they are divided both are tried in turn.
#[test]
fn r21_one_endpoint_of_three_that_lies_neither_hides_nor_invents_the_dispute_to_be_started() {
    let due = NOW.after(3600 - ACT_S);
    let dispute = |step: Option<Step>| match step {
        Some(Step::Dispute { .. }) => true,
        Some(Step::Show { .. }) => false,
        step => panic!("{step:?}"),
    };
    let mut entry = with_open_lock();
    let mut shown = facts(0, 0);
    shown.shown.window_end = due.after(1000);
    assert!(dispute(entry.step(&seen(&[shown], 2, due))), "one invents it");
    assert!(
        !dispute(entry.step(&seen(&[shown, shown], 1, due))),
        "one hides it"
    );
    assert!(dispute(entry.step(&seen(&[shown], 1, due))));
    entry.defence.disputed_last = true;
    assert!(!dispute(entry.step(&seen(&[shown], 1, due))));
    assert_eq!(entry.step(&seen(&[], 0, due)), None, "nobody shows the channel");
}
