//! Cancel of a dispute and countersignature, where the Channel is concerned.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{
    Address, Amount, CancelDispute, Seq, Side, UnixSeconds,
    channel::{Event, MOVES, Phase},
    limits::{ACT_DEFAULT_S, LAG_DEFAULT_S},
};
use std::collections::BTreeSet;

fn cancel(w: &World, dispute_no: u64) -> CancelDispute {
    CancelDispute {
        channel_id: w.hub.id(),
        dispute_no: Seq(dispute_no),
        deadline: UnixSeconds(START + 60),
    }
}

#[test]
fn r27_accepts_this_dispute_and_goes_on_only_when_it_is_gone() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 10, 0)]);
    w.hub.enter(&Event::DisputeFinal { dispute_no: Seq(2) }).unwrap();
    w.hub.sign_cancel(&cancel(&w, 2), w.clock).unwrap();
    let is_final = true;
    let dispute_no = Seq(2);
    assert_eq!(w.hub.phase(), &Phase::Disputed { dispute_no, is_final });
    w.hub.enter(&Event::DisputeGone).unwrap();
    assert_eq!(w.hub.received().paid, Amount(10), "evidence is kept");
}

#[test]
fn r27_rejects_other_disputes_and_no_dispute() {
    let mut w = World::new();
    assert_eq!(name(w.hub.sign_cancel(&cancel(&w, 1), w.clock)), "ChannelNotOpen");
    w.hub.enter(&Event::DisputeFinal { dispute_no: Seq(2) }).unwrap();
    assert_eq!(
        name(w.hub.sign_cancel(&cancel(&w, 1), w.clock)),
        "DisputeNoMismatch"
    );
    let mut other = cancel(&w, 2);
    other.channel_id.0[0] ^= 1;
    assert_eq!(name(w.hub.sign_cancel(&other, w.clock)), "WrongChannel");
}

/// The next dispute has the same number when a reorg takes this one away: the cancel would fit that, too.
#[test]
fn r27_boundary_the_dispute_is_final() {
    let mut w = World::new();
    let dispute_no = Seq(1);
    for (event, fine) in [
        (Event::DisputeSeen { dispute_no }, false),
        (Event::DisputeFinal { dispute_no }, true),
        (Event::DisputeSeen { dispute_no }, false),
        (Event::DisputeFinal { dispute_no }, true),
    ] {
        w.hub.enter(&event).unwrap();
        let signed = w.hub.sign_cancel(&cancel(&w, 1), w.clock);
        assert_eq!(signed.is_ok(), fine, "{event:?}");
        if !fine {
            assert_eq!(name(signed), "DisputeNotFinal");
        }
    }
}

#[test]
fn r27_boundary_deadline() {
    let mut w = World::new();
    w.hub.enter(&Event::DisputeFinal { dispute_no: Seq(1) }).unwrap();
    for (deadline, fine) in [
        (START, false),
        (START + 1, true),
        (START + 86_400, true),
        (START + 86_401, false),
    ] {
        let mut message = cancel(&w, 1);
        message.deadline = UnixSeconds(deadline);
        assert_eq!(w.hub.sign_cancel(&message, w.clock).is_ok(), fine);
    }
}

/// A lock that expires soon after the cancel's deadline could not be resolved any more: what resolves it fails when the cancel
/// is mined first, and the dispute after it when the payer disputes first.
#[test]
fn r27_boundary_a_lock_outlives_the_cancel_by_lag_and_twice_act() {
    let needed_s = LAG_DEFAULT_S + 2 * ACT_DEFAULT_S;
    let deadline = START + 60;
    let expiry = deadline + needed_s;
    for (expires, fine) in [(expiry, false), (expiry + 1, true)] {
        let mut w = World::new();
        w.send(
            Client,
            &[add(lock(1, 100, expires)), add(lock(2, 100, expiry + 9))],
        );
        for side in [Client, Hub] {
            w.of(side)
                .enter(&Event::DisputeFinal { dispute_no: Seq(1) })
                .unwrap();
        }
        let signed = w.hub.sign_cancel(&cancel(&w, 1), w.clock);
        assert_eq!(signed.is_ok(), fine, "{expires}");
        if !fine {
            assert_eq!(name(signed), "DeadlineOutOfRange");
        }
        // The payer resolves nothing.
        w.client.sign_cancel(&cancel(&w, 1), w.clock).unwrap();
    }
}

