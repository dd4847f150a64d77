//! Attacks A1-A6, A10, A11, A13 against the Channel. (A5 is in `signatures`.)

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{
    Address, Amount, Channel, Digest, Domain, Reject, Seq, Side, SignedVoucher, VerifiedVoucher,
    VoucherSignature, batch,
    channel::{Accepted, Delays, ShownLocks},
    limits,
};

#[test]
fn a01_replay_of_any_accepted_voucher_changes_nothing() {
    let mut w = World::new();
    let log: Vec<_> = (1..6).map(|id| w.send(Client, &[pay(id, 10, 1)])).collect();
    let before = w.hub.to_record();
    for sent in &log {
        let answer = w.deliver(Client, sent);
        assert!(matches!(
            answer,
            Ok(Accepted::Duplicate) | Err(Reject::SeqNotNewer { .. })
        ));
    }
    assert_eq!(w.hub.to_record(), before);
}

#[test]
fn a02_equivocation_keeps_the_first() {
    let mut w = World::new();
    let second = w.forge(Client, &[pay(9, 500, 0)], |_| {});
    let first = w.send(Client, &[pay(1, 10, 0)]);
    let Err(Reject::SeqConflict { seq, first: kept }) = w.deliver(Client, &second) else {
        panic!()
    };
    assert_eq!((seq, kept), (Seq(1), first.verified.digest()));
    assert_eq!(w.hub.received_signed().as_ref(), Some(first.verified.signed()));
}

#[test]
fn a03_extreme_seqs_never_wedge_the_channel() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 1, 0)]);
    for seq in [limits::SEQ_MAX, 1 << 20, 1 + 1025] {
        let sent = w.forge(Client, &[pay(2, 1, 0)], |v| v.seq = Seq(seq));
        assert_eq!(name(w.deliver(Client, &sent)), "SeqJumpTooFar");
    }
    for seq in [0, limits::SEQ_MAX + 1, u64::MAX] {
        let mut voucher = w
            .forge(Client, &[pay(2, 1, 0)], |_| {})
            .verified
            .voucher()
            .clone();
        voucher.seq = Seq(seq);
        assert_eq!(
            name(signed(Client, &voucher).verify(&domain(), &key(1).public(), false)),
            "SeqOutOfRange"
        );
    }
    w.send(Client, &[pay(2, 1, 0)]);
}

#[test]
fn a04_signatures_for_other_domains_channels_and_keys_do_not_count() {
    let w = World::new();
    let good = w
        .forge(Client, &[pay(1, 1, 0)], |_| {})
        .verified
        .voucher()
        .clone();
    let contracts = [Address::repeat_byte(0xad), Address::repeat_byte(0xae)];
    for chain in [1, 31_337, 31_338] {
        for contract in contracts {
            for signer in [1, 2, 3] {
                let other = Domain::new(chain, contract);
                let signed = SignedVoucher {
                    voucher: good.clone(),
                    signature: VoucherSignature::Direct(key(signer).sign(&good.digest(&other))),
                };
                let right = (chain, contract, signer) == (31_337, contracts[0], 1);
                assert_eq!(signed.verify(&domain(), &key(1).public(), false).is_ok(), right);
            }
        }
    }
}

#[test]
fn a04_a_verified_voucher_of_another_channel_or_signer_is_refused() {
    let mut w = World::new();
    let elsewhere = w.forge(Client, &[pay(1, 1, 0)], |v| v.channel_id.0[0] ^= 1);
    assert_eq!(name(w.deliver(Client, &elsewhere)), "WrongChannel");
    // the hub's own voucher comes back as the client's: directions are told apart by the signer alone
    let hubs = w.forge(Hub, &[credit(1, 1)], |_| {});
    assert_eq!(name(w.deliver(Client, &hubs)), "WrongSigner");
}

