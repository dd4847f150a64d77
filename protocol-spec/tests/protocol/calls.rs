//! What is sent to the adjudicator says what was signed and what is known, no more and no less.

use crate::common::*;
use Side::{Client, Hub};
use alloy_primitives::hex;
use alloy_sol_types::SolValue;
use protocol_spec::{
    Address, Amount, CancelDispute, Config, Digest, DirectionEvidence, Domain, Op, Seq, Side, Signature,
    UnixSeconds, VoucherSignature, abi, batch::root_of, calls,
};

const E: u64 = START + 5000;

/// Compared as the contract reads them.
fn same<T: SolValue>(a: &T, b: &T) {
    assert_eq!(hex::encode(a.abi_encode()), hex::encode(b.abi_encode()));
}

fn no_signature() -> abi::CompactSignature {
    abi::CompactSignature {
        r: [0; 32].into(),
        vs: [0; 32].into(),
    }
}

fn signature(byte: u8) -> Signature {
    key(byte).sign(&Digest([byte; 32]))
}

/// The hub has a payment and three locks of the client, and knows what opens two of them.
fn received() -> (World, DirectionEvidence) {
    let mut w = World::new();
    let adds: Vec<Op> = (1..=3).map(|id| add(lock(id, 10, E))).collect();
    w.send(Client, &[&[pay(1, 5, 0)], &adds[..]].concat());
    for id in [3, 1] {
        w.hub.learn_witness(id, &opened(id), w.clock).unwrap();
    }
    let evidence = DirectionEvidence::received_by(&w.hub);
    (w, evidence)
}

#[test]
fn r21_a_dispute_shows_the_newest_voucher_and_every_lock_that_can_be_opened() {
    let (w, evidence) = received();
    let call = calls::dispute(&config(), Client, &evidence);
    same(&call.config, &config().to_abi());
    let signed = evidence.voucher.as_ref().unwrap();
    let opening = w.hub.received().locks.opening().unwrap();
    let voucher = signed.voucher.to_abi();
    let shown = abi::Submission {
        payer: 0,
        seq: voucher.seq,
        paid: voucher.paid,
        ackSeq: voucher.ackSeq,
        ackPaid: voucher.ackPaid,
        locks: voucher.locks,
        history: voucher.history,
        signature: signed.signature.to_bytes().into(),
        opening: vec![opening.to_abi()],
        countersignature: vec![], // the sender is the payee
    };
    same(&call.submissions, &vec![shown]);
    assert_eq!(call.resolutions.len(), 1);
    let resolved = &call.resolutions[0];
    assert_eq!(resolved.payer, 0);
    same(&resolved.opening, &opening.to_abi());
    let ids: Vec<u64> = resolved.unlocks.iter().map(|unlock| unlock.lock.id).collect();
    assert_eq!(ids, [1, 3]);
    for unlock in &resolved.unlocks {
        let lock = w.hub.received().locks.lock(unlock.lock.id).unwrap();
        same(&unlock.lock, &lock.to_abi());
        assert_eq!(unlock.witness[..], preimage(lock.id).0);
        let proof: Vec<Digest> = unlock.proof.iter().map(|node| (*node).into()).collect();
        assert_eq!(root_of(&lock.leaf(), &proof).unwrap(), opening.root);
    }
}

#[test]
fn r21_without_a_voucher_or_a_witness_there_is_nothing_to_show() {
    let none = calls::dispute(&config(), Client, &DirectionEvidence::default());
    assert!(none.submissions.is_empty() && none.resolutions.is_empty());
    let (_, mut evidence) = received();
    evidence.witnesses.clear();
    let unopened = calls::dispute(&config(), Client, &evidence);
    assert_eq!((unopened.submissions.len(), unopened.resolutions.len()), (1, 0));
}

