//! The chain port over alloy.

use super::Chain;
use super::connect::ChainOptions;
use super::convert::{block_ref, chain_log, in_order, tx_receipt};
use super::error::ChainError;
use super::outlet::{Outlet, Prices, nonces_of};
use super::rpc::Rpc;
use super::send::SendQueue;
use super::types::{BlockRef, CallRequest, ChainLog, LogQuery, Nonces, SentTx, Tended, TxReceipt, TxRequest};
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TransactionBuilder as _;
use alloy::primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy::providers::{Provider as _, RootProvider};
use alloy::rpc::types::{Filter, TransactionRequest};
use async_trait::async_trait;
use std::sync::Arc;

/// Most requests for the logs of one range. A node that wants 20,000 blocks one by one is asked twice for each; what one range of
/// all blocks up to an invented head would take has no end.
const LOG_REQUESTS_MAX: u32 = 40_000;
/// Most time for the logs of one range, in time limits of a request.
const LOG_PATIENCE: u32 = 60;

/// A chain behind an alloy provider.
#[derive(Clone, Debug)]
pub struct AlloyChain {
    rpc: Rpc,
    chain_id: u64,
    options: ChainOptions,
    queue: Option<SendQueue>,
}

impl AlloyChain {
    pub(super) fn start(provider: RootProvider, chain_id: u64, options: ChainOptions) -> Self {
        let rpc = Rpc {
            provider,
            timeout: options.request_timeout,
        };
        let mut chain = Self {
            rpc,
            chain_id,
            options,
            queue: None,
        };
        if let Some(signer) = chain.options.signer.clone() {
            let outlet = Arc::new(chain.clone());
            chain.queue = Some(SendQueue::start(outlet, signer, chain_id, &chain.options));
        }
        chain
    }

    /// The provider underneath, for what the port does not offer.
    #[must_use]
    pub fn provider(&self) -> &RootProvider {
        &self.rpc.provider
    }

    /// [`Chain::code_hash`] after the block at a height; `None` is the newest.
    pub(super) async fn code_hash_at(&self, address: Address, at: Option<u64>) -> Result<B256, ChainError> {
        let code = self.provider().get_code_at(address).block_id(block_id(at));
        let code = self.rpc.timed("eth_getCode", async { code.await }).await?;
        Ok(keccak256(code))
    }

    /// [`Chain::balance`] after the block at a height; `None` is the newest.
    pub(super) async fn balance_at(&self, address: Address, at: Option<u64>) -> Result<U256, ChainError> {
        let balance = self.provider().get_balance(address).block_id(block_id(at));
        self.rpc.timed("eth_getBalance", async { balance.await }).await
    }

    async fn block_by(&self, tag: BlockNumberOrTag) -> Result<Option<BlockRef>, ChainError> {
        let block = self
            .rpc
            .timed("eth_getBlockByNumber", self.provider().get_block_by_number(tag))
            .await?;
        Ok(block.map(|block| block_ref(&block)))
    }

    async fn logs_once(&self, query: LogQuery) -> Result<Vec<ChainLog>, ChainError> {
        let filter = Filter::new()
            .address(query.address)
            .from_block(query.from)
            .to_block(query.to);
        let logs = self
            .rpc
            .timed("eth_getLogs", self.provider().get_logs(&filter))
            .await?;
        let logs = logs.into_iter().filter(|log| !log.removed).map(chain_log);
        let logs = logs.collect::<Result<Vec<_>, _>>()?;
        let asked = |log: &ChainLog| {
            log.address == query.address && (query.from..=query.to).contains(&log.block_number)
        };
        match logs.iter().find(|log| !asked(log)) {
            None => Ok(logs),
            Some(log) => Err(ChainError::BadAnswer(format!(
                "a log of {} in block {} that was not asked for",
                log.address, log.block_number
            ))),
        }
    }

    /// In halves, where the node finds a range too wide.
    async fn logs_in_parts(&self, whole: LogQuery) -> Result<Vec<ChainLog>, ChainError> {
        let mut todo = vec![whole];
        let mut found = Vec::new();
        for _ in 0..LOG_REQUESTS_MAX {
            let Some(query) = todo.pop() else {
                return Ok(found);
            };
            match self.logs_once(query).await {
                Ok(logs) => found.extend(logs),
                Err(error)
                    if query.from < query.to && error.is_range_limit(query.to.abs_diff(query.from)) =>
                {
                    let middle = query.from.midpoint(query.to);
                    todo.push(LogQuery {
                        from: middle.saturating_add(1),
                        ..query
                    });
                    todo.push(LogQuery { to: middle, ..query });
                }
                Err(error) => return Err(error),
            }
        }
        match todo.is_empty() {
            true => Ok(found),
            false => Err(ChainError::BadAnswer(format!(
                "the logs of blocks {} to {} in more than {LOG_REQUESTS_MAX} parts",
                whole.from, whole.to
            ))),
        }
    }
}

