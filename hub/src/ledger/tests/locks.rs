//! Locked payments: forwarded, revealed, given up, expired, on chain; R8-R11, R21-R23.

use super::{
    client::domain,
    state::Tables,
    world::{FEE_MAX, World, policy},
};
use crate::ledger::{ChainFact, Input, Output};
use protocol_spec::{
    Address, Amount, Condition, Credit, Digest, History, Op, Opened, Payee, PaymentId, Preimage,
    ReturnReason, Seq, Side, SignedVoucher, VoucherSignature,
    limits::{self, ACT_DEFAULT_S, DELTA_DEFAULT_S, LAG_DEFAULT_S},
    message::{Frame, PaymentStatus, Reply, SubscribeCall},
};

const SECRET: Preimage = Preimage([5; 32]);
const LIFE_S: u64 = 4 * 3600;

/// A lock of 1,000 from client 0 to client 1; the hub's lock in the payee's channel.
fn locked(world: &mut World) -> u64 {
    let op = world.lock_op(0, 1, 1_000, LIFE_S, SECRET);
    let origin = world.send(0, vec![op]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    world.clients[1].locks.last().unwrap().0.id
}

fn refusal(world: &mut World, op: Op) -> Option<ReturnReason> {
    let origin = world.send(0, vec![op]);
    let bounced = world
        .voucher_reply(origin)
        .bounced
        .first()
        .map(|bounce| bounce.reason);
    let newest = world.clients[0].channel.sent().newest_lock;
    assert_eq!(
        bounced,
        world.clients[0].given_up.get(&newest).copied(),
        "the hub consents at once"
    );
    bounced
}

fn fold(world: &mut World, client: usize) {
    let ops = world.clients[client].fold();
    world.send(client, ops);
}

#[test]
fn a_locked_payment_goes_through_and_change_comes_back() {
    let mut world = World::new(2, 100_000);
    let origin = world.fresh_origin(1);
    let (channel_id, after) = (world.id(1), None);
    world.commit(vec![Input::Subscribe(
        origin,
        SubscribeCall { channel_id, after },
    )]);
    let id = locked(&mut world);
    let (lock, payment_id) = world.clients[1].locks[0].clone();
    let payer = world.clients[0]
        .channel
        .sent()
        .locks
        .iter()
        .next()
        .unwrap()
        .clone();
    assert_eq!(lock.amount, Amount(1_000), "R22: less the fee granted");
    assert_eq!(lock.hash, payer.hash);
    assert_eq!(
        lock.expiry.after(DELTA_DEFAULT_S),
        payer.expiry,
        "R22: E2 + delta <= E1"
    );
    assert_eq!(world.clients[1].channel.received().paid, Amount::ZERO);
    let in_flight = PaymentStatus::Locked {
        lock_id: payer.id,
        expiry: payer.expiry,
    };
    assert_eq!(world.status(0, payment_id), in_flight);

    world.reveal(1, id, SECRET);
    assert_eq!(
        world.clients[1].converted,
        [id],
        "R8: told in time, converted in the same commit"
    );
    assert_eq!(world.clients[1].channel.received().paid, Amount(1_000));
    let session = world.sessions[1].unwrap();
    assert_eq!(
        world.events[&session],
        [(1, Amount(1_000))],
        "a receipt like any other"
    );

    fold(&mut world, 0);
    assert!(world.clients[0].channel.sent().locks.is_empty());
    assert_eq!(world.clients[0].channel.sent().paid, Amount(1_000 + FEE_MAX));
    // flat 1 and 1 % of 1,000 make 11.
    assert_eq!(world.clients[0].channel.received().paid, Amount(FEE_MAX - 11));
    assert_eq!(
        world.status(0, payment_id),
        PaymentStatus::Accepted { seq: Seq(1) }
    );
    assert_eq!(world.ledger.forwarded, 0);
    world.check_replay(&Tables::default());
}

#[test]
fn a_preimage_told_twice_converts_once_and_a_wrong_one_nothing() {
    let mut world = World::new(2, 100_000);
    let id = locked(&mut world);
    let wrong = world.reveal(1, id, Preimage([6; 32]));
    assert_eq!(world.error(wrong), "WitnessWrong");
    let unknown = world.reveal(1, id + 1, SECRET);
    assert_eq!(world.error(unknown), "LockUnknown");
    let stranger = world.reveal(0, id, SECRET);
    assert_eq!(world.error(stranger), "LockUnknown");
    let call = |world: &mut World| {
        let origin = world.fresh_origin(1);
        let channel_id = world.id(1);
        Input::Reveal(
            origin,
            protocol_spec::message::Reveal {
                channel_id,
                lock_id: id,
                witness: SECRET.into(),
            },
        )
    };
    let twice = vec![call(&mut world), call(&mut world)];
    world.commit(twice);
    assert_eq!(world.clients[1].converted, [id]);
    let late = world.reveal(1, id, SECRET);
    assert_eq!(world.error(late), "LockUnknown");
    world.check_replay(&Tables::default());
}

#[test]
fn what_cannot_be_forwarded_is_given_up_at_once() {
    let mut terms = policy();
    terms.tokens[0].locked_max = Amount(20_000);
    terms.locks.amount_min = vec![(terms.tokens[0].token, Amount(10))];
    let mut world = World::with(terms, 3, 30_000);
    world.fund(0, 100_000, 0);
    let op = world.lock_op(0, 0, 10, LIFE_S, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::SelfPayment));
    let expiry = world.clock().chain.after(LIFE_S);
    let op = world.clients[0].lock(Payee::Account(Address::repeat_byte(3)), 10, 5, expiry, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::UnknownPayee));
    let payee = Payee::Account(world.clients[1].account());
    let op = world.clients[0].lock(payee, 1_000, 10, expiry, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::FeeTooLow));
    let least = DELTA_DEFAULT_S + ACT_DEFAULT_S;
    let op = world.lock_op(0, 1, 10, least, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::LockTooShort));
    let op = world.lock_op(0, 1, 10, least + 1, SECRET);
    assert_eq!(
        refusal(&mut world, op),
        None,
        "a second more is enough, and 10 units"
    );
    let op = world.lock_op(0, 1, 9, LIFE_S, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::LockTooSmall));
    let op = world.lock_op(0, 1, 10, 24 * 3600 + 1, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::ExpiryTooFar));
    let mut op = world.lock_op(0, 1, 10, LIFE_S, SECRET);
    if let Op::LockAdd { lock, .. } = &mut op {
        lock.resolver = Address::repeat_byte(8);
    }
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::ResolverRefused));
    let op = world.lock_op(0, 1, 30_001, LIFE_S, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::InsufficientReserve));
    fold(&mut world, 0);
    let op = world.clients[0].lock(payee, 20_000, 300, expiry, SECRET);
    assert_eq!(
        refusal(&mut world, op),
        Some(ReturnReason::LocksFull),
        "20,000 and the fee and the open lock"
    );
    world.offline(2);
    let op = world.lock_op(0, 2, 10, LIFE_S, SECRET);
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::PayeeOffline));
    fold(&mut world, 0);
    let left = world.clients[0].channel.sent().locks.len();
    assert_eq!(
        left, 1,
        "all that was given up is gone, and the one forwarded lock is there"
    );
    let op = world.pay_op(0, 2, 10, 5);
    let origin = world.send(0, vec![op]);
    assert!(
        world.voucher_reply(origin).bounced.is_empty(),
        "directly it goes through"
    );
    world.check_replay(&Tables::default());
}

