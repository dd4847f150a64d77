//! A confirmed block vanished: R25, R26; attack E3.

use super::{
    cooperation::asked_to_cancel,
    state::Tables,
    world::{START, World},
};
use crate::ledger::{ChainFact, ChainPosition, Input, OnChain, Reconciled};
use protocol_spec::{Amount, ChannelId, Preimage, ReturnReason, Seq, Side};

/// The comparison with block `number`, in which `concerned` channels are not what they were.
fn compared(world: &World, number: u64, concerned: Vec<ChannelId>, unpaid: Vec<ChannelId>) -> Input {
    Input::Reconciled(Reconciled {
        position: ChainPosition {
            number,
            hash: [8; 32],
            timestamp: world.now,
        },
        opened: vec![world.clients[0].channel.config().clone()],
        resolved: vec![],
        concerned,
        unpaid,
        paid: vec![],
        disputed: vec![],
    })
}

fn error_of_payment(world: &mut World, from: usize) -> String {
    let op = world.pay_op(from, 2, 5, 5);
    let clock = world.clock();
    let frame = world.clients[from].frame(vec![op], clock).unwrap();
    let (origin, input) = world.input(from, frame);
    world.commit(vec![input]);
    world.error(origin)
}

#[test]
fn nothing_is_accepted_until_compared_and_then_only_where_nothing_changed() {
    let mut world = World::new(3, 1_000_000);
    world.commit(vec![Input::ChainBroken]);
    let before = world.ledger.next_record;
    world.commit(vec![Input::ChainBroken]);
    assert_eq!(world.ledger.next_record, before, "told again it changes nothing");
    assert_eq!(error_of_payment(&mut world, 0), "ChainStale");
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());

    let lost = world.id(0);
    let number = world.ledger.chain().number - 2;
    let told = compared(&world, number, vec![lost], vec![]);
    world.commit(vec![told]);
    assert_eq!(world.ledger.chain().number, number);
    assert_eq!(world.ledger.frozen().len(), 1);
    let frame = world.clients[0].unaccepted[0].clone();
    let (origin, input) = world.input(0, frame.clone());
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "ChainStale", "its deposit is gone");
    let op = world.pay_op(1, 0, 5, 5);
    let origin = world.send(1, vec![op]);
    let bounced = &world.voucher_reply(origin).bounced;
    assert_eq!(
        bounced[0].reason,
        ReturnReason::Unavailable,
        "nothing is credited there"
    );
    let op = world.pay_op(1, 2, 5, 5);
    let origin = world.send(1, vec![op]);
    assert!(world.voucher_reply(origin).bounced.is_empty(), "others go on");

    // Told in parts it would be counted twice.
    let amount = Amount(1_000_000);
    world.block(vec![ChainFact::Reserved {
        channel: lost,
        amount,
    }]);
    assert_eq!(world.ledger.entries[0].channel.funds().hub_deposit, amount);
    let money = OnChain {
        client_deposit: amount,
        hub_deposit: Amount(1_000_007),
        ..OnChain::default()
    };
    world.commit(vec![Input::Thawed { channel: lost, money }]);
    assert!(world.ledger.frozen().is_empty());
    assert_eq!(
        world.ledger.entries[0].channel.funds().hub_deposit,
        money.hub_deposit
    );
    let (origin, input) = world.input(0, frame);
    world.commit(vec![input]);
    assert_eq!(world.voucher_reply(origin).seq, Seq(1), "the same bytes pass now");
    world.check_replay(&tables);
}

#[test]
fn a_frozen_channel_is_frozen_after_a_restart_and_defended() {
    let mut world = World::new(3, 1_000_000);
    let lost = world.id(0);
    world.commit(vec![Input::ChainBroken]);
    let told = compared(&world, 1, vec![lost], vec![]);
    world.commit(vec![told]);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    let dispute_no = Seq(1);
    world.commit(vec![Input::DisputeSeen {
        channel: lost,
        dispute_no,
    }]);
    assert_eq!(world.ledger.disputed().len(), 1);
    world.check_replay(&tables);
}

