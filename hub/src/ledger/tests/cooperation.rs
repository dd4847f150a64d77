//! Withdraw, close, cancel, disputes, deposits: what the chain and both signatures do.

use super::{
    state::{Tables, state},
    world::{World, policy},
};
use crate::ledger::{
    ChainFact, Countersign, Input, Origin, Output, Reconciled, TxKind,
    input::{Change, Record},
};
use protocol_spec::{
    Amount, CancelDispute, Op, ReturnReason, Seq, Side, Signature, UnixSeconds,
    limits::LAG_DEFAULT_S,
    message::{CancelDisputeCall, CloseCall, PrepareCloseCall, Reply, WithdrawCall},
};

const SIGNATURE: Signature = Signature([1; 65]); // the worker verified it

fn countersigned(outputs: &[Output]) -> Vec<Countersign> {
    let what = |output: &Output| match output {
        Output::Countersign(_, what, _) => Some(what.clone()),
        _ => None,
    };
    outputs.iter().filter_map(what).collect()
}

fn withdraw_input(world: &mut World, client: usize, amount: u128) -> (Origin, WithdrawCall) {
    let deadline = world.clock().now.after(3600);
    let plan = world.clients[client]
        .channel
        .plan_withdraw(Side::Client, Amount(amount), deadline);
    let call = WithdrawCall {
        withdraw: plan.unwrap(),
        signature: SIGNATURE,
    };
    (world.fresh_origin(client), call)
}

fn pay(world: &mut World, amount: u128) -> Origin {
    let op = world.pay_op(0, 1, amount, 50);
    world.send(0, vec![op])
}

#[test]
fn r12_a_withdrawal_counts_from_the_signature_until_mined() {
    let mut world = World::new(2, 1_000);
    let (origin, call) = withdraw_input(&mut world, 0, 900);
    let outputs = world.commit(vec![Input::Withdraw(origin, call.clone())]);
    assert_eq!(
        countersigned(&outputs),
        [Countersign::Withdraw(call.withdraw.clone())]
    );
    assert_eq!(world.ledger.pending_transactions().len(), 1);
    // 100 are left: R4 counts what was signed.
    let op = world.pay_op(0, 1, 101, 0);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    let (over, input) = world.input(0, frame);
    world.commit(vec![input]);
    assert_eq!(world.error(over), "BalanceExceeded");
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    let fact = ChainFact::Withdrawn {
        channel: world.id(0),
        side: Side::Client,
        total: Amount(900),
    };
    world.block(vec![fact]);
    assert!(world.ledger.pending_transactions().is_empty());
    assert!(world.ledger.waiting.is_empty());
    world.check_replay(&tables);
}

#[test]
fn r12_a_withdrawal_lapses_after_its_deadline_and_lag_and_not_before() {
    let mut world = World::new(2, 1_000);
    let (origin, call) = withdraw_input(&mut world, 0, 900);
    let deadline = call.withdraw.deadline;
    world.commit(vec![Input::Withdraw(origin, call)]);
    world.now = deadline.after(LAG_DEFAULT_S);
    world.block(vec![]);
    assert_eq!(world.ledger.pending_transactions().len(), 1);
    world.now = world.now.after(1);
    world.block(vec![]);
    assert!(world.ledger.pending_transactions().is_empty());
    pay(&mut world, 900);
    assert_eq!(world.clients[1].credits.len(), 1);
    world.check_replay(&Tables::default());
}