#[async_trait]
impl Chain for AlloyChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.chain_id)
    }

    async fn genesis_hash(&self) -> Result<B256, ChainError> {
        let genesis = self.block(0).await?;
        genesis
            .map(|block| block.hash)
            .ok_or_else(|| ChainError::BadAnswer("the node has no block 0".to_owned()))
    }

    async fn code_hash(&self, address: Address) -> Result<B256, ChainError> {
        self.code_hash_at(address, None).await
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        let head = self.block_by(BlockNumberOrTag::Latest).await?;
        head.ok_or_else(|| ChainError::BadAnswer("the node has no newest block".to_owned()))
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        match self.block_by(BlockNumberOrTag::Number(number)).await? {
            Some(block) if block.number != number => Err(ChainError::BadAnswer(format!(
                "asked for block {number}, got {}",
                block.number
            ))),
            other => Ok(other),
        }
    }

    async fn logs(&self, query: LogQuery) -> Result<Vec<ChainLog>, ChainError> {
        let after = self.rpc.timeout.saturating_mul(LOG_PATIENCE);
        let late = |_| ChainError::Timeout {
            what: "the logs of a range, in parts,",
            after,
        };
        let found = tokio::time::timeout(after, self.logs_in_parts(query)).await;
        in_order(found.map_err(late)??)
    }

    async fn call(&self, request: CallRequest) -> Result<Bytes, ChainError> {
        let mut call = TransactionRequest::default().with_input(request.data);
        if !request.creation {
            call = call.with_to(request.to);
        }
        call.from = request.from;
        if !request.value.is_zero() {
            call.value = Some(request.value);
        }
        let call = self.provider().call(call).block(block_id(request.at));
        self.rpc.timed("eth_call", async { call.await }).await
    }

    async fn balance(&self, address: Address) -> Result<U256, ChainError> {
        self.balance_at(address, None).await
    }

    async fn gas_price(&self) -> Result<u128, ChainError> {
        let prices = crate::outlet::Outlet::prices(self).await?;
        Ok(prices.base_fee.saturating_add(prices.tip))
    }

    fn sender(&self) -> Option<Address> {
        self.queue.as_ref().map(SendQueue::address)
    }

    async fn send(&self, request: TxRequest) -> Result<SentTx, ChainError> {
        self.queue()?.send(request).await
    }

    async fn nonces(&self) -> Result<Nonces, ChainError> {
        nonces_of(self, self.sender()).await
    }

    async fn resync(&self) -> Result<(), ChainError> {
        match &self.queue {
            Some(queue) => queue.resync().await,
            None => Ok(()),
        }
    }

    async fn tend(&self) -> Result<Tended, ChainError> {
        match &self.queue {
            Some(queue) => queue.tend().await,
            None => Ok(Tended::default()),
        }
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        let receipt = self.provider().get_transaction_receipt(hash);
        let receipt = self.rpc.timed("eth_getTransactionReceipt", receipt).await?;
        match receipt.map(tx_receipt).transpose()? {
            Some(other) if other.tx_hash != hash => Err(ChainError::BadAnswer(format!(
                "the receipt of {} where that of {hash} was asked for",
                other.tx_hash
            ))),
            receipt => Ok(receipt),
        }
    }

    async fn wait(&self, hash: B256, confirmations: u64) -> Result<TxReceipt, ChainError> {
        super::wait::wait(self, self.queue.as_ref(), &self.options, hash, confirmations).await
    }

    async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        let request = self
            .provider()
            .raw_request::<_, ()>("anvil_mine".into(), (U64::from(blocks),));
        self.rpc.timed("mining on demand", request).await
    }

    async fn increase_time(&self, by_s: u64) -> Result<(), ChainError> {
        let request = self
            .provider()
            .raw_request::<_, i64>("evm_increaseTime".into(), (U64::from(by_s),));
        self.rpc.timed("time travel", request).await.map(|_| ())
    }
}

impl AlloyChain {
    fn queue(&self) -> Result<&SendQueue, ChainError> {
        self.queue
            .as_ref()
            .ok_or_else(|| ChainError::Config("this chain port has no key to send with".to_owned()))
    }
}

#[async_trait]
impl Outlet for AlloyChain {
    async fn height(&self) -> Result<u64, ChainError> {
        self.rpc.height().await
    }

    async fn knows(&self, hash: B256) -> Result<bool, ChainError> {
        self.rpc.knows(hash).await
    }

    async fn next_nonce(&self, address: Address) -> Result<u64, ChainError> {
        self.rpc.next_nonce(address).await
    }

    async fn used_nonce(&self, address: Address) -> Result<u64, ChainError> {
        self.rpc.used_nonce(address).await
    }

    async fn estimate_gas(&self, call: TransactionRequest) -> Result<u64, ChainError> {
        self.rpc.estimate_gas(call).await
    }

    async fn prices(&self) -> Result<Prices, ChainError> {
        self.rpc.prices().await
    }

    async fn submit(&self, raw: Bytes) -> Result<(), ChainError> {
        self.rpc.submit(raw).await
    }
}

fn block_id(at: Option<u64>) -> BlockId {
    at.map_or(BlockId::latest(), BlockId::number)
}
