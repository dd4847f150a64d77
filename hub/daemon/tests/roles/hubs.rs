//! Hubs that show an old voucher of their client, or nothing, or vanish.

use crate::{
    MOMENTS,
    court::{Case, act, closed, dispute, owner, pass, percent_of_window, rest_of_window, turned, until},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::World,
};
use alloy::{
    primitives::{Address, Bytes},
    providers::Provider as _,
    sol_types::SolCall as _,
};
use client_sdk::{ClientBuilder, CooperativeMessage};
use hub::{
    chain::{CallRequest, Chain as _},
    settle::{CheckedEvidence, CooperativeFile, Message, Verb},
};
use protocol_spec::{Signature, abi::IAdjudicator};
use std::time::{Duration, Instant};

/// Longest wait for a client.
const PATIENCE: Duration = Duration::from_secs(60);

const PAID: u128 = 50_000;
const RECEIVED: u128 = 200_000;

pub(crate) async fn cheat(world: &World, cases: &mut Vec<Case>) {
    for moment in MOMENTS.map(Some).into_iter().chain([None]) {
        let mut hub = Hub::spawn(world);
        hub.ready();
        let name = moment.map_or("left".to_owned(), |percent| format!("{percent}"));
        let shop = Person::arrive(world, &format!("payer-{name}"), world.listen).await;
        let alice = Person::arrive(world, &format!("alice-{name}"), world.listen).await;
        alice.pay(&shop, PAID).await;
        let old = alice.channel.evidence().await.unwrap();
        let mut news = alice.channel.payments(None);
        shop.pay(&alice, RECEIVED).await;
        news.next().await.unwrap().unwrap();
        let newest = alice.channel.evidence().await.unwrap();
        let (fair, id) = (alice.settled(), alice.channel.id());
        alice.client.shutdown().await;
        shop.client.shutdown().await;
        hub.kill();
        let name = match moment {
            Some(percent) => {
                // Its own newest voucher, with what she has received since, is the last thing it would show.
                dispute(world, &owner(world), &turned(&old), false).await;
                pass(world, percent_of_window(percent)).await;
                act(world, &alice.key, &newest, Verb::Submit).await;
                pass(world, rest_of_window(percent)).await;
                format!("hub shows an old voucher, client answers at {percent} %")
            }
            None => {
                act(world, &alice.key, &newest, Verb::Dispute).await;
                pass(world, rest_of_window(0)).await;
                "hub has vanished".to_owned()
            }
        };
        act(world, &alice.key, &newest, Verb::Finalize).await;
        closed(world, id).await;
        let got = world.tokens_of(alice.key.address()).await - (ENDOWMENT - DEPOSIT);
        cases.push(Case {
            name,
            fair: i128::try_from(fair).unwrap(),
            got: i128::try_from(got).unwrap(),
        });
    }
}

/// What the SDK writes of a close is what `settle close` reads.
async fn closes_with_a_file(person: &Person) {
    let signed = person.channel.sign_close().await.unwrap();
    let evidence = CheckedEvidence::check(person.channel.evidence().await.unwrap()).unwrap();
    let file = signed.to_json().unwrap();
    let read = CooperativeFile::from_json(file.as_bytes(), "close", &evidence).unwrap();
    let CooperativeMessage::Close(close) = signed.message() else {
        panic!("{file}");
    };
    assert_eq!(read.message, Message::Close(close.clone()));
    for (signature, signer) in [
        (
            read.client_signature,
            person.channel.view().unwrap().config.client_signer,
        ),
        (
            read.hub_signature,
            person.channel.view().unwrap().config.hub_signer,
        ),
    ] {
        let signature: [u8; 65] = signature.unwrap().as_ref().try_into().unwrap();
        let digest = close.digest(evidence.domain());
        assert_eq!(Signature(signature).recover(&digest).unwrap().address(), signer);
    }
    person.channel.wait_closed().await.unwrap();
}

