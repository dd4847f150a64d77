//! The watchtower's transactions: nonces in order, every one in the journal, those that are stuck replaced.

use super::{
    again::Again,
    event::{Event, Voice},
    folder::Ward,
    watchtower::WatchOptions,
};
use crate::settle::{
    Node, SettleError,
    evidence::CheckedEvidence,
    journal::{Entry, Journal, Purpose},
    outbox::Outbox,
    plan::Plan,
    resume::{self, Fate, Resumed},
    send::{Cost, Fees, Transaction, fee_most},
    signer::Signer,
    wait::Progress,
};
use alloy::{
    network::EthereumWallet,
    primitives::{Address, TxHash},
};
use protocol_spec::{ChannelId, Side};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// What is on its way: the sides whose evidence is being shown, and the channels that are being paid out (`None`).
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeSet<(ChannelId, Option<Side>)>);

impl Pending {
    fn add(&mut self, entry: &Entry) {
        let side = entry.shown_side();
        self.0.extend(entry.purpose.channels.iter().map(|id| (*id, side)));
    }

    /// True when nothing more is to be sent for this side now. What is on its way for the other side does not count.
    pub(super) fn covers(&self, (id, side): Ward) -> bool {
        [None, Some(side)]
            .iter()
            .any(|side| self.0.contains(&(id, *side)))
    }
}

pub(super) struct Sender {
    node: Node,
    wallet: EthereumWallet,
    address: Address,
    journal: Journal,
    chain_id: Option<u64>,
    fee_max: Option<u128>,
    /// Most gas for what one side of a channel hands in.
    gas_max: u64,
    bump_after: Duration,
    /// The nonce of the next transaction of this look.
    nonce: Option<u64>,
    /// When each transaction was first seen pending by this process.
    pending_since: BTreeMap<TxHash, Instant>,
    voice: Voice,
}

impl Sender {
    pub(super) fn new(
        options: &WatchOptions,
        node: Node,
        signer: &Signer,
        journal: Journal,
        voice: Voice,
    ) -> Self {
        Self {
            node,
            address: signer.address(),
            wallet: signer.wallet(),
            journal,
            chain_id: None,
            fee_max: options.fee_max,
            gas_max: options.gas_max_per_channel,
            bump_after: options.bump_after,
            nonce: None,
            pending_since: BTreeMap::new(),
            voice,
        }
    }

    async fn chain_id(&mut self) -> Result<u64, SettleError> {
        match self.chain_id {
            Some(chain_id) => Ok(chain_id),
            None => {
                let chain_id = self.node.chain_id().await?;
                self.chain_id = Some(chain_id);
                Ok(chain_id)
            }
        }
    }

    /// Looks after what was sent before. Returns what of it is on its way.
    pub(super) async fn resume(&mut self, again: &mut Again) -> Result<Pending, SettleError> {
        let chain_id = self.chain_id().await?;
        self.nonce = None;
        let looked = resume::look(&self.node, &mut self.journal, chain_id).await?;
        self.tell(&looked, again);
        let pending = looked.iter().filter(|one| matches!(one.fate, Fate::Pending));
        // The last of one nonce is the one with the highest fees.
        let newest: BTreeMap<u64, &Entry> = pending.map(|one| (one.entry.nonce.0, &one.entry)).collect();
        let mut on_their_way = Pending::default();
        newest.values().for_each(|entry| on_their_way.add(entry));
        self.pending_since
            .retain(|hash, _| newest.values().any(|entry| entry.hash == *hash));
        for entry in newest.into_values() {
            let since = *self.pending_since.entry(entry.hash).or_insert_with(Instant::now);
            if since.elapsed() >= self.bump_after {
                self.bump(entry).await?;
            }
        }
        Ok(on_their_way)
    }

    /// Waits for everything that was sent.
    pub(super) async fn finish(&mut self, again: &mut Again) -> Result<(), SettleError> {
        let chain_id = self.chain_id().await?;
        let mut tell = |_: Progress| {};
        let looked = resume::finish(&self.node, &mut self.journal, chain_id, 1, &mut tell).await?;
        self.tell(&looked, again);
        Ok(())
    }

    fn tell(&self, looked: &[Resumed], again: &mut Again) {
        looked
            .iter()
            .filter(|one| one.done().is_some())
            .for_each(|one| again.mined(&one.entry));
        looked
            .iter()
            .filter(|one| matches!(&one.fate, Fate::Included(found) if !found.receipt.status()))
            .for_each(|one| again.reverted(&one.entry));
        for one in looked {
            let name = match &one.fate {
                Fate::Pending => continue,
                Fate::Included(found) if found.receipt.status() => "mined",
                Fate::Included(_) => "reverted",
                // Its own successor took the nonce.
                Fate::Lost(_) if looked.iter().any(|other| replaced(one, other)) => continue,
                Fate::Lost(_) => "lost",
            };
            Event::new(name, one.text())
                .with("command", json!(one.entry.purpose.command))
                .with("channels", json!(one.entry.purpose.channels))
                .with("transaction", json!(one.entry.hash))
                .emit(&self.voice);
        }
    }

