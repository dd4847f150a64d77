//! Blocks with their transactions and receipts, and how JSON-RPC shows them.

use super::state::Undo;
use super::tx::{Tx, created_address};
use alloy::consensus::transaction::Recovered;
use alloy::consensus::{
    Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxType, proofs,
};
use alloy::network::eip2718::Encodable2718 as _;
use alloy::primitives::{Address, B256, Bloom, Log as RawLog, U256};
use alloy::rpc::types::{self as rpc, BlockTransactions, Filter, Log, TransactionReceipt};

/// What the execution of one transaction left behind.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) success: bool,
    pub(super) gas_used: u64,
    pub(super) logs: Vec<RawLog>,
}

/// A transaction in a block.
#[derive(Clone, Debug)]
pub(super) struct Included {
    pub(super) tx: Tx,
    pub(super) outcome: Outcome,
}

/// A mined block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) header: Header,
    pub(super) hash: B256,
    pub(super) txs: Vec<Included>,
    /// How to take the block (and what control methods changed before it) back, oldest first.
    pub(super) undo: Vec<Undo>,
}

impl Block {
    /// Completes the header from the transactions and seals the block.
    pub(super) fn seal(mut header: Header, txs: Vec<Included>, undo: Vec<Undo>) -> Self {
        let envelopes: Vec<_> = txs.iter().map(|included| included.tx.envelope.clone()).collect();
        let receipts = consensus_receipts(&txs);
        header.transactions_root = proofs::calculate_transaction_root(&envelopes);
        header.receipts_root = proofs::calculate_receipt_root(&receipts);
        header.logs_bloom = receipts
            .iter()
            .fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
        header.gas_used = txs.iter().fold(0_u64, |sum, included| {
            sum.saturating_add(included.outcome.gas_used)
        });
        let hash = header.hash_slow();
        Self {
            header,
            hash,
            txs,
            undo,
        }
    }

    fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    /// The block as `eth_getBlockBy*` shows it.
    pub(super) fn rpc(&self, full: bool) -> rpc::Block {
        let transactions = if full {
            let indexes = 0..self.txs.len();
            BlockTransactions::Full(indexes.filter_map(|index| self.rpc_transaction(index)).collect())
        } else {
            BlockTransactions::Hashes(self.txs.iter().map(|included| included.tx.hash).collect())
        };
        let size = self.txs.iter().fold(self.header.size(), |sum, included| {
            sum.saturating_add(included.tx.envelope.encode_2718_len())
        });
        rpc::Block {
            header: rpc::Header {
                hash: self.hash,
                inner: self.header.clone(),
                total_difficulty: Some(U256::ZERO),
                size: Some(U256::from(size)),
            },
            uncles: Vec::new(),
            transactions,
            withdrawals: Some(Vec::new().into()),
        }
    }

    /// Transaction `index` as `eth_getTransactionByHash` shows it.
    pub(super) fn rpc_transaction(&self, index: usize) -> Option<rpc::Transaction> {
        let tx = &self.txs.get(index)?.tx;
        Some(rpc::Transaction {
            inner: Recovered::new_unchecked(tx.envelope.clone(), tx.sender),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            transaction_index: u64::try_from(index).ok(),
            effective_gas_price: Some(tx.envelope.effective_gas_price(Some(self.base_fee()))),
            block_timestamp: Some(self.header.timestamp),
        })
    }

    /// Receipt `index` as `eth_getTransactionReceipt` shows it.
    pub(super) fn rpc_receipt(&self, index: usize) -> Option<TransactionReceipt> {
        let included = self.txs.get(index)?;
        let (cumulative, first_log) = self.before(index);
        let gas_used = included.outcome.gas_used;
        let receipt = Receipt {
            status: included.outcome.success.into(),
            cumulative_gas_used: cumulative.saturating_add(gas_used),
            logs: self.rpc_logs_of(index, included, first_log).collect::<Vec<Log>>(),
        };
        let bloom = included.outcome.logs.iter().collect::<Bloom>();
        let tx = &included.tx;
        let created = tx
            .envelope
            .to()
            .is_none()
            .then(|| created_address(tx.sender, tx.envelope.nonce()));
        Some(TransactionReceipt {
            inner: envelope(tx.envelope.tx_type(), ReceiptWithBloom::new(receipt, bloom)),
            transaction_hash: tx.hash,
            transaction_index: u64::try_from(index).ok(),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            gas_used,
            effective_gas_price: tx.envelope.effective_gas_price(Some(self.base_fee())),
            blob_gas_used: None,
            blob_gas_price: None,
            from: tx.sender,
            to: tx.envelope.to(),
            contract_address: created,
        })
    }

    /// The logs of the block that `filter` wants, in order.
    pub(super) fn logs(&self, filter: &Filter) -> Vec<Log> {
        let mut first = 0_u64;
        let mut found = Vec::new();
        for (index, included) in self.txs.iter().enumerate() {
            let logs = self.rpc_logs_of(index, included, first);
            found.extend(logs.filter(|log| filter.matches(&log.inner)));
            first = first.saturating_add(len_u64(&included.outcome.logs));
        }
        found
    }

    /// Gas used and logs emitted by the transactions before `index`.
    fn before(&self, index: usize) -> (u64, u64) {
        self.txs.iter().take(index).fold((0, 0), |(gas, logs), included| {
            (
                gas.saturating_add(included.outcome.gas_used),
                logs.saturating_add(len_u64(&included.outcome.logs)),
            )
        })
    }

    fn rpc_logs_of<'a>(
        &'a self,
        index: usize,
        included: &'a Included,
        first: u64,
    ) -> impl Iterator<Item = Log> + 'a {
        included
            .outcome
            .logs
            .iter()
            .zip(first..)
            .map(move |(log, log_index)| Log {
                inner: log.clone(),
                block_hash: Some(self.hash),
                block_number: Some(self.header.number),
                block_timestamp: Some(self.header.timestamp),
                transaction_hash: Some(included.tx.hash),
                transaction_index: u64::try_from(index).ok(),
                log_index: Some(log_index),
                removed: false,
            })
    }
}

/// A waiting transaction as `eth_getTransactionByHash` shows it.
pub(super) fn rpc_pending(tx: &Tx) -> rpc::Transaction {
    rpc::Transaction {
        inner: Recovered::new_unchecked(tx.envelope.clone(), tx.sender),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    }
}

fn consensus_receipts(txs: &[Included]) -> Vec<ReceiptEnvelope> {
    let mut cumulative = 0_u64;
    let mut receipts = Vec::with_capacity(txs.len());
    for included in txs {
        cumulative = cumulative.saturating_add(included.outcome.gas_used);
        let logs = included.outcome.logs.clone();
        let bloom = logs.iter().collect::<Bloom>();
        let receipt = Receipt {
            status: included.outcome.success.into(),
            cumulative_gas_used: cumulative,
            logs,
        };
        receipts.push(envelope(
            included.tx.envelope.tx_type(),
            ReceiptWithBloom::new(receipt, bloom),
        ));
    }
    receipts
}

fn envelope<L>(tx_type: TxType, receipt: ReceiptWithBloom<Receipt<L>>) -> ReceiptEnvelope<L> {
    match tx_type {
        TxType::Legacy => ReceiptEnvelope::Legacy(receipt),
        TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
        TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
        TxType::Eip4844 => ReceiptEnvelope::Eip4844(receipt),
        TxType::Eip7702 => ReceiptEnvelope::Eip7702(receipt),
    }
}

fn len_u64<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// Address of the fees: not zero, so that a burn and a fee are told apart.
pub(super) const BENEFICIARY: Address = Address::repeat_byte(0xfe);