#[test]
fn a04_a_batch_counts_only_for_the_hub() {
    let mut w = World::new();
    let voucher = w
        .forge(Client, &[pay(1, 1, 0)], |_| {})
        .verified
        .voucher()
        .clone();
    let tree = batch::Tree::new(vec![voucher.digest(&domain()), Digest([1; 32])]);
    let batched = SignedVoucher {
        voucher,
        signature: VoucherSignature::Batch {
            root_signature: key(1).sign(&batch::batch_digest(&domain(), &tree.root())),
            proof: tree.proof(0),
        },
    };
    assert_eq!(
        name(batched.clone().verify(&domain(), &key(1).public(), false)),
        "BatchNotAllowed"
    );
    let sloppy = batched.verify(&domain(), &key(1).public(), true).unwrap();
    let sent = Sent {
        verified: sloppy,
        ops: vec![pay(1, 1, 0)],
    };
    assert_eq!(
        name(w.deliver(Client, &sent)),
        "BatchNotAllowed",
        "even if the caller said otherwise"
    );
}

/// Who checked a signature elsewhere says so, but not that a batch is the client's, or that seq 0 is a voucher.
#[test]
fn a04_a_signature_checked_elsewhere_is_no_excuse_for_the_rest() {
    let mut w = World::new();
    let sent = w.issue(Client, &[pay(1, 1, 0)]).unwrap();
    let (signed, digest, signer) = (sent.verified.signed(), sent.verified.digest(), key(1).address());
    let checked = |change: &dyn Fn(&mut SignedVoucher)| {
        let mut signed = signed.clone();
        change(&mut signed);
        VerifiedVoucher::checked(signed, digest, signer)
    };
    assert_eq!(checked(&|_| {}).as_ref(), Ok(&sent.verified));
    assert_eq!(name(checked(&|s| s.voucher.seq = Seq(0))), "SeqOutOfRange");
    let batched = |s: &mut SignedVoucher| {
        s.signature = VoucherSignature::Batch {
            root_signature: key(1).sign(&digest),
            proof: vec![Digest::ZERO],
        };
    };
    assert_eq!(name(checked(&batched)), "BatchNotAllowed");
    let replayed = VerifiedVoucher::assume_verified(signed.clone(), &domain(), signer);
    assert_eq!(replayed, sent.verified);
}

#[test]
fn a06_the_largest_amounts_and_seqs_are_in_range() {
    let w = World::new();
    let sent = w.forge(Client, &[pay(1, 1, 0)], |v| {
        (v.seq, v.ack_seq) = (Seq(limits::SEQ_MAX), Seq(limits::SEQ_MAX));
        (v.paid, v.ack_paid) = (Amount(limits::AMOUNT_MAX), Amount(limits::AMOUNT_MAX));
    });
    sent.verified.voucher().check_range().unwrap();
}

#[test]
fn a06_extreme_amounts_are_refused_before_any_arithmetic() {
    let mut w = World::new();
    for amount in [limits::AMOUNT_MAX + 1, u128::MAX] {
        let mut voucher = w
            .forge(Client, &[pay(1, 1, 0)], |_| {})
            .verified
            .voucher()
            .clone();
        voucher.paid = Amount(amount);
        assert_eq!(
            name(signed(Client, &voucher).verify(&domain(), &key(1).public(), false)),
            "AmountOverflow"
        );
        voucher.paid = Amount(1);
        voucher.ack_paid = Amount(amount);
        assert_eq!(
            name(signed(Client, &voucher).verify(&domain(), &key(1).public(), false)),
            "AmountOverflow"
        );
        let sent = w.forge(Client, &[pay(1, amount, u128::MAX)], |_| {});
        assert!(w.deliver(Client, &sent).is_err());
        let sent = w.forge(Client, &[add(lock(1, amount, START + 9))], |_| {});
        assert_eq!(name(w.deliver(Client, &sent)), "AmountOverflow");
    }
    assert!(serde_json::from_str::<Amount>("\"340282366920938463463374607431768211456\"").is_err());
}

