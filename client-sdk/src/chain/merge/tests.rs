#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may fail by panicking"
)]

use super::*;
use protocol_spec::{Amount, Seq, UnixSeconds};

const ID: ChannelId = ChannelId([7; 32]);

fn facts(hub_deposit: u128) -> Facts {
    Facts {
        open: true,
        hub_deposit: Amount(hub_deposit),
        ..Facts::default()
    }
}

fn disputed(number: u64) -> Facts {
    Facts {
        open: false,
        disputed: true,
        dispute_no: Seq(number),
        ..facts(100)
    }
}

fn reading(number: u64, facts: Facts) -> Reading {
    let at = UnixSeconds(1_000_000 + number * 12);
    Reading {
        number,
        confirmed_number: number - 2,
        now: at,
        confirmed: at,
        too_few: false,
        channels: [(ID, Seen::by_one(facts, facts))].into(),
    }
}

fn of(endpoints: usize, readings: &[Reading]) -> Reading {
    let own = UnixSeconds(1_000_000 + 503 * 12);
    let readings: Vec<&Reading> = readings.iter().collect();
    let agree = None;
    let panel = Panel {
        endpoints,
        agree,
        own,
    };
    panel.merge(&readings).unwrap()
}

/// Three endpoints, of which those that answered said this.
fn agreeing(agree: usize, readings: &[Reading]) -> Reading {
    let panel = Panel {
        endpoints: 3,
        agree: Some(agree),
        own: UnixSeconds(1_000_000 + 503 * 12),
    };
    panel.merge(&readings.iter().collect::<Vec<_>>()).unwrap()
}

fn all(readings: &[Reading]) -> Reading {
    of(readings.len(), readings)
}

/// Ahead of all others by more than they may be behind.
fn from_the_future(facts: Facts) -> Reading {
    reading(503 + 100, facts)
}

#[test]
fn of_two_what_both_have_reached_counts() {
    let merged = all(&[reading(500, facts(100)), reading(503, facts(250))]);
    assert_eq!((merged.number, merged.confirmed_number), (500, 498));
    assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(100));
}

#[test]
fn an_endpoint_that_stands_still_holds_up_nothing() {
    let merged = all(&[reading(400, facts(100)), reading(503, facts(250))]);
    assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(250));
    assert_eq!(merged.confirmed_number, 501);
}

#[test]
fn a_dispute_counts_when_one_shows_it_whichever_is_ahead() {
    for readings in [
        [reading(500, disputed(1)), reading(503, facts(100))],
        [reading(503, disputed(1)), reading(500, facts(100))],
        // Far behind: the newest knows of no dispute at all.
        [reading(400, disputed(1)), reading(503, facts(100))],
    ] {
        let seen = all(&readings).channels[&ID].clone();
        assert!(seen.newest.disputed && !seen.newest.open, "{readings:?}");
    }
}

#[test]
fn a_dispute_that_was_cancelled_is_not_told_for_ever_by_who_stands_still() {
    let cancelled = Facts {
        dispute_no: Seq(1),
        ..facts(100)
    };
    let past = || reading(503, cancelled);
    for still in [reading(400, disputed(1)), reading(502, disputed(1))] {
        let seen = all(&[still, past(), past()]).channels[&ID].clone();
        assert!(seen.newest.open && !seen.newest.disputed);
    }
    // Of two nobody can say which is right: it stays frozen until the other one goes on.
    assert!(
        all(&[reading(400, disputed(1)), past()]).channels[&ID]
            .newest
            .disputed
    );
}

#[test]
fn a_channel_is_closed_when_all_say_so_and_in_doubt_until_then() {
    let closed = Facts {
        open: false,
        closed: true,
        ..facts(100)
    };
    let seen = all(&[reading(500, facts(100)), reading(503, closed)]).channels[&ID].clone();
    assert!(!seen.confirmed.closed && !seen.confirmed.open && !seen.agreed);
    let seen = all(&[reading(502, closed), reading(503, closed)]).channels[&ID].clone();
    assert!(seen.confirmed.closed && seen.agreed);
}

/// Each of these lies cost a client everything in a dispute, with two honest endpoints beside the liar.
#[test]
fn one_that_lies_about_the_future_shuts_nobody_out() {
    let honest = || [reading(503, facts(100)), reading(503, facts(100))];
    let with = |liar: Reading| {
        let [a, b] = honest();
        all(&[a, b, liar])
    };
    // A deposit that nobody else sees.
    let merged = with(from_the_future(facts(1_000_000)));
    assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(100));
    assert_eq!((merged.number, merged.now), (503, reading(503, facts(0)).now));
    // A dispute hidden behind a later one that is over.
    let hidden = Facts {
        dispute_no: Seq(99),
        ..facts(100)
    };
    let merged = all(&[
        reading(503, disputed(1)),
        reading(503, disputed(1)),
        from_the_future(hidden),
    ]);
    let seen = &merged.channels[&ID];
    assert!(seen.newest.disputed && !seen.newest.open);
    assert_eq!((seen.newest.dispute_no, seen.disputes.len()), (Seq(1), 2));
    // Of two, too.
    let merged = all(&[reading(503, disputed(1)), from_the_future(hidden)]);
    assert!(merged.channels[&ID].newest.disputed);
    let merged = all(&[reading(503, facts(100)), from_the_future(facts(9_999))]);
    assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(100));
}

