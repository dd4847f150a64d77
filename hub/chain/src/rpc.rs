//! Requests to a node, each with a time limit and a sorted error.

use super::error::ChainError;
use alloy::primitives::{Address, B256};
use alloy::providers::{Provider as _, RootProvider};
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

    /// The account's next nonce, counting what waits in the mempool.
    pub(super) async fn next_nonce(&self, address: Address) -> Result<u64, ChainError> {
        let count = async { self.provider.get_transaction_count(address).pending().await };
        self.timed("eth_getTransactionCount", count).await
    }

    /// Whether the node has a transaction, in a block or waiting.
    pub(super) async fn knows(&self, hash: B256) -> Result<bool, ChainError> {
        let tx = self.provider.get_transaction_by_hash(hash);
        Ok(self.timed("eth_getTransactionByHash", tx).await?.is_some())
    }
}
