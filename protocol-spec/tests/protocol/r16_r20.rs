//! What the adjudicator makes of evidence.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{
    Amount, Digest, LocksOpening, Seq, Side, UnixSeconds, Voucher,
    settlement::{Adjudication, Funds, divide},
};

fn voucher(seq: u64, paid: u128, ack: (u64, u128), locks: Digest) -> Voucher {
    Voucher {
        channel_id: config().id(&domain()),
        seq: Seq(seq),
        paid: Amount(paid),
        ack_seq: Seq(ack.0),
        ack_paid: Amount(ack.1),
        locks,
        history: Digest::ZERO,
    }
}

fn opening(total: u128, max_expiry: u64) -> LocksOpening {
    LocksOpening {
        root: Digest([3; 32]),
        total: Amount(total),
        max_expiry: UnixSeconds(max_expiry),
    }
}

const LEAF: Digest = Digest([9; 32]);

#[test]
fn r16_accepts_evidence_in_any_order_with_one_result() {
    let open = opening(50, START);
    let evidence = [
        (Client, voucher(3, 30, (1, 5), Digest::ZERO)),
        (Client, voucher(4, 30, (2, 9), open.commitment())),
        (Hub, voucher(1, 5, (0, 0), Digest::ZERO)),
        (Hub, voucher(2, 9, (3, 30), Digest::ZERO)),
    ];
    let mut results = Vec::new();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let mut chain = Adjudication::default();
        for index in order {
            let (payer, voucher) = &evidence[index];
            chain.submit(*payer, voucher, None);
        }
        assert!(chain.open_locks(Client, &open));
        results.push(chain);
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn r16_rejects_to_be_lowered_by_older_evidence() {
    let mut chain = Adjudication::default();
    assert!(chain.submit(Client, &voucher(5, 50, (2, 20), Digest::ZERO), None));
    assert!(!chain.submit(Client, &voucher(4, 40, (1, 10), Digest::ZERO), None));
    assert_eq!((chain.client.paid, chain.hub.paid), (Amount(50), Amount(20)));
}

#[test]
fn r16_boundary_a_voucher_at_the_acked_seq_still_brings_its_locks() {
    let open = opening(50, START);
    let mut chain = Adjudication::default();
    chain.submit(Hub, &voucher(1, 0, (4, 30), Digest::ZERO), None);
    assert!(chain.submit(Client, &voucher(4, 30, (0, 0), open.commitment()), Some(&open)));
    assert!(chain.client.live.is_some());
    chain.submit(Hub, &voucher(2, 0, (5, 30), Digest::ZERO), None);
    assert!(
        chain.client.live.is_none(),
        "an ack of a newer seq kills the locks"
    );
}

/// Locks are those of the newest voucher, and what was counted in it stays when it is shown again.
#[test]
fn r16_rejects_locks_of_an_older_voucher_and_to_begin_anew() {
    let (old, new) = (opening(50, START), opening(70, START + 9));
    let mut chain = Adjudication::default();
    let newest = voucher(2, 10, (0, 0), new.commitment());
    chain.submit(Client, &newest, Some(&new));
    assert!(chain.resolve(Client, LEAF, Amount(30), true));
    let before = chain.clone();
    assert!(!chain.submit(Client, &voucher(1, 10, (0, 0), old.commitment()), Some(&old)));
    assert!(!chain.submit(Client, &newest, Some(&new)));
    assert_eq!(chain, before);
    chain.submit(Client, &voucher(3, 10, (0, 0), Digest::ZERO), None);
    assert!(!chain.submit(Client, &voucher(1, 10, (0, 0), old.commitment()), Some(&old)));
    assert_eq!(chain.client.live, None);
}

#[test]
fn r17_accepts_a_lock_in_time_once_per_stored_voucher() {
    let open = opening(50, START);
    let mut chain = Adjudication::default();
    chain.submit(Client, &voucher(1, 10, (0, 0), open.commitment()), Some(&open));
    assert!(chain.resolve(Client, LEAF, Amount(50), true));
    assert!(!chain.resolve(Client, LEAF, Amount(50), true));
    assert_eq!(chain.client.effective(), Amount(60));
}

#[test]
fn r17_rejects_late_locks_without_a_mark_and_without_a_live_commitment() {
    let open = opening(50, START);
    let mut chain = Adjudication::default();
    assert!(!chain.resolve(Client, LEAF, Amount(50), true));
    chain.submit(Client, &voucher(1, 10, (0, 0), open.commitment()), Some(&open));
    assert!(!chain.resolve(Client, LEAF, Amount(50), false));
    assert!(!chain.open_locks(Client, &opening(51, START)));
    assert_eq!(chain.client.effective(), Amount(10));
}

#[test]
fn r17_boundary_a_newer_voucher_drops_the_count_but_not_the_mark() {
    let (first, second) = (opening(50, START), opening(70, START));
    let mut chain = Adjudication::default();
    chain.submit(Client, &voucher(1, 10, (0, 0), first.commitment()), Some(&first));
    chain.resolve(Client, LEAF, Amount(50), true);
    chain.submit(
        Client,
        &voucher(2, 12, (0, 0), second.commitment()),
        Some(&second),
    );
    assert_eq!(chain.client.effective(), Amount(12));
    assert!(
        chain.resolve(Client, LEAF, Amount(50), false),
        "marked: counts again after its expiry"
    );
    assert_eq!(chain.client.effective(), Amount(62));
    chain.resolve(Client, Digest([8; 32]), Amount(50), true);
    assert_eq!(
        chain.client.effective(),
        Amount(82),
        "never above the opened total of 70"
    );
}

#[test]
fn r18_accepts_the_window_end_without_locks() {
    let chain = Adjudication::default();
    assert_eq!(chain.final_at(UnixSeconds(START), 3600), UnixSeconds(START));
}

#[test]
fn r18_rejects_an_early_end_while_locks_are_live() {
    let open = opening(50, START + 99_999);
    let mut chain = Adjudication::default();
    chain.submit(Client, &voucher(1, 10, (0, 0), open.commitment()), None);
    assert_eq!(
        chain.final_at(UnixSeconds(START), 3600),
        UnixSeconds(START + 3600),
        "time to count again"
    );
    chain.open_locks(Client, &open);
    assert_eq!(
        chain.final_at(UnixSeconds(START), 3600),
        UnixSeconds(START + 99_999)
    );
}

#[test]
fn r18_boundary_superseded_locks_delay_nothing() {
    let open = opening(50, START + 99_999);
    let mut chain = Adjudication::default();
    chain.submit(Client, &voucher(1, 10, (0, 0), open.commitment()), Some(&open));
    chain.submit(Client, &voucher(2, 10, (0, 0), Digest::ZERO), None);
    assert_eq!(chain.final_at(UnixSeconds(START), 3600), UnixSeconds(START));
}

#[test]
fn r19_accepts_resolved_locks_on_top_of_the_best_voucher() {
    let open = opening(50, START);
    let mut chain = Adjudication::default();
    chain.submit(Client, &voucher(2, 10, (0, 0), open.commitment()), Some(&open));
    chain.resolve(Client, LEAF, Amount(30), true);
    assert_eq!(chain.client.effective(), Amount(40));
}

#[test]
fn r19_rejects_counting_a_lock_twice_by_a_floor() {
    let open = opening(50, START);
    let mut chain = Adjudication::default();
    chain.submit(Client, &voucher(2, 10, (0, 0), open.commitment()), Some(&open));
    chain.resolve(Client, LEAF, Amount(30), true);
    // the payee acknowledged the same seq with a higher paid (impossible for an honest pair): maximum, never sum
    chain.submit(Hub, &voucher(1, 0, (2, 35), Digest::ZERO), None);
    assert_eq!(chain.client.effective(), Amount(40));
    chain.submit(Hub, &voucher(2, 0, (3, 35), Digest::ZERO), None);
    assert_eq!(
        chain.client.effective(),
        Amount(35),
        "superseded locks count nothing"
    );
}

#[test]
fn r19_boundary_floor_equal_to_base_plus_counted() {
    let open = opening(50, START);
    let mut chain = Adjudication::default();
    chain.submit(Client, &voucher(2, 10, (0, 0), open.commitment()), Some(&open));
    chain.resolve(Client, LEAF, Amount(30), true);
    for (floor, expected) in [(39, 40), (40, 40), (41, 41)] {
        let mut copy = chain.clone();
        copy.submit(Hub, &voucher(1, 0, (2, floor), Digest::ZERO), None);
        assert_eq!(copy.client.effective(), Amount(expected));
    }
}

fn funds(client: u128, hub: u128, client_withdrawn: u128, hub_withdrawn: u128) -> Funds {
    Funds {
        client_deposit: Amount(client),
        hub_deposit: Amount(hub),
        client_withdrawn: Amount(client_withdrawn),
        hub_withdrawn: Amount(hub_withdrawn),
    }
}

#[test]
fn r20_accepts_deposits_less_withdrawals_plus_the_net() {
    assert_eq!(
        divide(&funds(1000, 500, 100, 50), Amount(300), Amount(50)),
        (Amount(650), Amount(700))
    );
}

#[test]
fn r20_rejects_negative_and_excessive_shares() {
    assert_eq!(
        divide(&funds(1000, 500, 0, 0), Amount(5000), Amount(0)),
        (Amount(0), Amount(1500))
    );
    assert_eq!(
        divide(&funds(1000, 500, 0, 0), Amount(0), Amount(5000)),
        (Amount(1500), Amount(0))
    );
}

#[test]
fn r20_boundary_zero_and_everything() {
    assert_eq!(
        divide(&funds(1000, 500, 0, 0), Amount(1000), Amount(0)),
        (Amount(0), Amount(1500))
    );
    assert_eq!(
        divide(&funds(1000, 500, 0, 0), Amount(0), Amount(500)),
        (Amount(1500), Amount(0))
    );
    let top = (1 << 88) - 1;
    assert_eq!(
        divide(&funds(top, top, 0, 0), Amount(top), Amount(top)),
        (Amount(top), Amount(top))
    );
}
