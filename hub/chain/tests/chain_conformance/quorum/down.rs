//! Endpoints that are down, busy, hang, are behind, or on another chain.

use super::{Fault, World, connect, impatient, quorum, topics};
use hub_chain::{
    Chain as _, ChainError, ChainView, Cursor, Endpoint, QuorumChain, QuorumOptions, ViewEvent, ViewOptions,
};
use std::time::{Duration, Instant};

/// Every read of the hub works, whatever one of three endpoints does, and that one is back once it is well.
async fn one_may_fail(mut world: World, fault: Option<Fault>) {
    for door in 0..3 {
        match fault {
            Some(fault) => world.doors[door].set(fault),
            None => world.doors[door].close().await,
        }
        world.log(door as u64).await;
        let to = world.height().await;
        let head = world.chain.head().await.unwrap();
        assert_eq!(head, world.direct.head().await.unwrap(), "{fault:?}");
        assert_eq!(world.chain.block(to).await.unwrap(), Some(head));
        assert_eq!(world.words(to).await.unwrap(), topics(0..=door as u64));
        let code = world.chain.code_hash(world.contract).await.unwrap();
        assert_eq!(code, world.direct.code_hash(world.contract).await.unwrap());
        let status = world.status(door);
        assert!(!status.up && status.rests_until.is_some(), "{status:?}");
        let error = status.last_error.unwrap();
        assert!(!error.contains("secret-key"), "{error}");
        assert!(world.chain.status().iter().filter(|status| status.up).count() == 2);
        // It is left alone while it rests, and asked again afterwards.
        world.doors[door].asked();
        world.chain.head().await.unwrap();
        assert_eq!(world.doors[door].asked().values().sum::<usize>(), 0);
        if fault.is_none() {
            world.doors[door].open().await;
        }
        world.heals(door).await;
        assert_eq!(world.chain.head().await.unwrap(), head);
        assert_eq!(world.status(door).head, Some(head.number));
    }
}

#[tokio::test]
async fn one_of_three_refuses_connections() {
    one_may_fail(World::new().await, None).await;
}

#[tokio::test]
async fn one_of_three_answers_429() {
    one_may_fail(World::new().await, Some(Fault::Status(429))).await;
}

#[tokio::test]
async fn one_of_three_answers_500() {
    one_may_fail(World::new().await, Some(Fault::Status(500))).await;
}

#[tokio::test]
async fn one_of_three_answers_half_json() {
    one_may_fail(World::new().await, Some(Fault::HalfJson)).await;
}

#[tokio::test]
async fn one_of_three_hangs() {
    let patience = Duration::from_secs(1);
    let options = QuorumOptions {
        patience,
        ..quorum(2)
    };
    let world = World::with(3, options).await;
    let begin = Instant::now();
    one_may_fail(world, Some(Fault::Hangs)).await;
    // Not once was the whole time limit of a request waited for.
    let waited = begin.elapsed();
    assert!(waited < impatient().request_timeout, "{waited:?}");
    assert!(waited > patience);
}

#[tokio::test]
async fn one_of_three_anvils_doors_fails() {
    if let Some(world) = World::anvil().await {
        one_may_fail(world, Some(Fault::Status(503))).await;
    }
}

