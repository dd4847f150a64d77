//! The chain as the client sees it: reading channels at a confirmed block, opening, depositing, broadcasting.

use crate::{ChainError, Rpc};
use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::{EthereumWallet, TransactionBuilder},
    primitives::{B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use futures::future::BoxFuture;
use protocol_spec::{
    Address, Amount, ChannelId, Condition, Config, Seq, UnixSeconds, Witness,
    abi::{ChannelState, IAdjudicator, Status},
    calls, probe,
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// An endpoint that does not answer a call within this time has failed.
const CALL_MAX: Duration = Duration::from_secs(20);

mod erc20 {
    #![allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
    alloy::sol! {
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 amount) external returns (bool);
    }
}

/// What the adjudicator stores about a channel, in the protocol's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) open: bool,
    pub(crate) disputed: bool,
    pub(crate) closed: bool,
    pub(crate) client_deposit: Amount,
    pub(crate) hub_deposit: Amount,
    pub(crate) client_withdrawn: Amount,
    pub(crate) hub_withdrawn: Amount,
    pub(crate) dispute_no: Seq,
}

/// One reading of the chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Number of the newest block.
    pub(crate) number: u64,
    /// Number of the newest confirmed block.
    pub(crate) confirmed_number: u64,
    /// Timestamp of the newest block.
    pub(crate) now: UnixSeconds,
    /// Timestamp of the newest confirmed block.
    pub(crate) confirmed: UnixSeconds,
    /// (channel, at the confirmed block, at the newest block).
    pub(crate) channels: Vec<(ChannelId, Facts, Facts)>,
}

/// Access to one adjudicator on one chain.
#[derive(Clone, Debug)]
pub(crate) struct ChainAccess {
    provider: DynProvider,
    sender: Option<Address>,
    adjudicator: Address,
    confirmations: u64,
    poll: Duration,
    timeout: Duration,
}

/// What [`ChainAccess::connect`] needs.
pub(crate) struct ChainParams {
    pub(crate) rpc: Rpc,
    pub(crate) sender: Option<PrivateKeySigner>,
    pub(crate) chain_id: u64,
    pub(crate) adjudicator: Address,
    pub(crate) confirmations: u64,
    pub(crate) poll: Duration,
    pub(crate) timeout: Duration,
}

