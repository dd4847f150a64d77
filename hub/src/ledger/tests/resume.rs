//! Connections that come and go: backlog, two sessions, A10.

use super::{
    client::{Client, TOKEN, domain},
    state::{Tables, state},
    world::World,
};
use crate::ledger::{ChainFact, Input, Origin, Output};
use protocol_spec::{
    Amount, Config, Digest, Payee, Seq, SignedVoucher, VoucherSignature,
    message::{Frame, RegisterCall, Reply},
};

#[test]
fn an_offline_payee_gets_its_backlog_as_jumps_when_it_resumes() {
    let mut world = World::new(2, 10_000_000);
    world.offline(1);
    for _ in 0..600 {
        let op = world.pay_op(0, 1, 10, 2);
        world.send(0, vec![op]);
    }
    assert!(world.clients[1].credits.is_empty());
    world.online(1);
    assert_eq!(world.clients[1].credits.len(), 600);
    // 600 vouchers of one credit each arrived in three frames of at most 256 operations.
    assert_eq!(world.clients[1].seen.len(), 3);
    assert_eq!(world.clients[1].channel.received().seq, Seq(600));
    // After the acknowledgement nothing is kept, and the newest voucher can still be shown (A11).
    world.send(1, vec![]);
    assert_eq!(world.ledger.entries[1].stored.backlog.len(), 0);
    let origin = world.online(1);
    let Ok(Reply::Resume(reply)) = world.answer(origin) else {
        unreachable!()
    };
    assert_eq!(reply.sent.as_ref().unwrap().voucher.seq, Seq(600));
    world.check_replay(&Tables::default());
}

