//! The owner of the key, of the next nonce, and of what is remembered.

use super::super::error::ChainError;
use super::super::outlet::{Outlet, is_nonce_stale};
use super::super::types::SentTx;
use super::Order;
use super::book::{Book, Entry};
use super::heirs::Heirs;
use super::prepare::{Policy, Ready};
use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::network::TxSignerSync as _;
use alloy::primitives::{Address, B256, Bytes};
use alloy::signers::local::PrivateKeySigner;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Tries to get one transaction into the node.
const TRIES_MAX: u32 = 3;
/// Pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(100);
/// A nonce that was not used for so long is read again: a reorg or a restart of the node may have passed.
const NONCE_FRESH_FOR: Duration = Duration::from_secs(10);

pub(super) struct Worker {
    pub(super) outlet: Arc<dyn Outlet>,
    signer: PrivateKeySigner,
    chain_id: u64,
    pub(super) policy: Policy,
    /// The next nonce, and when it was last known to be right; `None`: ask the node.
    nonce: Option<(u64, Instant)>,
    pub(super) book: Book,
    pub(super) heirs: Heirs,
}

/// A transaction, ready to be handed over.
pub(super) struct Signed {
    pub(super) raw: Bytes,
    pub(super) hash: B256,
}

/// A transaction that a node took.
pub(super) struct Delivered {
    pub(super) signed: Signed,
    pub(super) nonce: u64,
}

impl Worker {
    pub(super) fn new(
        outlet: Arc<dyn Outlet>,
        signer: PrivateKeySigner,
        chain_id: u64,
        policy: Policy,
        heirs: Heirs,
    ) -> Self {
        Self {
            outlet,
            signer,
            chain_id,
            policy,
            nonce: None,
            book: Book::default(),
            heirs,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Resync { forget, done } => {
                    self.nonce = None;
                    if let Some(entry) = forget.and_then(|hash| self.book.find(hash)).cloned() {
                        self.forget(&entry);
                    }
                    let _ = done.send(());
                }
                Order::Send { ready, reply } => {
                    let answer = self.send(*ready).await;
                    let _ = reply.send(answer);
                }
                Order::Tend { reply } => {
                    let answer = self.tend().await;
                    let _ = reply.send(answer);
                }
            }
        }
    }

    pub(super) fn address(&self) -> Address {
        self.signer.address()
    }

    pub(super) fn forget(&mut self, entry: &Entry) {
        self.book.forget(entry.id);
        self.heirs.forget(&entry.hashes);
    }

    /// Sends and remembers.
    pub(super) async fn send(&mut self, ready: Ready) -> Result<SentTx, ChainError> {
        if self.book.is_full() && ready.request.nonce.is_none() {
            let why = "too many transactions wait for a block";
            return Err(ChainError::Busy(why.to_owned()));
        }
        let Delivered { signed, nonce } = self.deliver(&ready).await?;
        let sent = SentTx {
            hash: signed.hash,
            nonce,
            fees: ready.fees,
        };
        let entry = Entry::new(ready, nonce, signed.raw, signed.hash);
        for gone in self.book.add(entry) {
            self.heirs.forget(&gone.hashes);
        }
        Ok(sent)
    }

    /// Gives it a nonce and gets it into the node.
    pub(super) async fn deliver(&mut self, ready: &Ready) -> Result<Delivered, ChainError> {
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let nonce = match ready.request.nonce {
                Some(given) => given,
                None => self.next_nonce().await?,
            };
            match self.try_nonce(ready, nonce).await {
                Ok(signed) => {
                    if ready.request.nonce.is_none() {
                        self.nonce = Some((nonce.saturating_add(1), Instant::now()));
                    }
                    return Ok(Delivered { signed, nonce });
                }
                Err(error) => {
                    self.nonce = None;
                    let again = ready.request.nonce.is_none() && is_nonce_stale(&error) && tries < TRIES_MAX;
                    if !again {
                        return Err(error);
                    }
                    tracing::debug!(%error, nonce, "reading the nonce from the chain again");
                }
            }
        }
    }

    async fn next_nonce(&self) -> Result<u64, ChainError> {
        match self.nonce {
            Some((next, at)) if at.elapsed() < NONCE_FRESH_FOR => Ok(next),
            _ => self.outlet.next_nonce(self.signer.address()).await,
        }
    }

    /// Sends one set of bytes until the node has it or refuses it: the same bytes can never be executed twice.
    async fn try_nonce(&self, ready: &Ready, nonce: u64) -> Result<Signed, ChainError> {
        let signed = self.sign(ready, nonce)?;
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let Err(error) = self.outlet.submit(signed.raw.clone()).await else {
                return Ok(signed);
            };
            // An answer that got lost, or a retry of bytes that did arrive.
            let unclear = error.is_retryable() || is_nonce_stale(&error);
            // Without an answer the request might be sent again with another nonce, and be executed twice.
            if unclear && self.outlet.knows(signed.hash).await? {
                return Ok(signed);
            }
            if !error.is_retryable() || tries >= TRIES_MAX {
                return Err(error);
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
    }

    pub(super) fn sign(&self, ready: &Ready, nonce: u64) -> Result<Signed, ChainError> {
        let mut tx = TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: ready.gas_limit,
            max_fee_per_gas: ready.fees.max_fee_per_gas,
            max_priority_fee_per_gas: ready.fees.max_priority_fee_per_gas,
            to: ready.to,
            value: ready.request.value,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input: ready.request.data.clone(),
        };
        let signature = self.signer.sign_transaction_sync(&mut tx);
        let signature = signature.map_err(|error| ChainError::Config(format!("signing failed: {error}")))?;
        let envelope: TxEnvelope = tx.into_signed(signature).into();
        Ok(Signed {
            raw: envelope.encoded_2718().into(),
            hash: *envelope.tx_hash(),
        })
    }
}