#[test]
fn one_client_and_all_clients_have_a_bound() {
    let mut terms = policy();
    terms.locks.per_client_max = 2;
    terms.locks.total_max = 3;
    let mut world = World::with(terms, 3, 100_000);
    for expected in [None, None, Some(ReturnReason::LocksFull)] {
        let op = world.lock_op(0, 1, 10, LIFE_S, SECRET);
        assert_eq!(refusal(&mut world, op), expected);
    }
    for (payer, expected) in [(1, 0), (2, 1)] {
        let op = world.lock_op(payer, 0, 10, LIFE_S, SECRET);
        let origin = world.send(payer, vec![op]);
        assert_eq!(
            world.voucher_reply(origin).bounced.len(),
            expected,
            "R22: the global bound"
        );
    }
    world.check_replay(&Tables::default());
}

#[test]
fn r22_boundary_a_lock_grants_the_fee_to_the_last_unit() {
    let mut world = World::new(2, 100_000);
    // flat 1 and 1 % of 1,000 make 11.
    for (fee_max, expected) in [(10, Some(ReturnReason::FeeTooLow)), (11, None)] {
        let payee = Payee::Account(world.clients[1].account());
        let expiry = world.clock().chain.after(LIFE_S);
        let op = world.clients[0].lock(payee, 1_000, fee_max, expiry, SECRET);
        assert_eq!(refusal(&mut world, op), expected, "{fee_max}");
    }
}