#[test]
fn r13_more_than_the_client_has_is_not_countersigned_and_a_second_one_waits() {
    let mut world = World::new(2, 1_000);
    let (origin, call) = withdraw_input(&mut world, 0, 1_001);
    world.commit(vec![Input::Withdraw(origin, call)]);
    assert_eq!(world.error(origin), "WithdrawExceeds");
    let (origin, mut call) = withdraw_input(&mut world, 0, 10);
    call.withdraw.side = Side::Hub;
    world.commit(vec![Input::Withdraw(origin, call)]);
    assert_eq!(
        world.error(origin),
        "InvalidParams",
        "a client cannot take the hub's reserve"
    );
    let (origin, call) = withdraw_input(&mut world, 0, 10);
    world.commit(vec![Input::Withdraw(origin, call)]);
    let (second, call) = withdraw_input(&mut world, 0, 11);
    world.commit(vec![Input::Withdraw(second, call)]);
    assert_eq!(world.error(second), "WithdrawPending");
}

/// Mined, it would tell the chain the payee's newest number, and not that the hub's voucher is acknowledged in it.
#[test]
fn r13_a_withdrawal_that_names_no_voucher_of_the_hub_is_not_countersigned_after_an_acknowledgement() {
    let mut world = World::new(2, 1_000);
    world.online(1);
    pay(&mut world, 10);
    world.send(1, Vec::new());
    let (origin, mut call) = withdraw_input(&mut world, 1, 10);
    assert_eq!(call.withdraw.hub_seq, Seq(1));
    (call.withdraw.hub_seq, call.withdraw.hub_paid) = (Seq::NONE, Amount::ZERO);
    world.commit(vec![Input::Withdraw(origin, call)]);
    assert_eq!(world.error(origin), "WithdrawStale");
    let (origin, call) = withdraw_input(&mut world, 1, 10);
    let outputs = world.commit(vec![Input::Withdraw(origin, call.clone())]);
    assert_eq!(countersigned(&outputs), [Countersign::Withdraw(call.withdraw)]);
    world.check_replay(&Tables::default());
}

/// What had gathered is issued before the hub signs a withdrawal, also when the withdrawal is then refused.
#[test]
fn a_refused_withdrawal_in_the_middle_of_a_commit_cuts_the_voucher_in_replay_as_well() {
    let mut world = World::new(2, 10_000);
    let mut inputs = Vec::new();
    for _ in 0..2 {
        let op = world.pay_op(0, 1, 10, 2);
        let clock = world.clock();
        let frame = world.clients[0].frame(vec![op], clock).unwrap();
        inputs.push(world.input(0, frame).1);
        let (origin, mut call) = withdraw_input(&mut world, 1, 1);
        call.withdraw.total = Amount(1_000_000);
        inputs.push(Input::Withdraw(origin, call));
    }
    world.commit(inputs);
    assert_eq!(world.clients[1].channel.received().seq, Seq(2));
    world.check_replay(&Tables::default());
    // The planted bug: a hub that forgets to journal the cut signs other vouchers after a restart.
    let bytes = world.records.last_mut().unwrap();
    let mut record: Record = borsh::from_slice(bytes).unwrap();
    let before = record.changes.len();
    record
        .changes
        .retain(|change| !matches!(change, Change::Flush(_)));
    assert!(record.changes.len() < before);
    *bytes = borsh::to_vec(&record).unwrap();
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.check_replay(&Tables::default())
    }));
    assert!(noticed.is_err(), "the oracle is blind");
}

#[test]
fn r15_a_close_stops_the_channel_until_mined_or_lapsed() {
    let mut world = World::new(2, 1_000);
    pay(&mut world, 100);
    let deadline = world.clock().now.after(3600);
    let close = world.clients[0].channel.plan_close(deadline);
    let origin = world.fresh_origin(0);
    let call = CloseCall {
        close: close.clone(),
        signature: SIGNATURE,
    };
    let outputs = world.commit(vec![Input::Close(origin, call.clone())]);
    assert_eq!(countersigned(&outputs), [Countersign::Close(close)]);
    assert!(matches!(
        world.ledger.pending_transactions()[0].kind,
        TxKind::Close(_)
    ));
    let origin = pay(&mut world, 1);
    assert_eq!(world.error(origin), "ChannelNotOpen");
    let back = world.pay_op(1, 0, 10, 5);
    let origin = world.send(1, vec![back]);
    assert_eq!(world.voucher_reply(origin).bounced.len(), 1);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    world.now = deadline.after(LAG_DEFAULT_S + 1);
    world.block(vec![]);
    assert!(world.ledger.pending_transactions().is_empty());
    let frame = world.clients[0].unaccepted[0].clone();
    let (origin, input) = world.input(0, frame);
    world.commit(vec![input]);
    world.voucher_reply(origin);
    world.check_replay(&tables);
}

