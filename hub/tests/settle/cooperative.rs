//! `close`, `withdraw`, `cancel-dispute`: relaying what both sides signed.

use crate::{
    vouchers::{CLIENT, CLIENT_SIGNER, HUB, HUB_SIGNER, PERIOD_S, Parties, STRANGER, key},
    world::{VAULT_REST, World},
};
use hub::settle::{CooperativeFile, Message};
use protocol_spec::{
    Amount, CancelDispute, Close, Digest, DirectionEvidence, Seq, Side, UnixSeconds, Withdraw, calls,
};

fn digest(p: &Parties, message: &Message) -> Digest {
    match message {
        Message::Close(message) => message.digest(&p.domain),
        Message::Withdraw(message) => message.digest(&p.domain),
        Message::CancelDispute(message) => message.digest(&p.domain),
    }
}

/// The message with the signatures of `client` and `hub`, if any.
pub(crate) fn signed(p: &Parties, message: Message, client: Option<u8>, hub: Option<u8>) -> CooperativeFile {
    let digest = digest(p, &message);
    let sign = |seed: u8| key(seed).sign(&digest).0.to_vec().into();
    CooperativeFile {
        format: CooperativeFile::FORMAT.to_owned(),
        chain_id: Seq(p.domain.chain_id),
        adjudicator: p.domain.adjudicator,
        message,
        client_signature: client.map(sign),
        hub_signature: hub.map(sign),
    }
}

fn close(p: &Parties, client: u128, hub: u128, deadline: u64) -> Message {
    Message::Close(Close {
        channel_id: p.id(),
        client_deposit: Amount(1000),
        hub_deposit: Amount(500),
        client_balance: Amount(client),
        hub_balance: Amount(hub),
        deadline: UnixSeconds(deadline),
    })
}