#[test]
fn r22_locks_need_a_view_of_the_chain_no_older_than_lag() {
    let lag_s = policy().delays.lag_s;
    for (age_s, expected) in [(lag_s, None), (lag_s + 1, Some(ReturnReason::Unavailable))] {
        let mut world = World::new(2, 100_000);
        world.now = world.clock().chain.after(age_s);
        let op = world.lock_op(0, 1, 10, LIFE_S, SECRET);
        assert_eq!(refusal(&mut world, op), expected, "{age_s}");
        let op = world.pay_op(0, 1, 10, 5);
        let origin = world.send(0, vec![op]);
        assert!(
            world.voucher_reply(origin).bounced.is_empty(),
            "directly it goes through"
        );
    }
}

#[test]
fn r23_a_cancelled_lock_is_given_up_only_once_the_hubs_own_is_dead() {
    let mut world = World::new(2, 100_000);
    let id = locked(&mut world);
    world.give_up(1, id);
    assert!(
        world.clients[1].channel.received().locks.is_empty(),
        "dropped in the same commit"
    );
    assert!(
        world.clients[0].given_up.is_empty(),
        "R10: a consent alone kills nothing"
    );
    let refused = world.reveal(1, id, SECRET);
    assert_eq!(world.error(refused), "LockUnknown");
    world.send(1, vec![]); // the acknowledgement
    assert_eq!(world.clients[0].given_up.get(&1), Some(&ReturnReason::Cancelled));
    fold(&mut world, 0);
    assert!(world.clients[0].channel.sent().locks.is_empty());
    assert_eq!(world.clients[0].channel.sent().paid, Amount::ZERO);
    world.check_replay(&Tables::default());
}

#[test]
fn r8_r9_the_boundaries_of_an_expiring_lock() {
    for late in [false, true] {
        let mut world = World::new(2, 100_000);
        let id = locked(&mut world);
        let expiry = world.clients[1].locks[0].0.expiry;
        world.now = if late {
            expiry
        } else {
            protocol_spec::UnixSeconds(expiry.0 - 1)
        };
        let origin = world.reveal(1, id, SECRET);
        if late {
            assert_eq!(world.error(origin), "PreimageTooLate");
        } else {
            assert_eq!(world.clients[1].converted, [id]);
        }
        world.now = expiry.after(LAG_DEFAULT_S - 1);
        world.block(vec![]);
        assert_eq!(world.clients[1].channel.received().locks.is_empty(), !late);
        world.now = expiry.after(LAG_DEFAULT_S);
        world.block(vec![]);
        assert!(world.clients[1].channel.received().locks.is_empty(), "R9");
        let given_up = world.clients[0].given_up.get(&1).copied();
        assert_eq!(given_up, late.then_some(ReturnReason::Expired));
        fold(&mut world, 0);
        assert!(world.clients[0].channel.sent().locks.is_empty());
        world.check_replay(&Tables::default());
    }
}

/// Its client was cut off after it had signed: another voucher of that seq there can never be.
#[test]
fn r5_a_lock_that_expires_while_its_voucher_waits_is_taken_and_given_up() {
    for late_s in [0, LAG_DEFAULT_S, 3 * 24 * 3_600] {
        let mut world = World::new(2, 100_000);
        let op = world.lock_op(0, 1, 1_000, LIFE_S, SECRET);
        let signed = world.clock();
        let frame = world.clients[0].frame(vec![op], signed).unwrap();
        world.now = signed.chain.after(LIFE_S + late_s);
        world.block(vec![]);
        let (origin, input) = world.input(0, frame);
        world.commit(vec![input]);
        assert_eq!(world.voucher_reply(origin).bounced.len(), 1, "{late_s}");
        assert!(world.clients[1].locks.is_empty(), "it is not forwarded");
        assert!(world.clients[0].given_up.contains_key(&1));
        fold(&mut world, 0);
        assert!(world.clients[0].channel.sent().locks.is_empty());
        let op = world.pay_op(0, 1, 500, FEE_MAX);
        let origin = world.send(0, vec![op]);
        assert!(world.voucher_reply(origin).bounced.is_empty());
        world.check_replay(&Tables::default());
    }
}