/// The client could be paid what it spent after the cancel: by the old close, which the adjudicator still takes.
#[test]
fn r15_a_cancelled_dispute_does_not_end_the_wait_for_a_close() {
    let mut world = World::new(2, 1_000);
    pay(&mut world, 100);
    let deadline = world.clock().now.after(3600);
    let close = world.clients[0].channel.plan_close(deadline);
    let origin = world.fresh_origin(0);
    let signature = SIGNATURE;
    let outputs = world.commit(vec![Input::Close(origin, CloseCall { close, signature })]);
    assert_eq!(countersigned(&outputs).len(), 1);
    let (channel, dispute_no) = (world.id(0), Seq(1));
    world.block(vec![ChainFact::Disputed { channel, dispute_no }]);
    let cancel = CancelDispute {
        channel_id: channel,
        dispute_no,
        deadline: world.clock().now.after(60),
    };
    let origin = world.fresh_origin(0);
    let call = CancelDisputeCall { cancel, signature };
    let outputs = world.commit(vec![Input::CancelDispute(origin, call)]);
    assert_eq!(countersigned(&outputs).len(), 1);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    world.block(vec![ChainFact::DisputeCancelled { channel, dispute_no }]);
    let origin = pay(&mut world, 800);
    assert_eq!(world.error(origin), "ChannelNotOpen");
    let back = world.pay_op(1, 0, 10, 5);
    let origin = world.send(1, vec![back]);
    assert_eq!(world.voucher_reply(origin).bounced.len(), 1);
    world.now = deadline.after(LAG_DEFAULT_S);
    world.block(vec![]);
    let frame = world.clients[0].unaccepted[0].clone();
    let (origin, input) = world.input(0, frame.clone());
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "ChannelNotOpen");
    world.now = world.now.after(1);
    world.block(vec![]);
    let (origin, input) = world.input(0, frame);
    world.commit(vec![input]);
    world.voucher_reply(origin);
    world.check_replay(&tables);
}

fn prepare_input(world: &mut World, client: usize, until: UnixSeconds) -> (Origin, Input) {
    let (origin, channel_id) = (world.fresh_origin(client), world.id(client));
    let call = PrepareCloseCall { channel_id, until };
    (origin, Input::PrepareClose(origin, call))
}

/// R6, R15: a credit between the comparison of numbers and the close would hold the channel until the close's deadline.
#[test]
fn r15_no_credit_overtakes_a_close_that_was_announced() {
    let mut world = World::new(2, 1_000);
    world.online(1);
    let deadline = world.clock().now.after(600);
    // In one commit: a credit, and the announcement after it.
    let op = world.pay_op(0, 1, 10, 50);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    let (paid, paying) = world.input(0, frame);
    let (asked, preparing) = prepare_input(&mut world, 1, deadline);
    world.commit(vec![paying, preparing]);
    assert!(world.voucher_reply(paid).bounced.is_empty());
    let Ok(Reply::Channel(info)) = world.answer(asked) else {
        panic!("{:?}", world.answer(asked));
    };
    assert_eq!(
        (info.hub_seq, info.hub_paid),
        (Seq(1), Amount(10)),
        "the credit is in it"
    );
    for _ in 0..2 {
        let late = pay(&mut world, 5);
        let bounced = &world.voucher_reply(late).bounced;
        assert_eq!(bounced[0].reason, ReturnReason::PayeeClosed);
        // Also after kill -9: the announcement is durable.
        world.check_replay(&Tables::default());
    }
    world.send(1, Vec::new());
    let close = world.clients[1].channel.plan_close(deadline);
    let origin = world.fresh_origin(1);
    let call = CloseCall {
        close: close.clone(),
        signature: SIGNATURE,
    };
    let outputs = world.commit(vec![Input::Close(origin, call)]);
    assert_eq!(countersigned(&outputs), [Countersign::Close(close)]);
    world.check_replay(&Tables::default());
}

