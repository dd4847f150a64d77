//! What the handles ask of the task.

use super::{Actor, LockOrder, PayReply, ReleaseOrder, entry::Entry, locks::HeldReply, pay::later};
use crate::{
    ChannelError, ClientEvent, ConnectError, LockedReceived, PayOptions, PaymentState, ReceivedPayment,
    Store, StoreError, StreamError,
    board::Publisher,
    chain::ChainAccess,
    link::{Dial, Link},
    options::Options,
    pin::Hub,
    signer::CheckedSigner,
    store::{
        Table,
        rows::{self, PaymentRow},
    },
};
use protocol_spec::{
    Amount, Channel, ChannelId, Close, Condition, Config, Digest, Evidence, Payee, PaymentId, Reject, Side,
    Signature, SignedInvoice, UnixSeconds, Withdraw,
    channel::Delays,
    message::{Cursor, Reply, Request, RpcError},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{broadcast, mpsc, oneshot};

/// What is under way at `shutdown` may finish within this time.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// A payment to be made.
pub(crate) struct PayOrder {
    pub(crate) channel_id: ChannelId,
    pub(crate) payee: Payee,
    pub(crate) amount: Amount,
    pub(crate) options: PayOptions,
    pub(crate) reply: PayReply,
}

/// Which co-operative message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CooperativeKind {
    Withdraw(Amount),
    Close,
    /// The hub asked for it; nobody waits for it.
    Release {
        /// Total ever withdrawn by the hub with it.
        total: Amount,
        /// Of the message.
        deadline: UnixSeconds,
    },
}

/// What both sides have signed.
#[derive(Debug)]
pub(crate) enum Signed {
    /// The task takes care of it.
    Withdraw(Withdraw),
    /// With both signatures: own, hub's.
    Close(Close, Signature, Signature),
}

pub(crate) type CooperateReply = oneshot::Sender<Result<Signed, ChannelError>>;

pub(crate) enum Command {
    Pay(PayOrder),
    PayLocked(LockOrder),
    Invoice {
        channel_id: ChannelId,
        amount: Amount,
        life: Duration,
        memo: Digest,
        /// `None`: opened by a preimage that is made here.
        condition: Option<Condition>,
        reply: oneshot::Sender<Result<SignedInvoice, ChannelError>>,
    },
    Accept {
        hash: Digest,
        reply: oneshot::Sender<Result<LockedReceived, ChannelError>>,
    },
    Held {
        hash: Digest,
        reply: HeldReply,
    },
    Release(ReleaseOrder),
    GiveUp {
        hash: Digest,
        reply: oneshot::Sender<Result<(), ChannelError>>,
    },
    Attach {
        config: Config,
        reply: oneshot::Sender<Result<ChannelId, ChannelError>>,
    },
    Call {
        request: Box<Request>,
        reply: oneshot::Sender<Result<Reply, RpcError>>,
    },
    Payment {
        id: PaymentId,
        reply: oneshot::Sender<Option<(ChannelId, PaymentState)>>,
    },
    Subscribe {
        channel_id: ChannelId,
        after: Option<Cursor>,
        stream: mpsc::Sender<Result<ReceivedPayment, StreamError>>,
    },
    Cooperate {
        channel_id: ChannelId,
        kind: CooperativeKind,
        reply: CooperateReply,
    },
    /// No release is agreed to before.
    KeepCapacity {
        channel_id: ChannelId,
        until: UnixSeconds,
    },
    Evidence {
        channel_id: ChannelId,
        reply: oneshot::Sender<Result<Evidence, ChannelError>>,
    },
    SaveCursor {
        channel_id: ChannelId,
        cursor: Cursor,
        reply: oneshot::Sender<()>,
    },
    SavedCursor {
        channel_id: ChannelId,
        reply: oneshot::Sender<Option<Cursor>>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// What the task starts with.
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) chain: Option<ChainAccess>,
    pub(crate) owners: Vec<CheckedSigner>,
    pub(crate) redial: Dial,
    pub(crate) inbox: mpsc::Receiver<Command>,
    pub(crate) publish: Publisher,
    pub(crate) events: broadcast::Sender<ClientEvent>,
    pub(crate) hub: Hub,
    pub(crate) signer: CheckedSigner,
    /// The first meeting with a hub that the store did not know; otherwise the task dials.
    pub(crate) link: Option<Link>,
    /// Told how the first attempts to reach the hub have ended.
    pub(crate) met: oneshot::Sender<Result<(), ConnectError>>,
}

