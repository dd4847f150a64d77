//! The chain as all nodes see it: blocks made here, a fixed fee rate, and a count of what was broadcast.

use bitcoin::{
    Amount, Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid,
    Witness,
    absolute::LockTime,
    block::{Header, Version},
    constants::genesis_block,
    hashes::Hash,
    transaction,
};
use lightning::{
    chain::{
        BestBlock,
        chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator},
    },
    util::logger::{Level, Logger, Record},
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The network of all nodes.
pub const NETWORK: Network = Network::Regtest;
/// The height at which everything starts. LDK makes up short channel ids below it, which must not meet real ones.
const START: u32 = 100_000;
/// The least fee rate that nodes relay, in satoshis per 1000 units of weight.
const FEE_RATE: u32 = 253;

/// What a node asks of a chain.
#[derive(Default)]
pub struct Chain {
    broadcast: AtomicUsize,
}

impl Chain {
    /// Transactions that nodes wanted to be mined: one for each channel, and none more while all are honest.
    pub fn broadcast(&self) -> usize {
        self.broadcast.load(Ordering::Relaxed)
    }
}

impl BroadcasterInterface for Chain {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        self.broadcast.fetch_add(transactions.len(), Ordering::Relaxed);
    }
}

impl FeeEstimator for Chain {
    fn get_est_sat_per_1000_weight(&self, _: ConfirmationTarget) -> u32 {
        FEE_RATE
    }
}

impl Logger for Chain {
    fn log(&self, record: Record) {
        if record.level >= Level::Error {
            eprintln!("{}: {}", record.module_path, record.args);
        }
    }
}

/// A funding transaction with one output. Its input is made up, another for each `number`: nobody here looks at it.
pub fn funding(number: u32, sat: u64, script_pubkey: ScriptBuf) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([1; 32]), number),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[1]]),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(sat),
            script_pubkey,
        }],
    }
}

/// The chain at first: genesis stands for all blocks until then.
pub fn start() -> BestBlock {
    BestBlock::new(genesis_block(NETWORK).block_hash(), START)
}

/// `count` blocks after the start, of which the first holds the transactions.
pub fn blocks(mut transactions: Vec<Transaction>, count: u32) -> Vec<(u32, Block)> {
    let mut previous = start().block_hash;
    let genesis = genesis_block(NETWORK).header;
    let mut block = |height: u32| {
        let header = Header {
            version: Version::TWO,
            prev_blockhash: previous,
            merkle_root: TxMerkleNode::all_zeros(),
            time: genesis.time.saturating_add(height),
            bits: genesis.bits,
            nonce: 0,
        };
        previous = header.block_hash();
        (
            height,
            Block {
                header,
                txdata: std::mem::take(&mut transactions),
            },
        )
    };
    (START..)
        .skip(1)
        .zip(0..count)
        .map(|(height, _)| block(height))
        .collect()
}
