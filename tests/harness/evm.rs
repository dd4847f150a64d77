//! A bare EVM over memory: no blocks, no mempool, no RPC. For tests that run the contract's bytecode very often.
//!
//! Gas is free and nonces do not count, so coin moves only as value. A checkpoint is a copy of the whole state.

use alloy::primitives::{Address, Bytes, Log, TxKind, U256};
use alloy::sol_types::SolCall;
use anyhow::{Context as _, bail};
use revm::bytecode::Bytecode;
use revm::context::result::{ExecutionResult, Output};
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::handler::{MainnetContext, MainnetEvm};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{Database as _, ExecuteCommitEvm as _, ExecuteEvm as _, MainBuilder as _, MainContext as _};

const GAS_LIMIT: u64 = 100_000_000;

/// The committed artifact of the adjudicator.
pub const ADJUDICATOR_JSON: &str = include_str!("../../protocol-spec/contracts/artifacts/Adjudicator.json");

/// Creation bytecode of a committed artifact.
///
/// # Errors
/// When the artifact has no `bytecode` in hex.
pub fn creation_bytecode(artifact: &str) -> anyhow::Result<Bytes> {
    let json: serde_json::Value = serde_json::from_str(artifact)?;
    let text = json.get("bytecode").and_then(|value| value.as_str());
    Ok(text.context("no bytecode in the artifact")?.parse()?)
}

/// A call that changes state.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who sends it.
    pub from: Address,
    /// The contract called.
    pub to: Address,
    /// Coin sent along, wei.
    pub value: U256,
    /// Calldata.
    pub data: Bytes,
}

/// How a call ended. A revert has changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With return data, and what it logged, in order.
    Returned(Bytes, Vec<Log>),
    /// With revert data.
    Reverted(Bytes),
}

/// A copy of the whole state.
#[derive(Clone, Debug)]
pub struct Checkpoint(CacheDB<EmptyDB>);

/// The machine. One owner, one thread.
pub struct Evm {
    inner: MainnetEvm<MainnetContext<CacheDB<EmptyDB>>>,
    now_s: u64,
}

impl Evm {
    /// An empty chain.
    #[must_use]
    pub fn new(chain_id: u64) -> Self {
        let mut cfg = CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(chain_id);
        cfg.disable_base_fee = true;
        cfg.disable_eip3607 = true;
        cfg.disable_nonce_check = true;
        cfg.disable_block_gas_limit = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        cfg.tx_chain_id_check = false;
        let inner = Context::mainnet()
            .with_db(CacheDB::new(EmptyDB::default()))
            .with_cfg(cfg)
            .build_mainnet();
        let mut evm = Self { inner, now_s: 0 };
        evm.set_time(1);
        evm
    }

    /// Sets the timestamp of the block in which every later call runs. It may go back.
    pub fn set_time(&mut self, now_s: u64) {
        self.now_s = now_s;
        self.inner.set_block(BlockEnv {
            number: U256::from(1),
            timestamp: U256::from(now_s),
            gas_limit: GAS_LIMIT,
            basefee: 0,
            ..BlockEnv::default()
        });
    }

    /// The timestamp in force.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        self.now_s
    }

    /// Puts an account into the state: its coin and, where not empty, its code.
    pub fn put_account(&mut self, account: Address, wei: U256, code: Bytes) {
        let info = if code.is_empty() {
            AccountInfo::from_balance(wei)
        } else {
            AccountInfo::from_bytecode(Bytecode::new_raw(code)).with_balance(wei)
        };
        self.database().insert_account_info(account, info);
    }

    /// Creates a contract from its creation bytecode.
    ///
    /// # Errors
    /// When the constructor fails.
    pub fn create(&mut self, from: Address, bytecode: Bytes) -> anyhow::Result<Address> {
        let tx = transaction(from, TxKind::Create, U256::ZERO, bytecode);
        match self.inner.transact_commit(tx)? {
            ExecutionResult::Success {
                output: Output::Create(_, Some(address)),
                ..
            } => Ok(address),
            other => bail!("the constructor failed: {other:?}"),
        }
    }

    /// Copies the state.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.inner.ctx.journaled_state.database.clone())
    }

    /// Goes back to a copy of the state. The time stays.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        *self.database() = checkpoint.0.clone();
    }

    /// Runs a call and keeps what it changed.
    ///
    /// # Errors
    /// When the machine cannot run it or it halts otherwise than by a revert (out of gas, invalid opcode).
    pub fn send(&mut self, call: Call) -> anyhow::Result<Outcome> {
        let tx = transaction(call.from, TxKind::Call(call.to), call.value, call.data);
        outcome(self.inner.transact_commit(tx)?)
    }

    /// Runs a view and keeps nothing.
    ///
    /// # Errors
    /// When it fails or returns something else than `C`'s type.
    pub fn read<C: SolCall>(&mut self, to: Address, call: &C) -> anyhow::Result<C::Return> {
        let tx = transaction(
            Address::ZERO,
            TxKind::Call(to),
            U256::ZERO,
            call.abi_encode().into(),
        );
        match outcome(self.inner.transact(tx)?.result)? {
            Outcome::Returned(data, _) => Ok(C::abi_decode_returns(&data)?),
            Outcome::Reverted(data) => bail!("{} reverted with {data}", C::SIGNATURE),
        }
    }

    /// Coin of an account, wei.
    ///
    /// # Errors
    /// Never with a database in memory.
    pub fn balance(&mut self, account: Address) -> anyhow::Result<U256> {
        let info = self.database().basic(account)?;
        Ok(info.map(|info| info.balance).unwrap_or_default())
    }

    fn database(&mut self) -> &mut CacheDB<EmptyDB> {
        &mut self.inner.ctx.journaled_state.database
    }
}

fn transaction(from: Address, kind: TxKind, value: U256, data: Bytes) -> TxEnv {
    TxEnv {
        caller: from,
        gas_limit: GAS_LIMIT,
        gas_price: 0,
        kind,
        value,
        data,
        ..TxEnv::default()
    }
}

fn outcome(result: ExecutionResult) -> anyhow::Result<Outcome> {
    match result {
        ExecutionResult::Success { output, logs, .. } => Ok(Outcome::Returned(output.into_data(), logs)),
        ExecutionResult::Revert { output, .. } => Ok(Outcome::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => bail!("halted: {reason:?}"),
    }
}