#[test]
fn what_each_shows_of_a_dispute_is_kept_apart() {
    let mut shown = disputed(1);
    shown.shown.paid = Amount(1_000_000);
    let merged = all(&[reading(503, disputed(1)), reading(505, shown)]);
    let paid: Vec<Amount> = merged.channels[&ID]
        .disputes
        .iter()
        .map(|one| one.shown.paid)
        .collect();
    assert_eq!(paid, [Amount(0), Amount(1_000_000)]);
}

#[test]
fn one_of_three_that_alone_answers_makes_no_deposit() {
    let alone = [reading(503, facts(100))];
    assert_eq!(of(3, &alone).channels[&ID].confirmed.hub_deposit, Amount(0));
    assert_eq!(of(2, &alone).channels[&ID].confirmed.hub_deposit, Amount(100));
}

#[test]
fn of_three_endpoints_of_which_two_must_agree_one_neither_hides_nor_invents() {
    let honest = Facts {
        client_deposit: Amount(70),
        client_withdrawn: Amount(5),
        hub_withdrawn: Amount(9),
        ..facts(100)
    };
    let hides = Facts {
        hub_deposit: Amount(0),
        client_deposit: Amount(0),
        client_withdrawn: Amount(0),
        hub_withdrawn: Amount(0),
        closed: true,
        open: false,
        ..honest
    };
    let invents = Facts {
        hub_deposit: Amount(1_000_000),
        client_deposit: Amount(1_000_000),
        client_withdrawn: Amount(1_000_000),
        hub_withdrawn: Amount(1_000_000),
        ..honest
    };
    for lie in [hides, invents] {
        for at in 0..3 {
            let mut all = vec![reading(503, honest), reading(503, honest)];
            all.insert(at, reading(503, lie));
            let seen = agreeing(2, &all).channels[&ID].clone();
            assert_eq!(seen.confirmed, honest, "{lie:?} at {at}");
            assert_eq!(seen.hub_withdrawn_most, honest.hub_withdrawn);
            assert!(seen.newest.open && seen.agreed);
        }
    }
    // One is down: the two that are left must agree.
    let seen = agreeing(2, &[reading(503, honest), reading(503, hides)]).channels[&ID].clone();
    assert_eq!(seen.confirmed.hub_deposit, Amount(0));
    assert_eq!(seen.hub_withdrawn_most, Amount(9), "in doubt");
    assert!(!seen.confirmed.closed && !seen.agreed);
}

#[test]
fn where_all_three_must_agree_two_that_lie_invent_nothing() {
    let lie = || reading(503, facts(1_000_000));
    let seen = agreeing(3, &[lie(), reading(503, facts(100)), lie()]).channels[&ID].clone();
    assert_eq!(seen.confirmed.hub_deposit, Amount(100));
    // What one hides is hidden: that is what was asked for.
    let seen = agreeing(
        3,
        &[
            reading(503, facts(100)),
            reading(503, facts(0)),
            reading(503, facts(100)),
        ],
    );
    assert_eq!(seen.channels[&ID].confirmed.hub_deposit, Amount(0));
}

#[test]
fn a_view_that_too_few_share_grows_old_and_still_shows_disputes() {
    let merged = agreeing(2, &[reading(503, disputed(1))]);
    assert!(merged.too_few && merged.channels[&ID].newest.disputed);
    assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(0));
    let merged = agreeing(2, &[reading(400, facts(100)), reading(503, facts(100))]);
    assert!(merged.too_few, "one stands still");
    let merged = agreeing(2, &[reading(500, facts(100)), reading(503, facts(100))]);
    assert!(!merged.too_few);
    assert_eq!(
        merged.confirmed,
        reading(500, facts(0)).confirmed,
        "what both have reached"
    );
}

const OWN: u64 = 2_000_000_000;
/// Heads of the one that lies, by the own clock.
const HEADS: [i64; 8] = [-700, -1, 0, 1, 599, 600, 601, 100_000];

fn at(time: u64, confirmed: Facts, newest: Facts) -> Reading {
    Reading {
        number: 500,
        confirmed_number: 498,
        now: UnixSeconds(time),
        confirmed: UnixSeconds(time - 24),
        too_few: false,
        channels: [(ID, Seen::by_one(confirmed, newest))].into(),
    }
}

