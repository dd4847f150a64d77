//! Building blocks, and taking them back.

use super::block::{Block, Included, Outcome};
use super::config::BLOCK_GAS_LIMIT;
use super::evm::{self, BlockFacts};
use super::failure::RpcFailure;
use super::header::blank_header;
use super::node::Node;
use super::state::Undo;
use super::tx::{Tx, hash_parts};
use alloy::consensus::{Header, Transaction as _};
use alloy::primitives::{B256, Bytes};
use revm::context::result::ExecutionResult;

/// Most blocks that one request may mine.
const MINE_MAX: u64 = 100_000;

impl Node {
    /// Mines one block from the mempool and returns its hash.
    pub(super) fn mine(&mut self) -> Result<B256, RpcFailure> {
        let facts = self.next_facts()?;
        let parent = self.head()?;
        let (parent_hash, parent_root, parent_s) =
            (parent.hash, parent.header.state_root, parent.header.timestamp);
        let clock_s = self.config.clock.now_s();
        self.core.travel.take(clock_s, parent_s);
        self.core.next_base_fee = None;
        self.built = self.built.saturating_add(1);
        let (txs, undo) = self.fill(&facts);
        let hashes: Vec<u8> = txs.iter().flat_map(|included| included.tx.hash).collect();
        let header = Header {
            parent_hash,
            // Not a Merkle root, which would cost more than the block: it commits to all that was executed.
            state_root: hash_parts(&[parent_root.as_slice(), &hashes]),
            number: facts.number,
            timestamp: facts.timestamp_s,
            mix_hash: facts.random,
            base_fee_per_gas: Some(facts.base_fee),
            ..blank_header()
        };
        let block = Block::seal(header, txs, undo);
        let hash = block.hash;
        self.core.push(block);
        Ok(hash)
    }

    /// Executes the best waiting transactions until the block is full.
    fn fill(&mut self, facts: &BlockFacts) -> (Vec<Included>, Vec<Undo>) {
        let mut undo = std::mem::take(&mut self.core.loose);
        let mut txs: Vec<Included> = Vec::new();
        let mut gas_left = BLOCK_GAS_LIMIT;
        // The pool is set aside so that the state can change while it is walked.
        let mut pool = std::mem::take(&mut self.core.pool);
        let mut candidates = pool.candidates(facts.base_fee, |sender| {
            self.core.state.head(sender).map_or(0, |head| head.nonce)
        });
        let mut dropped = Vec::new();
        while let Some(tx) = candidates.next() {
            if tx.envelope.gas_limit() > gas_left {
                continue;
            }
            let Some((outcome, change)) = self.execute(facts, tx) else {
                dropped.push(tx.hash);
                continue;
            };
            gas_left = gas_left.saturating_sub(outcome.gas_used);
            undo.push(change);
            candidates.advance(tx);
            txs.push(Included {
                tx: tx.clone(),
                outcome,
            });
        }
        for hash in dropped
            .into_iter()
            .chain(txs.iter().map(|included| included.tx.hash))
        {
            pool.remove(hash);
        }
        self.core.pool = pool;
        (txs, undo)
    }

    /// Executes one transaction; `None` if it has become invalid since it was accepted.
    fn execute(&mut self, facts: &BlockFacts, tx: &Tx) -> Option<(Outcome, Undo)> {
        match evm::execute(&self.view(None), facts, tx.env()) {
            Ok(done) => {
                let undo = self.core.state.commit(done.state);
                Some((outcome(done.result), undo))
            }
            Err(failed) => {
                tracing::debug!(hash = %tx.hash, %failed, "dropped a transaction that is no longer valid");
                None
            }
        }
    }

    /// Mines `count` blocks, each `gap_s` seconds after the one before.
    pub(super) fn mine_many(&mut self, count: u64, gap_s: u64) -> Result<(), RpcFailure> {
        if count > MINE_MAX {
            return Err(RpcFailure::params(format!(
                "at most {MINE_MAX} blocks at once, not {count}"
            )));
        }
        for done in 0..count {
            if done > 0 && gap_s > 0 {
                let parent_s = self.head()?.header.timestamp;
                self.core
                    .travel
                    .set_next(parent_s.saturating_add(gap_s), parent_s)?;
            }
            self.mine()?;
        }
        Ok(())
    }

    /// Replaces the newest `depth` blocks by as many new ones, which hold only the given transactions
    /// (bytes and offset of the block). The old transactions and the mempool are gone, as with anvil.
    pub(super) fn reorg(&mut self, depth: u64, txs: &[(Bytes, u64)]) -> Result<(), RpcFailure> {
        let height = self.height();
        if depth > height {
            return Err(RpcFailure::params(format!(
                "Reorg depth must not exceed current chain height: current height {height}, depth {depth}"
            )));
        }
        if let Some((_, offset)) = txs.iter().find(|(_, offset)| *offset >= depth) {
            return Err(RpcFailure::params(format!(
                "block offset {offset} is not below the depth {depth}"
            )));
        }
        for _ in 0..depth {
            self.core.pop();
        }
        self.core.pool.clear();
        for offset in 0..depth {
            for (raw, _) in txs.iter().filter(|(_, at)| *at == offset) {
                self.admit(raw)?;
            }
            self.mine()?;
        }
        Ok(())
    }
}

fn outcome(result: ExecutionResult) -> Outcome {
    let gas_used = result.tx_gas_used();
    match result {
        ExecutionResult::Success { logs, .. } => Outcome {
            success: true,
            gas_used,
            logs,
        },
        ExecutionResult::Revert { .. } | ExecutionResult::Halt { .. } => Outcome {
            success: false,
            gas_used,
            logs: Vec::new(),
        },
    }
}
