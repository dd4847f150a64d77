//! What became of the transactions that a journal left open, and going on with them: never a second one with another nonce.

use super::{
    exit::SettleError,
    journal::{Ending, Entry, Journal},
    node::{Node, timed},
    send::NotSent,
    wait::{Included, POLL, Progress, WAIT_TIMEOUT},
};
use alloy::providers::Provider as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

/// What became of one transaction.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// In a block, whatever it did there. The journal knows.
    Included(Box<Included>),
    /// The node has it, or was given it again.
    Pending,
    /// Another transaction took its nonce, or the node will not take it. The journal knows.
    Lost(String),
}

/// One entry and its fate.
#[derive(Clone, Debug)]
pub(super) struct Resumed {
    pub(super) entry: Entry,
    pub(super) fate: Fate,
}

impl Resumed {
    /// In a block, and it succeeded.
    pub(super) fn done(&self) -> Option<&Included> {
        match &self.fate {
            Fate::Included(found) if found.receipt.status() => Some(found),
            _ => None,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Entry {
            purpose, hash, nonce, ..
        } = &self.entry;
        let what = format!("an earlier {} ({hash}, nonce {nonce})", purpose.command);
        match &self.fate {
            Fate::Included(found) if found.receipt.status() => format!("{what} is in block {}", found.block),
            Fate::Included(found) => format!("{what} failed in block {}", found.block),
            Fate::Pending => format!("{what} is in no block yet"),
            Fate::Lost(why) => format!("{what} can no longer be mined: {why}"),
        }
    }
}

/// Looks after everything that `journal` has open on this chain: looks for it, and gives the node again what it does not
/// know. What is decided is written down.
///
/// # Errors
/// [`SettleError::Unreachable`], and the journal's.
pub(super) fn look<'a>(
    node: &'a Node,
    journal: &'a mut Journal,
    chain_id: u64,
) -> BoxFuture<'a, Result<Vec<Resumed>, SettleError>> {
    Box::pin(async move {
        let entries: Vec<_> = journal.open_entries().to_vec();
        let mut resumed = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.chain_id.0 == chain_id) {
            let fate = fate(node, &entry).await?;
            if let Some(ending) = ending(&fate) {
                journal.end(entry.hash, ending)?;
            }
            resumed.push(Resumed { entry, fate });
        }
        Ok(resumed)
    })
}

/// [`look`], and then waits for what is pending.
///
/// # Errors
/// The same, and [`SettleError::NotIncluded`].
pub(super) fn finish<'a>(
    node: &'a Node,
    journal: &'a mut Journal,
    chain_id: u64,
    confirmations: u64,
    tell: &'a mut (dyn FnMut(Progress) + Send),
) -> BoxFuture<'a, Result<Vec<Resumed>, SettleError>> {
    Box::pin(async move {
        let began = Instant::now();
        let mut resumed = Vec::new();
        loop {
            let looked = look(node, journal, chain_id).await?;
            let (pending, ended): (Vec<_>, Vec<_>) = looked
                .into_iter()
                .partition(|one| matches!(one.fate, Fate::Pending));
            resumed.extend(ended);
            let Some(first) = pending.first() else { break };
            tell(Progress::Pending {
                waited: began.elapsed(),
            });
            if began.elapsed() >= WAIT_TIMEOUT {
                return Err(SettleError::NotIncluded(format!(
                    "{}; replace it with --nonce {} and higher fees, or wait longer",
                    first.text(),
                    first.entry.nonce
                )));
            }
            tokio::time::sleep(POLL).await;
        }
        for one in resumed.iter_mut().filter(|one| one.done().is_some()) {
            let found = node.wait_included(one.entry.hash, confirmations, tell).await?;
            one.fate = Fate::Included(Box::new(found));
        }
        Ok(resumed)
    })
}

fn ending(fate: &Fate) -> Option<Ending> {
    match fate {
        Fate::Included(found) if found.receipt.status() => Some(Ending::Mined),
        Fate::Included(_) => Some(Ending::Reverted),
        Fate::Pending => None,
        Fate::Lost(_) => Some(Ending::Replaced),
    }
}

async fn fate(node: &Node, entry: &Entry) -> Result<Fate, SettleError> {
    if let Some(found) = node.included(entry.hash).await? {
        return Ok(Fate::Included(Box::new(found)));
    }
    // Only whether: what else one node says of it could be unreadable.
    let known = node
        .provider
        .raw_request::<_, Option<serde_json::Value>>("eth_getTransactionByHash".into(), (entry.hash,));
    if timed("eth_getTransactionByHash", known).await?.is_some() {
        return Ok(Fate::Pending);
    }
    let next = timed("eth_getTransactionCount", async {
        node.provider.get_transaction_count(entry.sender).await
    });
    if next.await? > entry.nonce.0 {
        // It may have been mined between the two questions.
        return Ok(match node.included(entry.hash).await? {
            Some(found) => Fate::Included(Box::new(found)),
            None => Fate::Lost("another transaction took its nonce".to_owned()),
        });
    }
    match node.send_raw(&entry.raw).await {
        Ok(()) => Ok(Fate::Pending),
        Err(NotSent::Unknown(error)) => Err(error),
        Err(NotSent::Refused(error)) => Ok(match node.included(entry.hash).await? {
            Some(found) => Fate::Included(Box::new(found)),
            None => refused(node, entry, error).await?,
        }),
    }
}

/// A refusal is final only when the nonce is free for another transaction; else this one may still be somewhere.
async fn refused(node: &Node, entry: &Entry, error: SettleError) -> Result<Fate, SettleError> {
    match node.next_nonce(entry.sender).await? <= entry.nonce.0 {
        true => Ok(Fate::Lost(format!("the node will not take it ({error})"))),
        false => Ok(Fate::Pending),
    }
}
