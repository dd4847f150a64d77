//! The port's methods over several endpoints.

use super::super::Chain;
use super::super::client::AlloyChain;
use super::super::error::ChainError;
use super::super::outlet::nonces_of;
use super::super::send::SendQueue;
use super::super::types::{
    BlockRef, CallRequest, ChainLog, LogQuery, Nonces, SentTx, Tended, TxReceipt, TxRequest,
};
use super::QuorumChain;
use super::ask::Ask;
use super::ballot::{Ballot, Brief, nth_highest};
use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;

/// Blocks below the highest that enough endpoints claim, among which a common one is looked for: at the tip honest
/// nodes are on different branches for a moment.
const TIP_BLOCKS: u64 = 3;

impl QuorumChain {
    /// The newest block that enough endpoints have in common.
    pub(super) async fn common_head(&self) -> Result<BlockRef, ChainError> {
        let (panel, what) = (&self.panel, "the head");
        let agree = panel.options.agree;
        let heads = panel
            .gather(what, agree, &|port| {
                Box::pin(async move { port.head().await.map(Some) })
            })
            .await;
        let told = heads.iter().filter_map(head_of);
        for (member, head) in told.clone() {
            if let Some(member) = panel.members.get(member) {
                member.saw_head(head.number);
            }
        }
        let reached = nth_highest(told.map(|(_, head)| head.number).collect(), agree);
        let reached = reached.filter(|_| heads.iter().filter_map(head_of).count() >= agree);
        let Some(reached) = reached else {
            return Err(panel.telling(what, &heads, agree));
        };
        let mut missed = None;
        for number in (reached.saturating_sub(TIP_BLOCKS)..=reached).rev() {
            // An endpoint whose head is at this height has cast its vote; those that are further are asked.
            let is_here =
                |ballot: &&Ballot<BlockRef>| head_of(ballot).is_some_and(|(_, head)| head.number == number);
            let mut ballots: Vec<_> = heads.iter().filter(is_here).cloned().collect();
            panel
                .poll(what, Some(number), &block_at(number), &mut ballots)
                .await;
            match panel.verdict(what, &ballots) {
                Ok(Some(block)) => return Ok(block),
                Ok(None) => {}
                Err(error) => missed = missed.or(Some(error)),
            }
        }
        let error = missed.unwrap_or_else(|| panel.telling(what, &heads, agree));
        if let Some(held_back) = panel.disagreed.due("the newest block") {
            tracing::warn!(%error, held_back, "chain endpoints have no newest block in common: nothing is believed");
        }
        Err(error)
    }

    /// The height that "the newest" stands for; `None` with one endpoint, which knows best.
    async fn pinned(&self, at: Option<u64>) -> Result<Option<u64>, ChainError> {
        match (at, self.panel.only()) {
            (None, None) => Ok(Some(self.common_head().await?.number)),
            _ => Ok(at),
        }
    }

