//! The chain itself: blocks, state, mempool, time; everything that the RPC methods read and change.

use super::block::Block;
use super::config::EmbeddedConfig;
use super::evm::{self, BlockFacts};
use super::failure::RpcFailure;
use super::header::{base_fee_after, blank_header, genesis_salt};
use super::pool::Pool;
use super::state::{Head, Overlay, State, Undo, View};
use super::time::Travel;
use super::tx::{Tx, hash_parts};
use alloy::consensus::{Header, Transaction as _};
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, U256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Everything that a snapshot keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Core {
    pub(super) state: State,
    /// Blocks by number.
    pub(super) blocks: Vec<Arc<Block>>,
    /// Their hashes, for the EVM.
    pub(super) hashes: Vec<B256>,
    pub(super) by_hash: HashMap<B256, u64>,
    /// Block number and index of every mined transaction.
    pub(super) by_tx: HashMap<B256, (u64, usize)>,
    pub(super) pool: Pool,
    pub(super) travel: Travel,
    /// Base fee asked for the next block.
    pub(super) next_base_fee: Option<u64>,
    /// Changes by control methods since the newest block.
    pub(super) loose: Vec<Undo>,
}

/// When blocks are mined without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mining {
    pub(super) automine: bool,
    pub(super) interval_s: Option<u64>,
}

/// The chain.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) config: EmbeddedConfig,
    /// Salt of genesis.
    pub(super) seed: u64,
    pub(super) core: Core,
    pub(super) snapshots: BTreeMap<u64, Core>,
    pub(super) next_snapshot: u64,
    pub(super) mining: Mining,
    /// Counts every block ever built, reorganised ones too: no two blocks have the same hash.
    pub(super) built: u64,
}

impl Node {
    pub(super) fn new(config: EmbeddedConfig) -> Self {
        let seed = config.seed.unwrap_or_else(rand::random);
        let mut core = Core::default();
        for (address, balance) in &config.balances {
            core.state.set_head(
                *address,
                Head {
                    balance: *balance,
                    ..Head::default()
                },
            );
        }
        let genesis = Header {
            timestamp: config.genesis_time_s(),
            mix_hash: genesis_salt(&config, seed),
            state_root: B256::ZERO,
            ..blank_header()
        };
        core.push(Block::seal(genesis, Vec::new(), Vec::new()));
        let mining = Mining {
            automine: config.automine,
            interval_s: None,
        };
        Self {
            config,
            seed,
            core,
            snapshots: BTreeMap::new(),
            next_snapshot: 0,
            mining,
            built: 0,
        }
    }

    pub(super) fn head(&self) -> Result<&Arc<Block>, RpcFailure> {
        self.core
            .blocks
            .last()
            .ok_or_else(|| RpcFailure::internal("the chain has no genesis block"))
    }

    pub(super) fn height(&self) -> u64 {
        self.core.height()
    }

    /// Facts of the block that would be built now.
    pub(super) fn next_facts(&self) -> Result<BlockFacts, RpcFailure> {
        let parent = self.head()?;
        let clock_s = self.config.clock.now_s();
        Ok(BlockFacts {
            chain_id: self.config.chain_id,
            number: parent.header.number.saturating_add(1),
            timestamp_s: self.core.travel.peek(clock_s, parent.header.timestamp),
            base_fee: self
                .core
                .next_base_fee
                .unwrap_or_else(|| base_fee_after(&parent.header)),
            random: hash_parts(&[&self.seed.to_be_bytes(), &self.built.to_be_bytes()]),
        })
    }

    /// Facts of a block that exists, to run calls in.
    pub(super) fn facts_of(&self, block: &Block) -> BlockFacts {
        BlockFacts {
            chain_id: self.config.chain_id,
            number: block.header.number,
            timestamp_s: block.header.timestamp,
            base_fee: block.header.base_fee_per_gas.unwrap_or_default(),
            random: block.header.mix_hash,
        }
    }

    /// Number of the block that a tag means; `pending` is the next one.
    pub(super) fn tag_number(&self, tag: BlockNumberOrTag) -> u64 {
        let epoch = self.config.slots_in_an_epoch;
        match tag {
            BlockNumberOrTag::Latest => self.height(),
            BlockNumberOrTag::Safe => self.height().saturating_sub(epoch),
            BlockNumberOrTag::Finalized => self.height().saturating_sub(epoch.saturating_mul(2)),
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Pending => self.height().saturating_add(1),
            BlockNumberOrTag::Number(number) => number,
        }
    }

    pub(super) fn block(&self, number: u64) -> Option<&Arc<Block>> {
        usize::try_from(number)
            .ok()
            .and_then(|index| self.core.blocks.get(index))
    }

    pub(super) fn block_by_hash(&self, hash: B256) -> Option<&Arc<Block>> {
        self.core
            .by_hash
            .get(&hash)
            .and_then(|number| self.block(*number))
    }

