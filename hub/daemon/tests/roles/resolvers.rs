//! Locks that a resolver opens: an escrow, and contracts that answer wrongly, all on the hub's list.

use crate::{
    court::{Case, act},
    locks::{Line, collected, signed, worth},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::World,
};
use client_sdk::{
    ChannelError, Condition, Digest, LockedPaid, PayError, ReturnReason, SignedInvoice, SignerKey, Witness,
};
use hub::{
    app::contracts,
    chain::{Chain, TxRequest},
    settle::Verb,
};
use protocol_spec::{
    Address,
    message::{ErrorCode, Notification, Request, Reveal},
};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

const AMOUNT: u128 = 100_000;
const SMALL: u128 = 1_000;
const LIFE: Duration = Duration::from_secs(4 * 3600);
const DEAL: [u8; 32] = [17; 32];

/// A contract that runs `code`, whatever it is asked.
async fn deploy(world: &World, code: &str) -> Address {
    let code = hex::decode(code).unwrap();
    // codecopy(0, 11, len), return(0, len)
    let len = u8::try_from(code.len()).unwrap();
    let mut creation = vec![0x60, len, 0x80, 0x60, 11, 0x60, 0, 0x39, 0x60, 0, 0xf3];
    creation.extend(code);
    let request = TxRequest {
        data: creation.into(),
        ..TxRequest::default()
    };
    let sent = world.bank.send(request).await.unwrap();
    let receipt = world.bank.wait(sent.hash, 0).await.unwrap();
    receipt.contract_address.unwrap()
}

type Paying = JoinHandle<Result<LockedPaid, PayError>>;

async fn lock(
    payer: &Person,
    merchant: &Person,
    amount: u128,
    condition: Condition,
) -> (SignedInvoice, Paying) {
    let invoice = merchant.channel.invoice_on(amount, LIFE, Digest::ZERO, condition);
    let invoice = invoice.await.unwrap();
    let (client, asked, signer) = (payer.client.clone(), invoice.clone(), merchant.key.address());
    let paying = tokio::spawn(async move { client.pay_locked(&asked, signer).await });
    (invoice, paying)
}

async fn bounced(paying: Paying) -> ReturnReason {
    match paying.await.unwrap() {
        Err(PayError::Bounced { reason, .. }) => reason,
        other => panic!("the payer's money does not come back: {other:?}"),
    }
}

pub(crate) async fn collude(world: &World, cases: &mut Vec<Case>) {
    let escrow = contracts::deploy_arbiter_escrow(&world.bank).await.unwrap();
    let mut listed = vec![escrow];
    for code in [
        "5b600056",             // burns all gas
        "600260005260206000f3", // returns 2
        "600160005260206000fd", // reverts
    ] {
        listed.push(deploy(world, code).await);
    }
    let config = std::fs::read_to_string(&world.config).unwrap();
    let quoted: Vec<String> = listed.iter().map(|resolver| format!("\"{resolver}\"")).collect();
    let with_list = format!("{config}[locks]\nresolvers = [{}]\n", quoted.join(", "));
    std::fs::write(&world.config, with_list).unwrap();
    let mut hub = Hub::spawn(world);
    hub.ready();
    let before = worth(world).await;
    let (line, payers) = (Line::start(world.listen).await, Line::start(world.listen).await);
    let payer = Person::arrive(world, "escrow-payer", payers.address).await;
    let merchant = Person::arrive(world, "escrow-merchant", line.address).await;
    payer.pay(&merchant, SMALL).await;
    refused(&payer, (&merchant, &line), &listed[1..]).await;
    let arbiter = SignerKey::from_bytes(&rand::random()).unwrap();
    released(world, (&payer, &payers), (&merchant, &line), escrow, &arbiter).await;
    only_on_chain(world, (payer, merchant), &line, escrow, &arbiter, before, cases).await;
    hub.stop();
    std::fs::write(&world.config, config).unwrap();
}

/// Who is not on the list is not forwarded; and what answers wrongly opens nothing, for anybody.
async fn refused(payer: &Person, (merchant, line): (&Person, &Line), hostile: &[Address]) {
    // One hash for one invoice: the data is the resolver's address.
    let condition = |resolver: Address| Condition::data(resolver, resolver.as_slice());
    let (_, paying) = lock(payer, merchant, SMALL, condition(Address::repeat_byte(9))).await;
    assert_eq!(bounced(paying).await, ReturnReason::ResolverRefused);
    for resolver in hostile {
        let (invoice, paying) = lock(payer, merchant, SMALL, condition(*resolver)).await;
        merchant.channel.held(&invoice).await.unwrap();
        let witness = Witness::new(resolver.to_vec()).unwrap();
        let released = merchant.channel.release(&invoice, witness.clone()).await;
        assert!(
            matches!(released, Err(ChannelError::WitnessRefused)),
            "{released:?}"
        );
        tell_anyway(merchant, line, witness).await;
        merchant.channel.give_up(&invoice).await.unwrap();
        assert_eq!(bounced(paying).await, ReturnReason::Cancelled);
    }
}