fn true_facts() -> Facts {
    Facts {
        client_deposit: Amount(70),
        client_withdrawn: Amount(5),
        hub_withdrawn: Amount(9),
        ..facts(100)
    }
}

fn lies() -> Vec<Facts> {
    let truth = true_facts();
    let closed = Facts {
        open: false,
        closed: true,
        ..truth
    };
    let past_dispute = Facts {
        dispute_no: Seq(1000),
        ..truth
    };
    let invents = Facts {
        client_deposit: Amount(10_000),
        hub_deposit: Amount(10_000),
        ..truth
    };
    let hub_took = Facts {
        hub_withdrawn: Amount(100),
        ..truth
    };
    let client_took = Facts {
        client_withdrawn: Amount(70),
        ..truth
    };
    let nothing = Facts {
        open: false,
        ..Facts::default()
    };
    vec![closed, past_dispute, invents, hub_took, client_took, nothing]
}

/// Every lie with every head, beside so many honest ones that show `newest`; the own clock is fast, right or slow.
fn beside_a_liar(honest: usize, newest: Facts, check: impl Fn(&Reading, Facts, i64, i64)) {
    for own_ahead in [-600_i64, 0, 600] {
        for head in HEADS {
            for lie in lies() {
                for place in 0..=honest {
                    let real = OWN.checked_add_signed(-own_ahead).unwrap();
                    let mut all: Vec<Reading> = (0..honest)
                        .map(|older| at(real - 3 * (1 + older as u64), true_facts(), newest))
                        .collect();
                    let head = OWN.checked_add_signed(head).unwrap();
                    all.insert(place, at(head, lie, lie));
                    let panel = Panel {
                        endpoints: honest + 1,
                        agree: None,
                        own: UnixSeconds(OWN),
                    };
                    let merged = panel.merge(&all.iter().collect::<Vec<_>>()).unwrap();
                    check(&merged, lie, own_ahead, head as i64 - OWN as i64);
                }
            }
        }
    }
}

#[test]
fn one_of_three_changes_nothing_whatever_it_says_and_whatever_its_clock() {
    beside_a_liar(2, true_facts(), |merged, lie, own, head| {
        let seen = &merged.channels[&ID];
        let what = format!("{lie:?} own {own} head {head}");
        assert!(!merged.too_few && !seen.few && seen.agreed, "{what}");
        assert_eq!(seen.confirmed, true_facts(), "{what}");
        assert_eq!(seen.hub_withdrawn_most, Amount(9), "{what}");
        assert!(seen.newest.open && !seen.newest.disputed, "{what}");
        assert!(
            seen.shared_dispute.is_none() && seen.disputes.is_empty(),
            "{what}"
        );
    });
}

#[test]
fn one_of_three_hides_no_dispute() {
    beside_a_liar(2, disputed(1), |merged, lie, own, head| {
        let seen = &merged.channels[&ID];
        let what = format!("{lie:?} own {own} head {head}");
        assert!(seen.newest.disputed && !seen.newest.open, "{what}");
        assert_eq!(
            (seen.shared_dispute, seen.disputes.len()),
            (Some(Seq(1)), 2),
            "{what}"
        );
        assert!(!seen.confirmed.closed && !merged.too_few, "{what}");
    });
}

/// It freezes the channel, and nothing else follows from it.
#[test]
fn one_of_three_that_invents_a_dispute_is_heard_from_everywhere_and_alone() {
    for head in HEADS {
        let real = || at(OWN - 3, true_facts(), true_facts());
        let head = OWN.checked_add_signed(head).unwrap();
        let merged = all_at(&[at(head, disputed(7), disputed(7)), real(), real()]);
        let seen = &merged.channels[&ID];
        assert!(seen.newest.disputed && !seen.newest.open && seen.confirmed.open);
        assert_eq!((seen.shared_dispute, seen.disputes.len()), (None, 1));
    }
}

/// Of two nobody can say which one lies: what both say counts, and what one says only while it is the only one that can be right.
#[test]
fn one_of_two_hides_no_dispute_and_takes_nothing() {
    beside_a_liar(1, disputed(1), |merged, lie, own, head| {
        let seen = &merged.channels[&ID];
        assert!(
            seen.newest.disputed && !seen.newest.open,
            "{lie:?} own {own} head {head}"
        );
    });
    beside_a_liar(1, true_facts(), |merged, lie, own, head| {
        let (seen, truth) = (&merged.channels[&ID].confirmed, true_facts());
        let what = format!("{lie:?} own {own} head {head}");
        assert!(!seen.closed && !merged.too_few, "{what}");
        assert!(
            seen.client_deposit <= truth.client_deposit && seen.hub_deposit <= truth.hub_deposit,
            "{what}"
        );
        assert!(
            seen.client_withdrawn <= truth.client_withdrawn && seen.hub_withdrawn <= truth.hub_withdrawn,
            "{what}"
        );
    });
}

