//! Compares everything the contract stores and holds with the model.

use crate::action::Action;
use crate::cast::{Chain, FUNDER, WORLD_COIN};
use crate::model::{CLOSED, DISPUTED, Model, Rules, Selector};
use alloy::primitives::{Address, B256, Log, U256};
use alloy::sol_types::SolEvent as _;
use protocol_spec::abi::{self, IAdjudicator as I};
use protocol_spec::settlement::Direction;
use protocol_spec::{Digest, Side};
use std::fmt::Debug;
use tests::evm::{Call, Outcome};

fn same<T: PartialEq + Debug>(what: &str, contract: T, model: T) -> Result<(), String> {
    if contract == model {
        Ok(())
    } else {
        Err(format!(
            "{what}: the contract says {contract:?}, the model {model:?}"
        ))
    }
}

/// Name of an error of the contract.
pub(crate) fn error_name(selector: Selector) -> &'static str {
    I::IAdjudicatorErrors::name_by_selector(selector).unwrap_or("unknown error")
}

/// Runs the action on the contract: the reasons why it skipped items, or the selector of its error.
pub(crate) fn send(
    chain: &mut Chain,
    config: &protocol_spec::Config,
    action: &Action,
) -> Result<Vec<Selector>, Selector> {
    let (from, value, data) = action.call(config);
    let call = Call {
        from,
        to: chain.adjudicator,
        value: U256::from(value),
        data,
    };
    match chain.evm.send(call).unwrap() {
        Outcome::Returned(_, logs) => Ok(skipped(&logs)),
        Outcome::Reverted(data) => Err(data.get(..4).map_or([0; 4], |head| head.try_into().unwrap())),
    }
}

fn skipped(logs: &[Log]) -> Vec<Selector> {
    let told = logs.iter().filter_map(|log| I::Skipped::decode_log(log).ok());
    told.map(|event| event.data.reason.0).collect()
}

/// Compares the stored channel, its balances and its end, and all coin.
pub(crate) fn state<R: Rules>(chain: &mut Chain, model: &Model<R>) -> Result<(), String> {
    let to = chain.adjudicator;
    let config = &model.config;
    let channel_id = B256::from(config.id(&chain.domain).0);
    let stored = chain
        .evm
        .read(
            to,
            &I::channelCall {
                channelId: channel_id,
            },
        )
        .unwrap();
    channel(&stored, model)?;

    let balances = chain
        .evm
        .read(
            to,
            &I::balancesCall {
                channelId: channel_id,
            },
        )
        .unwrap();
    let expected = if model.status == CLOSED {
        (0, 0)
    } else {
        let (client, hub) = model.rules.balances(&model.funds);
        (client.0, hub.0)
    };
    same("client balance", balances.clientBalance, U256::from(expected.0))?;
    same("hub balance", balances.hubBalance, U256::from(expected.1))?;
    same("balances sum up", expected.0 + expected.1, model.total())?;

    let config_abi = config.to_abi();
    let final_at = chain
        .evm
        .read(to, &I::finalAtCall { config: config_abi })
        .unwrap();
    let expected = if model.status == DISPUTED {
        model.final_at()
    } else {
        0
    };
    same("final at", final_at, U256::from(expected))?;
    coin(chain, model)
}

fn channel<R: Rules>(stored: &abi::ChannelState, model: &Model<R>) -> Result<(), String> {
    let (client, hub) = (
        model.rules.direction(Side::Client),
        model.rules.direction(Side::Hub),
    );
    let funds = &model.funds;
    let net =
        i128::try_from(funds.client_deposit.0).unwrap() - i128::try_from(funds.client_withdrawn.0).unwrap();
    same("status", stored.status as u8, model.status)?;
    same("total", stored.total, model.total())?;
    same(
        "client net",
        stored.clientNet,
        if model.status == CLOSED { 0 } else { net },
    )?;
    same(
        "client withdrawn",
        stored.clientWithdrawn,
        funds.client_withdrawn.0,
    )?;
    same("hub withdrawn", stored.hubWithdrawn, funds.hub_withdrawn.0)?;
    same("client seq", stored.clientSeq, client.seq)?;
    same("client paid", stored.clientPaid, client.paid.0)?;
    same("hub seq", stored.hubSeq, hub.seq)?;
    same("hub paid", stored.hubPaid, hub.paid.0)?;
    same("window end", stored.windowEnd, model.window_end.0)?;
    same("dispute number", stored.disputeNo, model.dispute_no)?;
    locks("client", &stored.clientLocks, client)?;
    locks("hub", &stored.hubLocks, hub)
}

fn locks(who: &str, stored: &abi::LocksState, direction: &Direction) -> Result<(), String> {
    same(
        &format!("{who}: locks live"),
        stored.live,
        direction.live.is_some(),
    )?;
    let Some(live) = &direction.live else {
        return Ok(());
    };
    same(
        &format!("{who}: commitment"),
        Digest(stored.commitment.0),
        live.commitment,
    )?;
    same(&format!("{who}: base"), stored.base, live.base.0)?;
    same(&format!("{who}: counted"), stored.counted, live.counted.0)?;
    same(
        &format!("{who}: opened"),
        stored.opened,
        live.max_expiry.is_some(),
    )?;
    same(
        &format!("{who}: max expiry"),
        stored.maxExpiry,
        live.max_expiry.unwrap_or_default().0,
    )
}

/// Every unit: the client's account, its claim, the hub's vault, the adjudicator's coin, and all of it together.
fn coin<R: Rules>(chain: &mut Chain, model: &Model<R>) -> Result<(), String> {
    let (to, client) = (chain.adjudicator, model.config.client);
    let vault = I::vaultCall {
        token: Address::ZERO,
        hub: model.config.hub,
    };
    let claimable = I::claimableCall {
        token: Address::ZERO,
        account: client,
    };
    let held = model.total() + model.vault + model.claimable;
    let at_client = chain.evm.balance(client).unwrap();
    let at_adjudicator = chain.evm.balance(to).unwrap();
    let at_funder = chain.evm.balance(FUNDER).unwrap();
    same("client's coin", at_client, U256::from(model.client_coin))?;
    same(
        "hub's vault",
        chain.evm.read(to, &vault).unwrap(),
        U256::from(model.vault),
    )?;
    same(
        "claimable",
        chain.evm.read(to, &claimable).unwrap(),
        U256::from(model.claimable),
    )?;
    same("adjudicator's coin", at_adjudicator, U256::from(held))?;
    same(
        "all coin",
        at_client + at_adjudicator + at_funder,
        U256::from(WORLD_COIN),
    )
}

/// Compares the marks of these locks.
pub(crate) fn marks<R: Rules>(
    chain: &mut Chain,
    model: &Model<R>,
    leaves: impl Iterator<Item = (Side, Digest)>,
) -> Result<(), String> {
    for (payer, leaf) in leaves {
        let call = I::markCall {
            channelId: B256::from(model.config.id(&chain.domain).0),
            payer: payer.index(),
            leaf: B256::from(leaf.0),
        };
        let stored = chain.evm.read(chain.adjudicator, &call).unwrap();
        let expected = model.rules.mark(payer, leaf).map_or(0, |seq| seq + 1);
        same("mark", stored, U256::from(expected))?;
    }
    Ok(())
}