/// No lists of locks.
const NONE: ShownLocks<'_> = ShownLocks {
    own: None,
    theirs: None,
};

/// A hub restored from a backup taken before the last `lost` vouchers.
fn rolled_back(lost: u8) -> (World, Sent, Sent) {
    let mut w = World::new();
    w.send(Client, &[pay(1, 10, 0)]);
    w.send(Hub, &[credit(1, 1)]);
    let backup = w.hub.to_record();
    let mut last = None;
    for id in 0..lost {
        last = Some((
            w.send(Client, &[pay(10 + id, 10, 0)]),
            w.send(Hub, &[credit(10 + id, 1)]),
        ));
    }
    w.hub = Channel::from_record(&backup).unwrap();
    let (client, hub) = last.unwrap();
    (w, client, hub)
}

#[test]
fn a10_a_rolled_back_hub_adopts_what_its_own_signature_proves() {
    let (mut w, newest_client, newest_hub) = rolled_back(5);
    let next = w.issue(Client, &[pay(99, 1, 0)]).unwrap();
    assert!(matches!(w.deliver(Client, &next), Err(Reject::AckUnknown { .. })));
    w.hub
        .adopt(&newest_hub.verified, Some(&newest_client.verified), NONE)
        .unwrap();
    assert_eq!(w.hub.sent().seq, Seq(6));
    assert_eq!(w.hub.sent_voucher().as_ref(), Some(newest_hub.verified.voucher()));
    assert!(!w.hub.must_ack(), "its own voucher had acknowledged the client's");
    assert_eq!(w.deliver(Client, &next).unwrap(), Accepted::New);
    let fresh = w.send(Hub, &[credit(50, 1)]);
    assert_eq!(
        fresh.seq(),
        Seq(7),
        "nothing at or below an adopted seq is signed again"
    );
    assert_eq!(w.client.settlement(), w.hub.settlement());
}

#[test]
fn a10_a_list_beside_a_voucher_without_locks_is_neither_needed_nor_believed() {
    let (mut w, newest_client, newest_hub) = rolled_back(2);
    let list = [lock(1, 10, START + 5000)];
    let lists = ShownLocks {
        own: Some(&list),
        theirs: Some(&list),
    };
    w.hub
        .adopt(&newest_hub.verified, Some(&newest_client.verified), lists)
        .unwrap();
    assert_eq!(
        w.hub
            .sent()
            .locks
            .iter()
            .chain(w.hub.received().locks.iter())
            .count(),
        0
    );
    assert_eq!(w.hub.settlement(), w.client.settlement());
}

#[test]
fn a10_adoption_needs_all_that_was_acknowledged_and_nothing_contradictory() {
    let (mut w, newest_client, newest_hub) = rolled_back(5);
    let adopt = |w: &mut World, own: &Sent, theirs: Option<&Sent>| {
        name(unchanged_if_refused(&mut w.hub, |hub| {
            hub.adopt(&own.verified, theirs.map(|sent| &sent.verified), NONE)
        }))
    };
    let variant = |side, of: &Sent, change: fn(&mut protocol_spec::Voucher)| {
        let mut voucher = of.verified.voucher().clone();
        change(&mut voucher);
        Sent {
            verified: verified(side, &voucher),
            ops: vec![],
        }
    };
    assert_eq!(adopt(&mut w, &newest_hub, None), "AckUnknown");
    assert_eq!(adopt(&mut w, &newest_client, None), "WrongSigner");
    let cheaper = variant(Client, &newest_client, |v| v.paid = Amount(40));
    assert_eq!(adopt(&mut w, &newest_hub, Some(&cheaper)), "AckPaidMismatch");
    let newer = variant(Client, &newest_client, |v| (v.seq, v.ack_seq) = (Seq(7), Seq(7)));
    assert_eq!(adopt(&mut w, &newest_hub, Some(&newer)), "AckUnknown");
    let liar = variant(Client, &newest_client, |v| {
        (v.seq, v.paid) = (Seq(7), Amount(5000))
    });
    assert_eq!(adopt(&mut w, &newest_hub, Some(&liar)), "BalanceExceeded");
    let locked = variant(Client, &newest_client, |v| v.locks = Digest([1; 32]));
    assert_eq!(adopt(&mut w, &newest_hub, Some(&locked)), "LocksNotShown");
    let old = variant(Hub, &newest_hub, |v| v.seq = Seq(1));
    assert_eq!(adopt(&mut w, &old, None), "SeqNotNewer");
}

