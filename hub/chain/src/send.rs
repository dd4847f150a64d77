//! One queue per key: gives out nonces, signs once, hands the bytes to the node or nodes, and knows what to do when
//! they answer badly.

use super::connect::ChainOptions;
use super::error::ChainError;
use super::outlet::{Outlet, is_nonce_stale};
use super::types::{Fees, SentTx, TxRequest};
use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::network::TxSignerSync as _;
use alloy::primitives::{Address, Bytes, TxKind};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Orders that may wait before senders are held back.
const ORDERS_MAX: usize = 1_024;
/// Tries to get one transaction into the node.
const TRIES_MAX: u32 = 3;
/// Pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(100);
/// A nonce that was not used for so long is read again: a reorg or a restart of the node may have passed.
const NONCE_FRESH_FOR: Duration = Duration::from_secs(10);
/// Hard limit of one transaction's gas (EIP-7825).
const GAS_LIMIT_MAX: u64 = 1 << 24;

/// The handle that callers hold; the queue's task ends when all handles are gone.
#[derive(Clone, Debug)]
pub(super) struct SendQueue {
    outlet: Arc<dyn Outlet>,
    address: Address,
    max_fee_per_gas: Option<u128>,
    orders: mpsc::Sender<Order>,
}

enum Order {
    Send {
        ready: Box<Ready>,
        reply: oneshot::Sender<Result<SentTx, ChainError>>,
    },
    Resync {
        done: oneshot::Sender<()>,
    },
}

/// A transaction that lacks only its nonce.
struct Ready {
    to: TxKind,
    request: TxRequest,
    gas_limit: u64,
    fees: Fees,
}

impl SendQueue {
    pub(super) fn start(
        outlet: Arc<dyn Outlet>,
        signer: PrivateKeySigner,
        chain_id: u64,
        options: &ChainOptions,
    ) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let address = signer.address();
        let worker = Worker {
            outlet: outlet.clone(),
            signer,
            chain_id,
            nonce: None,
        };
        tokio::spawn(worker.run(inbox));
        Self {
            outlet,
            address,
            max_fee_per_gas: options.max_fee_per_gas,
            orders,
        }
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    /// Fills in gas and fees here, in the caller's task, and leaves nonce and signature to the queue.
    pub(super) async fn send(&self, request: TxRequest) -> Result<SentTx, ChainError> {
        let to = request.to.map_or(TxKind::Create, TxKind::Call);
        let (gas_limit, fees) = tokio::try_join!(self.gas_limit(to, &request), self.fees(&request))?;
        let ready = Box::new(Ready {
            to,
            request,
            gas_limit,
            fees,
        });
        let (reply, answer) = oneshot::channel();
        self.order(Order::Send { ready, reply }).await?;
        answer.await.map_err(|_| gone())?
    }

    pub(super) async fn resync(&self) -> Result<(), ChainError> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Resync { done }).await?;
        answer.await.map_err(|_| gone())
    }

    async fn order(&self, order: Order) -> Result<(), ChainError> {
        self.orders.send(order).await.map_err(|_| gone())
    }

    async fn gas_limit(&self, to: TxKind, request: &TxRequest) -> Result<u64, ChainError> {
        if let Some(given) = request.gas_limit {
            return Ok(given);
        }
        let call = TransactionRequest {
            from: Some(self.address),
            to: Some(to),
            value: Some(request.value),
            input: request.data.clone().into(),
            ..TransactionRequest::default()
        };
        let estimate = self.outlet.estimate_gas(call).await?;
        let fifth = estimate.checked_div(5).unwrap_or(0);
        Ok(estimate.saturating_add(fifth).min(GAS_LIMIT_MAX.max(estimate)))
    }

    async fn fees(&self, request: &TxRequest) -> Result<Fees, ChainError> {
        if let Some(given) = request.fees {
            return Ok(given);
        }
        let prices = self.outlet.prices().await?;
        let wanted = prices.wanted();
        let max_fee_per_gas = self.max_fee_per_gas.map_or(wanted, |limit| wanted.min(limit));
        Ok(Fees {
            max_fee_per_gas,
            max_priority_fee_per_gas: prices.tip.min(max_fee_per_gas),
        })
    }
}

fn gone() -> ChainError {
    ChainError::Config("the send queue has stopped: its runtime was shut down".to_owned())
}

/// Owner of the key and of the next nonce.
struct Worker {
    outlet: Arc<dyn Outlet>,
    signer: PrivateKeySigner,
    chain_id: u64,
    /// The next nonce, and when it was last known to be right; `None`: ask the node.
    nonce: Option<(u64, Instant)>,
}

impl Worker {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Resync { done } => {
                    self.nonce = None;
                    let _ = done.send(());
                }
                Order::Send { ready, reply } => {
                    let answer = self.send(&ready).await;
                    let _ = reply.send(answer);
                }
            }
        }
    }

    async fn send(&mut self, ready: &Ready) -> Result<SentTx, ChainError> {
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let nonce = match ready.request.nonce {
                Some(given) => given,
                None => self.next_nonce().await?,
            };
            match self.try_nonce(ready, nonce).await {
                Ok(sent) => {
                    if ready.request.nonce.is_none() {
                        self.nonce = Some((nonce.saturating_add(1), Instant::now()));
                    }
                    return Ok(sent);
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
    async fn try_nonce(&self, ready: &Ready, nonce: u64) -> Result<SentTx, ChainError> {
        let envelope = self.sign(ready, nonce)?;
        let (raw, hash) = (Bytes::from(envelope.encoded_2718()), *envelope.tx_hash());
        let sent = SentTx {
            hash,
            nonce,
            fees: ready.fees,
        };
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let Err(error) = self.outlet.submit(raw.clone()).await else {
                return Ok(sent);
            };
            // An answer that got lost, or a retry of bytes that did arrive.
            let unclear = error.is_retryable() || is_nonce_stale(&error);
            if unclear && self.outlet.knows(hash).await.unwrap_or(false) {
                return Ok(sent);
            }
            if !error.is_retryable() || tries >= TRIES_MAX {
                return Err(error);
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
    }

    fn sign(&self, ready: &Ready, nonce: u64) -> Result<TxEnvelope, ChainError> {
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
        Ok(tx.into_signed(signature).into())
    }
}
