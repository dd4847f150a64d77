//! The chain in a file: everything but snapshots, which are for tests.

use super::block::{Block, Included, Outcome};
use super::config::EmbeddedConfig;
use super::node::{Core, Mining, Node};
use super::state::{Account, Undo};
use super::time::Travel;
use super::tx::Tx;
use alloy::consensus::Header;
use alloy::primitives::{Address, B256, Bytes, Log, keccak256};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// First line of a file, followed by the keccak256 of the rest.
const FORMAT: &str = "channel-hub-embedded-chain/1 ";

/// Why a chain could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The file system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a chain, or not a whole one. It is left as it is.
    #[error("{path} is not a chain that this version can read: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds another chain than the one asked for.
    #[error("{path} holds chain id {got}, expected {expected}", path = path.display())]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// Chain id asked for.
        expected: u64,
        /// Chain id in the file.
        got: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Dump {
    chain_id: u64,
    seed: u64,
    built: u64,
    automine: bool,
    interval_s: Option<u64>,
    travel: Travel,
    next_base_fee: Option<u64>,
    loose: Vec<Undo>,
    accounts: BTreeMap<Address, Account>,
    codes: Vec<Bytes>,
    blocks: Vec<DumpedBlock>,
    waiting: Vec<Bytes>,
}

#[derive(Serialize, Deserialize)]
struct DumpedBlock {
    hash: B256,
    header: Header,
    txs: Vec<DumpedTx>,
    undo: Vec<Undo>,
}

#[derive(Serialize, Deserialize)]
struct DumpedTx {
    raw: Bytes,
    success: bool,
    gas_used: u64,
    logs: Vec<Log>,
}

/// Writes the chain beside `path` and moves it there, so that the file is always whole.
pub(super) fn save(node: &Node, path: &Path) -> Result<(), PersistError> {
    let beside = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let body = serde_json::to_vec(&dump(node))?;
        let mut file = File::create(&beside)?;
        writeln!(file, "{FORMAT}{}", keccak256(&body))?;
        file.write_all(&body)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| PersistError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Reads a chain; `config` gives the clock, the limits and the chain id to expect.
pub(super) fn load(config: EmbeddedConfig, path: &Path) -> Result<Node, PersistError> {
    let bytes = fs::read(path).map_err(|source| PersistError::Io {
        path: path.to_owned(),
        source,
    })?;
    let unreadable = |reason: String| PersistError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let dump: Dump = serde_json::from_slice(checked_body(&bytes).map_err(unreadable)?)
        .map_err(|error| unreadable(error.to_string()))?;
    if dump.chain_id != config.chain_id {
        let (expected, got) = (config.chain_id, dump.chain_id);
        return Err(PersistError::OtherChain {
            path: path.to_owned(),
            expected,
            got,
        });
    }
    restore(config, dump).map_err(unreadable)
}

/// What follows the first line, if that line fits it.
fn checked_body(bytes: &[u8]) -> Result<&[u8], String> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("it has no first line")?;
    let (line, rest) = bytes.split_at(end);
    let body = rest.get(1..).unwrap_or_default();
    let sum = line
        .strip_prefix(FORMAT.as_bytes())
        .ok_or_else(|| format!("it does not begin with {FORMAT:?}"))?;
    if sum == keccak256(body).to_string().as_bytes() {
        Ok(body)
    } else {
        Err("its checksum does not fit: it is damaged or cut off".to_owned())
    }
}

fn dump(node: &Node) -> Dump {
    let core = &node.core;
    Dump {
        chain_id: node.config.chain_id,
        seed: node.seed,
        built: node.built,
        automine: node.mining.automine,
        interval_s: node.mining.interval_s,
        travel: core.travel,
        next_base_fee: core.next_base_fee,
        loose: core.loose.clone(),
        accounts: core
            .state
            .accounts
            .iter()
            .map(|(address, account)| (*address, account.clone()))
            .collect(),
        codes: core
            .state
            .codes
            .values()
            .map(revm::bytecode::Bytecode::original_bytes)
            .collect(),
        blocks: core.blocks.iter().map(|block| dump_block(block)).collect(),
        waiting: core.pool.all().into_iter().map(Tx::raw).collect(),
    }
}

fn dump_block(block: &Block) -> DumpedBlock {
    let dump_tx = |included: &Included| DumpedTx {
        raw: included.tx.raw(),
        success: included.outcome.success,
        gas_used: included.outcome.gas_used,
        logs: included.outcome.logs.clone(),
    };
    DumpedBlock {
        hash: block.hash,
        header: block.header.clone(),
        txs: block.txs.iter().map(dump_tx).collect(),
        undo: block.undo.clone(),
    }
}

fn restore(config: EmbeddedConfig, dump: Dump) -> Result<Node, String> {
    let mut core = Core {
        travel: dump.travel,
        next_base_fee: dump.next_base_fee,
        ..Core::default()
    };
    core.loose = dump.loose;
    core.state.accounts = dump.accounts.into_iter().collect::<HashMap<_, _>>();
    for code in dump.codes {
        core.state.put_code(code)?;
    }
    for dumped in dump.blocks {
        let parent = core.blocks.last();
        let (expected_parent, expected_number) = parent.map_or((B256::ZERO, 0), |parent: &Arc<Block>| {
            (parent.hash, parent.header.number.saturating_add(1))
        });
        let number = dumped.header.number;
        if dumped.header.parent_hash != expected_parent || number != expected_number {
            return Err(format!("block {number} does not follow the one before it"));
        }
        core.push(restore_block(dumped)?);
    }
    if core.blocks.is_empty() {
        return Err("it has no genesis block".to_owned());
    }
    for raw in dump.waiting {
        let tx = Tx::decode(&raw).map_err(|failure| failure.to_string())?;
        core.pool.add(tx).map_err(|failure| failure.to_string())?;
    }
    Ok(Node {
        config,
        seed: dump.seed,
        core,
        snapshots: BTreeMap::new(),
        next_snapshot: 0,
        mining: Mining {
            automine: dump.automine,
            interval_s: dump.interval_s,
        },
        built: dump.built,
    })
}

/// Rebuilds a block; its hash covers header, transactions and receipts, so damage shows.
fn restore_block(dumped: DumpedBlock) -> Result<Block, String> {
    let mut txs = Vec::with_capacity(dumped.txs.len());
    for dumped in dumped.txs {
        let tx = Tx::decode(&dumped.raw).map_err(|failure| failure.to_string())?;
        let outcome = Outcome {
            success: dumped.success,
            gas_used: dumped.gas_used,
            logs: dumped.logs,
        };
        txs.push(Included { tx, outcome });
    }
    let number = dumped.header.number;
    let block = Block::seal(dumped.header, txs, dumped.undo);
    if block.hash != dumped.hash {
        return Err(format!(
            "block {number} has hash {}, expected {}",
            block.hash, dumped.hash
        ));
    }
    Ok(block)
}