/// R27: the cancel that is signed would fit the next dispute of this number, too.
#[test]
fn r27_a_dispute_is_final_no_more_when_its_block_vanishes_until_another_has_it() {
    for stays in [false, true] {
        let mut world = World::new(3, 1_000_000);
        let (channel, dispute_no) = (world.id(0), Seq(1));
        world.block(vec![ChainFact::Disputed { channel, dispute_no }]);
        world.commit(vec![Input::ChainBroken]);
        let Input::Reconciled(mut told) = compared(&world, 1, vec![], vec![]) else {
            unreachable!()
        };
        told.disputed = if stays {
            vec![(channel, dispute_no)]
        } else {
            vec![]
        };
        world.commit(vec![Input::Reconciled(told)]);
        assert_eq!(world.ledger.disputed().len(), 1, "it is answered all the while");
        let refused = (!stays).then(|| "DisputeNotFinal".to_owned());
        assert_eq!(asked_to_cancel(&mut world, 1), refused);
        world.block(vec![ChainFact::Disputed { channel, dispute_no }]);
        assert_eq!(asked_to_cancel(&mut world, 1), None);
        world.check_replay(&Tables::default());
    }
}

#[test]
fn r25_a_payout_that_vanished_leaves_the_channel_to_be_defended_and_nothing_else() {
    let mut world = World::new(3, 1_000_000);
    let channel = world.id(0);
    world.block(vec![ChainFact::Closed { channel }]);
    world.commit(vec![Input::ChainBroken]);
    let told = compared(&world, 1, vec![], vec![channel]);
    world.commit(vec![told]);
    assert_eq!(world.ledger.entries[0].channel.phase().name(), "closing");
    world.now = START.after(3 * 24 * 3600);
    world.block(vec![]);
    assert_eq!(
        world.ledger.entries[0].channel.phase().name(),
        "closing",
        "it does not lapse"
    );
    let dispute_no = Seq(1);
    world.commit(vec![Input::DisputeSeen { channel, dispute_no }]);
    assert_eq!(world.ledger.disputed().len(), 1);
    world.block(vec![ChainFact::Closed { channel }]);
    assert_eq!(world.ledger.entries[0].channel.phase().name(), "closed");
    world.check_replay(&Tables::default());
}

#[test]
fn a_preimage_on_the_new_branch_is_used_before_anything_is_given_up() {
    let mut world = World::new(2, 1_000_000);
    let secret = Preimage([5; 32]);
    let op = world.lock_op(0, 1, 1_000, 4 * 3600, secret);
    world.send(0, vec![op]);
    let lock_id = world.clients[1].locks[0].0.id;
    let channel = world.id(1);
    world.commit(vec![Input::ChainBroken]);
    let Input::Reconciled(mut told) = compared(&world, 1, vec![], vec![]) else {
        unreachable!()
    };
    told.resolved = vec![ChainFact::Resolved {
        channel,
        payer: Side::Hub,
        lock_id,
        witness: secret.0.to_vec(),
    }];
    told.paid = vec![channel];
    world.commit(vec![Input::Reconciled(told)]);
    assert!(world.clients[0].given_up.is_empty(), "R11: the hub will use it");
    assert_eq!(world.clients[0].fold().len(), 1, "the payer is told");
    world.check_replay(&Tables::default());
}

#[test]
fn what_was_told_and_given_up_while_nothing_could_be_signed_is_made_up_for() {
    let mut world = World::new(2, 1_000_000);
    let secrets = [Preimage([5; 32]), Preimage([6; 32])];
    for secret in secrets {
        let op = world.lock_op(0, 1, 1_000, 4 * 3600, secret);
        world.send(0, vec![op]);
    }
    let ids: Vec<u64> = world.clients[1].locks.iter().map(|(lock, _)| lock.id).collect();
    world.commit(vec![Input::ChainBroken]);
    world.reveal(1, ids[0], secrets[0]);
    world.give_up(1, ids[1]);
    assert!(world.clients[1].converted.is_empty());
    let told = compared(&world, 1, vec![], vec![]);
    world.commit(vec![told]);
    assert_eq!(world.clients[1].converted, [ids[0]]);
    assert!(
        world.clients[1].channel.received().locks.is_empty(),
        "and the other is dropped"
    );
    world.check_replay(&Tables::default());
}