    /// Simulates, prices, signs, writes down, sends.
    pub(super) async fn post(&mut self, purpose: Purpose, call: &Transaction) -> Result<(), SettleError> {
        let cost = self.node.simulate_with(call, Fees::default()).await?;
        self.post_at(purpose, call, cost).await
    }

    async fn post_at(&mut self, purpose: Purpose, call: &Transaction, cost: Cost) -> Result<(), SettleError> {
        let cost = match self.fee_max {
            Some(most) => Cost {
                fee_per_gas_max: cost.fee_per_gas_max.min(most),
                priority_fee_per_gas_max: cost.priority_fee_per_gas_max.min(most),
                ..cost
            },
            None => cost,
        };
        let nonce = match self.nonce {
            Some(nonce) => nonce,
            None => {
                let sender = self.address;
                self.outbox().await?.next_nonce(sender).await?
            }
        };
        // An unanswered transaction counts as sent: the next look gives it to the node again.
        self.nonce = None;
        let sent = self
            .outbox()
            .await?
            .send(purpose.clone(), call, &cost, nonce)
            .await;
        if matches!(sent, Ok(_) | Err(SettleError::NotIncluded(_))) {
            self.nonce = Some(nonce.saturating_add(1));
        }
        let entry = sent?;
        Event::new(
            "sent",
            format!("{} as {}, nonce {nonce}", purpose.command, entry.hash),
        )
        .with("command", json!(purpose.command))
        .with("channels", json!(purpose.channels))
        .with("transaction", json!(entry.hash))
        .with("nonce", json!(nonce.to_string()))
        .emit(&self.voice);
        Ok(())
    }

    /// [`Self::post`] of a plan that shows evidence. What a stranger's may take in gas is limited.
    pub(super) async fn show(&mut self, plan: &Plan, evidence: &CheckedEvidence) -> Result<(), SettleError> {
        let call = plan.transaction();
        let cost = self.node.simulate_with(&call, Fees::default()).await?;
        let taken = self.journal.spent().gas(evidence.id(), evidence.side());
        let own = evidence.is_party(self.address);
        if !own && taken.saturating_add(cost.gas_limit) > self.gas_max {
            return Err(SettleError::Refused(format!(
                "its packages took {taken} gas already and one more exceeds --max-gas-per-channel {}: is it defended, or \
                 made to pay? Raise the limit to go on",
                self.gas_max
            )));
        }
        self.post_at(Purpose::of(plan, evidence.id()), &call, cost).await
    }

    async fn outbox(&mut self) -> Result<Outbox<'_>, SettleError> {
        let chain_id = self.chain_id().await?;
        Ok(Outbox {
            node: &self.node,
            wallet: &self.wallet,
            journal: &mut self.journal,
            chain_id,
        })
    }

    /// The same call under the same nonce with higher fees (E10).
    async fn bump(&mut self, entry: &Entry) -> Result<(), SettleError> {
        let Some((call, old)) = entry.call() else {
            return Ok(());
        };
        let fees = self.node.fees().await?;
        // Nodes ask for a tenth more; the node's own estimate may be far above that.
        let more = |fee: u128| fee.saturating_add(fee.div_ceil(4));
        let most = fee_most(self.fee_max, fees.0);
        let fee = more(old.fee_per_gas_max).max(fees.0).min(most);
        if fee
            < old
                .fee_per_gas_max
                .saturating_add(old.fee_per_gas_max.div_ceil(10))
        {
            let text = match self.fee_max {
                Some(_) => format!("{} is stuck, and --max-fee-gwei does not permit more", entry.hash),
                None => format!(
                    "{} is stuck and offers 8 times what the nodes ask for; --max-fee-gwei permits more",
                    entry.hash
                ),
            };
            Event::new("alarm", text)
                .with("transaction", json!(entry.hash))
                .emit(&self.voice);
            self.pending_since.insert(entry.hash, Instant::now());
            return Ok(());
        }
        let cost = Cost {
            fee_per_gas_max: fee,
            priority_fee_per_gas_max: more(old.priority_fee_per_gas_max).max(fees.1).min(fee),
            balance: self.node.coins(self.address).await?,
            ..old
        };
        let sent = self
            .outbox()
            .await?
            .send(entry.purpose.clone(), &call, &cost, entry.nonce.0)
            .await;
        // Whatever came of it: the next attempt is as far away as the first was.
        self.pending_since.insert(entry.hash, Instant::now());
        match sent {
            Ok(next) => {
                let text = format!(
                    "{} was stuck and is replaced by {} with higher fees",
                    entry.hash, next.hash
                );
                Event::new("bumped", text)
                    .with("transaction", json!(next.hash))
                    .with("fee_per_gas_max_wei", json!(fee.to_string()))
                    .emit(&self.voice);
                Ok(())
            }
            Err(error @ (SettleError::Usage(_) | SettleError::Internal(_))) => Err(error),
            Err(error) => {
                Event::new("cannot", format!("{} could not be replaced: {error}", entry.hash))
                    .emit(&self.voice);
                Ok(())
            }
        }
    }
}

/// True when `other` is the transaction that took the nonce of `one`.
fn replaced(one: &Resumed, other: &Resumed) -> bool {
    matches!(other.fate, Fate::Included(_))
        && (one.entry.sender, one.entry.nonce) == (other.entry.sender, other.entry.nonce)
}