#[test]
fn a_close_that_does_not_come_holds_back_credits_until_its_deadline_or_until_it_is_called_off() {
    let mut world = World::new(2, 1_000);
    let delivered = |world: &mut World| {
        let origin = pay(world, 5);
        world.voucher_reply(origin).bounced.is_empty()
    };
    let start = world.clock().now;
    for (until, later) in [(start, true), (start.after(600), false), (UnixSeconds(0), true)] {
        let (_, input) = prepare_input(&mut world, 1, until);
        world.commit(vec![input]);
        assert_eq!(delivered(&mut world), later, "{until:?}");
    }
    let (_, input) = prepare_input(&mut world, 1, start.after(60));
    world.commit(vec![input]);
    assert!(!delivered(&mut world));
    let records = world.records.len();
    let (_, again) = prepare_input(&mut world, 1, start.after(60));
    world.commit(vec![again]);
    assert_eq!(world.records.len(), records, "told again it changes nothing");
    let (far, input) = prepare_input(&mut world, 1, start.after(2 * 24 * 3600));
    world.commit(vec![input]);
    assert_eq!(world.error(far), "DeadlineOutOfRange");
    assert_eq!(world.records.len(), records, "refused it changes nothing");
    world.now = start.after(60);
    assert!(delivered(&mut world));
    world.check_replay(&Tables::default());
}

/// A client that got no answer sends the same bytes again, on a new connection, and after payments to it bounced.
#[test]
fn r15_the_same_close_again_is_answered_the_same_way_and_sent_once() {
    let mut world = World::new(2, 1_000);
    pay(&mut world, 100);
    let deadline = world.clock().now.after(600);
    let close = world.clients[0].channel.plan_close(deadline);
    let call = CloseCall {
        close: close.clone(),
        signature: SIGNATURE,
    };
    for again in 0..3 {
        let origin = world.fresh_origin(0);
        let outputs = world.commit(vec![Input::Close(origin, call.clone())]);
        assert_eq!(
            countersigned(&outputs),
            [Countersign::Close(close.clone())],
            "time {again}"
        );
        assert_eq!(world.ledger.pending_transactions().len(), 1);
        let back = world.pay_op(1, 0, 10, 5);
        let origin = world.send(1, vec![back]);
        assert_eq!(world.voucher_reply(origin).bounced.len(), 1);
        world.now = world.now.after(60);
    }
    // Another close with the same deadline is another message.
    let mut other = call;
    other.close.client_balance.0 -= 1;
    other.close.hub_balance.0 += 1;
    let origin = world.fresh_origin(0);
    world.commit(vec![Input::Close(origin, other)]);
    assert_eq!(world.error(origin), "CloseMismatch");
    world.check_replay(&Tables::default());
}

#[test]
fn r15_a_close_that_divides_other_sums_is_refused() {
    let mut world = World::new(2, 1_000);
    let deadline = world.clock().now.after(3600);
    let mut close = world.clients[0].channel.plan_close(deadline);
    close.client_balance.0 += 1;
    close.hub_balance.0 -= 1;
    let before = state(&world.ledger);
    let origin = world.fresh_origin(0);
    let call = CloseCall {
        close,
        signature: SIGNATURE,
    };
    world.commit(vec![Input::Close(origin, call)]);
    assert_eq!(world.error(origin), "CloseMismatch");
    assert_eq!(state(&world.ledger), before);
}