fn all_at(readings: &[Reading]) -> Reading {
    let panel = Panel {
        endpoints: readings.len(),
        agree: None,
        own: UnixSeconds(OWN),
    };
    panel.merge(&readings.iter().collect::<Vec<_>>()).unwrap()
}

/// Honest ones are a few blocks apart, and one is down, hangs or stands still: the others go on.
#[test]
fn of_three_honest_ones_one_may_be_down_or_behind() {
    let honest = |behind: u64| at(OWN - behind, true_facts(), true_facts());
    for behind in [12, 72, 700, 100_000] {
        let merged = all_at(&[honest(behind), honest(3), honest(15)]);
        assert!(!merged.too_few && merged.channels[&ID].newest.open, "{behind}");
        assert_eq!(merged.channels[&ID].confirmed, true_facts());
    }
    let two = [honest(3), honest(15)];
    let panel = Panel {
        endpoints: 3,
        agree: None,
        own: UnixSeconds(OWN),
    };
    let merged = panel.merge(&two.iter().collect::<Vec<_>>()).unwrap();
    assert!(!merged.too_few && merged.channels[&ID].newest.open);
    assert_eq!(merged.channels[&ID].confirmed, true_facts());
}

/// A wrong clock of this machine alone makes nobody unbelieved.
#[test]
fn the_own_clock_alone_shuts_out_no_honest_one() {
    for behind in [-10_000_i64, -601, 0, 601, 10_000] {
        let now = OWN.checked_add_signed(behind).unwrap();
        for count in 1..4 {
            let honest: Vec<Reading> = (0..count).map(|_| at(now, true_facts(), true_facts())).collect();
            let merged = all_at(&honest);
            assert!(
                !merged.too_few && merged.channels[&ID].newest.open,
                "{behind} of {count}"
            );
        }
    }
}

#[test]
fn a_payout_that_most_do_not_show_is_no_payout() {
    let closed = Facts {
        open: false,
        closed: true,
        ..true_facts()
    };
    let (open, gone) = (|| at(OWN, true_facts(), true_facts()), || at(OWN, closed, closed));
    assert!(all_at(&[open(), open()]).channels[&ID].not_closed);
    assert!(all_at(&[open(), open(), at(OWN - 5_000, closed, closed)]).channels[&ID].not_closed);
    assert!(!all_at(&[open(), open(), gone()]).channels[&ID].not_closed);
    assert!(
        !all_at(&[open()]).channels[&ID].not_closed,
        "there is nobody else to say so"
    );
}

/// Of what was shown of own vouchers the most that anybody says, of the hub's what as many say as must agree.
#[test]
fn money_is_back_only_when_nobody_says_otherwise_and_there_when_enough_do() {
    let closed = |seq: u64, counted: u128| {
        let half = Shown {
            seq: Seq(seq),
            counted: Amount(counted),
            live: counted > 0,
            ..Shown::default()
        };
        Facts {
            closed: true,
            open: false,
            shown: half,
            taken: half,
            ..facts(100)
        }
    };
    let merged = all(&[
        reading(500, closed(3, 0)),
        reading(500, closed(3, 0)),
        reading(500, closed(7, 50)),
    ]);
    let confirmed = merged.channels[&ID].confirmed;
    assert!(confirmed.closed);
    assert_eq!(
        (confirmed.taken.seq, confirmed.taken.counted),
        (Seq(7), Amount(50))
    );
    assert_eq!(
        (confirmed.shown.seq, confirmed.shown.counted),
        (Seq(3), Amount(0))
    );
}

/// Of a lock that is shown in vain nobody has a loss. What is stored for good as many must say as must agree.
#[test]
fn a_mark_counts_when_one_shows_it_and_for_good_when_most_do() {
    let marking = |ids: &[u64]| {
        let mut reading = reading(503, disputed(1));
        let seen = reading.channels.get_mut(&ID).unwrap();
        seen.marked = ids.iter().copied().collect();
        seen.marked_for_good = seen.marked.clone();
        reading
    };
    let seen = all(&[marking(&[1, 2]), marking(&[2]), marking(&[])]).channels[&ID].clone();
    let both = BTreeSet::from([1, 2]);
    assert_eq!(
        (&seen.marked, &seen.marked_for_good),
        (&both, &BTreeSet::from([2]))
    );
    let alone = seen.only_disputes();
    assert_eq!((alone.marked, alone.marked_for_good), (both, BTreeSet::new()));
    let left_of_two = of(2, &[marking(&[1])]).channels[&ID].clone();
    let first = BTreeSet::from([1]);
    assert_eq!(
        (left_of_two.marked, left_of_two.marked_for_good),
        (first, BTreeSet::new())
    );
}