#[test]
fn what_a_client_missed_is_told_again_when_it_resumes() {
    let mut world = World::new(3, 100_000);
    let id = locked(&mut world);
    let op = world.lock_op(0, 2, 77, LIFE_S, Preimage([9; 32]));
    world.send(0, vec![op]);
    let other = world.clients[2].locks[0].0.id;
    world.offline(0);
    world.reveal(1, id, SECRET);
    world.give_up(2, other);
    world.send(2, vec![]);
    assert_eq!(world.clients[0].fold().len(), 0, "it was not there");
    world.online(0);
    assert_eq!(world.clients[0].fold().len(), 2, "one to convert, one to drop");
    fold(&mut world, 0);
    world.online(0);
    assert!(world.clients[0].fold().is_empty());
    assert!(world.clients[0].channel.sent().locks.is_empty());
    world.check_replay(&Tables::default());
}

#[test]
fn r23_a_preimage_shown_on_chain_is_used_on_the_payers_lock() {
    let mut world = World::new(2, 100_000);
    let id = locked(&mut world);
    let channel = world.id(1);
    world.block(vec![ChainFact::Disputed {
        channel,
        dispute_no: Seq(1),
    }]);
    let witness = SECRET.0.to_vec();
    let resolved = ChainFact::Resolved {
        channel,
        payer: Side::Hub,
        lock_id: id,
        witness,
    };
    world.block(vec![resolved]);
    assert_eq!(world.clients[0].fold().len(), 1, "the payer is told");
    world.block(vec![ChainFact::Closed { channel }]);
    assert!(
        world.clients[0].given_up.is_empty(),
        "R11: the hub does not give up what it will use"
    );
    fold(&mut world, 0);
    assert_eq!(world.clients[0].channel.sent().paid, Amount(1_000 + FEE_MAX));
    world.check_replay(&Tables::default());
}

#[test]
fn r23_a_preimage_in_an_unconfirmed_block_is_used_at_once_and_once() {
    let mut world = World::new(2, 100_000);
    let id = locked(&mut world);
    let channel = world.id(1);
    let seen = |lock_id, preimage: Preimage| Input::WitnessSeen {
        channel,
        lock_id,
        witness: preimage.into(),
    };
    let before = world.ledger.next_record;
    world.commit(vec![seen(id, Preimage([9; 32])), seen(id + 1, SECRET)]);
    assert_eq!(
        world.ledger.next_record, before,
        "a node that lies changes nothing"
    );
    assert!(world.clients[0].fold().is_empty());
    world.commit(vec![seen(id, SECRET)]);
    let told = world.ledger.next_record;
    assert!(told > before);
    fold(&mut world, 0);
    assert_eq!(world.clients[0].channel.sent().paid, Amount(1_000 + FEE_MAX));
    world.commit(vec![seen(id, SECRET)]);
    world.check_replay(&Tables::default());
}

#[test]
fn a_channel_paid_out_without_the_preimage_frees_the_payer() {
    let mut world = World::new(2, 100_000);
    locked(&mut world);
    let channel = world.id(1);
    world.block(vec![ChainFact::Disputed {
        channel,
        dispute_no: Seq(1),
    }]);
    assert!(world.clients[0].given_up.is_empty());
    world.block(vec![ChainFact::Closed { channel }]);
    assert_eq!(
        world.clients[0].given_up.get(&1),
        Some(&ReturnReason::PayeeClosed)
    );
    world.check_replay(&Tables::default());
}