impl Actor {
    pub(super) async fn command(&mut self, command: Command) -> Result<(), StoreError> {
        match command {
            Command::Pay(order) => self.pay(order).await?,
            Command::PayLocked(order) => self.pay_locked(order).await?,
            Command::Invoice {
                channel_id,
                amount,
                life,
                memo,
                condition,
                reply,
            } => {
                let made = self.make_invoice(channel_id, amount, life, memo, condition).await;
                self.after_commit(reply, made);
            }
            Command::Accept { hash, reply } => self.await_invoice(hash, reply),
            Command::Held { hash, reply } => self.await_lock(hash, reply),
            Command::Release(order) => self.release(order),
            Command::GiveUp { hash, reply } => self.give_up(hash, reply),
            Command::Attach { config, reply } => {
                let _ = reply.send(self.attach(config).await?.map_err(ChannelError::Refused));
            }
            Command::Call { request, reply } => self.forward(*request, reply),
            Command::Payment { id, reply } => {
                let state = self.payment_state(&id).await?;
                self.after_commit(reply, state);
            }
            Command::Subscribe {
                channel_id,
                after,
                stream,
            } => self.subscribe(channel_id, after, stream),
            Command::Cooperate {
                channel_id,
                kind,
                reply,
            } => self.start_cooperation(channel_id, kind, reply),
            Command::KeepCapacity { channel_id, until } => {
                if let Some(entry) = self.entries.get_mut(&channel_id) {
                    entry.keep_capacity_until = entry.keep_capacity_until.max(until);
                    entry.dirty = true;
                }
            }
            Command::Evidence { channel_id, reply } => {
                let evidence = self.evidence(channel_id).await;
                let _ = reply.send(evidence);
            }
            Command::SaveCursor {
                channel_id,
                cursor,
                reply,
            } => {
                self.batch.push(rows::put_cursor(&channel_id, &cursor));
                self.after_commit(reply, ());
            }
            Command::SavedCursor { channel_id, reply } => {
                let cursor = self.saved_cursor(&channel_id).await?;
                self.after_commit(reply, cursor);
            }
            Command::Shutdown { reply } => {
                self.stop_at.get_or_insert_with(|| later(SHUTDOWN_MAX));
                self.stopping.push(reply);
            }
        }
        Ok(())
    }

    /// Stores the channel before its transaction can exist, so that a crash cannot lose it.
    async fn attach(&mut self, config: Config) -> Result<Result<ChannelId, Reject>, StoreError> {
        let id = config.id(&self.hub.domain);
        if self.entries.contains_key(&id) {
            return Ok(Ok(id));
        }
        if config.hub != self.hub.pin.hub || config.hub_signer != self.hub.pin.hub_signer {
            return Ok(Err(Reject::ConfigInvalid("the channel is with another hub")));
        }
        if config.client_signer != self.signer.address() {
            return Ok(Err(Reject::ConfigInvalid("the channel is for another signer")));
        }
        // Who names an owner expects the payouts there.
        let own = self.owners.iter().any(|owner| owner.address() == config.client);
        if self.options.owner.is_some() && !own {
            return Ok(Err(Reject::ConfigInvalid(
                "the channel pays out to another account than those of the owner, the sender and the signer",
            )));
        }
        let channel = match Channel::new(config, &self.hub.domain, Side::Client, Delays::default()) {
            Ok(channel) => channel,
            Err(reject) => return Ok(Err(reject)),
        };
        let mut entry = Entry::new(channel);
        let writes = entry.writes();
        self.store.commit(writes).await?;
        self.entries.insert(id, entry);
        self.watch_channels();
        self.start_session(id);
        Ok(Ok(id))
    }

    async fn payment_state(&self, id: &PaymentId) -> Result<Option<(ChannelId, PaymentState)>, StoreError> {
        for (channel_id, entry) in &self.entries {
            if entry.waits(id) {
                return Ok(Some((*channel_id, PaymentState::Queued)));
            }
        }
        let row = self.payment_row(id).await?;
        Ok(row.map(|row| (row.channel_id, row.state)))
    }

    /// A payment as it will be stored after this turn, with what a close on chain has made of it.
    pub(super) async fn payment_row(&self, id: &PaymentId) -> Result<Option<PaymentRow>, StoreError> {
        let row = match self.staged(Table::Payments, &id.0) {
            Some(row) => rows::read_payment(row).map(Some),
            None => rows::payment(self.store.as_ref(), id).await,
        };
        let ended = |mut row: PaymentRow| {
            let entry = self.entries.get(&row.channel_id);
            if let Some(closing) = entry.and_then(|entry| entry.closing) {
                row.state = closing.fate(&row);
            }
            row
        };
        Ok(row?.map(ended))
    }

    async fn saved_cursor(&self, id: &ChannelId) -> Result<Option<Cursor>, StoreError> {
        match self.staged(Table::Cursors, &id.0) {
            Some(row) => rows::read_cursor(row).map(Some),
            None => rows::cursor(self.store.as_ref(), id).await,
        }
    }

    /// What this turn is about to store: the store itself does not know it yet.
    fn staged(&self, table: Table, key: &[u8]) -> Option<&[u8]> {
        let newest = self.batch.iter().rev();
        let newest = newest.filter(|write| write.table == table && write.key == key);
        newest.map(|write| write.value.as_deref()).next().flatten()
    }

    /// Tells `value` once everything of this turn is durable.
    pub(super) fn after_commit<T: Send + Sync + 'static>(&mut self, reply: oneshot::Sender<T>, value: T) {
        // The caller may have dropped its future.
        self.told.push(Box::new(move || drop(reply.send(value))));
    }

    async fn evidence(&mut self, id: ChannelId) -> Result<Evidence, ChannelError> {
        let own = self.own_newest(&id).await?;
        let entry = self.entries.get(&id).ok_or(ChannelError::NoChannel)?;
        Ok(crate::evidence::of(&entry.channel, &self.hub.domain, own))
    }
}