/// Client 0 asks to cancel its dispute of this number. Returns the error's name; `None`: it was countersigned.
pub(super) fn asked_to_cancel(world: &mut World, number: u64) -> Option<String> {
    let cancel = CancelDispute {
        channel_id: world.id(0),
        dispute_no: Seq(number),
        deadline: world.clock().now.after(60),
    };
    let origin = world.fresh_origin(0);
    let signature = SIGNATURE;
    let call = CancelDisputeCall { cancel, signature };
    let outputs = world.commit(vec![Input::CancelDispute(origin, call)]);
    match countersigned(&outputs).len() {
        0 => Some(world.error(origin)),
        _ => None,
    }
}

#[test]
fn r6_a_dispute_freezes_both_directions_and_its_cancel_thaws_them() {
    let mut world = World::new(2, 1_000);
    pay(&mut world, 10);
    let (channel, dispute_no) = (world.id(0), Seq(1));
    // In one commit: a payment, and the dispute that is seen after it. The voucher leaves before the freeze.
    let op = world.pay_op(0, 1, 10, 50);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    let (origin, paying) = world.input(0, frame);
    let outputs = world.commit(vec![paying, Input::DisputeSeen { channel, dispute_no }]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    assert!(outputs.iter().any(|output| matches!(output, Output::Tell(..))));
    let records = world.records.len();
    world.commit(vec![Input::DisputeSeen { channel, dispute_no }]);
    assert_eq!(world.records.len(), records, "told again it changes nothing");
    let origin = pay(&mut world, 1);
    assert_eq!(world.error(origin), "ChannelNotOpen");
    assert_eq!(world.ledger.disputed().len(), 1);
    let back = world.pay_op(1, 0, 10, 5);
    let Op::Pay(_) = &back else { unreachable!() };
    let origin = world.send(1, vec![back]);
    assert_eq!(
        world.voucher_reply(origin).bounced[0].reason,
        ReturnReason::PayeeClosed
    );
    // R27: the cancel is countersigned for this dispute only, and once it is final.
    for (number, error) in [(2, "DisputeNoMismatch"), (1, "DisputeNotFinal")] {
        assert_eq!(asked_to_cancel(&mut world, number), Some(error.to_owned()));
    }
    world.block(vec![ChainFact::Disputed { channel, dispute_no }]);
    assert_eq!(asked_to_cancel(&mut world, 1), None);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    // A cancel of an earlier dispute was confirmed late: the one that was seen goes on (R6).
    let earlier = Seq(dispute_no.0 - 1);
    world.block(vec![ChainFact::DisputeCancelled {
        channel,
        dispute_no: earlier,
    }]);
    assert_eq!(world.ledger.disputed().len(), 1);
    world.block(vec![ChainFact::DisputeCancelled { channel, dispute_no }]);
    assert!(world.ledger.pending_transactions().is_empty());
    let frame = world.clients[0].unaccepted[0].clone();
    let (origin, input) = world.input(0, frame);
    world.commit(vec![input]);
    world.voucher_reply(origin);
    world.check_replay(&tables);
}

/// The payment's acknowledgement could not be signed before the dispute, and cannot be now: it stays due.
#[test]
fn a_cancel_while_an_acknowledgement_is_due_is_replayed() {
    let mut world = World::new(2, 1_000);
    let (channel, dispute_no) = (world.id(0), Seq(1));
    let op = world.pay_op(0, 1, 10, 2);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    let (_, paying) = world.input(0, frame);
    let seen = Input::DisputeSeen { channel, dispute_no };
    world.commit(vec![paying, Input::ChainBroken, seen]);
    world.commit(vec![Input::Reconciled(Reconciled {
        position: world.ledger.chain(),
        opened: vec![],
        resolved: vec![],
        concerned: vec![],
        unpaid: vec![],
        paid: vec![],
        disputed: vec![(channel, dispute_no)],
    })]);
    let entry = &world.ledger.entries[0].channel;
    assert!(entry.must_ack() && entry.phase().name() == "disputed");
    assert_eq!(asked_to_cancel(&mut world, 1), None);
    world.check_replay(&Tables::default());
}

#[test]
fn a_cancel_that_nobody_mined_lapses_while_the_dispute_goes_on() {
    let mut world = World::new(1, 1_000);
    let channel = world.id(0);
    world.block(vec![ChainFact::Disputed {
        channel,
        dispute_no: Seq(1),
    }]);
    let deadline = world.clock().now.after(60);
    assert_eq!(asked_to_cancel(&mut world, 1), None);
    assert_eq!(world.ledger.pending_transactions().len(), 1);
    world.now = deadline.after(LAG_DEFAULT_S + 1);
    world.block(vec![]);
    assert!(world.ledger.pending_transactions().is_empty());
}

#[test]
fn r26_a_block_told_twice_counts_once() {
    let mut world = World::new(1, 1_000);
    let fact = ChainFact::Reserved {
        channel: world.id(0),
        amount: Amount(77),
    };
    let block = world.block_of(vec![fact]);
    world.commit(vec![block.clone()]);
    world.commit(vec![block]);
    let funds = *world.ledger.entries[0].channel.funds();
    assert_eq!(funds.hub_deposit, Amount(1_077));
    assert_eq!(funds.client_deposit, Amount(1_000));
    world.check_replay(&Tables::default());
}

#[test]
fn a_deposit_after_a_withdrawal_is_counted_gross() {
    let mut world = World::new(2, 1_000);
    let (origin, call) = withdraw_input(&mut world, 0, 400);
    world.commit(vec![Input::Withdraw(origin, call)]);
    let channel = world.id(0);
    world.block(vec![ChainFact::Withdrawn {
        channel,
        side: Side::Client,
        total: Amount(400),
    }]);
    world.clients[0]
        .channel
        .withdraw_confirmed(Side::Client, Amount(400));
    world.fund(0, 50, 7);
    let funds = *world.ledger.entries[0].channel.funds();
    assert_eq!(
        (funds.client_deposit, funds.hub_deposit),
        (Amount(1_050), Amount(1_007))
    );
    assert_eq!(&funds, world.clients[0].channel.funds());
}

#[test]
fn r6_nothing_new_is_accepted_under_an_old_view_of_the_chain() {
    let mut world = World::new(2, 1_000_000);
    world.block(vec![]);
    let quarter = world.clients[0].channel.config().challenge_period_s / 4;
    world.now = world.now.after(quarter);
    let op = world.pay_op(0, 1, 5, 5);
    let clock = world.clock();
    let first = world.clients[0].frame(vec![op], clock).unwrap();
    let (origin, input) = world.input(0, first.clone());
    world.commit(vec![input]);
    assert_eq!(world.voucher_reply(origin).seq, Seq(1), "at the boundary");

    world.now = world.now.after(1);
    let op = world.pay_op(0, 1, 5, 5);
    let clock = world.clock();
    let second = world.clients[0].frame(vec![op], clock).unwrap();
    let (origin, input) = world.input(0, second.clone());
    let before = world.ledger.next_record;
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "ChainStale");
    assert_eq!(world.ledger.next_record, before, "nothing is written");
    let (origin, input) = world.input(0, first);
    world.commit(vec![input]);
    assert_eq!(world.voucher_reply(origin).seq, Seq(1), "A1: known before");

    world.block(vec![]);
    let (origin, input) = world.input(0, second);
    world.commit(vec![input]);
    assert_eq!(
        world.voucher_reply(origin).seq,
        Seq(2),
        "the same bytes pass later"
    );
    world.check_replay(&Tables::default());
}

