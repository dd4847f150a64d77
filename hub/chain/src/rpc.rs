//! Requests to a node, each with a time limit and a sorted error.

use super::error::ChainError;
use super::outlet::{Prices, is_known_already};
use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{Provider as _, RootProvider};
use alloy::rpc::types::TransactionRequest;
use alloy::transports::{RpcError, TransportErrorKind};
use std::future::IntoFuture;
use std::time::Duration;

/// A provider whose every request has a time limit.
#[derive(Clone, Debug)]
pub(super) struct Rpc {
    pub(super) provider: RootProvider,
    pub(super) timeout: Duration,
}

impl Rpc {
    pub(super) async fn timed<T>(
        &self,
        what: &'static str,
        request: impl IntoFuture<Output = Result<T, RpcError<TransportErrorKind>>>,
    ) -> Result<T, ChainError> {
        match tokio::time::timeout(self.timeout, request.into_future()).await {
            Ok(answer) => answer.map_err(|error| ChainError::classify(what, error)),
            Err(_) => Err(ChainError::Timeout {
                what,
                after: self.timeout,
            }),
        }
    }

    pub(super) async fn height(&self) -> Result<u64, ChainError> {
        self.timed("eth_blockNumber", self.provider.get_block_number())
            .await
    }

    /// The account's next nonce, counting what waits in the mempool.
    pub(super) async fn next_nonce(&self, address: Address) -> Result<u64, ChainError> {
        let count = async { self.provider.get_transaction_count(address).pending().await };
        self.timed("eth_getTransactionCount", count).await
    }

    /// The account's next nonce, counting blocks only.
    pub(super) async fn used_nonce(&self, address: Address) -> Result<u64, ChainError> {
        let count = async { self.provider.get_transaction_count(address).await };
        self.timed("eth_getTransactionCount", count).await
    }

    /// Whether the node has a transaction, in a block or waiting.
    pub(super) async fn knows(&self, hash: B256) -> Result<bool, ChainError> {
        let tx = self.provider.get_transaction_by_hash(hash);
        Ok(self.timed("eth_getTransactionByHash", tx).await?.is_some())
    }

    pub(super) async fn estimate_gas(&self, call: TransactionRequest) -> Result<u64, ChainError> {
        let estimate = self.provider.estimate_gas(call);
        self.timed("eth_estimateGas", async { estimate.await }).await
    }

    pub(super) async fn prices(&self) -> Result<Prices, ChainError> {
        let history = self.provider.get_fee_history(1, BlockNumberOrTag::Latest, &[]);
        let (history, tip) = tokio::try_join!(
            self.timed("eth_feeHistory", history),
            self.timed("eth_maxPriorityFeePerGas", async {
                self.provider.get_max_priority_fee_per_gas().await
            }),
        )?;
        let base_fee = history.base_fee_per_gas.last().copied();
        let base_fee = base_fee.ok_or(ChainError::Unsupported("EIP-1559 fees"))?;
        Ok(Prices { base_fee, tip })
    }

    pub(super) async fn submit(&self, raw: Bytes) -> Result<(), ChainError> {
        let sending = self.provider.client().request("eth_sendRawTransaction", (raw,));
        let answer: Result<B256, ChainError> = self.timed("eth_sendRawTransaction", sending).await;
        match answer {
            Err(error) if !is_known_already(&error) => Err(error),
            _ => Ok(()),
        }
    }
}