#[test]
fn r21_a_payer_that_does_not_convert_is_disputed_in_time() {
    let mut world = World::new(2, 100_000);
    let id = locked(&mut world);
    world.reveal(1, id, SECRET);
    let expiry = world.clients[0]
        .channel
        .sent()
        .locks
        .iter()
        .next()
        .unwrap()
        .expiry;
    let act = ACT_DEFAULT_S;
    assert!(
        world
            .ledger
            .overdue(protocol_spec::UnixSeconds(expiry.0 - act - 1))
            .is_empty()
    );
    let overdue = world.ledger.overdue(protocol_spec::UnixSeconds(expiry.0 - act));
    assert_eq!(overdue.len(), 1);
    assert_eq!(
        world.ledger.overdue(expiry),
        overdue,
        "the chain is not there yet"
    );
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint_all());
    assert_eq!(
        tables.restore().overdue(expiry),
        overdue,
        "a restarted hub is as punctual"
    );
    let received = &overdue[0].received;
    assert_eq!(received.witnesses, [("1".to_owned(), SECRET.into())]);
    assert_eq!(received.locks.len(), 1);
    let channel = world.id(0);
    world.block(vec![ChainFact::Disputed {
        channel,
        dispute_no: Seq(1),
    }]);
    assert!(world.ledger.overdue(expiry).is_empty());
    assert_eq!(world.ledger.disputed()[0].received.witnesses.len(), 1);
    let resolved = ChainFact::Resolved {
        channel,
        payer: Side::Client,
        lock_id: 1,
        witness: vec![],
    };
    world.block(vec![resolved]);
    assert_eq!(
        world.ledger.disputed()[0].received.witnesses.len(),
        1,
        "R17: a newer voucher may need it again"
    );
}

#[test]
fn a_payment_id_is_used_once_also_by_locks() {
    let mut world = World::new(2, 100_000);
    locked(&mut world);
    let mut op = world.lock_op(0, 1, 5, LIFE_S, SECRET);
    let used = world.clients[1].locks[0].1;
    if let Op::LockAdd { payment_id, .. } = &mut op {
        *payment_id = used;
    }
    assert_eq!(refusal(&mut world, op), Some(ReturnReason::DuplicateId));
    let mut op = world.pay_op(0, 1, 5, 5);
    if let Op::Pay(payment) = &mut op {
        payment.payment_id = used;
    }
    let origin = world.send(0, vec![op]);
    assert_eq!(
        world.voucher_reply(origin).bounced[0].reason,
        ReturnReason::DuplicateId
    );
    world.check_replay(&Tables::default());
}

#[test]
fn a_payer_that_converts_early_has_paid_the_payee() {
    let mut world = World::new(2, 100_000);
    let id = locked(&mut world);
    let clock = world.clock();
    let opened = Opened::by_hash(Condition::preimage(&SECRET), SECRET.into()).unwrap();
    world.clients[0].channel.told_witness(1, &opened, clock).unwrap();
    fold(&mut world, 0);
    assert_eq!(world.clients[1].converted, [id]);
    assert_eq!(world.clients[1].channel.received().paid, Amount(1_000));
    world.check_replay(&Tables::default());
}

