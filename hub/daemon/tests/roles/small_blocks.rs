//! Blocks that have less gas than a full batch of locks needs: the merchant's SDK and the hub show less at a time, and lose nothing.

use crate::{
    court::{Case, closed, pass, until},
    locks::{ACT_S, BEFORE, signed, until_time, worth},
    people::{DEPOSIT, ENDOWMENT},
    process::Hub,
    thousands::{AMOUNT, LIFE, Queue},
    world::{CHALLENGE_PERIOD_S, World},
};
use alloy::providers::Provider;
use protocol_spec::{abi, limits};

/// 150 locks need 6.1M, 75 of them 3.1M, which is more with what is added to an estimate.
const BLOCK_GAS: u64 = 3_200_000;

/// The merchant shows `count` preimages on chain only, and the payer has vanished: first it collects, then the hub.
pub(crate) async fn are_enough(world: &World, count: usize, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let before = worth(world).await;
    let mut queue = Queue::up(world, "small-blocks", count, true).await;
    let payer = queue.payers.channels()[0].channel_id;
    queue.paying.drain(..).for_each(|paying| paying.abort());
    queue.payers.shutdown().await;
    set_block_gas(world, BLOCK_GAS).await;
    let evidence = queue.merchant.channel.evidence().await.unwrap();
    let expiries = evidence.received.locks.iter().map(|lock| lock.expiry.0);
    let (first, last) = (expiries.clone().min().unwrap(), expiries.max().unwrap());
    let (id, wanted) = (queue.merchant.channel.id(), AMOUNT * count as u128);
    until_time(world, first - ACT_S + 1).await;
    until(world, id, "(the merchant:) collect", |state| {
        matches!(state.status, abi::Status::Disputed) && state.hubLocks.counted == wanted
    })
    .await;
    until_time(world, first + limits::DELTA_DEFAULT_S - ACT_S + 1).await;
    until(world, payer, "collect from the payer", |state| {
        matches!(state.status, abi::Status::Disputed) && state.clientLocks.counted >= wanted
    })
    .await;
    let counted = crate::court::state(world, payer).await.clientLocks.counted;
    pass(
        world,
        last + limits::DELTA_DEFAULT_S - first + 2 * CHALLENGE_PERIOD_S + LIFE.as_secs(),
    )
    .await;
    closed(world, id).await;
    closed(world, payer).await;
    let got = world.tokens_of(queue.merchant.key.address()).await - (ENDOWMENT - DEPOSIT);
    queue.merchant.client.shutdown().await;
    cases.push(Case {
        name: format!("blocks of {BLOCK_GAS} gas, {count} locks: the merchant"),
        fair: signed(DEPOSIT + BEFORE + wanted),
        got: signed(got),
    });
    cases.push(Case {
        name: "... the hub, whose payer has vanished: fees".to_owned(),
        fair: signed(1 + counted - wanted),
        got: worth(world).await - before,
    });
    hub.stop();
}

async fn set_block_gas(world: &World, gas: u64) {
    let provider = world.bank.provider();
    let set = provider.raw_request::<_, bool>("evm_setBlockGasLimit".into(), [format!("{gas:#x}")]);
    assert!(set.await.unwrap());
}