#[test]
fn a_frame_that_was_lost_on_the_way_is_sent_again_and_counts_once() {
    let mut world = World::new(2, 10_000);
    let op = world.pay_op(0, 1, 10, 5);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    world.offline(0);
    world.online(0);
    assert_eq!(world.clients[0].unaccepted, std::slice::from_ref(&frame));
    let (origin, input) = world.input(0, frame.clone());
    world.commit(vec![input]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    // The answer was lost, too: the reply to `resume` shows the frame accepted.
    world.clients[0].unaccepted.push(frame);
    world.offline(0);
    world.online(0);
    assert!(world.clients[0].unaccepted.is_empty());
    assert_eq!(world.clients[1].credits.len(), 1);
}

#[test]
fn of_two_connections_the_last_one_wins_and_the_first_is_dropped() {
    let mut world = World::new(2, 10_000);
    let first = world.sessions[0].unwrap();
    let old = world.fresh_origin(0);
    world.online(0);
    assert!(world.dropped.contains(&first));
    let op = world.pay_op(0, 1, 10, 5);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    let (_, input) = world.input(0, frame.clone());
    let Input::Frame { voucher, ops, .. } = input else {
        unreachable!()
    };
    let late = Input::Frame {
        origin: old,
        voucher,
        ops,
    };
    world.commit(vec![late]);
    assert_eq!(world.error(old), "NotResumed");
    // The end of the old connection does not touch the new one.
    world.commit(vec![Input::Gone(old.session)]);
    let (origin, input) = world.input(0, frame);
    world.commit(vec![input]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    assert_eq!(
        world.ledger.by_session.len(),
        2,
        "ended connections leave nothing behind"
    );
}

#[test]
fn a_connection_of_several_signers_loses_only_the_channel_that_is_taken_over() {
    let mut world = World::new(3, 10_000);
    // The connection of client 0 acts for client 1, too, whose channel it has not resumed yet.
    let shared = world.fresh_origin(0);
    let second = Origin {
        signer: world.clients[1].account(),
        id: shared.id + 1000,
        ..shared
    };
    world.commit(vec![Input::Login(shared), Input::Login(second)]);
    world.online(0);
    assert!(!world.dropped.contains(&shared.session.0));
    let late = Origin {
        id: shared.id + 1001,
        ..shared
    };
    let op = world.pay_op(0, 2, 10, 5);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    let (_, input) = world.input(0, frame);
    let Input::Frame { voucher, ops, .. } = input else {
        unreachable!()
    };
    world.commit(vec![Input::Frame {
        origin: late,
        voucher,
        ops,
    }]);
    assert_eq!(world.error(late), "NotResumed");
    // One that logged in again and again with the same signer has one signer.
    let single = world.fresh_origin(2);
    let again = Origin {
        id: single.id + 2000,
        ..single
    };
    world.commit(vec![Input::Login(single), Input::Login(again)]);
    world.online(2);
    assert!(world.dropped.contains(&single.session.0));
    for session in [shared.session, single.session] {
        world.commit(vec![Input::Gone(session)]);
    }
    assert!(
        world.ledger.logins.is_empty(),
        "ended connections leave nothing behind"
    );
}

/// A10: the client has seen a voucher that the restored database does not know.
#[test]
fn a10_a_newer_hub_voucher_marks_the_database_and_nothing_is_signed_afterwards() {
    let mut world = World::new(3, 10_000);
    let op = world.pay_op(0, 1, 10, 5);
    world.send(0, vec![op]);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    let op = world.pay_op(0, 1, 10, 5);
    world.send(0, vec![op]);
    // The backup: without the second payment. The clients remember it.
    world.ledger = tables.restore();
    world.records.truncate(world.ledger.next_record as usize - 1);
    world.issued_by_record.truncate(world.records.len());
    // In the very commit of the resume, and before it, another client pays.
    let op = world.pay_op(2, 1, 10, 5);
    let clock = world.clock();
    let frame = world.clients[2].frame(vec![op.clone()], clock).unwrap();
    world.online(2);
    let (innocent, paying) = world.input(2, frame);
    let session = innocent.session.0;
    let (_, resume) = world.resume_input(1);
    let outputs = world.commit(vec![paying, resume]);
    assert_eq!(world.error(innocent), "RolledBack");
    assert!(
        !outputs.iter().any(|output| matches!(output, Output::Frame(_))),
        "nothing is signed"
    );
    // Whoever was connected comes back and shows what it holds.
    assert!(world.dropped.contains(&session));
    assert_eq!(
        world.ledger.unsynced(),
        2,
        "the channel that showed it is in step at once"
    );
    // Also a restart remembers it, and facts of the chain do not make it sign.
    world.fund(2, 5, 5);
    tables.write(world.ledger.checkpoint());
    assert_eq!(tables.restore().unsynced(), 2);
    let clock = world.clock();
    let frame = world.clients[2].frame(vec![op], clock).unwrap();
    let (origin, input) = world.input(2, frame);
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "RolledBack");
}

#[test]
fn a10_another_voucher_of_a_known_seq_is_proof_as_well() {
    let mut world = World::new(2, 10_000);
    for _ in 0..3 {
        let op = world.pay_op(0, 1, 10, 5);
        world.send(0, vec![op]);
    }
    let mut voucher = world.clients[1].channel.received_signed().unwrap().voucher;
    assert_eq!(voucher.seq, Seq(3));
    (voucher.seq, voucher.paid) = (Seq(2), Amount(19));
    let digest = voucher.digest(&super::client::domain());
    let shown = SignedVoucher {
        signature: VoucherSignature::Direct(world.hub.sign(&digest)),
        voucher,
    };
    let (origin, input) = world.resume_input(1);
    let Input::Resume(same, mut resumption) = input else {
        unreachable!()
    };
    resumption.call.received = Some(shown.clone());
    resumption.received = Some(
        shown
            .verify(&super::client::domain(), &world.hub.public(), true)
            .unwrap(),
    );
    world.commit(vec![Input::Resume(same, resumption)]);
    assert_eq!(world.error(origin), "RolledBack");
}

#[test]
fn what_a_client_shows_for_another_channel_is_refused() {
    let mut world = World::new(2, 10_000);
    let op = world.pay_op(0, 1, 10, 5);
    world.send(0, vec![op]);
    let (_, foreign) = world.resume_input(1);
    let Input::Resume(_, foreign) = foreign else {
        unreachable!()
    };
    let (_, input) = world.resume_input(0);
    let Input::Resume(origin, mut resumption) = input else {
        unreachable!()
    };
    resumption.received = foreign.received;
    let before = state(&world.ledger);
    world.commit(vec![Input::Resume(origin, resumption)]);
    assert_eq!(world.error(origin), "WrongChannel");
    assert!(!world.ledger.rolled_back());
    assert_eq!(state(&world.ledger), before);
}

#[test]
fn pipelined_frames_with_old_acks_are_all_accepted_and_acknowledged_once() {
    let mut world = World::new(2, 10_000);
    let mut inputs = Vec::new();
    let mut last: Option<Frame> = None;
    for _ in 0..50 {
        let op = world.pay_op(0, 1, 10, 2);
        let clock = world.clock();
        let frame = world.clients[0].frame(vec![op], clock).unwrap();
        last = Some(frame.clone());
        inputs.push(world.input(0, frame).1);
    }
    world.commit(inputs);
    assert_eq!(world.clients[1].channel.received().seq, Seq(1));
    assert_eq!(
        world.clients[0].channel.received().ack_seq,
        last.unwrap().voucher.voucher.seq
    );
    assert!(world.clients[0].unaccepted.is_empty());
}

/// Its terms are looked at when it is registered: the challenge period may be shorter than the operator counts on.
#[test]
fn nothing_flows_in_a_channel_that_was_not_registered() {
    let mut world = World::new(1, 10_000);
    let client = Client::new(7, TOKEN);
    let config = client.channel.config().clone();
    world.clients.push(client);
    world.sessions.push(None);
    world.block(vec![ChainFact::Opened(config.clone())]);
    world.fund(1, 10_000, 0);
    let origin = world.online(1);
    assert_eq!(world.error(origin), "UnknownChannel");
    let op = world.pay_op(1, 0, 5, 5);
    let clock = world.clock();
    let frame = world.clients[1].frame(vec![op], clock).unwrap();
    let (origin, input) = world.input(1, frame);
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "NotResumed");
    let origin = world.fresh_origin(1);
    let owner_signature = None;
    world.commit(vec![Input::Register(
        origin,
        RegisterCall {
            config,
            owner_signature,
        },
    )]);
    let resumed = world.online(1);
    assert!(world.answer(resumed).is_ok());
    world.check_replay(&Tables::default());
}