#[test]
fn r27_accepts_a_lock_that_is_marked_or_given_up_or_has_expired() {
    let soon = START + 90;
    let disputed = || {
        let mut w = World::new();
        w.send(Client, &[add(lock(1, 100, soon))]);
        w
    };
    let signs = |mut w: World| {
        w.hub.enter(&Event::DisputeFinal { dispute_no: Seq(1) }).unwrap();
        w.hub.sign_cancel(&cancel(&w, 1), w.clock).is_ok()
    };
    assert!(!signs(disputed()));
    let mut given_up = disputed();
    given_up.hub.consent(1).unwrap();
    assert!(signs(given_up));
    let mut marked = disputed();
    marked.hub.mark(Client, 1);
    assert!(signs(marked));
    let mut expired = disputed();
    expired.clock.chain = UnixSeconds(soon);
    assert!(signs(expired.clone()));
    expired.clock.chain = UnixSeconds(soon - 1);
    assert!(!signs(expired));
}

#[test]
fn r28_accepts_the_newest_accepted_voucher() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 10, 0)]);
    let newest = w.send(Client, &[pay(2, 10, 0)]);
    let accept = w
        .hub
        .plan_accept(Address::repeat_byte(1), true, UnixSeconds(START))
        .unwrap()
        .unwrap();
    assert_eq!(accept.voucher, newest.verified.digest());
}

#[test]
fn r28_rejects_while_a_marked_lock_is_not_converted() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, START + 5000))]);
    w.hub.mark(Client, 1);
    assert_eq!(
        name(w.hub.plan_accept(Address::ZERO, false, UnixSeconds(START))),
        "LockNotDroppable"
    );
    w.client.mark(Client, 1);
    w.send(Client, &[convert(1)]);
    w.hub
        .plan_accept(Address::ZERO, false, UnixSeconds(START))
        .unwrap();
}

#[test]
fn r28_boundary_nothing_accepted_and_marks_of_the_other_direction() {
    let mut w = World::new();
    assert_eq!(
        w.hub
            .plan_accept(Address::ZERO, false, UnixSeconds(START))
            .unwrap(),
        None
    );
    w.send(Hub, &[add(lock(1, 10, START + 5000))]);
    w.send(Client, &[pay(1, 1, 0)]);
    w.hub.mark(Hub, 1);
    w.hub
        .plan_accept(Address::ZERO, false, UnixSeconds(START))
        .unwrap();
}

#[test]
fn moves_are_exactly_the_table() {
    let events = [
        Event::CloseSigned {
            deadline: UnixSeconds(9),
        },
        Event::CloseLapsed,
        Event::DisputeSeen { dispute_no: Seq(1) },
        Event::DisputeGone,
        Event::ClosedOnChain,
        Event::PayoutGone,
        Event::DisputeFinal { dispute_no: Seq(1) },
    ];
    let ways: [&[usize]; 5] = [&[], &[0], &[2], &[0, 2], &[4]];
    let mut legal = BTreeSet::new();
    for way in ways {
        for event in &events {
            let mut channel = World::new().hub;
            way.iter()
                .for_each(|index| channel.enter(&events[*index]).unwrap());
            let from = channel.phase().name();
            match unchanged_if_refused(&mut channel, |channel| channel.enter(event)) {
                Ok(()) => {
                    legal.insert((from, event.name(), channel.phase().name()));
                }
                Err(reject) => {
                    assert_eq!(reject.name(), "ChannelNotOpen");
                    assert!(!MOVES.iter().any(|(f, e, _)| (*f, *e) == (from, event.name())));
                }
            }
        }
    }
    assert_eq!(legal, MOVES.iter().copied().collect());
}
