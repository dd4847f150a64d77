//! Runs revm: transactions of a block, calls, gas estimates, and the checks before a transaction is accepted.

use super::config::{BLOCK_GAS_LIMIT, TX_GAS_LIMIT_MAX};
use super::failure::RpcFailure;
use super::state::View;
use alloy::primitives::{B256, Bytes, TxKind, U256};
use alloy::rpc::types::TransactionRequest;
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState};
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::context_interface::either::Either;
use revm::database_interface::WrapDatabaseRef;
use revm::handler::{Handler, MainnetHandler};
use revm::primitives::hardfork::SpecId;
use revm::{ExecuteEvm, MainBuilder, MainContext};
use std::convert::Infallible;

/// The facts of a block that the EVM sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockFacts {
    pub(super) chain_id: u64,
    pub(super) number: u64,
    pub(super) timestamp_s: u64,
    pub(super) base_fee: u64,
    pub(super) random: B256,
}

impl BlockFacts {
    fn env(&self) -> BlockEnv {
        BlockEnv {
            number: U256::from(self.number),
            timestamp: U256::from(self.timestamp_s),
            gas_limit: BLOCK_GAS_LIMIT,
            basefee: self.base_fee,
            prevrandao: Some(self.random),
            ..BlockEnv::default()
        }
    }

    fn cfg(&self) -> CfgEnv {
        CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(self.chain_id)
    }

    /// What a call may do and a transaction may not: come from a contract, pay nothing, skip nonces.
    fn cfg_call(&self) -> CfgEnv {
        let mut cfg = self.cfg();
        cfg.disable_base_fee = true;
        cfg.disable_eip3607 = true;
        cfg.disable_nonce_check = true;
        cfg.disable_block_gas_limit = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        cfg.tx_chain_id_check = false;
        cfg
    }
}

type Failed = EVMError<Infallible, InvalidTransaction>;

macro_rules! evm {
    ($view:expr, $block:expr, $cfg:expr) => {
        Context::mainnet()
            .with_db(WrapDatabaseRef($view))
            .with_block($block)
            .with_cfg($cfg)
            .build_mainnet()
    };
}

/// Executes one transaction of a block; the caller commits the state.
pub(super) fn execute(view: &View<'_>, block: &BlockFacts, tx: TxEnv) -> Result<ResultAndState, Failed> {
    evm!(view, block.env(), block.cfg()).transact(tx)
}

/// Checks everything that makes a transaction invalid, except its nonce and the base fee, which change.
pub(super) fn validate(view: &View<'_>, block: &BlockFacts, tx: TxEnv) -> Result<(), RpcFailure> {
    let mut cfg = block.cfg();
    cfg.disable_base_fee = true;
    cfg.disable_nonce_check = true;
    let mut evm = evm!(view, block.env(), cfg);
    evm.ctx.tx = tx;
    let handler = MainnetHandler::<_, Failed, _>::default();
    handler
        .validate(&mut evm)
        .map(|_| ())
        .map_err(|failed| rejection(&failed))
}

/// Words for an invalid transaction, close to geth's because clients match on them.
pub(super) fn rejection(failed: &Failed) -> RpcFailure {
    match failed {
        EVMError::Transaction(InvalidTransaction::LackOfFundForMaxFee { fee, balance }) => {
            RpcFailure::rejected(format!(
                "insufficient funds for gas * price + value: have {balance} want {fee}"
            ))
        }
        EVMError::Transaction(InvalidTransaction::InvalidChainId) => {
            RpcFailure::rejected("invalid chain id for signer")
        }
        EVMError::Transaction(InvalidTransaction::CallerGasLimitMoreThanBlock) => {
            RpcFailure::rejected(format!("exceeds block gas limit of {BLOCK_GAS_LIMIT}"))
        }
        other => RpcFailure::rejected(other),
    }
}

/// Runs `request` without keeping anything; gas when none is given is a whole block's.
pub(super) fn call(
    view: &View<'_>,
    block: &BlockFacts,
    request: &TransactionRequest,
) -> Result<ExecutionResult, RpcFailure> {
    let gas_limit = request.gas.unwrap_or(BLOCK_GAS_LIMIT).min(BLOCK_GAS_LIMIT);
    let tx = call_env(view, request, gas_limit);
    let done = evm!(view, block.env(), block.cfg_call()).transact(tx);
    done.map(|done| done.result).map_err(|failed| rejection(&failed))
}

/// The output of a call that succeeded, or its revert data as an error.
pub(super) fn output(result: ExecutionResult) -> Result<Bytes, RpcFailure> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(RpcFailure::reverted(output)),
        ExecutionResult::Halt { reason, .. } => {
            Err(RpcFailure::server(format!("execution halted: {reason:?}")))
        }
    }
}

/// The smallest gas limit, to about 1 %, with which `request` succeeds.
pub(super) fn estimate(
    view: &View<'_>,
    block: &BlockFacts,
    request: &TransactionRequest,
) -> Result<u64, RpcFailure> {
    let cap = request
        .gas
        .unwrap_or(TX_GAS_LIMIT_MAX)
        .min(TX_GAS_LIMIT_MAX)
        .min(affordable(view, request));
    let with_gas = |gas: u64| {
        call(
            view,
            block,
            &TransactionRequest {
                gas: Some(gas),
                ..request.clone()
            },
        )
    };
    let at_cap = with_gas(cap)?;
    let used = at_cap.tx_gas_used();
    output(at_cap)?;
    // Below `low` it fails, at `high` it succeeds; a call gets at most 63/64 of what is left.
    let (mut low, mut high) = (used.saturating_sub(1), cap);
    let mut probe = used;
    while high.saturating_sub(low) > 1 {
        if with_gas(probe).is_ok_and(|result| result.is_success()) {
            high = probe;
        } else {
            low = probe;
        }
        if high.saturating_sub(low) <= high.checked_div(100).unwrap_or(0) {
            break;
        }
        let middle = low.midpoint(high);
        probe = middle.min(low.saturating_mul(2));
    }
    Ok(high)
}

/// Most gas that the sender can pay for at the price it offers, as geth does it: a poor account may still send.
fn affordable(view: &View<'_>, request: &TransactionRequest) -> u64 {
    let price = U256::from(request.max_fee_per_gas.or(request.gas_price).unwrap_or_default());
    let balance = view
        .head(request.from.unwrap_or_default())
        .map(|head| head.balance)
        .unwrap_or_default();
    let left = balance.saturating_sub(request.value.unwrap_or_default());
    left.checked_div(price)
        .and_then(|gas| u64::try_from(gas).ok())
        .unwrap_or(u64::MAX)
}

fn call_env(view: &View<'_>, request: &TransactionRequest, gas_limit: u64) -> TxEnv {
    let caller = request.from.unwrap_or_default();
    let nonce = request
        .nonce
        .or_else(|| view.head(caller).map(|head| head.nonce))
        .unwrap_or_default();
    let authorizations = request.authorization_list.clone().unwrap_or_default();
    TxEnv {
        tx_type: if authorizations.is_empty() { 2 } else { 4 },
        caller,
        gas_limit,
        gas_price: request.max_fee_per_gas.or(request.gas_price).unwrap_or_default(),
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: request.input.clone().into_input().unwrap_or_default(),
        nonce,
        chain_id: request.chain_id,
        access_list: request.access_list.clone().unwrap_or_default(),
        gas_priority_fee: Some(request.max_priority_fee_per_gas.unwrap_or_default()),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: authorizations.into_iter().map(Either::Left).collect(),
    }
}