async fn world_with_evidence() -> Option<(World, String)> {
    let world = World::on_anvil().await?;
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (2, 80)),
        p.paid(Side::Client, (2, 80), (3, 300)),
    );
    let file = world.file(&evidence);
    Some((world, file))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_relays_a_close_of_both_sides() {
    let Some((world, file)) = world_with_evidence().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let fair = close(p, 1220, 280, now + 3600);
    let message = world.named("close.json", &signed(p, fair, Some(CLIENT_SIGNER), Some(HUB)));
    let dry = world
        .settle("close", &file, &["--message", &message, "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (&dry["broadcast"], &dry["after"]["client"]),
        (&false.into(), &"1220".into())
    );
    world
        .send_as(STRANGER, "close", &file, &["--message", &message])
        .exits(0);
    assert_eq!(world.balance(p.config.client).await, 1220);
    assert_eq!(world.vault().await, 280 + VAULT_REST);
    world.settle("close", &file, &["--message", &message]).exits(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_is_not_right_is_refused() {
    let Some((world, file)) = world_with_evidence().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let refused = |what: &CooperativeFile, code: i32, words: &str| {
        let message = world.named("close.json", what);
        world
            .settle(
                "close",
                &file,
                &[
                    "--message",
                    &message,
                    "--from",
                    &key(STRANGER).address().to_string(),
                ],
            )
            .exits(code)
            .says(words);
    };
    let fair = || close(p, 1220, 280, now + 3600);
    let both = (Some(CLIENT_SIGNER), Some(HUB_SIGNER));
    refused(&signed(p, fair(), None, both.1), 3, "client has not signed");
    refused(&signed(p, fair(), both.0, None), 3, "hub has not signed");
    refused(
        &signed(p, fair(), both.0, Some(STRANGER)),
        3,
        "wrong key or changed content",
    );
    let mut changed = signed(p, fair(), both.0, both.1);
    changed.message = close(p, 1219, 281, now + 3600);
    refused(&changed, 3, "wrong key or changed content");
    refused(
        &signed(p, close(p, 1219, 281, now + 3600), both.0, both.1),
        5,
        "you get 1219 by this close, and 1220",
    );
    refused(
        &signed(p, close(p, 1220, 281, now + 3600), both.0, both.1),
        3,
        "the channel holds 1500",
    );
    refused(
        &signed(p, close(p, 1220, 280, now - 1), both.0, both.1),
        11,
        "deadline has passed",
    );
    refused(
        &signed(p, close(p, 1220, 280, now + 90_000), both.0, both.1),
        7,
        "at most a day ahead",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_file_of_another_kind_is_refused_and_the_senders_signature_may_be_absent() {
    let Some((world, file)) = world_with_evidence().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let fair = || close(p, 1220, 280, now + 3600);
    let both = (Some(CLIENT_SIGNER), Some(HUB_SIGNER));
    let refused = |what: &CooperativeFile, words: &str| {
        let message = world.named("close.json", what);
        world
            .settle("close", &file, &["--message", &message])
            .exits(3)
            .says(words);
    };
    let mut other = signed(p, fair(), both.0, both.1);
    other.chain_id = Seq(1);
    refused(&other, "another chain");
    other = signed(p, fair(), both.0, both.1);
    other.format = "channelhub.cooperative.v2".to_owned();
    refused(&other, "this settle reads");
    let message = world.named("close.json", &signed(p, fair(), both.0, both.1));
    world
        .settle("withdraw", &file, &["--message", &message])
        .exits(3)
        .says("for `settle close`");
    world
        .settle("close", &file, &["--message", "/nonexistent"])
        .exits(2);
    let garbage = world.named("garbage.json", &"no message");
    world
        .settle("close", &file, &["--message", &garbage])
        .exits(3)
        .says("cannot be read");
    // It would lose, but the client wants it; and it sends itself, so it need not sign.
    let message = world.named(
        "close.json",
        &signed(p, close(p, 1200, 300, now + 3600), None, both.1),
    );
    world
        .send_as(CLIENT, "close", &file, &["--message", &message])
        .exits(5);
    world
        .send_as(CLIENT, "close", &file, &["--message", &message, "--force"])
        .exits(0);
    assert_eq!(world.balance(p.config.client).await, 1200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_pays_out_and_the_channel_stays_open() {
    let Some((world, file)) = world_with_evidence().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let withdraw = |side, total| {
        Message::Withdraw(Withdraw {
            channel_id: p.id(),
            side,
            total: Amount(total),
            client_seq: Seq(2),
            client_paid: Amount(80),
            hub_seq: Seq(3),
            hub_paid: Amount(300),
            deadline: UnixSeconds(now + 3600),
        })
    };
    let both = (Some(CLIENT_SIGNER), Some(HUB_SIGNER));
    // The hub would take what is the client's: 280 are the hub's.
    let greedy = world.named(
        "greedy.json",
        &signed(p, withdraw(Side::Hub, 281), both.0, both.1),
    );
    world
        .settle("withdraw", &file, &["--message", &greedy])
        .exits(5)
        .says("1219 are yours");
    let message = world.named(
        "withdraw.json",
        &signed(p, withdraw(Side::Client, 200), both.0, both.1),
    );
    world
        .send_as(STRANGER, "withdraw", &file, &["--message", &message])
        .exits(0);
    assert_eq!(world.balance(p.config.client).await, 200);
    let status = world.settle("status", &file, &["--json"]).exits(0).json();
    assert_eq!(
        (&status["state"], &status["withdrawn"]["client"]),
        (&"open".into(), &"200".into())
    );
    world
        .settle("withdraw", &file, &["--message", &message])
        .exits(4)
        .says("200 in all were withdrawn");
    // The rest by dispute: nothing is counted twice.
    world
        .send_as(CLIENT, "dispute", &file, &["--without-evidence"])
        .exits(0);
    world
        .settle("withdraw", &file, &["--message", &message])
        .exits(3)
        .says("needs an open channel");
    world.pass(PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1220);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reopens_the_channel_and_names_its_dispute() {
    let Some((world, file)) = world_with_evidence().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let cancel = |no| {
        let message = Message::CancelDispute(CancelDispute {
            channel_id: p.id(),
            dispute_no: Seq(no),
            deadline: UnixSeconds(now + 3 * PERIOD_S),
        });
        world.named(
            &format!("cancel{no}.json"),
            &signed(p, message, Some(CLIENT), Some(HUB_SIGNER)),
        )
    };
    let (first, second) = (cancel(1), cancel(2));
    world
        .settle("cancel-dispute", &file, &["--message", &first])
        .exits(4)
        .says("no dispute");
    world.send_as(CLIENT, "dispute", &file, &[]).exits(0);
    world
        .settle("cancel-dispute", &file, &["--message", &second])
        .exits(3)
        .says("the message cancels 2");
    world
        .send_as(STRANGER, "cancel-dispute", &file, &["--message", &first])
        .exits(0);
    assert_eq!(world.settle("status", &file, &["--json"]).json()["state"], "open");
    // Another dispute: the old message is of no use, and after its end neither is the right one.
    let to = p.domain.adjudicator;
    world
        .call(
            HUB,
            to,
            0,
            &calls::dispute(&p.config, Side::Client, &DirectionEvidence::default()),
        )
        .await;
    world
        .settle("cancel-dispute", &file, &["--message", &first])
        .exits(3);
    world.pass(PERIOD_S).await;
    world
        .settle("cancel-dispute", &file, &["--message", &second])
        .exits(11)
        .says("final since");
}