/// An owner's consent can be shown again by the signer of a channel that was given up.
#[test]
fn an_old_consent_takes_the_route_from_no_channel_that_was_opened_later() {
    let mut world = World::new(1, 10_000);
    let first = world.clients[0].channel.config().clone();
    let later = |salt| Config {
        salt: Digest([salt; 32]),
        ..first.clone()
    };
    let configs = [first.clone(), later(0xa1), later(0xa2)];
    let opened = |config: &Config| ChainFact::Opened(config.clone());
    world.block(configs[1..].iter().map(opened).collect());
    let registered = |world: &mut World, index: usize| {
        let origin = world.fresh_origin(0);
        let call = RegisterCall {
            config: configs[index].clone(),
            owner_signature: Some(world.hub.sign(&Digest::ZERO)), // verified before it becomes an input
        };
        world.commit(vec![Input::Register(origin, call)]);
        match world.answer(origin) {
            Ok(Reply::Channel(info)) => info.routed,
            other => panic!("{other:?}"),
        }
    };
    let payee = Payee::Account(world.clients[0].account());
    assert!(registered(&mut world, 1), "to a later one it goes");
    assert!(!registered(&mut world, 0), "and not back");
    assert!(registered(&mut world, 1), "once more for the one that has it");
    assert!(registered(&mut world, 2));
    for earlier in [0, 1] {
        assert!(!registered(&mut world, earlier));
        assert_eq!(world.ledger.find(TOKEN, payee), Some(2));
    }
    let channel = configs[2].id(&domain());
    world.block(vec![ChainFact::Closed { channel }]);
    assert_eq!(world.ledger.find(TOKEN, payee), None);
    assert!(registered(&mut world, 0), "the later one is paid out");
    assert!(registered(&mut world, 1));
    world.check_replay(&Tables::default());
}