/// Found by the world: what its voucher acknowledges does not cover what it has withdrawn since, what it was paid since does.
#[test]
fn a10_a_client_that_withdrew_later_credits_is_adopted() {
    let mut w = World::new();
    let backup = w.hub.to_record();
    let theirs = w.send(Client, &[pay(1, 600, 0)]);
    let own = w.send(Hub, &[credit(1, 500)]);
    w.hub = Channel::from_record(&backup).unwrap();
    // All that it had: 1000 - 600 + 500.
    for side in [Client, Hub] {
        w.of(side).withdraw_confirmed(Client, Amount(900));
    }
    let mut rich = w.hub.clone();
    rich.withdraw_confirmed(Client, Amount(901));
    assert_eq!(
        name(rich.adopt(&own.verified, Some(&theirs.verified), NONE)),
        "BalanceExceeded"
    );
    w.hub.adopt(&own.verified, Some(&theirs.verified), NONE).unwrap();
    assert_eq!(w.hub.settlement(), w.client.settlement());
}

/// What is shown must not take back what was known before the backup was made, either.
#[test]
fn a10_adoption_takes_nothing_back_that_is_known() {
    let mut w = World::new();
    w.send(Hub, &[credit(1, 5)]);
    w.send(Client, &[pay(1, 10, 0)]); // acknowledges 1
    let backup = w.hub.to_record();
    let newest = w.send(Hub, &[credit(2, 5)]);
    w.hub = Channel::from_record(&backup).unwrap();
    let adopt = |own_acks: bool, change: &dyn Fn(&mut protocol_spec::Voucher)| {
        let mut own = newest.verified.voucher().clone();
        if !own_acks {
            (own.ack_seq, own.ack_paid) = (Seq(0), Amount(0));
        }
        let mut theirs = w.hub.received_signed().unwrap().voucher;
        theirs.seq = Seq(2);
        change(&mut theirs);
        let (own, theirs) = (verified(Hub, &own), verified(Client, &theirs));
        let mut hub = w.hub.clone();
        let answer = unchanged_if_refused(&mut hub, |hub| hub.adopt(&own, Some(&theirs), NONE));
        answer.map(|()| hub).map_err(|reject| reject.name())
    };
    let back = adopt(true, &|v| (v.ack_seq, v.ack_paid) = (Seq(0), Amount(0)));
    assert_eq!(back.err(), Some("AckNotMonotone"));
    let cheaper = adopt(false, &|v| v.paid = Amount(9));
    assert_eq!(cheaper.err(), Some("PaidMismatch"));
    // The same sum and the same acknowledgement are nothing less: the client had something else to say.
    assert_eq!(adopt(true, &|_| {}).unwrap().received().seq, Seq(2));
    // Of two vouchers of one seq the first stays.
    let second = adopt(true, &|v| (v.seq, v.history) = (Seq(1), Digest([1; 32])));
    assert_eq!(second.unwrap().received(), w.hub.received());
}

