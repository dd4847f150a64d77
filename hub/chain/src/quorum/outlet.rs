//! Sending to several endpoints: measures that nothing rests on, and the same bytes for all.

use super::super::error::ChainError;
use super::super::outlet::{Outlet, Prices};
use super::QuorumChain;
use super::ask::Ask;
use super::ballot::{Brief, nth_highest};
use alloy::primitives::{Address, B256, Bytes};
use alloy::rpc::types::TransactionRequest;
use async_trait::async_trait;

impl QuorumChain {
    /// A measure on which nothing rests: the `agree`-th highest of all answers.
    async fn measured<N>(&self, what: &'static str, ask: &Ask<N>) -> Result<N, ChainError>
    where
        N: Brief + Copy + Ord + Send,
    {
        let agree = self.panel.options.agree;
        let ballots = self.panel.gather(what, agree, ask).await;
        let values = ballots.iter().filter_map(|ballot| ballot.answer.clone().ok()?);
        nth_highest(values.collect(), agree).ok_or_else(|| self.panel.telling(what, &ballots, agree))
    }
}

#[async_trait]
impl Outlet for QuorumChain {
    async fn height(&self) -> Result<u64, ChainError> {
        match self.panel.only() {
            Some(only) => {
                only.ask(None, |port| Box::pin(async move { port.height().await }))
                    .await
            }
            None => Ok(self.common_head().await?.number),
        }
    }

    async fn knows(&self, hash: B256) -> Result<bool, ChainError> {
        let ballots = self
            .panel
            .gather("a transaction", 1, &move |port| {
                Box::pin(async move { port.knows(hash).await.map(Some) })
            })
            .await;
        let answers = || ballots.iter().filter_map(|ballot| ballot.answer.clone().ok()?);
        match answers().next() {
            Some(_) => Ok(answers().any(|known| known)),
            None => Err(self.panel.telling("a transaction", &ballots, 1)),
        }
    }

    async fn next_nonce(&self, address: Address) -> Result<u64, ChainError> {
        self.measured("the nonce", &move |port| {
            Box::pin(async move { port.next_nonce(address).await.map(Some) })
        })
        .await
    }

    async fn used_nonce(&self, address: Address) -> Result<u64, ChainError> {
        self.measured("the nonce in blocks", &move |port| {
            Box::pin(async move { port.used_nonce(address).await.map(Some) })
        })
        .await
    }

    async fn estimate_gas(&self, call: TransactionRequest) -> Result<u64, ChainError> {
        let (what, agree) = ("a gas estimate", self.panel.options.agree);
        let ballots = self
            .panel
            .gather(what, agree, &move |port| {
                let call = call.clone();
                Box::pin(async move { port.estimate_gas(call).await.map(Some) })
            })
            .await;
        let estimates = ballots.iter().filter_map(|ballot| ballot.answer.clone().ok()?);
        let reverts = ballots.iter().filter(|ballot| {
            let error = ballot.answer.as_ref().err();
            error.is_some_and(|error| error.revert_data().is_some())
        });
        let reverts = reverts.count() >= agree;
        let estimate = nth_highest(estimates.collect::<Vec<u64>>(), agree).filter(|_| !reverts);
        estimate.ok_or_else(|| self.panel.telling(what, &ballots, agree))
    }

    async fn prices(&self) -> Result<Prices, ChainError> {
        let (what, agree) = ("fees", self.panel.options.agree);
        let ballots = self
            .panel
            .gather(what, agree, &|port| {
                Box::pin(async move { port.prices().await.map(Some) })
            })
            .await;
        let prices = || ballots.iter().filter_map(|ballot| ballot.answer.clone().ok()?);
        let base_fee = nth_highest(prices().map(|prices: Prices| prices.base_fee).collect(), agree);
        let tip = nth_highest(prices().map(|prices: Prices| prices.tip).collect(), agree);
        match (base_fee, tip) {
            (Some(base_fee), Some(tip)) => Ok(Prices { base_fee, tip }),
            _ => Err(self.panel.telling(what, &ballots, agree)),
        }
    }

    async fn submit(&self, raw: Bytes) -> Result<(), ChainError> {
        let what = "a transaction to send";
        let ballots = self
            .panel
            .gather(what, 1, &move |port| {
                let raw = raw.clone();
                Box::pin(async move { port.submit(raw).await.map(|()| Some(true)) })
            })
            .await;
        if ballots.iter().any(|ballot| ballot.answer.is_ok()) {
            return Ok(());
        }
        Err(self.panel.telling(what, &ballots, 1))
    }
}