#[test]
fn a_dispute_that_a_reorg_took_away_reopens_the_channel_once() {
    let mut world = World::new(2, 1_000_000);
    let (channel, dispute_no) = (world.id(0), Seq(1));
    world.commit(vec![Input::DisputeSeen { channel, dispute_no }]);
    assert_eq!(world.ledger.disputed().len(), 1);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    world.commit(vec![Input::DisputeGone { channel }]);
    assert!(world.ledger.disputed().is_empty());
    let before = world.ledger.next_record;
    world.commit(vec![Input::DisputeGone { channel }]);
    assert_eq!(world.ledger.next_record, before, "told again it changes nothing");
    let op = world.pay_op(0, 1, 5, 5);
    let origin = world.send(0, vec![op]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    // Mined again, with the same number.
    world.commit(vec![Input::DisputeSeen { channel, dispute_no }]);
    assert_eq!(world.ledger.disputed().len(), 1);
    world.check_replay(&tables);
}

/// Whether the client was told that the hub sends what it countersigned.
fn hub_sends(outputs: &[Output]) -> Vec<bool> {
    let sends = |output: &Output| match output {
        Output::Countersign(_, _, sends) => Some(*sends),
        _ => None,
    };
    outputs.iter().filter_map(sends).collect()
}

fn close_now(world: &mut World, client: usize) -> Vec<Output> {
    let deadline = world.clock().now.after(3600);
    let call = CloseCall {
        close: world.clients[client].channel.plan_close(deadline),
        signature: SIGNATURE,
    };
    let origin = world.fresh_origin(client);
    world.commit(vec![Input::Close(origin, call)])
}

/// What moves less is countersigned all the same, counts as gone (R12), and is not sent: gas is paid for nobody's dust.
#[test]
fn what_moves_too_little_is_signed_and_left_to_its_client() {
    let mut terms = policy();
    terms.tokens[0].send_min = Amount(500);
    let mut world = World::with(terms, 2, 1_000);
    let withdraw = |world: &mut World, client, amount| {
        let (origin, call) = withdraw_input(world, client, amount);
        let outputs = world.commit(vec![Input::Withdraw(origin, call)]);
        assert_eq!(countersigned(&outputs).len(), 1);
        (hub_sends(&outputs), world.ledger.pending_transactions().len())
    };
    assert_eq!(withdraw(&mut world, 0, 499), (vec![false], 0));
    assert_eq!(withdraw(&mut world, 1, 500), (vec![true], 1));
    let (over, call) = withdraw_input(&mut world, 0, 1);
    world.commit(vec![Input::Withdraw(over, call)]);
    assert_eq!(world.error(over), "WithdrawPending", "the small one is signed");
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    // Somebody sent both.
    let withdrawn = |world: &World, client, total| ChainFact::Withdrawn {
        channel: world.id(client),
        side: Side::Client,
        total: Amount(total),
    };
    let facts = vec![withdrawn(&world, 0, 499), withdrawn(&world, 1, 500)];
    world.block(facts);
    assert!(world.ledger.waiting.is_empty());
    // It is what is new that counts.
    world.clients[0]
        .channel
        .withdraw_confirmed(Side::Client, Amount(499));
    assert_eq!(withdraw(&mut world, 0, 499), (vec![false], 0));
    world.check_replay(&tables);
}

/// In a token that is served no more no withdrawal is sent. A close is: it gives the hub its own deposit back, too.
#[test]
fn a_close_is_sent_whatever_it_moves() {
    let mut terms = policy();
    terms.tokens[0].send_min = Amount(5_000);
    let mut world = World::with(terms.clone(), 3, 1_000);
    assert_eq!(hub_sends(&close_now(&mut world, 0)), [true]);
    terms.tokens.clear();
    world.commit(vec![Input::Policy(terms)]);
    assert_eq!(hub_sends(&close_now(&mut world, 1)), [true]);
    let (origin, call) = withdraw_input(&mut world, 2, 1_000);
    let outputs = world.commit(vec![Input::Withdraw(origin, call)]);
    assert_eq!(hub_sends(&outputs), [false]);
    assert_eq!(world.ledger.pending_transactions().len(), 2);
    world.check_replay(&Tables::default());
}