    /// The state after a block, and the facts for calls in it. `pending` is the newest state in the next block.
    pub(super) fn view_at(&self, id: BlockId) -> Result<(View<'_>, BlockFacts), RpcFailure> {
        let number = match id {
            BlockId::Hash(hash) => {
                let block = self.block_by_hash(hash.block_hash);
                block
                    .ok_or_else(|| RpcFailure::server("header not found"))?
                    .header
                    .number
            }
            BlockId::Number(BlockNumberOrTag::Pending) => {
                return Ok((self.view(None), self.next_facts()?));
            }
            BlockId::Number(tag) => self.tag_number(tag),
        };
        let block = self.block(number).ok_or_else(|| {
            let height = self.height();
            RpcFailure::params(format!(
                "block {number} is out of range: the head is block {height}"
            ))
        })?;
        Ok((self.view(self.overlay(number)), self.facts_of(block)))
    }

    pub(super) fn view(&self, overlay: Option<Overlay>) -> View<'_> {
        View {
            state: &self.core.state,
            overlay,
            hashes: &self.core.hashes,
        }
    }

    /// The way back from the newest state to the one after block `number`.
    fn overlay(&self, number: u64) -> Option<Overlay> {
        if number >= self.height() {
            return None;
        }
        let mut overlay = Overlay::default();
        let newer = self
            .core
            .blocks
            .iter()
            .rev()
            .take_while(|block| block.header.number > number);
        let undos = self
            .core
            .loose
            .iter()
            .rev()
            .chain(newer.flat_map(|block| block.undo.iter().rev()));
        undos.for_each(|undo| overlay.rewind(undo));
        Some(overlay)
    }

    /// Takes a signed transaction into the mempool, after every check that a real node makes.
    pub(super) fn admit(&mut self, raw: &[u8]) -> Result<B256, RpcFailure> {
        let tx = Tx::decode(raw)?;
        if self.core.by_tx.contains_key(&tx.hash) {
            return Err(RpcFailure::server("already known"));
        }
        let view = self.view(None);
        let next = view.head(tx.sender).map_or(0, |head| head.nonce);
        if tx.envelope.nonce() < next {
            let text = format!(
                "nonce too low: next nonce {next}, tx nonce {}",
                tx.envelope.nonce()
            );
            return Err(RpcFailure::rejected(text));
        }
        evm::validate(&view, &self.next_facts()?, tx.env())?;
        let hash = tx.hash;
        self.core.pool.add(tx)?;
        Ok(hash)
    }

    /// Whether the next block would include this waiting transaction: its nonce is next and it pays the base fee.
    pub(super) fn executable(&self, hash: B256) -> Result<bool, RpcFailure> {
        let Some(tx) = self.core.pool.find(hash) else {
            return Ok(false);
        };
        let next = self.core.state.head(tx.sender).map_or(0, |head| head.nonce);
        Ok(tx.envelope.nonce() == next && tx.tip(self.next_facts()?.base_fee).is_some())
    }

    /// Changes an account outside of any block.
    pub(super) fn change_head(&mut self, address: Address, change: impl FnOnce(&mut Head)) {
        let mut head = self.core.state.head(address).unwrap_or_default();
        change(&mut head);
        let undo = self.core.state.set_head(address, head);
        self.core.loose.push(undo);
    }

    pub(super) fn snapshot(&mut self) -> u64 {
        let id = self.next_snapshot;
        self.next_snapshot = id.saturating_add(1);
        self.snapshots.insert(id, self.core.clone());
        id
    }

    /// Goes back to a snapshot, which is used up together with all later ones.
    pub(super) fn revert(&mut self, id: u64) -> bool {
        let Some(core) = self.snapshots.remove(&id) else {
            return false;
        };
        self.snapshots.split_off(&id);
        self.core = core;
        true
    }
}

impl Core {
    pub(super) fn height(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.header.number)
    }

    pub(super) fn push(&mut self, block: Block) {
        let number = block.header.number;
        self.by_hash.insert(block.hash, number);
        self.hashes.push(block.hash);
        for (index, included) in block.txs.iter().enumerate() {
            self.by_tx.insert(included.tx.hash, (number, index));
        }
        self.blocks.push(Arc::new(block));
    }

    /// Takes the newest block back.
    pub(super) fn pop(&mut self) {
        for undo in std::mem::take(&mut self.loose).iter().rev() {
            self.state.revert(undo);
        }
        let Some(block) = self.blocks.pop() else { return };
        self.hashes.pop();
        self.by_hash.remove(&block.hash);
        for included in &block.txs {
            self.by_tx.remove(&included.tx.hash);
        }
        for undo in block.undo.iter().rev() {
            self.state.revert(undo);
        }
    }
}

/// A balance in wei as hex quantity.
pub(super) fn balance(view: &View<'_>, address: Address) -> U256 {
    view.head(address).map(|head| head.balance).unwrap_or_default()
}