#[test]
fn covers_means_nothing_is_missing() {
    let money = OnChain {
        client_deposit: Amount(5),
        hub_deposit: Amount(6),
        client_withdrawn: Amount(1),
        hub_withdrawn: Amount(2),
    };
    assert!(money.covers(&money));
    for less in [
        OnChain {
            client_deposit: Amount(4),
            ..money
        },
        OnChain {
            hub_deposit: Amount(5),
            ..money
        },
        OnChain {
            client_withdrawn: Amount(0),
            ..money
        },
        OnChain {
            hub_withdrawn: Amount(1),
            ..money
        },
    ] {
        assert!(!less.covers(&money));
        assert!(money.covers(&less));
    }
}

#[test]
fn an_order_that_was_paid_in_while_the_channel_was_frozen_is_not_paid_in_again() {
    let mut world = World::new(3, 1_000_000);
    let channel = world.id(0);
    world.ledger.entries[0].stored.reserve.owed = Amount(500);
    world.ledger.note_promise(0);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    world.commit(vec![Input::ChainBroken]);
    let told = compared(&world, 1, vec![channel], vec![]);
    world.commit(vec![told]);
    let money = OnChain {
        client_deposit: Amount(1_000_000),
        hub_deposit: Amount(1_000_300),
        ..OnChain::default()
    };
    world.commit(vec![Input::Thawed { channel, money }]);
    assert_eq!(world.ledger.entries[0].stored.reserve.owed, Amount(200));
    world.check_replay_on(tables.restore());
}

/// Its payee says of one lock both that it has what opens it and that it gives it up.
#[test]
fn a_lock_that_was_told_and_given_up_in_a_dispute_is_converted_and_there_is_nothing_left_to_drop() {
    for told_first in [true, false] {
        let mut world = World::new(2, 1_000_000);
        let secret = Preimage([5; 32]);
        let op = world.lock_op(0, 1, 1_000, 4 * 3600, secret);
        world.send(0, vec![op]);
        let (id, channel) = (world.clients[1].locks[0].0.id, world.id(1));
        for number in 1..4 {
            let dispute_no = Seq(number);
            world.block(vec![ChainFact::Disputed { channel, dispute_no }]);
            if number == 1 && told_first {
                world.reveal(1, id, secret);
            }
            if number == 1 {
                world.give_up(1, id);
                world.reveal(1, id, secret);
            }
            world.block(vec![ChainFact::DisputeCancelled { channel, dispute_no }]);
            assert_eq!(world.clients[1].converted, [id], "dispute {number}");
        }
        world.check_replay(&Tables::default());
    }
}

/// The hub collects a payer's lock on chain: then the channel is paid out, and what rests on it binds nothing more (R22).
#[test]
fn r22_what_a_paid_out_payer_had_forwarded_takes_no_room_until_a_reorg_takes_the_payout_away() {
    let mut world = World::new(2, 1_000_000);
    let secret = Preimage([5; 32]);
    let op = world.lock_op(0, 1, 1_000, 4 * 3600, secret);
    world.send(0, vec![op]);
    let (id, channel) = (world.clients[1].locks[0].0.id, world.id(0));
    world.reveal(1, id, secret);
    world.block(vec![ChainFact::Disputed {
        channel,
        dispute_no: Seq(1),
    }]);
    world.block(vec![ChainFact::Resolved {
        channel,
        payer: Side::Client,
        lock_id: 1,
        witness: vec![],
    }]);
    assert_eq!(world.ledger.forwarded, 1);
    world.block(vec![ChainFact::Closed { channel }]);
    assert_eq!(world.ledger.forwarded, 0);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint_all());
    assert_eq!(tables.restore().forwarded, 0, "a restarted hub counts as much");

    world.commit(vec![Input::ChainBroken]);
    let told = compared(&world, 1, vec![channel], vec![channel]);
    world.commit(vec![told]);
    assert_eq!(world.ledger.forwarded, 1);
    world.block(vec![ChainFact::Closed { channel }]);
    assert_eq!(world.ledger.forwarded, 0);
    world.check_replay(&Tables::default());
}