/// `submitMany` takes vouchers without locks and with a direct signature; the rest of the id is the hub's side.
#[test]
fn r21_a_batch_takes_vouchers_without_locks_that_were_signed_directly() {
    let (w, evidence) = received();
    assert!(calls::client_voucher(&config(), &evidence.voucher.unwrap()).is_none());
    let free = w.forge(Client, &[pay(2, 1, 0)], |v| v.locks = Digest::ZERO);
    let mut signed = free.verified.signed().clone();
    let VoucherSignature::Direct(direct) = signed.signature else {
        panic!()
    };
    let (voucher, facts) = (signed.voucher.to_abi(), config().to_abi());
    let item = abi::ClientVoucher {
        client: facts.client,
        clientSigner: facts.clientSigner,
        salt: facts.salt,
        seq: voucher.seq,
        paid: voucher.paid,
        ackSeq: voucher.ackSeq,
        ackPaid: voucher.ackPaid,
        history: voucher.history,
        signature: direct.to_compact(),
    };
    same(&calls::client_voucher(&config(), &signed).unwrap(), &item);
    signed.signature = VoucherSignature::Batch {
        root_signature: direct,
        proof: vec![Digest::ZERO],
    };
    assert!(calls::client_voucher(&config(), &signed).is_none());
    let side = abi::HubSide {
        hub: facts.hub,
        hubSigner: facts.hubSigner,
        token: facts.token,
        challengePeriodS: facts.challengePeriodS,
    };
    same(&calls::hub_side(&config()), &side);
}

/// Alone and in a batch, where the sender leaves out its own signature.
#[test]
fn r14_a_withdrawal_goes_as_it_was_signed() {
    let w = World::new();
    let message = w
        .client
        .plan_withdraw(Hub, Amount(7), UnixSeconds(START + 60))
        .unwrap();
    let (client, hub, facts) = (signature(1), signature(2), config().to_abi());
    let call = calls::withdraw(&config(), &message, &client.0, &hub.0);
    same(&call.config, &facts);
    same(&call.message, &message.to_abi());
    assert_eq!(
        (&call.clientSignature[..], &call.hubSignature[..]),
        (&client.0[..], &hub.0[..])
    );
    let item = abi::ClientWithdraw {
        client: facts.client,
        clientSigner: facts.clientSigner,
        salt: facts.salt,
        side: 1,
        total: 7,
        clientSeq: 0,
        clientPaid: 0,
        hubSeq: 0,
        hubPaid: 0,
        deadline: START + 60,
        clientSignature: no_signature(),
        hubSignature: hub.to_compact(),
    };
    same(
        &calls::client_withdraw(&config(), &message, None, Some(&hub)),
        &item,
    );
}

#[test]
fn r15_a_close_goes_as_it_was_signed() {
    let message = World::new().client.plan_close(UnixSeconds(START + 60));
    let (client, hub, facts) = (signature(1), signature(2), config().to_abi());
    let call = calls::close(&config(), &message, &client.0, &hub.0);
    same(&call.config, &facts);
    same(&call.message, &message.to_abi());
    assert_eq!(
        (&call.clientSignature[..], &call.hubSignature[..]),
        (&client.0[..], &hub.0[..])
    );
    let item = abi::ClientClose {
        client: facts.client,
        clientSigner: facts.clientSigner,
        salt: facts.salt,
        clientDeposit: 1000,
        hubDeposit: 500,
        clientBalance: 1000,
        hubBalance: 500,
        deadline: START + 60,
        clientSignature: client.to_compact(),
        hubSignature: no_signature(),
    };
    same(
        &calls::client_close(&config(), &message, Some(&client), None),
        &item,
    );
}

#[test]
fn r27_a_cancel_goes_as_it_was_signed() {
    let message = CancelDispute {
        channel_id: config().id(&domain()),
        dispute_no: Seq(3),
        deadline: UnixSeconds(START),
    };
    let (client, hub) = (signature(1), signature(2));
    let call = calls::cancel_dispute(&config(), &message, &client.0, &hub.0);
    same(&call.config, &config().to_abi());
    same(&call.message, &message.to_abi());
    assert_eq!(
        (&call.clientSignature[..], &call.hubSignature[..]),
        (&client.0[..], &hub.0[..])
    );
}

#[test]
fn money_goes_into_the_channel_that_is_named() {
    let facts = config().to_abi();
    let (open, deposit) = (calls::open(&config(), 5), calls::deposit(&config(), 6));
    same(&open.config, &facts);
    same(&deposit.config, &facts);
    assert_eq!((open.amount.to::<u128>(), deposit.amount.to::<u128>()), (5, 6));
    same(&calls::finalize(&config()).config, &facts);
}

/// The facts of a channel come back from an event as they went out, and each side has its account.
#[test]
fn facts_of_a_channel_survive_the_contract() {
    let config = config();
    assert_eq!(Config::from_abi(&config.to_abi()), config);
    assert_eq!(
        [Client, Hub].map(|side| config.account(side)),
        [config.client, config.hub]
    );
    let domain = Domain::new(1, Address::repeat_byte(1));
    assert_eq!(domain.to_eip712().separator().0, domain.separator().0);
}
