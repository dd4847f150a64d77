//! `settle batch` with messages of both sides, a hub's checkpoints, and claims: what shares a transaction, and what does not
//! stop the others.

use crate::{
    batch::world_on_embedded,
    cooperative::signed,
    fleet::{Channel, DEPOSIT, Fleet, RESERVE},
    vouchers::{HUB, HUB_SIGNER, PERIOD_S, STRANGER, key},
    world::World,
};
use hub::{
    chain::embedded::{EmbeddedChain, EmbeddedConfig},
    settle::{CooperativeFile, Message},
};
use protocol_spec::{
    Amount, CancelDispute, Close, DirectionEvidence, Evidence, Seq, Side, UnixSeconds, Withdraw,
};

/// The client's side: the hub paid 30.
fn evidence(channel: &Channel) -> Evidence {
    let p = &channel.parties;
    let received = p.paid(Side::Hub, (3, 30), (0, 0));
    p.evidence(Side::Client, received, DirectionEvidence::default())
}

fn close(channel: &Channel, client: u128, now: u64) -> Message {
    Message::Close(Close {
        channel_id: channel.parties.id(),
        client_deposit: Amount(DEPOSIT),
        hub_deposit: Amount(RESERVE),
        client_balance: Amount(client),
        hub_balance: Amount(DEPOSIT + RESERVE - client),
        deadline: UnixSeconds(now + 3600),
    })
}

fn by_both(channel: &Channel, message: Message) -> CooperativeFile {
    signed(
        &channel.parties,
        message,
        Some(channel.seed + 50),
        Some(HUB_SIGNER),
    )
}

fn texts(json: &serde_json::Value) -> String {
    json["channels"].to_string()
}

