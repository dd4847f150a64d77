//! As many locks as a channel may hold, and the hub is gone: all are collected by one command, also when it is killed.

use crate::{
    batch::world_on_embedded,
    cli::{Running, settle, write},
    fleet::{Channel, DEPOSIT, Fleet},
    locks::all_known,
    vouchers::{PERIOD_S, Parties, opening},
    world::World,
};
use alloy::{
    consensus::Transaction as _,
    primitives::{Address, TxHash},
    providers::Provider as _,
};
use protocol_spec::{
    Amount, DirectionEvidence, Evidence, Lock, Side, SignedVoucher, UnixSeconds, Witness, limits,
};
use std::time::Instant;

const RESERVE: u128 = 20_000;
const PAID: u128 = 100;

/// Distinct amounts side by side, so that one counted for another shows.
fn amount(id: u64) -> u128 {
    1 + u128::from(id % 7)
}

pub(crate) fn received(p: &Parties, expiry: u64) -> Evidence {
    all_known(p, limits::LOCKS_FROM_HUB_MAX as u64, amount, expiry)
}

/// Gas used and bytes of calldata of every transaction of `sender` after block `from`.
async fn transactions(world: &World, sender: Address, from: u64) -> Vec<(u64, usize)> {
    let mut found = Vec::new();
    for number in from + 1..=world.block().await {
        let block = world.provider.get_block_by_number(number.into()).await.unwrap();
        let hashes: Vec<TxHash> = block.unwrap().transactions.hashes().collect();
        for hash in hashes {
            let receipt = world
                .provider
                .get_transaction_receipt(hash)
                .await
                .unwrap()
                .unwrap();
            if receipt.from == sender {
                let sent = world
                    .provider
                    .get_transaction_by_hash(hash)
                    .await
                    .unwrap()
                    .unwrap();
                assert!(receipt.status());
                found.push((receipt.gas_used, sent.input().len()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lock_of_a_full_channel_is_collected_by_a_run_that_is_killed_and_repeated() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let expiry = world.now().await + 3 * PERIOD_S;
    let fleet = Fleet::reserved(world, 1, RESERVE).await;
    let (world, channel) = (&fleet.world, &fleet.channels[0]);
    let evidence = received(&channel.parties, expiry);
    let locks: u128 = evidence.received.locks.iter().map(|lock| lock.amount.0).sum();
    let file = world.file(&evidence);
    let (seed, sender) = (channel.seed + 50, channel.parties.config.client_signer);
    let key_file = world.key_file(seed);
    let before = world.block().await;

    let began = Instant::now();
    let dispute = [
        "dispute",
        "--evidence",
        &file,
        "--rpc-url",
        &world.url,
        "--key-file",
        &key_file,
    ];
    let run = Running::start(&[&dispute[..], &["--broadcast", "--wait", "--ndjson"]].concat());
    while world.pending_nonce(sender).await < 10 {
        assert!(began.elapsed().as_secs() < 60, "{}", world.nonce(sender).await);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    run.kill();
    let killed_at = world.pending_nonce(sender).await;
    let all = limits::LOCKS_FROM_HUB_MAX.div_ceil(150) as u64;
    assert!(killed_at < all, "it was done already");
    let rest = world
        .send_as(seed, "dispute", &file, &["--json"])
        .exits(0)
        .says("going on with the locks that are left")
        .json();
    let took = began.elapsed();
    assert_eq!(world.nonce(sender).await, all, "nothing is sent twice");
    // One may have been in the journal only.
    let further = rest["further"].as_array().unwrap().len() as u64;
    assert!([all - killed_at - 1, all - killed_at - 2].contains(&further));
    world.send_as(seed, "resolve", &file, &[]).exits(4);
    let status = world.settle("status", &file, &["--json"]).exits(0).json();
    let mine = DEPOSIT + PAID + locks;
    assert_eq!(status["outcomes"][0]["you"], mine.to_string());

    let sent = transactions(world, sender, before).await;
    let gas: u64 = sent.iter().map(|(gas, _)| gas).sum();
    let longest = sent.iter().map(|(_, bytes)| *bytes).max().unwrap();
    println!(
        "{} locks: {} transactions, {gas} gas, {} each, calldata of at most {longest} bytes; {took:?} with a kill after {killed_at}",
        limits::LOCKS_FROM_HUB_MAX,
        sent.len(),
        gas / limits::LOCKS_FROM_HUB_MAX as u64,
    );
    assert!(longest < (128 << 10) - 1024, "what nodes keep in their pools");

    world.pass(3 * PERIOD_S).await;
    world.send_as(seed, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(channel.parties.config.client).await, mine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_cron_and_a_batch_resolve_more_locks_than_a_few_transactions_hold() {
    let (world, _chain, _served) = world_on_embedded().await;
    let expiry = world.now().await + 3 * PERIOD_S;
    let fleet = Fleet::reserved(world, 2, RESERVE).await;
    let world = &fleet.world;
    let nonce = async |channel: &Channel| world.nonce(channel.parties.config.client_signer).await;
    let some = |channel: &Channel, count| all_known(&channel.parties, count, amount, expiry);
    // The hub disputes and shows nothing; a watch with the signer's key answers with all.
    let watched = &fleet.channels[0];
    world.empty_dispute(&watched.parties).await;
    let dir = world.subdirectory("own");
    world.named("own/me.json", &some(watched, 620));
    world.watch_once(&dir, watched.seed + 50, &[]).exits(0);
    assert_eq!(nonce(watched).await, 5, "150 at a time");

    // A batch starts the dispute and goes on.
    world.subdirectory("exits");
    world.named("exits/me.json", &some(&fleet.channels[1], 310));
    let keys = fleet.keys("keys", &[1]);
    let send = ["--keys", keys.as_str(), "--broadcast", "--wait", "--json"];
    let disputed = fleet.batch("dispute", "exits", &send).exits(0).json();
    assert_eq!(disputed["command"], "batch dispute");
    assert_eq!(nonce(&fleet.channels[1]).await, 3);
    fleet.batch("resolve", "exits", &send).exits(4);

    world.pass(3 * PERIOD_S).await;
    world.watch_once(&dir, watched.seed + 50, &[]).exits(0);
    fleet.batch("finalize", "exits", &send).exits(0);
    for (channel, count) in fleet.channels.iter().zip([620, 310]) {
        let locks: u128 = (1..=count).map(amount).sum();
        let got = world.balance(channel.parties.config.client).await;
        assert_eq!(got, DEPOSIT + PAID + locks, "{count}");
    }
}

/// Every number at its longest, every witness too.
fn longest(p: &Parties, payer: Side, count: usize) -> DirectionEvidence {
    let amount = Amount(limits::AMOUNT_MAX / limits::LOCKS_FROM_HUB_MAX as u128);
    let locks = (1..=count as u64).rev().map(|back| Lock {
        id: u64::MAX - back,
        amount,
        expiry: UnixSeconds(u64::MAX),
        hash: protocol_spec::Digest([0xab; 32]),
        resolver: Address::repeat_byte(0xcd),
    });
    let locks: Vec<Lock> = locks.collect();
    let opening = opening(&locks);
    let witness = Witness::new(vec![0xef; limits::WITNESS_BYTES_MAX]).unwrap();
    let voucher = p.voucher((limits::SEQ_MAX, amount.0), (0, 0), opening.commitment());
    let signature = match payer {
        Side::Hub => p.batch(vec![voucher.digest(&p.domain); 1 << limits::PROOF_DEPTH_MAX], 0),
        Side::Client => p.direct(payer, voucher.clone()).signature,
    };
    DirectionEvidence {
        voucher: Some(SignedVoucher { voucher, signature }),
        witnesses: locks
            .iter()
            .map(|lock| (lock.id.to_string(), witness.clone()))
            .collect(),
        locks,
        opening: Some(opening),
    }
}

#[test]
fn the_longest_evidence_is_read_and_nothing_much_longer() {
    let p = Parties::new(31337, Address::repeat_byte(0xaa), Address::repeat_byte(0xbb));
    let evidence = p.evidence(
        Side::Client,
        longest(&p, Side::Hub, limits::LOCKS_FROM_HUB_MAX),
        longest(&p, Side::Client, limits::LOCKS_FROM_CLIENT_MAX),
    );
    let dir = tempfile::tempdir().unwrap();
    let text = serde_json::to_string_pretty(&evidence).unwrap();
    let per_lock = text.len() / (limits::LOCKS_FROM_HUB_MAX + limits::LOCKS_FROM_CLIENT_MAX);
    println!("{} bytes, {per_lock} for each lock", text.len());
    let verify = |name: &str, text: &str| {
        let path = write(dir.path(), name, text).display().to_string();
        settle(&["verify", "--evidence", &path, "--json"])
    };
    verify("longest.json", &text).exits(0);
    let padded = format!("{text}{}", " ".repeat((16 << 20) - text.len()));
    verify("padded.json", &padded).exits(0);
    verify("too-long.json", &format!("{padded} "))
        .exits(2)
        .says("larger than 16 MiB");
    // One lock more than a side may hold.
    let more = p.evidence(
        Side::Client,
        longest(&p, Side::Hub, limits::LOCKS_FROM_HUB_MAX + 1),
        DirectionEvidence::default(),
    );
    verify("more.json", &serde_json::to_string_pretty(&more).unwrap())
        .exits(3)
        .says("4097 locks, at most 4096");
}
