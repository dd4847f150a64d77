//! One queue per key: gives out nonces, signs once, hands the bytes to the node or nodes, knows what to do when they
//! answer badly, and remembers what is not in a block yet ([`tend`]).
//!
//! What it remembers dies with the process. The next one reads its first nonce from the chain, behind whatever still
//! waits in the mempools, and does not raise those: the caller derives from its own durable state what is not on
//! the chain yet and sends it again. What the contract does with a request that came twice is the caller's concern,
//! as it always is on a chain. A gap that such lost transactions leave below ours is filled with empty ones, and one that
//! no block takes is replaced by an empty one.

mod book;
mod fees;
mod heirs;
mod prepare;
mod tend;
mod worker;

use super::connect::ChainOptions;
use super::error::ChainError;
use super::outlet::Outlet;
use super::types::{SentTx, Tended, TxRequest};
use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use heirs::Heirs;
use prepare::{Policy, Ready, prepare};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use worker::Worker;

/// Orders that may wait before senders are held back.
const ORDERS_MAX: usize = 1_024;

/// The handle that callers hold; the queue's task ends when all handles are gone.
#[derive(Clone, Debug)]
pub(super) struct SendQueue {
    outlet: Arc<dyn Outlet>,
    address: Address,
    policy: Policy,
    heirs: Heirs,
    orders: mpsc::Sender<Order>,
}

enum Order {
    Send {
        ready: Box<Ready>,
        reply: oneshot::Sender<Result<SentTx, ChainError>>,
    },
    Resync {
        /// A transaction that the caller sends again itself, if it wants to.
        forget: Option<B256>,
        done: oneshot::Sender<()>,
    },
    Tend {
        reply: oneshot::Sender<Result<Tended, ChainError>>,
    },
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
        let policy = Policy {
            max_fee_per_gas: options.max_fee_per_gas,
            stuck_after_blocks: options.stuck_after_blocks.max(1),
        };
        let heirs = Heirs::default();
        let worker = Worker::new(outlet.clone(), signer, chain_id, policy, heirs.clone());
        tokio::spawn(worker.run(inbox));
        Self {
            outlet,
            address,
            policy,
            heirs,
            orders,
        }
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    /// Fills in gas and fees here, in the caller's task, and leaves nonce and signature to the queue.
    pub(super) async fn send(&self, request: TxRequest) -> Result<SentTx, ChainError> {
        let ready = prepare(self.outlet.as_ref(), self.address, self.policy, request).await?;
        let ready = Box::new(ready);
        let (reply, answer) = oneshot::channel();
        self.order(Order::Send { ready, reply }).await?;
        answer.await.map_err(|_| gone())?
    }

    pub(super) async fn resync(&self) -> Result<(), ChainError> {
        self.resync_without(None).await
    }

    /// The same; and the transaction is no concern of the queue any more.
    pub(super) async fn resync_without(&self, forget: Option<B256>) -> Result<(), ChainError> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Resync { forget, done }).await?;
        answer.await.map_err(|_| gone())
    }

    pub(super) async fn tend(&self) -> Result<Tended, ChainError> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Tend { reply }).await?;
        answer.await.map_err(|_| gone())?
    }

    /// The transaction and those that replaced it, oldest first.
    pub(super) fn line(&self, hash: B256) -> Vec<B256> {
        self.heirs.line(hash)
    }

    async fn order(&self, order: Order) -> Result<(), ChainError> {
        self.orders.send(order).await.map_err(|_| gone())
    }
}

fn gone() -> ChainError {
    ChainError::Config("the send queue has stopped: its runtime was shut down".to_owned())
}
