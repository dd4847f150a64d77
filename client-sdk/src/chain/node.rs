//! One RPC endpoint.

use super::{Asked, Facts, Reading, Seen, Shown, rpc, unread, within};
use crate::{ChainError, Rpc};
use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::TransactionBuilder,
    primitives::{B256, Bytes},
    providers::{DynProvider, Provider, RootProvider},
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use protocol_spec::{
    Address, Amount, ChannelId, Condition, Digest, Seq, Side, UnixSeconds, Witness,
    abi::{ChannelState, IAdjudicator, LocksState, Status},
    marks, probe,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::OnceCell;

/// An endpoint, connected and checked when it is first needed.
#[derive(Debug)]
pub(super) struct Node {
    /// For people: never more of a URL than its host, because the rest may hold a key.
    pub(super) name: String,
    rpc: Rpc,
    chain_id: u64,
    provider: OnceCell<DynProvider>,
}

impl Node {
    pub(super) fn new(number: usize, rpc: Rpc, chain_id: u64) -> Self {
        let name = match &rpc {
            Rpc::Url(url) => host(url),
            Rpc::Provider(_) => format!("provider {number}"),
        };
        Self {
            name,
            rpc,
            chain_id,
            provider: OnceCell::new(),
        }
    }

    /// Connects, and checks the chain id, unless that is done.
    pub(super) async fn provider(&self) -> Result<&DynProvider, ChainError> {
        self.provider.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<DynProvider, ChainError> {
        let provider = match &self.rpc {
            Rpc::Provider(provider) => provider.clone(),
            Rpc::Url(url) => {
                RootProvider::new(node_rpc::client(url, node_rpc::Asks::State).map_err(rpc)?).erased()
            }
        };
        self.check_chain(&provider).await?;
        Ok(provider)
    }

    async fn check_chain(&self, provider: &DynProvider) -> Result<(), ChainError> {
        let got = within(async { provider.get_chain_id().await }).await?;
        match got == self.chain_id {
            true => Ok(()),
            false => Err(ChainError::WrongChain {
                expected: self.chain_id,
                got,
            }),
        }
    }

    /// Reads `channels` at its newest block and `confirmations` below.
    pub(super) async fn read(
        &self,
        adjudicator: Address,
        confirmations: u64,
        channels: &[Asked],
    ) -> Result<Reading, ChainError> {
        // Each time: behind one address may be other nodes than before.
        self.check_chain(self.provider().await?).await?;
        let (number, now) = self.block(BlockNumberOrTag::Latest).await?;
        let old = number.saturating_sub(confirmations);
        let (_, confirmed) = self.block(BlockNumberOrTag::Number(old)).await?;
        let mut seen = BTreeMap::new();
        for asked in channels {
            let id = &asked.id;
            let settled = self.facts(adjudicator, id, old).await?;
            let marked_for_good = self.marked(adjudicator, asked, &settled, old).await;
            let (newest, marked) = match old == number {
                true => (settled, marked_for_good.clone()),
                false => {
                    let newest = self.facts(adjudicator, id, number).await?;
                    (newest, self.marked(adjudicator, asked, &newest, number).await)
                }
            };
            let one = Seen {
                marked,
                marked_for_good,
                ..Seen::by_one(settled, newest)
            };
            seen.insert(*id, one);
        }
        Ok(Reading {
            number,
            confirmed_number: old,
            now,
            confirmed,
            too_few: false,
            channels: seen,
        })
    }

    /// Which of the locks asked about are marked at `block` (R17). What an endpoint cannot tell it leaves out: then the locks count
    /// as far as their witnesses do.
    async fn marked(&self, adjudicator: Address, asked: &Asked, facts: &Facts, block: u64) -> BTreeSet<u64> {
        let mut marked = BTreeSet::new();
        // A lock is marked in disputes only.
        if facts.dispute_no == Seq::NONE {
            return marked;
        }
        for locks in asked.locks.chunks(marks::LEAVES_MAX) {
            match self.marks(adjudicator, &asked.id, locks, block).await {
                Ok(told) => {
                    let told = locks.iter().zip(told);
                    marked.extend(told.filter_map(|((id, _), seq)| seq.map(|_| *id)));
                }
                Err(error) => tracing::debug!(node = self.name, %error, "which locks are marked is not told"),
            }
        }
        marked
    }

    async fn marks(
        &self,
        adjudicator: Address,
        id: &ChannelId,
        locks: &[(u64, Digest)],
        block: u64,
    ) -> Result<Vec<Option<u64>>, ChainError> {
        let leaves: Vec<Digest> = locks.iter().map(|(_, leaf)| *leaf).collect();
        let code = marks::code(adjudicator, *id, Side::Hub, &leaves);
        let request = TransactionRequest::default().with_input(code);
        let provider = self.provider().await?;
        let output = within(async { provider.call(request).block(BlockId::number(block)).await }).await?;
        let told = marks::answer(&output, leaves.len());
        told.ok_or_else(|| ChainError::Rpc("the endpoint does not run creation code in eth_call".to_owned()))
    }

    /// What the resolver of `condition` says of `witness` at the newest confirmed block, asked as the adjudicator would.
    pub(super) async fn opens(
        &self,
        confirmations: u64,
        condition: &Condition,
        witness: &Witness,
    ) -> Result<bool, ChainError> {
        let (number, _) = self.block(BlockNumberOrTag::Latest).await?;
        let at = BlockId::number(number.saturating_sub(confirmations));
        let request = TransactionRequest::default().with_input(probe::code(condition, witness));
        let provider = self.provider().await?;
        let output = within(async { provider.call(request).block(at).await }).await?;
        let answer = probe::answer(&output);
        answer
            .ok_or_else(|| ChainError::Rpc("the endpoint does not run creation code in eth_call".to_owned()))
    }

    /// A call at the newest block.
    pub(super) async fn call(&self, to: Address, data: Vec<u8>) -> Result<Bytes, ChainError> {
        let request = TransactionRequest::default().with_to(to).with_input(data);
        let provider = self.provider().await?;
        within(async { provider.call(request).await }).await
    }

    async fn block(&self, at: BlockNumberOrTag) -> Result<(u64, UnixSeconds), ChainError> {
        let provider = self.provider().await?;
        let block = within(async { provider.get_block_by_number(at).await }).await?;
        let block = block.ok_or_else(|| ChainError::Rpc(format!("block {at} is unknown")))?;
        Ok((block.header.number, UnixSeconds(block.header.timestamp)))
    }

    async fn facts(&self, adjudicator: Address, id: &ChannelId, block: u64) -> Result<Facts, ChainError> {
        let call = IAdjudicator::channelCall {
            channelId: B256::from(id.0),
        };
        let request = TransactionRequest::default()
            .with_to(adjudicator)
            .with_input(call.abi_encode());
        let at = BlockId::Number(BlockNumberOrTag::Number(block));
        let provider = self.provider().await?;
        let answer: Bytes = within(async { provider.call(request).block(at).await }).await?;
        if answer.is_empty() {
            // The adjudicator was not deployed yet at that block.
            return Ok(Facts::default());
        }
        let state = IAdjudicator::channelCall::abi_decode_returns(&answer).map_err(unread)?;
        facts_of(&state).ok_or_else(|| ChainError::Rpc("the adjudicator's numbers do not add up".to_owned()))
    }
}

/// `scheme://host:port` of a URL.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// `None` when the numbers contradict each other.
fn facts_of(state: &ChannelState) -> Option<Facts> {
    let total = i128::try_from(state.total).ok()?;
    let client_withdrawn = i128::try_from(state.clientWithdrawn).ok()?;
    let client = state.clientNet.checked_add(client_withdrawn)?;
    let hub_withdrawn = i128::try_from(state.hubWithdrawn).ok()?;
    let hub = total.checked_sub(state.clientNet)?.checked_add(hub_withdrawn)?;
    let shown = |seq: u64, paid: u128, locks: &LocksState| Shown {
        seq: Seq(seq),
        paid: Amount(paid),
        live: locks.live,
        opened: locks.live && locks.opened,
        counted: Amount(if locks.live { locks.counted } else { 0 }),
        window_end: UnixSeconds(state.windowEnd),
    };
    Some(Facts {
        open: matches!(state.status, Status::Open),
        disputed: matches!(state.status, Status::Disputed),
        closed: matches!(state.status, Status::Closed),
        client_deposit: Amount(u128::try_from(client).ok()?),
        hub_deposit: Amount(u128::try_from(hub).ok()?),
        client_withdrawn: Amount(state.clientWithdrawn),
        hub_withdrawn: Amount(state.hubWithdrawn),
        dispute_no: Seq(state.disputeNo),
        shown: shown(state.hubSeq, state.hubPaid, &state.hubLocks),
        taken: shown(state.clientSeq, state.clientPaid, &state.clientLocks),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_name_of_a_node_and_its_errors_hold_no_secret() {
        let url = "http://user:secret@127.0.0.1:1/v3/key?token=1";
        let node = Node::new(1, Rpc::Url(url.to_owned()), 1);
        assert_eq!(node.name, "http://127.0.0.1:1");
        let told = node.provider().await.unwrap_err().to_string();
        assert!(told.contains("127.0.0.1:1"), "{told}");
        for secret in ["secret", "key", "token"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}