#[tokio::test]
async fn two_of_three_down_is_too_few() {
    let world = World::new().await;
    world.doors[0].set(Fault::Status(500));
    world.doors[2].set(Fault::HalfJson);
    let error = world.chain.head().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let ChainError::TooFewAnswers { agree: 2, said, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(said.len(), 3);
    assert!(said[0].endpoint.starts_with("rpc 1 (127.0.0.1:"), "{error}");
    assert!(said[0].said.contains("HTTP status 500"), "{error}");
    assert!(!error.to_string().contains("secret-key"), "{error}");
    assert!(world.words(1).await.is_err());
    world.doors[2].set(Fault::None);
    tokio::time::sleep(super::REST * 2).await;
    assert_eq!(world.chain.head().await.unwrap().number, world.height().await);
}

#[tokio::test]
async fn an_endpoint_behind_the_others_is_no_liar() {
    let world = World::new().await;
    for value in 0..5 {
        world.log(value).await;
    }
    let to = world.height().await;
    for door in 0..3 {
        world.doors[door].set(Fault::Behind(3));
        assert_eq!(world.chain.head().await.unwrap().number, to);
        assert_eq!(world.words(to).await.unwrap(), topics(0..5));
        let block = world.chain.block(to).await.unwrap();
        assert_eq!(block, world.direct.block(to).await.unwrap());
        let read = hub_chain::CallRequest {
            to: world.contract,
            data: crate::contract::calldata(3, &[]),
            ..hub_chain::CallRequest::default()
        };
        let seen = world.chain.call(read).await.unwrap();
        assert_eq!(
            alloy::primitives::U256::from_be_slice(&seen[..32]),
            alloy::primitives::U256::from(to)
        );
        let status = world.status(door);
        assert_eq!((status.up, status.head, status.outvoted), (true, Some(to - 3), 0));
        world.doors[door].set(Fault::None);
    }
}

#[tokio::test]
async fn the_head_is_what_enough_have_reached() {
    let world = World::new().await;
    world.direct.mine(5).await.unwrap();
    let to = world.height().await;
    // Two are behind: only what they have counts, and their missing logs are no omission.
    world.log(1).await;
    world.doors[0].set(Fault::Behind(1));
    world.doors[1].set(Fault::Behind(2));
    let head = world.chain.head().await.unwrap();
    assert_eq!(head.number, to);
    let error = world.words(to + 1).await.unwrap_err();
    assert!(
        !matches!(error, ChainError::Disagreement { .. }) && error.is_retryable(),
        "{error}"
    );
    let statuses = world.chain.status();
    assert!(
        statuses.iter().all(|status| status.up && status.outvoted == 0),
        "{statuses:?}"
    );
    world.doors[1].set(Fault::None);
    assert_eq!(world.words(to + 1).await.unwrap(), topics([1]));
}

#[tokio::test]
async fn an_endpoint_that_moves_to_another_chain_is_shut_out() {
    let world = World::new().await;
    // The chain id is looked at when an endpoint comes back from a rest.
    world.doors[1].set(Fault::Status(500));
    world.chain.head().await.unwrap();
    world.doors[1].set(Fault::ChainId(5));
    tokio::time::sleep(super::REST).await;
    assert_eq!(world.chain.head().await.unwrap().number, world.height().await);
    let status = world.status(1);
    assert!(status.wrong_chain && !status.up, "{status:?}");
    assert!(status.last_error.unwrap().contains("is on chain 5"));
    world.heals(1).await;
    assert!(!world.status(1).wrong_chain);
}

#[tokio::test]
async fn at_the_start_a_minority_may_be_down_or_on_another_chain() {
    let mut world = World::new().await;
    world.doors[0].set(Fault::ChainId(5));
    let chain = connect(&world.doors, quorum(2)).await.unwrap();
    assert_eq!(chain.chain_id().await.unwrap(), 31_337);
    assert_eq!(
        chain.genesis_hash().await.unwrap(),
        world.direct.genesis_hash().await.unwrap()
    );
    assert!(chain.status()[0].wrong_chain);
    assert!(!chain.status()[1].wrong_chain);
    let error = connect(&world.doors, quorum(3)).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { .. }), "{error}");
    world.doors[0].set(Fault::None);
    world.doors[2].close().await;
    let chain = connect(&world.doors, quorum(2)).await.unwrap();
    assert_eq!(chain.head().await.unwrap().number, world.height().await);
    let error = connect(&world.doors, quorum(3)).await.unwrap_err();
    assert!(matches!(error, ChainError::TooFewAnswers { .. }), "{error}");
    assert!(!error.to_string().contains("secret-key"), "{error}");
    world.doors[2].open().await;
    world.doors[2].set(Fault::None);
    tokio::time::sleep(super::REST).await;
    chain.head().await.unwrap();
    assert!(chain.status()[2].up, "it joins later");
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let world = World::new().await;
    let endpoints = |places: &[usize]| -> Vec<Endpoint> {
        places
            .iter()
            .map(|place| world.doors[*place].endpoint(place + 1))
            .collect()
    };
    for (places, agree) in [(&[0, 1][..], 0), (&[0, 1], 3), (&[0, 1, 0], 2), (&[], 1)] {
        let error = QuorumChain::connect(endpoints(places), impatient(), quorum(agree))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ChainError::Config(_)),
            "{places:?} {agree}: {error}"
        );
        assert!(!error.to_string().contains("secret-key"), "{error}");
    }
    for places in [&[0][..], &[0, 1]] {
        let wrong = hub_chain::ChainOptions {
            chain_id: Some(1),
            ..impatient()
        };
        let error = QuorumChain::connect(endpoints(places), wrong, quorum(1))
            .await
            .unwrap_err();
        assert!(matches!(error, ChainError::Config(_)), "{error}");
    }
}

/// With one endpoint each read costs what it costs without a quorum, and errors come as they are.
#[tokio::test]
async fn one_endpoint_costs_and_does_what_it_always_did() {
    let world = World::with(1, quorum(1)).await;
    assert_eq!(world.doors[0].asked(), [("eth_chainId".to_owned(), 1)].into());
    world.log(1).await;
    let head = world.chain.head().await.unwrap();
    world.chain.block(head.number).await.unwrap();
    assert_eq!(world.words(head.number).await.unwrap(), topics([1]));
    world.chain.code_hash(world.contract).await.unwrap();
    let asked = [
        ("eth_getBlockByNumber", 2),
        ("eth_getCode", 1),
        ("eth_getLogs", 1),
    ];
    let asked = asked.map(|(method, times)| (method.to_owned(), times));
    assert_eq!(world.doors[0].asked(), asked.into());
    world.doors[0].set(Fault::Status(500));
    for _ in 0..3 {
        let error = world.chain.head().await.unwrap_err();
        assert!(matches!(error, ChainError::Transport(_)), "{error:?}");
    }
    assert_eq!(
        world.doors[0].asked().values().sum::<usize>(),
        3,
        "an only endpoint never rests"
    );
    world.doors[0].set(Fault::None);
    assert_eq!(world.chain.head().await.unwrap(), head);
}

/// The view of the hub goes on over faults of every kind, one endpoint at a time, and hands out every log once.
#[tokio::test]
async fn a_view_goes_on_over_changing_faults() {
    let world = World::new().await;
    let genesis = world.direct.block(0).await.unwrap().unwrap();
    let options = ViewOptions {
        address: world.contract,
        confirmations: 1,
        blocks_per_poll_max: 100,
    };
    let mut view = ChainView::new(options, Cursor::before(genesis));
    let faults = [
        Fault::HidesLog,
        Fault::Status(429),
        Fault::Behind(2),
        Fault::InventsLog,
        Fault::OtherHashes,
        Fault::HalfJson,
        Fault::ChainId(7),
    ];
    let mut got = Vec::new();
    for (round, fault) in faults.into_iter().enumerate() {
        let door = round % 3;
        world.doors[door].set(fault);
        world.log(round as u64).await;
        world.direct.mine(1).await.unwrap();
        for event in view.poll(&world.chain).await.unwrap() {
            if let ViewEvent::Log { log, .. } = event {
                got.push(log.topics[1]);
            }
        }
        world.heals(door).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(got, topics(0..faults.len() as u64));
    assert_eq!(view.alarm(), None);
}