#[test]
fn a_lock_added_and_converted_by_one_frame_comes_back_as_money() {
    let mut world = World::new(2, 100_000);
    let op = world.lock_op(0, 1, 1_000, LIFE_S, SECRET);
    let convert = Op::LockConvert {
        id: 1,
        witness: SECRET.0.to_vec(),
    };
    let ops = vec![op, convert];
    // An honest client cannot issue it (R8 wants the preimage told first), so its key signs what `issue` would not.
    let clock = world.clock();
    let client = &world.clients[0];
    let sent = client.channel.sent().history;
    let history = ops.iter().fold(History(sent), |history, op| history.extended(op));
    let mut copy = client.channel.clone();
    let mut voucher = copy.issue(&ops[..1], &domain(), clock).unwrap().voucher;
    voucher.locks = Digest::ZERO;
    voucher.paid = Amount(1_000 + FEE_MAX);
    voucher.history = history.0;
    let voucher = client.sign(voucher);
    let (_, input) = world.input(0, Frame { voucher, ops });
    let commit = world.ledger.commit(vec![input], world.now);
    let bounced = commit.outputs.iter().find_map(|output| match output {
        Output::Reply(_, Ok(reply)) => match reply.as_ref() {
            Reply::Voucher(reply) => Some(reply.bounced.clone()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(bounced.unwrap()[0].reason, ReturnReason::Unavailable);
    assert!(world.clients[1].locks.is_empty(), "nothing was forwarded");
    let sent = world.ledger.entries[0].channel.sent().paid;
    assert_eq!(sent, Amount(1_000 + FEE_MAX), "all of it came back");
}

/// After an outage: the hub can use the witness nowhere any more, so the payer may take its lock back.
#[test]
fn r05_a_witness_that_the_chain_shows_when_the_payers_lock_is_over_keeps_nothing() {
    let mut world = World::new(2, 100_000);
    let id = locked(&mut world);
    let payer = world.clients[0].channel.sent().locks.iter().next().cloned();
    world.now = payer.unwrap().expiry.after(LAG_DEFAULT_S + 1);
    let channel = world.id(1);
    world.block(vec![
        ChainFact::Disputed {
            channel,
            dispute_no: Seq(1),
        },
        ChainFact::Resolved {
            channel,
            payer: Side::Hub,
            lock_id: id,
            witness: SECRET.0.to_vec(),
        },
    ]);
    let origin = world.send(0, vec![Op::LockDrop { id: 1 }]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    assert_eq!(
        world.clients[0].channel.spendable(),
        Amount(100_000),
        "it has its money back"
    );
    world.check_replay(&Tables::default());
}

/// The chain knows the id of a lock that this database has never seen: such a lock cannot be given up.
#[test]
fn a_lock_whose_id_the_chain_has_marked_before_is_not_forwarded_and_stays_where_it_is() {
    let mut world = World::new(2, 100_000);
    world.block(vec![ChainFact::Resolved {
        channel: world.id(0),
        payer: Side::Client,
        lock_id: 1,
        witness: vec![],
    }]);
    let op = world.lock_op(0, 1, 1_000, 900, SECRET);
    let origin = world.send(0, vec![op]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    assert!(world.clients[0].given_up.is_empty());
    assert_eq!(world.clients[1].locks.len(), 0);
    world.check_replay(&Tables::default());
}

/// Vouchers of the hub that the payee has and does not acknowledge, until there is room for a few more only.
fn silent(world: &mut World, payee: usize) {
    let (clock, key, mut serial) = (world.clock(), world.hub.public(), 0_u64);
    let most = limits::UNACKED_MAX - 8;
    while !world.ledger.entries[payee].channel.has_unacked(most) {
        let (mut ops, mut newest) = (Vec::new(), None);
        // What one frame may hold.
        while ops.len() < limits::OPS_PER_FRAME_MAX && !world.ledger.entries[payee].channel.has_unacked(most)
        {
            serial += 1;
            let mut id = [0xee; 16];
            id[..8].copy_from_slice(&serial.to_be_bytes());
            ops.push(Op::Credit(Credit {
                payment_id: PaymentId(id),
                payer: Digest([3; 32]),
                amount: Amount(1),
                invoice: Digest::ZERO,
            }));
            let channel = &mut world.ledger.entries.get_mut(payee).unwrap().channel;
            newest = Some(channel.issue(&ops[ops.len() - 1..], &domain(), clock).unwrap());
        }
        let issued = newest.unwrap();
        let signed = SignedVoucher {
            voucher: issued.voucher,
            signature: VoucherSignature::Direct(world.hub.sign(&issued.digest)),
        };
        let verified = signed.verify(&domain(), &key, true).unwrap();
        world.clients[payee]
            .channel
            .accept(&verified, &ops, clock)
            .unwrap();
    }
}

#[test]
fn a_payee_that_acknowledges_nothing_gets_no_lock_folded_until_it_does() {
    let mut world = World::new(2, 1_000_000);
    let secrets = [1, 2, 3].map(|byte| Preimage([byte; 32]));
    for secret in secrets {
        let op = world.lock_op(0, 1, 1_000, LIFE_S, secret);
        world.send(0, vec![op]);
    }
    let ids: Vec<u64> = world.clients[1].locks.iter().map(|(lock, _)| lock.id).collect();
    let expiry = world.clients[1].locks[2].0.expiry;
    silent(&mut world, 1);
    world.reveal(1, ids[0], secrets[0]);
    world.give_up(1, ids[1]);
    world.now = expiry.after(LAG_DEFAULT_S + 1);
    world.block(vec![]);
    assert!(world.clients[1].converted.is_empty());
    assert_eq!(world.clients[1].channel.received().locks.len(), 3);
    world.send(1, vec![]);
    assert_eq!(world.clients[1].converted, [ids[0]]);
    world.block(vec![]);
    assert!(world.clients[1].channel.received().locks.is_empty());
}
