//! What is asked many at a time: marks of the real adjudicator, and resolvers. A node that cannot is not believed.

use crate::{
    batch::world_on_embedded,
    locks::locked,
    nodes::without_creation,
    vouchers::{CLIENT, PERIOD_S, lock},
    world::World,
};
use alloy::{
    primitives::{Address, B256, Bytes},
    providers::Provider as _,
    rpc::types::TransactionRequest,
    sol_types::SolCall as _,
    transports::TransportError,
};
use protocol_spec::{
    Condition, Digest, DirectionEvidence, Evidence, Lock, Side, Witness, abi::IAdjudicator, limits, marks,
    probe, probes,
};
use std::sync::Arc;

/// Locks 1 to 300, of which the preimages of every third are known.
fn evidence(world: &World, expiry: u64) -> Evidence {
    let p = &world.parties;
    let locks = (1..=300).map(|id| lock(id, 1, expiry)).collect();
    let known: Vec<u64> = (1..=300).step_by(3).collect();
    p.evidence(
        Side::Client,
        locked(p, locks, &known),
        DirectionEvidence::default(),
    )
}

async fn call(world: &World, to: Option<Address>, input: Bytes) -> Result<Bytes, TransportError> {
    let request = TransactionRequest {
        to: to.map(Into::into),
        input: input.into(),
        ..TransactionRequest::default()
    };
    world.provider.call(request).await
}

/// What `mark` says of one.
async fn mark(world: &World, payer: Side, leaf: Digest) -> Option<u64> {
    let question = IAdjudicator::markCall {
        channelId: B256::from(world.parties.id().0),
        payer: payer.index(),
        leaf: B256::from(leaf.0),
    };
    let adjudicator = world.parties.domain.adjudicator;
    let answer = call(world, Some(adjudicator), question.abi_encode().into())
        .await
        .unwrap();
    let mark: u64 = IAdjudicator::markCall::abi_decode_returns(&answer).unwrap().to();
    mark.checked_sub(1)
}

async fn marks_of(world: &World, payer: Side, leaves: &[Digest]) -> Vec<Option<u64>> {
    let p = &world.parties;
    let code = marks::code(p.domain.adjudicator, p.id(), payer, leaves);
    let output = call(world, None, code).await.unwrap();
    marks::answer(&output, leaves.len()).unwrap()
}

async fn marks_are_as_told_one_by_one(world: &World) {
    let expiry = world.now().await + 3 * PERIOD_S;
    let evidence = evidence(world, expiry);
    let file = world.file(&evidence);
    world.send_as(CLIENT, "dispute", &file, &[]).exits(0);
    let mut leaves: Vec<Digest> = evidence.received.locks.iter().map(Lock::leaf).collect();
    let told = marks_of(world, Side::Hub, &leaves).await;
    for (leaf, told) in leaves.iter().zip(&told) {
        assert_eq!(mark(world, Side::Hub, *leaf).await, *told);
    }
    assert_eq!(told.iter().flatten().count(), 100);
    assert_eq!(told[..3], [Some(4), None, None], "the voucher's seq");
    assert!(
        marks_of(world, Side::Client, &leaves)
            .await
            .iter()
            .all(Option::is_none)
    );
    assert_eq!(marks_of(world, Side::Hub, &leaves[..1]).await, [Some(4)]);
    // As many as go into a call, with the marked ones at the end.
    let most = (300..marks::LEAVES_MAX as u64).map(|n| lock(n + 1, 1, expiry).leaf());
    leaves.splice(0..0, most);
    let told = marks_of(world, Side::Hub, &leaves).await;
    assert_eq!(told.iter().flatten().count(), 100);
    assert_eq!(told[marks::LEAVES_MAX - 3..], [Some(4), None, None]);

    // What is no adjudicator, or answers something else, or too long a word: no answer, not "none is marked".
    let nobody = Address::repeat_byte(0x77);
    let of = |adjudicator| marks::code(adjudicator, world.parties.id(), Side::Hub, &leaves[..2]);
    assert!(call(world, None, of(nobody)).await.is_err(), "no contract");
    let token = world.parties.config.token;
    assert!(call(world, None, of(token)).await.is_err(), "another contract");
    for (code, what) in [
        ("0x60406000f3", "two words"),
        ("0x60206001f3", "a good word: zero"),
        (
            "0x7f000000000000000000000000000000000000000000000001000000000000000060005260206000f3",
            "2^64",
        ),
        ("0x60206000fd", "reverted"),
    ] {
        world.set_code(nobody, code).await;
        let answered = call(world, None, of(nobody)).await.is_ok();
        assert_eq!(answered, what.starts_with("a good word"), "{what}");
    }
}

