//! Sends with a journal: signed, written down durably, sent. In this order.

use super::{
    exit::SettleError,
    journal::{Ending, Entry, Journal, Purpose},
    node::Node,
    plan::{Plan, Proof},
    send::{Cost, NotSent, Transaction},
    wait::{Included, Mined, Progress},
};
use alloy::{
    network::EthereumWallet,
    primitives::{Address, B256},
};
use futures::future::BoxFuture;
use protocol_spec::ChannelId;
use std::collections::BTreeSet;

/// One key, one node, one journal.
#[derive(Debug)]
pub(super) struct Outbox<'a> {
    pub(super) node: &'a Node,
    pub(super) wallet: &'a EthereumWallet,
    pub(super) journal: &'a mut Journal,
    pub(super) chain_id: u64,
}

impl Purpose {
    /// Of a plan about one channel.
    #[must_use]
    pub fn of(plan: &Plan, channel: ChannelId) -> Self {
        Self {
            command: plan.command.to_owned(),
            channels: vec![channel],
            event: plan.proof.name.to_owned(),
            about: plan.proof.about,
        }
    }

    /// Of one call for many channels, of which each has its own event.
    #[must_use]
    pub fn many(command: &str, channels: Vec<ChannelId>) -> Self {
        Self {
            command: command.to_owned(),
            channels,
            event: String::new(),
            about: B256::ZERO,
        }
    }

    /// The event that proves it for one of its channels.
    #[must_use]
    pub fn proof(&self, channel: ChannelId) -> Option<Proof> {
        let each = match self.command.as_str() {
            "submit" => "Submitted",
            "withdraw" => "Withdrawn",
            _ => "Closed",
        };
        match self.event.as_str() {
            "" => Proof::named(each, B256::from(channel.0)),
            event => Proof::named(event, self.about),
        }
    }
}

impl Outbox<'_> {
    /// The sender's next nonce: the lowest from the node's count on that the journal does not have open. What waits behind a
    /// number that was given up (a node refused it) gets into no block before that is used.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub(super) async fn next_nonce(&self, sender: Address) -> Result<u64, SettleError> {
        let counted = self.node.next_nonce(sender).await?;
        let entries = self.journal.open_entries().iter();
        let own = entries.filter(|entry| entry.sender == sender && entry.chain_id.0 == self.chain_id);
        Ok(lowest_free(counted, &own.map(|entry| entry.nonce.0).collect()))
    }

    /// Signs, writes down, sends.
    ///
    /// # Errors
    /// As [`Node::sign`] and [`Journal::record`]; what the node said when it will not take it; and
    /// [`SettleError::NotIncluded`] when it may have arrived: running again goes on with it.
    pub(super) fn send<'a>(
        &'a mut self,
        purpose: Purpose,
        call: &'a Transaction,
        cost: &'a Cost,
        nonce: u64,
    ) -> BoxFuture<'a, Result<Entry, SettleError>> {
        Box::pin(async move {
            let signed = self.node.sign(call, cost, self.wallet, nonce).await?;
            let entry = self.journal.record(purpose, call, self.chain_id, &signed)?;
            match self.node.send_raw(&signed.raw).await {
                Ok(()) => Ok(entry),
                Err(NotSent::Refused(error)) => {
                    self.journal.end(signed.hash, Ending::Refused)?;
                    Err(error)
                }
                Err(NotSent::Unknown(error)) => Err(SettleError::NotIncluded(format!(
                    "{} may have arrived although there was no answer ({error}); run the same again, it goes on from {}",
                    signed.hash,
                    self.journal.path().display()
                ))),
            }
        })
    }

    /// Waits for what was sent and writes down what became of it.
    ///
    /// # Errors
    /// As [`Node::wait_telling`].
    pub(super) fn wait<'a>(
        &'a mut self,
        entry: &'a Entry,
        call: &'a Transaction,
        confirmations: u64,
        tell: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Mined, SettleError>> {
        Box::pin(async move {
            let found = self.node.wait_included(entry.hash, confirmations, tell).await?;
            self.ended(entry, &found)?;
            match found.receipt.status() {
                true => found.proven(call),
                false => Err(self.node.explain(call, found.block).await),
            }
        })
    }

    /// Writes down that it is in a block.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn ended(&mut self, entry: &Entry, found: &Included) -> Result<(), SettleError> {
        let ending = if found.receipt.status() {
            Ending::Mined
        } else {
            Ending::Reverted
        };
        self.journal.end(entry.hash, ending)
    }
}

/// The lowest number from `counted` on that is not `taken`.
fn lowest_free(counted: u64, taken: &BTreeSet<u64>) -> u64 {
    let mut free = counted;
    while taken.contains(&free) {
        free = free.saturating_add(1);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_filled_before_anything_is_added() {
        let free = |counted, taken: &[u64]| lowest_free(counted, &taken.iter().copied().collect());
        assert_eq!(free(5, &[]), 5);
        assert_eq!(free(5, &[6, 7]), 5);
        assert_eq!(free(5, &[5, 6, 8]), 7);
        assert_eq!(free(7, &[5, 6]), 7);
    }
}