/// The hub disputes and shows nothing, and nobody runs `settle`: the client's own SDK answers, finalizes, and gets what is
/// fair. Online all the while with the hub gone; or away when it began, with a hub that is there.
pub(crate) async fn cheat_who_is_online(world: &World, cases: &mut Vec<Case>) {
    for returns in [false, true] {
        let mut hub = Hub::spawn(world);
        hub.ready();
        let name = if returns { "returns" } else { "stays" };
        let shop = Person::arrive(world, &format!("payer-{name}"), world.listen).await;
        let alice = format!("alice-{name}");
        let defends = |builder: ClientBuilder| builder.defend(true);
        let alice = Person::arrive_with(world, &alice, world.listen, defends).await;
        alice.pay(&shop, PAID).await;
        let mut news = alice.channel.payments(None);
        shop.pay(&alice, RECEIVED).await;
        news.next().await.unwrap().unwrap();
        let newest = alice.channel.evidence().await.unwrap();
        let (fair, id) = (alice.settled(), alice.channel.id());
        drop(news);
        if returns {
            closes_with_a_file(&shop).await;
        }
        shop.client.shutdown().await;
        let Person { key, client, .. } = alice;
        let mut online = Some(client);
        if returns {
            online.take().unwrap().shutdown().await;
        } else {
            hub.kill();
        }
        dispute(world, &owner(world), &turned(&newest), true).await;
        pass(world, percent_of_window(50)).await;
        if returns {
            let client = Person::builder(world, &format!("alice-{name}"), world.listen, &key);
            online = Some(defends(client).connect().await.unwrap());
        }
        let seq = newest.received.voucher.as_ref().unwrap().voucher.seq;
        until(world, id, "(the client:) answer", |state| state.hubSeq >= seq.0).await;
        if returns {
            hub.kill();
        }
        pass(world, rest_of_window(50)).await;
        closed(world, id).await;
        let got = world.tokens_of(key.address()).await - (ENDOWMENT - DEPOSIT);
        drop(online);
        cases.push(Case {
            name: format!("hub shows nothing, client {name} online and answers by itself"),
            fair: i128::try_from(fair).unwrap(),
            got: i128::try_from(got).unwrap(),
        });
    }
}

/// The token takes no transfer while the channel is paid out. What could not be pushed is the client's to claim, and its SDK
/// does, once the token goes on.
pub(crate) async fn pays_out_when_the_token_stands_still(world: &World, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let shop = Person::arrive(world, "claim-payer", world.listen).await;
    let defends = |builder: ClientBuilder| builder.defend(true);
    let alice = Person::arrive_with(world, "claim-alice", world.listen, defends).await;
    alice.pay(&shop, PAID).await;
    let mut news = alice.channel.payments(None);
    shop.pay(&alice, RECEIVED).await;
    news.next().await.unwrap().unwrap();
    let newest = alice.channel.evidence().await.unwrap();
    let (fair, id, account) = (alice.settled(), alice.channel.id(), alice.key.address());
    shop.client.shutdown().await;
    hub.kill();
    dispute(world, &owner(world), &turned(&newest), true).await;
    let seq = newest.received.voucher.as_ref().unwrap().voucher.seq;
    until(world, id, "(the client:) answer", |state| state.hubSeq >= seq.0).await;

    let token = world.deployed.token;
    let code = world.bank.provider().get_code_at(token).await.unwrap();
    // revert(0, 0)
    set_code(world, token, Bytes::from_static(&[0x5f, 0x5f, 0xfd])).await;
    pass(world, rest_of_window(0)).await;
    closed(world, id).await;
    let claimable = IAdjudicator::claimableCall { token, account };
    let request = CallRequest {
        to: world.deployed.adjudicator,
        data: claimable.abi_encode().into(),
        ..CallRequest::default()
    };
    let answer = world.bank.call(request).await.unwrap();
    let claimable = IAdjudicator::claimableCall::abi_decode_returns(&answer).unwrap();
    assert_eq!(claimable.to::<u128>(), fair, "nothing of it is lost");
    set_code(world, token, code).await;
    let began = Instant::now();
    while world.tokens_of(account).await == ENDOWMENT - DEPOSIT {
        assert!(began.elapsed() < PATIENCE, "the SDK does not claim");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let got = world.tokens_of(account).await - (ENDOWMENT - DEPOSIT);
    cases.push(Case {
        name: "the token takes no transfer at the payout, the client claims by itself".to_owned(),
        fair: i128::try_from(fair).unwrap(),
        got: i128::try_from(got).unwrap(),
    });
}

async fn set_code(world: &World, account: Address, code: Bytes) {
    let provider = world.bank.provider();
    let set = provider.raw_request::<_, serde_json::Value>("anvil_setCode".into(), (account, code));
    set.await.unwrap();
}