/// Into messages/: closes of six channels, of which 0 to 2 are good, 3 was signed by a stranger, 5 pays less than the evidence
/// is worth, and of 4 there is none; and what is no close of theirs.
fn put_closes(fleet: &Fleet, now: u64) {
    let world = &fleet.world;
    let put = |name: &str, file: &CooperativeFile| world.named(&format!("messages/{name}.json"), file);
    for number in 0..3 {
        let channel = &fleet.channels[number];
        put(
            &format!("good{number}"),
            &by_both(channel, close(channel, DEPOSIT + 30, now)),
        );
    }
    let three = &fleet.channels[3];
    let forged = signed(
        &three.parties,
        close(three, 40, now),
        Some(STRANGER),
        Some(HUB_SIGNER),
    );
    put("forged", &forged);
    let five = &fleet.channels[5];
    put("less", &by_both(five, close(five, 39, now)));
    // Not of these channels, not of this command, and no message at all.
    let stranger = crate::vouchers::Parties::new(
        world.parties.domain.chain_id,
        five.parties.config.client,
        five.parties.config.token,
    );
    let mut stray = close(five, 40, now);
    if let Message::Close(message) = &mut stray {
        message.channel_id = stranger.id();
    }
    put(
        "stray",
        &signed(&stranger, stray, Some(STRANGER), Some(HUB_SIGNER)),
    );
    let cancel = Message::CancelDispute(CancelDispute {
        channel_id: fleet.channels[4].parties.id(),
        dispute_no: Seq(1),
        deadline: UnixSeconds(now + 3600),
    });
    put("cancel", &by_both(&fleet.channels[4], cancel));
    world.named("messages/garbage.json", &"no message");
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_of_many_channels_share_a_transaction_and_a_bad_one_stops_nobody() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let now = world.now().await;
    let fleet = Fleet::open(world, 6).await;
    let world = &fleet.world;
    fleet.write("exits", |_, channel| evidence(channel));
    world.subdirectory("messages");
    put_closes(&fleet, now);
    let messages = world.dir.path().join("messages").display().to_string();
    let stranger = world.key_file(STRANGER);
    let nonce = world.nonce(key(STRANGER).address()).await;
    let send = [
        "--messages",
        &messages,
        "--key-file",
        &stranger,
        "--broadcast",
        "--json",
    ];
    // The first run is not waited for, and finds itself again when it is repeated before and after the block.
    world.automine(false).await;
    let sent = fleet
        .batch("close", "exits", &send)
        .exits(9)
        .says("left aside")
        .json();
    assert_eq!(
        (&sent["done"], &sent["nothing_to_do"], &sent["failed"]),
        (&3.into(), &1.into(), &4.into())
    );
    for words in [
        "wrong key or changed content",
        "of which no evidence was given",
        "you get 39 by this close, and 40",
        "cannot be read",
        "none of the messages is a close of this channel",
    ] {
        assert!(texts(&sent).contains(words), "{words}: {sent}");
    }
    let pending = fleet.batch("close", "exits", &send).exits(9).json();
    assert_eq!(pending["done"], 0);
    world.mine().await;
    world.automine(true).await;
    let again = fleet
        .batch("close", "exits", &[&send[..], &["--wait"]].concat())
        .exits(9)
        .json();
    assert_eq!(again["done"], 3);
    assert!(texts(&again).contains("an earlier run sent it"), "{again}");
    assert_eq!(
        world.nonce(key(STRANGER).address()).await,
        nonce + 1,
        "all in one, and once"
    );
    for number in 0..6 {
        let got = world.balance(fleet.channels[number].parties.config.client).await;
        assert_eq!(got, if number < 3 { DEPOSIT + 30 } else { 0 }, "channel {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_sends_with_its_own_key_need_not_have_signed() {
    let (world, _chain, _served) = world_on_embedded().await;
    let now = world.now().await;
    let fleet = Fleet::open(world, 2).await;
    let world = &fleet.world;
    fleet.write("exits", |_, channel| evidence(channel));
    let second = &fleet.channels[1];
    let mut less = by_both(second, close(second, 39, now));
    less.client_signature = None;
    let message = world.named("less.json", &less);
    let (stranger, keys) = (world.key_file(STRANGER), fleet.keys("keys", &[0, 1]));
    let send = [
        "--messages",
        &message,
        "--key-file",
        &stranger,
        "--broadcast",
        "--wait",
    ];
    fleet.batch("close", "exits/01.json", &send).exits(3);
    // It is worth less than the evidence: by --force only.
    let send = [&send[..], &["--keys", &keys]].concat();
    fleet.batch("close", "exits/01.json", &send).exits(5);
    fleet
        .batch("close", "exits/01.json", &[&send[..], &["--force"]].concat())
        .exits(0);
    assert_eq!(world.nonce(second.parties.config.client_signer).await, 1);
    assert_eq!(world.balance(second.parties.config.client).await, 39);
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawals_share_a_transaction_and_cancels_go_one_by_one() {
    let (world, _chain, _served) = world_on_embedded().await;
    let now = world.now().await;
    let fleet = Fleet::open(world, 3).await;
    let world = &fleet.world;
    fleet.write("exits", |_, channel| evidence(channel));
    world.subdirectory("messages");
    for (number, channel) in fleet.channels.iter().enumerate() {
        let withdraw = Message::Withdraw(Withdraw {
            channel_id: channel.parties.id(),
            side: Side::Client,
            total: Amount(20),
            client_seq: Seq(0),
            client_paid: Amount(0),
            hub_seq: Seq(3),
            hub_paid: Amount(30),
            deadline: UnixSeconds(now + 3600),
        });
        let cancel = Message::CancelDispute(CancelDispute {
            channel_id: channel.parties.id(),
            dispute_no: Seq(1),
            deadline: UnixSeconds(now + 3600),
        });
        world.named(&format!("messages/w{number}.json"), &by_both(channel, withdraw));
        world.named(&format!("messages/c{number}.json"), &by_both(channel, cancel));
    }
    let messages = world.dir.path().join("messages").display().to_string();
    let stranger = world.key_file(STRANGER);
    let send = [
        "--messages",
        &messages,
        "--key-file",
        &stranger,
        "--broadcast",
        "--wait",
    ];
    fleet.batch("withdraw", "exits", &send).exits(0);
    assert_eq!(world.nonce(key(STRANGER).address()).await, 1);
    for channel in &fleet.channels {
        assert_eq!(world.balance(channel.parties.config.client).await, 20);
    }
    fleet.batch("withdraw", "exits", &send).exits(4);
    fleet.batch("cancel-dispute", "exits", &send).exits(4);
    let keys = fleet.keys("keys", &[0, 1, 2]);
    let own = ["--keys", &keys, "--broadcast", "--wait"];
    fleet.batch("dispute", "exits", &own).exits(0);
    fleet.batch("cancel-dispute", "exits", &send).exits(0);
    assert_eq!(world.nonce(key(STRANGER).address()).await, 4);
    let planned = fleet.batch("plan", "exits", &["--json"]).exits(0).json();
    for row in planned["channels"].as_array().unwrap() {
        assert_eq!(row["state"], "open");
    }
}

/// The hub's side: each client paid one more than the one before it.
fn books(fleet: &Fleet) {
    fleet.write("books", |number, channel| {
        let p = &channel.parties;
        let voucher = p.voucher((2, 1 + number as u128), (0, 0), protocol_spec::Digest::ZERO);
        let received = DirectionEvidence {
            voucher: Some(protocol_spec::SignedVoucher {
                voucher: voucher.clone(),
                signature: protocol_spec::VoucherSignature::Direct(
                    key(channel.seed + 50).sign(&voucher.digest(&p.domain)),
                ),
            }),
            ..DirectionEvidence::default()
        };
        p.evidence(Side::Hub, received, DirectionEvidence::default())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_checkpoints_many_channels_in_one_transaction() {
    let (world, _chain, _served) = world_on_embedded().await;
    let fleet = Fleet::open(world, 3).await;
    let world = &fleet.world;
    books(&fleet);
    let hub = world.key_file(HUB);
    let nonce = world.nonce(key(HUB).address()).await;
    let send = ["--key-file", &hub, "--broadcast", "--wait"];
    fleet.batch("submit", "books", &send).exits(0);
    assert_eq!(world.nonce(key(HUB).address()).await, nonce + 1);
    fleet.batch("submit", "books", &send).exits(4);
    let planned = fleet.batch("plan", "books", &["--json"]).exits(0).json();
    let now: Vec<_> = planned["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["you"]["now"].clone())
        .collect();
    assert_eq!(now, ["201", "202", "203"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_go_once_for_each_account() {
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let served = chain.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
    let world = World::build(chain.provider(), served.url(), None, true).await;
    let fleet = Fleet::open(world, 2).await;
    let world = &fleet.world;
    fleet.write("exits", |_, channel| evidence(channel));
    let keys = fleet.keys("keys", &[0, 1]);
    let to = key(0x55).address();
    let text = to.to_string();
    let own = ["--keys", &keys, "--broadcast", "--wait"];
    fleet.batch("dispute", "exits", &own).exits(0);
    world.pass(PERIOD_S).await;
    // Both accounts refuse money for now.
    for channel in &fleet.channels {
        world
            .set_code(channel.parties.config.client, "0x60006000fd")
            .await;
    }
    fleet.batch("finalize", "exits", &own).exits(0);
    for channel in &fleet.channels {
        world.set_code(channel.parties.config.client, "0x").await;
        world.fund(channel.parties.config.client).await;
    }
    // Signers cannot claim for their accounts: no key of an account is said, for each.
    let refused = fleet.batch("claim", "exits", &[&own[..], &["--to", &text, "--json"]].concat());
    assert!(texts(&refused.exits(3).json()).contains("is of the account"));
    let [first, second] = [0, 1].map(|number: usize| world.key_file(fleet.channels[number].seed));
    let accounts = [
        "--key-file",
        &first,
        "--keys",
        &second,
        "--keys",
        &keys,
        "--to",
        &text,
    ];
    // A dry run first.
    fleet.batch("claim", "exits", &accounts).exits(0);
    let send = [&accounts[..], &["--broadcast", "--wait", "--json"]].concat();
    let claimed = fleet.batch("claim", "exits", &send).exits(0).json();
    assert_eq!(claimed["done"], 2);
    assert_eq!(world.coins(to).await, 2 * (DEPOSIT + 30));
    fleet.batch("claim", "exits", &send).exits(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_too_much_gas_at_once_is_halved() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let fleet = Fleet::open(world, 8).await;
    let world = &fleet.world;
    books(&fleet);
    // Room for four vouchers of 34,000 gas, not for eight.
    world.block_gas_limit(220_000).await;
    let (hub, nonce) = (world.key_file(HUB), world.nonce(key(HUB).address()).await);
    let submit = ["--key-file", &hub, "--broadcast", "--wait", "--json"];
    let shown = fleet.batch("submit", "books", &submit).exits(0).json();
    assert_eq!(shown["done"], 8);
    assert_eq!(world.nonce(key(HUB).address()).await, nonce + 2);
}