impl ChainAccess {
    /// Connects and checks the chain id.
    pub(crate) fn connect(params: ChainParams) -> BoxFuture<'static, Result<Self, ChainError>> {
        Box::pin(async move {
            let bare = match params.rpc {
                Rpc::Provider(provider) => provider,
                Rpc::Url(url) => within(ProviderBuilder::default().connect(&url)).await?.erased(),
            };
            let sender = params.sender.as_ref().map(PrivateKeySigner::address);
            let provider = match params.sender {
                // Nonces are read for every transaction: other programs may use the same key.
                Some(key) => ProviderBuilder::default()
                    .with_gas_estimation()
                    .with_simple_nonce_management()
                    .fetch_chain_id()
                    .wallet(EthereumWallet::from(key))
                    .connect_provider(bare)
                    .erased(),
                None => bare,
            };
            let got = within(async { provider.get_chain_id().await }).await?;
            if got != params.chain_id {
                return Err(ChainError::WrongChain {
                    expected: params.chain_id,
                    got,
                });
            }
            Ok(Self {
                provider,
                sender,
                adjudicator: params.adjudicator,
                confirmations: params.confirmations,
                poll: params.poll,
                timeout: params.timeout,
            })
        })
    }

    /// The account that sends transactions.
    pub(crate) fn sender(&self) -> Option<Address> {
        self.sender
    }

    /// Reads `channels` at the newest and at the newest confirmed block.
    pub(crate) fn read<'a>(
        &'a self,
        channels: &'a [ChannelId],
    ) -> BoxFuture<'a, Result<Reading, ChainError>> {
        Box::pin(async move {
            let (number, now) = self.block(BlockNumberOrTag::Latest).await?;
            let old = number.saturating_sub(self.confirmations);
            let (_, confirmed) = self.block(BlockNumberOrTag::Number(old)).await?;
            let mut reading = Reading {
                number,
                confirmed_number: old,
                now,
                confirmed,
                channels: Vec::with_capacity(channels.len()),
            };
            for id in channels {
                let settled = self.facts(id, old).await?;
                let newest = if old == number {
                    settled
                } else {
                    self.facts(id, number).await?
                };
                reading.channels.push((*id, settled, newest));
            }
            Ok(reading)
        })
    }

    /// What the resolver of `condition` says of `witness` at the newest confirmed block, asked as the adjudicator would.
    pub(crate) fn opens<'a>(
        &'a self,
        condition: &'a Condition,
        witness: &'a Witness,
    ) -> BoxFuture<'a, Result<bool, ChainError>> {
        Box::pin(async move {
            let (number, _) = self.block(BlockNumberOrTag::Latest).await?;
            let at = BlockId::number(number.saturating_sub(self.confirmations));
            let request = TransactionRequest::default().with_input(probe::code(condition, witness));
            let output = within(async { self.provider.call(request).block(at).await }).await?;
            let answer = probe::answer(&output);
            answer.ok_or_else(|| {
                ChainError::Rpc("the endpoint does not run creation code in eth_call".to_owned())
            })
        })
    }

    async fn block(&self, at: BlockNumberOrTag) -> Result<(u64, UnixSeconds), ChainError> {
        let block = within(async { self.provider.get_block_by_number(at).await }).await?;
        let block = block.ok_or_else(|| ChainError::Rpc(format!("block {at} is unknown")))?;
        Ok((block.header.number, UnixSeconds(block.header.timestamp)))
    }

    async fn facts(&self, id: &ChannelId, block: u64) -> Result<Facts, ChainError> {
        let call = IAdjudicator::channelCall {
            channelId: B256::from(id.0),
        };
        let request = TransactionRequest::default()
            .with_to(self.adjudicator)
            .with_input(call.abi_encode());
        let at = BlockId::Number(BlockNumberOrTag::Number(block));
        let answer: Bytes = within(async { self.provider.call(request).block(at).await }).await?;
        if answer.is_empty() {
            // The adjudicator was not deployed yet at that block.
            return Ok(Facts::default());
        }
        let state = IAdjudicator::channelCall::abi_decode_returns(&answer).map_err(rpc)?;
        facts_of(&state).ok_or_else(|| ChainError::Rpc("the adjudicator's numbers do not add up".to_owned()))
    }

    /// `open(config, amount)`, with `approve` for a token.
    pub(crate) fn open<'a>(
        &'a self,
        config: &'a Config,
        amount: Amount,
    ) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(async move {
            self.fund(config.token, amount, calls::open(config, amount.0).abi_encode())
                .await
        })
    }

    /// `deposit(config, amount)`, with `approve` for a token.
    pub(crate) fn deposit<'a>(
        &'a self,
        config: &'a Config,
        amount: Amount,
    ) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(async move {
            self.fund(
                config.token,
                amount,
                calls::deposit(config, amount.0).abi_encode(),
            )
            .await
        })
    }

    async fn fund(&self, token: Address, amount: Amount, data: Vec<u8>) -> Result<B256, ChainError> {
        let native = token == Address::ZERO;
        if !native && !amount.is_zero() {
            self.approve(token, U256::from(amount.0)).await?;
        }
        let value = if native { U256::from(amount.0) } else { U256::ZERO };
        self.send(self.adjudicator, data, value).await
    }

    async fn approve(&self, token: Address, amount: U256) -> Result<(), ChainError> {
        let owner = self.sender.ok_or(ChainError::NoSender)?;
        let spender = self.adjudicator;
        let query = TransactionRequest::default()
            .with_to(token)
            .with_input(erc20::allowanceCall { owner, spender }.abi_encode());
        let answer = within(async { self.provider.call(query).await }).await?;
        if erc20::allowanceCall::abi_decode_returns(&answer).is_ok_and(|allowed| allowed >= amount) {
            return Ok(());
        }
        let data = erc20::approveCall { spender, amount }.abi_encode();
        self.send(token, data, U256::ZERO).await.map(drop)
    }

    /// Sends a call to the adjudicator and waits until it is mined.
    pub(crate) fn broadcast<'a>(&'a self, data: Vec<u8>) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(async move { self.send(self.adjudicator, data, U256::ZERO).await })
    }

    async fn send(&self, to: Address, data: Vec<u8>, value: U256) -> Result<B256, ChainError> {
        let from = self.sender.ok_or(ChainError::NoSender)?;
        let request = TransactionRequest::default()
            .with_from(from)
            .with_to(to)
            .with_input(data)
            .with_value(value);
        let sent = timeout(self.timeout, self.provider.send_transaction(request)).await;
        let sent = sent.map_err(|_| ChainError::Timeout("the endpoint did not take the transaction"))?;
        let hash = *sent.map_err(rpc)?.tx_hash();
        timeout(self.timeout, self.mined(hash))
            .await
            .map_err(|_| ChainError::Timeout("the transaction was not mined"))?
    }

    async fn mined(&self, hash: B256) -> Result<B256, ChainError> {
        loop {
            match within(async { self.provider.get_transaction_receipt(hash).await }).await {
                Ok(Some(receipt)) if receipt.status() => return Ok(hash),
                Ok(Some(_)) => return Err(ChainError::Reverted { tx: hash.to_string() }),
                Ok(None) => {}
                // The transaction is sent: a failed look at it says nothing about it.
                Err(error) => tracing::warn!(%error, %hash, "the receipt cannot be read"),
            }
            sleep(self.poll.min(Duration::from_secs(1))).await;
        }
    }
}

/// One call of the endpoint, with a time limit: an endpoint that does not answer is one that failed.
async fn within<T, E: std::fmt::Display>(call: impl Future<Output = Result<T, E>>) -> Result<T, ChainError> {
    match timeout(CALL_MAX, call).await {
        Ok(answer) => answer.map_err(rpc),
        Err(_) => Err(ChainError::Rpc("no answer in time".to_owned())),
    }
}

fn rpc(error: impl std::fmt::Display) -> ChainError {
    ChainError::Rpc(error.to_string())
}

/// `None` when the numbers contradict each other.
fn facts_of(state: &ChannelState) -> Option<Facts> {
    let total = i128::try_from(state.total).ok()?;
    let client_withdrawn = i128::try_from(state.clientWithdrawn).ok()?;
    let client = state.clientNet.checked_add(client_withdrawn)?;
    let hub_withdrawn = i128::try_from(state.hubWithdrawn).ok()?;
    let hub = total.checked_sub(state.clientNet)?.checked_add(hub_withdrawn)?;
    Some(Facts {
        open: matches!(state.status, Status::Open),
        disputed: matches!(state.status, Status::Disputed),
        closed: matches!(state.status, Status::Closed),
        client_deposit: Amount(u128::try_from(client).ok()?),
        hub_deposit: Amount(u128::try_from(hub).ok()?),
        client_withdrawn: Amount(state.clientWithdrawn),
        hub_withdrawn: Amount(state.hubWithdrawn),
        dispute_no: Seq(state.disputeNo),
    })
}