/// The client signed while it had not seen everything; what it acknowledges lies in the part that the hub lost.
#[test]
fn a10_an_ack_of_a_forgotten_voucher_counts_between_its_neighbours_only() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 10, 0)]);
    w.send(Hub, &[credit(1, 1)]);
    let backup = w.hub.to_record();
    let seen = w.send(Hub, &[credit(2, 20)]);
    let late = w.issue(Client, &[pay(2, 10, 0)]).unwrap();
    let newest = w.send(Hub, &[credit(3, 300)]);
    w.hub = Channel::from_record(&backup).unwrap();
    w.hub.adopt(&newest.verified, None, NONE).unwrap();
    let lie = |w: &World, ack_paid: u128| {
        let mut voucher = late.verified.voucher().clone();
        voucher.ack_paid = Amount(ack_paid);
        let sent = Sent {
            verified: verified(Client, &voucher),
            ops: late.ops.clone(),
        };
        let mut hub = w.hub.clone();
        name(hub.accept(&sent.verified, &sent.ops, clock(START)).map(drop))
    };
    assert_eq!(seen.verified.voucher().paid, Amount(21));
    for (paid, expected) in [(0, "AckPaidMismatch"), (322, "AckPaidMismatch")] {
        assert_eq!(lie(&w, paid), expected);
    }
    assert_eq!(w.deliver(Client, &late).unwrap(), Accepted::New);
    // What it said of that voucher it cannot say otherwise, and sums do not fall.
    let next = w.issue(Client, &[pay(3, 10, 0)]).unwrap();
    assert_eq!(w.deliver(Client, &next).unwrap(), Accepted::New);
    assert_eq!(w.client.settlement(), w.hub.settlement());
}

#[test]
fn a10_who_adopted_adds_no_locks() {
    let (mut w, newest_client, newest_hub) = rolled_back(2);
    w.hub
        .adopt(&newest_hub.verified, Some(&newest_client.verified), NONE)
        .unwrap();
    assert_eq!(name(w.issue(Hub, &[add(lock(1, 1, START + 5000))])), "LocksEnded");
    assert_eq!((w.hub.is_restored(), w.client.is_restored()), (true, false));
    w.send(Client, &[add(lock(1, 1, START + 5000))]);
}

#[test]
fn a11_a_restored_client_adopts_the_same_way() {
    let mut w = World::new();
    let backup = w.client.to_record();
    w.send(Hub, &[credit(1, 5)]);
    let own = w.send(Client, &[pay(1, 10, 0)]);
    let theirs = w.send(Hub, &[credit(2, 5)]);
    w.client = Channel::from_record(&backup).unwrap();
    w.client
        .adopt(&own.verified, Some(&theirs.verified), NONE)
        .unwrap();
    assert!(w.client.must_ack(), "the hub learns that its voucher is known");
    w.send(Client, &[]);
    assert_eq!((w.client.settlement(), w.hub.unacked()), (w.hub.settlement(), 0));
}

#[test]
fn a13_malformed_operations_persist_nothing() {
    let mut w = World::new();
    let cases = [
        (pay(1, 0, 0), "AmountZero"),
        (pay(1, 1001, 0), "BalanceExceeded"),
        (pay(1, 1000, 1), "BalanceExceeded"),
    ];
    for (op, expected) in cases {
        let sent = w.forge(Client, &[op], |_| {});
        assert_eq!(name(w.deliver(Client, &sent)), expected);
    }
    w.send(Client, &[pay(1, 1000, 0)]);
}

#[test]
fn a13_configs_that_cannot_be_opened_are_refused() {
    let bad: [fn(&mut protocol_spec::Config); 7] = [
        |c| c.client = Address::ZERO,
        |c| c.client_signer = Address::ZERO,
        |c| c.hub = Address::ZERO,
        |c| c.hub_signer = Address::ZERO,
        |c| c.hub_signer = c.client_signer,
        |c| c.challenge_period_s = 3599,
        |c| c.challenge_period_s = 30 * 86_400 + 1,
    ];
    for change in bad {
        let mut config = config();
        change(&mut config);
        assert_eq!(
            name(Channel::new(config, &domain(), Client, Delays::default())),
            "ConfigInvalid"
        );
    }
}