    async fn agreed<T>(&self, what: &'static str, height: Option<u64>, ask: &Ask<T>) -> Result<T, ChainError>
    where
        T: Brief + Clone + PartialEq + Send,
    {
        let found = self.panel.agreed(what, height, ask).await?;
        found.ok_or_else(|| ChainError::BadAnswer(format!("no endpoint has {what}")))
    }

    /// The first endpoint that does it, for what must not be done more than once.
    async fn once<T: Brief + Send>(&self, what: &'static str, ask: &Ask<T>) -> Result<(), ChainError> {
        let mut ballots = Vec::new();
        for (index, member) in self.panel.members.iter().enumerate() {
            match member.ask(self.panel.identity, ask).await {
                Ok(_) => return Ok(()),
                answer => ballots.push(Ballot {
                    member: index,
                    answer,
                }),
            }
        }
        Err(self.panel.telling(what, &ballots, 1))
    }

    fn queue(&self) -> Result<&SendQueue, ChainError> {
        self.queue
            .as_ref()
            .ok_or_else(|| ChainError::Config("this chain port has no key to send with".to_owned()))
    }
}

fn head_of(ballot: &Ballot<BlockRef>) -> Option<(usize, BlockRef)> {
    let head = ballot.answer.as_ref().ok().copied().flatten()?;
    Some((ballot.member, head))
}

fn block_at(number: u64) -> Box<Ask<BlockRef>> {
    Box::new(move |port| Box::pin(async move { port.block(number).await }))
}

/// Logs with the hash of the range's last block; `None` if the node has not got so far: its logs would be
/// incomplete without saying so.
async fn logs_with_block(
    port: AlloyChain,
    query: LogQuery,
) -> Result<Option<(B256, Vec<ChainLog>)>, ChainError> {
    let Some(last) = port.block(query.to).await? else {
        return Ok(None);
    };
    let logs = port.logs(query).await?;
    Ok(Some((last.hash, logs)))
}

#[async_trait]
impl Chain for QuorumChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.chain_id)
    }

    async fn genesis_hash(&self) -> Result<B256, ChainError> {
        match self.panel.identity {
            Some(identity) => Ok(identity.genesis),
            None => {
                let genesis = self.agreed("block 0", None, &*block_at(0)).await?;
                Ok(genesis.hash)
            }
        }
    }

    async fn code_hash(&self, address: Address) -> Result<B256, ChainError> {
        let at = self.pinned(None).await?;
        self.agreed("the code", at, &move |port| {
            Box::pin(async move { port.code_hash_at(address, at).await.map(Some) })
        })
        .await
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        match self.panel.only() {
            Some(only) => {
                let ask = |port: AlloyChain| -> futures::future::BoxFuture<'static, _> {
                    Box::pin(async move { port.head().await })
                };
                let head = only.ask(None, ask).await?;
                only.saw_head(head.number);
                Ok(head)
            }
            None => self.common_head().await,
        }
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.panel
            .agreed("a block", Some(number), &*block_at(number))
            .await
    }

    async fn logs(&self, query: LogQuery) -> Result<Vec<ChainLog>, ChainError> {
        if let Some(only) = self.panel.only() {
            return only
                .ask(None, |port| Box::pin(async move { port.logs(query).await }))
                .await;
        }
        let ask =
            move |port| -> futures::future::BoxFuture<'static, _> { Box::pin(logs_with_block(port, query)) };
        let (_, logs) = self.agreed("the logs", Some(query.to), &ask).await?;
        Ok(logs)
    }

    async fn call(&self, request: CallRequest) -> Result<Bytes, ChainError> {
        let at = self.pinned(request.at).await?;
        let request = CallRequest { at, ..request };
        self.agreed("a call", at, &move |port| {
            let request = request.clone();
            Box::pin(async move { port.call(request).await.map(Some) })
        })
        .await
    }

    async fn balance(&self, address: Address) -> Result<U256, ChainError> {
        let at = self.pinned(None).await?;
        self.agreed("a balance", at, &move |port| {
            Box::pin(async move { port.balance_at(address, at).await.map(Some) })
        })
        .await
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
        self.panel
            .agreed("a receipt", None, &move |port| {
                Box::pin(async move { port.receipt(hash).await })
            })
            .await
    }

    async fn wait(&self, hash: B256, confirmations: u64) -> Result<TxReceipt, ChainError> {
        super::super::wait::wait(self, self.queue.as_ref(), &self.options, hash, confirmations).await
    }

    async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        self.once::<U256>("mining on demand", &move |port| {
            Box::pin(async move { port.mine(blocks).await.map(|()| None) })
        })
        .await
    }

    async fn increase_time(&self, by_s: u64) -> Result<(), ChainError> {
        self.once::<U256>("time travel", &move |port| {
            Box::pin(async move { port.increase_time(by_s).await.map(|()| None) })
        })
        .await
    }
}
