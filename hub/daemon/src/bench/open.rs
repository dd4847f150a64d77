//! Many channels in few transactions: creation code that calls, and leaves nothing behind.

use super::channels::progress;
use crate::stage::world::World;
use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolCall,
};
use futures::{StreamExt, TryStreamExt, stream};
use hub::{
    app::contracts::Token,
    chain::{Chain, TxRequest},
};
use protocol_spec::{Config, abi::IAdjudicator};

/// Openings in one transaction: creation code may have 49,152 bytes (EIP-3860), and an opening takes 312.
const OPENINGS_EACH: usize = 150;
/// Gas of a transaction, at most: below half a block, so that the base fee stays where it is.
const GAS: u64 = 14_000_000;
/// Transactions under way at once.
const UNDER_WAY: usize = 16;
/// Transactions before the sender is told to look which are in blocks: it takes only so many of which it does not know.
const WAITING: usize = 1_000;

/// Opens channels, each with this deposit. Errors: one of them was not opened.
pub(super) async fn open(world: &World, configs: &[Config], deposit: u128) -> anyhow::Result<()> {
    let bar = progress(configs.len(), "channels opened on chain")?;
    let send = |configs: &[Config]| {
        let opened = configs.len() as u64;
        let request = TxRequest {
            data: creation_code(&calls(world, configs, deposit)).into(),
            gas_limit: Some(GAS),
            ..TxRequest::default()
        };
        let bar = &bar;
        async move {
            let sent = world.bank.send(request).await?;
            bar.inc(opened);
            anyhow::Ok(sent.hash)
        }
    };
    for some in configs.chunks(OPENINGS_EACH.saturating_mul(WAITING)) {
        let sent: Vec<B256> = stream::iter(some.chunks(OPENINGS_EACH))
            .map(send)
            .buffered(UNDER_WAY)
            .try_collect()
            .await?;
        for hash in sent {
            world.settled(hash).await?;
        }
        world.bank.tend().await?;
    }
    bar.finish_and_clear();
    Ok(())
}

struct Call {
    to: Address,
    data: Vec<u8>,
    /// The first argument is the caller's own address.
    own: bool,
}

fn calls(world: &World, configs: &[Config], deposit: u128) -> Vec<Call> {
    let (token, adjudicator) = (world.deployed.token, world.deployed.adjudicator);
    let all = U256::from(deposit).saturating_mul(U256::from(configs.len()));
    let mint = Token::mintCall {
        to: Address::ZERO,
        amount: all,
    };
    let approve = Token::approveCall {
        spender: adjudicator,
        amount: all,
    };
    let call = |to, data, own| Call { to, data, own };
    let openings = configs.iter().map(|config| {
        let open = IAdjudicator::openCall {
            config: config.to_abi(),
            amount: U256::from(deposit),
        };
        call(adjudicator, open.abi_encode(), false)
    });
    [
        call(token, mint.abi_encode(), true),
        call(token, approve.abi_encode(), false),
    ]
    .into_iter()
    .chain(openings)
    .collect()
}

const PUSH1: u8 = 0x60;
const PUSH2: u8 = 0x61;
const PUSH20: u8 = 0x73;
const JUMPDEST: u8 = 0x5b;
/// Jumps over what reverts, which is at 3.
const HEAD: [u8; 10] = [PUSH1, 9, 0x56, JUMPDEST, PUSH1, 0, PUSH1, 0, 0xfd, JUMPDEST];
/// The created contract has no code.
const TAIL: [u8; 5] = [PUSH1, 0, PUSH1, 0, 0xf3];
/// Code for one call, without and with the own address.
const CALL_BYTES: usize = 47;
const OWN_BYTES: usize = 4;

/// Code that makes these calls in their order, or none of them.
fn creation_code(calls: &[Call]) -> Vec<u8> {
    let bytes = |call: &Call| {
        if call.own {
            CALL_BYTES + OWN_BYTES
        } else {
            CALL_BYTES
        }
    };
    let code: usize = calls.iter().map(bytes).chain([HEAD.len(), TAIL.len()]).sum();
    let mut out = HEAD.to_vec();
    let mut at = code;
    for call in calls {
        let [_, _, _, _, _, _, offset_high, offset_low] = (at as u64).to_be_bytes();
        let [_, _, _, _, _, _, length_high, length_low] = (call.data.len() as u64).to_be_bytes();
        // CODECOPY to memory 0.
        out.extend([
            PUSH2,
            length_high,
            length_low,
            PUSH2,
            offset_high,
            offset_low,
            PUSH1,
            0,
            0x39,
        ]);
        if call.own {
            // ADDRESS over the word that follows the selector.
            out.extend([0x30, PUSH1, 4, 0x52]);
        }
        // CALL with all gas and no value; what comes back is not looked at, but a failure is.
        out.extend([
            PUSH1,
            0,
            PUSH1,
            0,
            PUSH2,
            length_high,
            length_low,
            PUSH1,
            0,
            PUSH1,
            0,
            PUSH20,
        ]);
        out.extend(call.to.as_slice());
        out.extend([0x5a, 0xf1, 0x15, PUSH1, 3, 0x57]);
        at = at.saturating_add(call.data.len());
    }
    out.extend(TAIL);
    for call in calls {
        out.extend(&call.data);
    }
    out
}