/// A merchant without scruples tells the hub what its SDK would not; the hub still holds its lock afterwards.
async fn tell_anyway(merchant: &Person, line: &Line, witness: Witness) {
    let evidence = merchant.channel.evidence().await.unwrap();
    let reveal = Reveal {
        channel_id: merchant.channel.id(),
        lock_id: evidence.received.locks[0].id,
        witness,
    };
    let refusal = loop {
        let error = line.say(Request::Reveal(reveal.clone())).await.unwrap_err();
        // Who told a wrong one is not listened to for a second.
        if !error.is(ErrorCode::Busy) {
            break error;
        }
    };
    assert_eq!(refusal.data.name, "WitnessWrong", "{refusal}");
    let evidence = merchant.channel.evidence().await.unwrap();
    assert_eq!(
        evidence.received.locks.len(),
        1,
        "the hub has folded a lock that nothing opens"
    );
}

/// Nobody believes anybody: neither a merchant with a stranger's signature, nor a hub that claims to have a witness.
async fn released(
    world: &World,
    (payer, payers): (&Person, &Line),
    (merchant, line): (&Person, &Line),
    escrow: Address,
    arbiter: &SignerKey,
) {
    let condition = contracts::escrow_condition(escrow, arbiter.address(), [16; 32]);
    let (invoice, paying) = lock(payer, merchant, SMALL, condition).await;
    merchant.channel.held(&invoice).await.unwrap();
    let stranger = SignerKey::from_bytes(&rand::random()).unwrap();
    let forged = contracts::release(&world.bank, escrow, &stranger, [16; 32])
        .await
        .unwrap();
    let released = merchant.channel.release(&invoice, forged.clone()).await;
    assert!(
        matches!(released, Err(ChannelError::WitnessRefused)),
        "{released:?}"
    );
    tell_anyway(merchant, line, forged.clone()).await;
    let (lock_id, channel_id) = {
        let evidence = payer.channel.evidence().await.unwrap();
        (evidence.sent.locks[0].id, payer.channel.id())
    };
    let reveal = Reveal {
        channel_id,
        lock_id,
        witness: forged,
    };
    payers.forge(Notification::Reveal(reveal)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let evidence = payer.channel.evidence().await.unwrap();
    assert_eq!(evidence.sent.locks.len(), 1, "nothing was converted");
    assert!(!paying.is_finished() && payer.client.connected());
    let signed = contracts::release(&world.bank, escrow, arbiter, [16; 32])
        .await
        .unwrap();
    let received = merchant.channel.release(&invoice, signed.clone()).await.unwrap();
    assert_eq!(received.amount.0, SMALL);
    let paid = paying.await.unwrap().unwrap();
    assert_eq!(paid.witness, signed, "the payer's proof");
}

/// The witness is shown on chain only, and the payer has vanished: the hub must collect from the payer's channel.
async fn only_on_chain(
    world: &World,
    (payer, merchant): (Person, Person),
    line: &Line,
    escrow: Address,
    arbiter: &SignerKey,
    before: i128,
    cases: &mut Vec<Case>,
) {
    let condition = contracts::escrow_condition(escrow, arbiter.address(), DEAL);
    let (invoice, paying) = lock(&payer, &merchant, AMOUNT, condition).await;
    let held = merchant.channel.held(&invoice).await.unwrap();
    // From here on the hub hears nothing of the merchant.
    line.mute.store(true, Ordering::Release);
    paying.abort();
    payer.client.clone().shutdown().await;
    let witness = contracts::release(&world.bank, escrow, arbiter, DEAL)
        .await
        .unwrap();
    let (channel, asked) = (merchant.channel.clone(), invoice.clone());
    let releasing = tokio::spawn(async move { channel.release(&asked, witness).await });
    let began = Instant::now();
    let evidence = loop {
        let evidence = merchant.channel.evidence().await.unwrap();
        if !evidence.received.witnesses.is_empty() {
            break evidence;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not released");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    act(world, &merchant.key, &evidence, Verb::Dispute).await;
    releasing.abort();
    let counted = collected(world, &payer, &merchant, held.expiry.0).await;
    let got = world.tokens_of(merchant.key.address()).await - (ENDOWMENT - DEPOSIT);
    cases.push(Case {
        name: "merchant shows an escrow's release on chain only: the merchant".to_owned(),
        fair: signed(DEPOSIT + 2 * SMALL + AMOUNT),
        got: signed(got),
    });
    let paid = ENDOWMENT - world.tokens_of(payer.key.address()).await;
    cases.push(Case {
        name: "... and the payer has vanished: what the payer paid".to_owned(),
        fair: signed(2 * (SMALL + 1) + counted),
        got: signed(paid),
    });
    cases.push(Case {
        name: "... the hub between them: fees".to_owned(),
        fair: signed(2 + counted - AMOUNT),
        got: worth(world).await - before,
    });
    merchant.client.shutdown().await;
}