/// Resolvers of all kinds: by their code.
const RESOLVERS: [&str; 8] = [
    "0x600160005260206000f3",
    "0x600260005260206000f3",
    // Two words.
    "0x600160005260406000f3",
    // Reverts with a one.
    "0x600160005260206000fd",
    // Never ends.
    "0x5b600056",
    "0x",
    // One when the witness begins with the hash.
    "0x6004356064351460005260206000f3",
    // One when it has no more gas than the adjudicator gives: 200,000 > gas().
    "0x5a62030d401160005260206000f3",
];

async fn resolvers_are_as_asked_one_by_one(world: &World) {
    let hash = Digest([0x5a; 32]);
    let witnesses = [
        Witness::default(),
        Witness::new(hash.0.to_vec()).unwrap(),
        Witness::new([&hash.0[..], &[1; 97]].concat()).unwrap(),
        Witness::new(vec![0x5a; limits::WITNESS_BYTES_MAX]).unwrap(),
    ];
    let mut questions = Vec::new();
    for (byte, code) in (0x80..).zip(RESOLVERS) {
        let resolver = Address::repeat_byte(byte);
        world.set_code(resolver, code).await;
        let condition = Condition { hash, resolver };
        questions.extend(witnesses.iter().map(|witness| (condition, witness)));
    }
    assert_eq!(questions.len(), probes::QUESTIONS_MAX);
    let mut one_by_one = Vec::new();
    for (condition, witness) in &questions {
        let output = call(world, None, probe::code(condition, witness)).await.unwrap();
        one_by_one.push(probe::answer(&output).unwrap());
    }
    for some in [&questions[..], &questions[..1], &questions[5..17]] {
        let output = call(world, None, probes::code(some)).await.unwrap();
        let from = questions
            .iter()
            .position(|question| *question == some[0])
            .unwrap();
        let told = probes::answers(&output, some.len()).unwrap();
        assert_eq!(told, one_by_one[from..from + some.len()]);
    }
    // All of the first, and of the seventh those that begin with the hash.
    let yes = |number: usize| one_by_one[4 * number..4 * number + 4].to_vec();
    assert_eq!(yes(0), [true; 4]);
    assert_eq!(yes(6), [false, true, true, true]);
    assert_eq!(yes(7), [true; 4]);
    for number in 1..6 {
        assert_eq!(yes(number), [false; 4], "{number}");
    }
    // With less gas than the adjudicator gives there is no answer.
    let request = TransactionRequest {
        input: probes::code(&questions[..1]).into(),
        gas: Some(300_000),
        ..TransactionRequest::default()
    };
    assert!(world.provider.call(request).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_at_once_is_answered_as_one_by_one_on_anvil() {
    if let Some(world) = World::on_anvil().await {
        marks_are_as_told_one_by_one(&world).await;
        resolvers_are_as_asked_one_by_one(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_at_once_is_answered_as_one_by_one_on_the_embedded_chain() {
    let (world, _chain, _served) = world_on_embedded().await;
    marks_are_as_told_one_by_one(&world).await;
    resolvers_are_as_asked_one_by_one(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_no_creation_code_is_not_believed_that_nothing_is_marked() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let expiry = world.now().await + 3 * PERIOD_S;
    let file = world.file(&evidence(&world, expiry));
    let world = Arc::new(world);
    let lame = without_creation(&world).await;
    let status = |urls: &[&str]| crate::nodes::at("status", &file, urls, &[]);
    status(&[&lame]).exits(0);
    world.send_as(CLIENT, "dispute", &file, &[]).exits(0);
    status(&[&lame])
        .exits(3)
        .says("the node does not run creation code in eth_call; use another node");
    // Two that agree outvote it.
    let honest = world.url.as_str();
    status(&[&lame, honest, honest]).exits(0);
}
