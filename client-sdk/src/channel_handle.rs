//! A handle on one channel.

use crate::{
    CapacityOffer, ChainError, ChannelError, ChannelView, Client, Health, IntoAmount, IntoPayee, Limit,
    LockHeld, LockOptions, LockedPaid, LockedReceived, Paid, PayError, PayOptions, Payments, Quote,
    StreamError,
    actor::{Command, CooperativeKind, LockOrder, PayOrder, Signed, View},
    client::unexpected,
};
use alloy::sol_types::SolCall;
use protocol_spec::{
    Address, Amount, ChannelId, Condition, Digest, Evidence, Opened, Reject, Seq, SignedInvoice, Witness,
    calls,
    message::{CapacityCall, CapacityReply, Cursor, QuoteCall, Reply, Request},
};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Default life of a lock: the hub takes an hour or so of it for itself.
const LOCK_LIFE: Duration = Duration::from_secs(3 * 3600);

/// Received payments buffered for a stream; beyond that the hub is asked to pause.
const STREAM_BUFFER: usize = 4096;

/// One channel of a client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChannelHandle {
    client: Client,
    id: ChannelId,
}

impl ChannelHandle {
    pub(crate) fn new(client: Client, id: ChannelId) -> Self {
        Self { client, id }
    }

    /// The channel's id.
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// The channel as this client sees it now; `None` when it is not a channel of this client.
    #[must_use]
    pub fn view(&self) -> Option<ChannelView> {
        self.client.view().channels.get(&self.id).cloned()
    }

    /// See [`Client::pay`].
    pub async fn pay(&self, payee: impl IntoPayee, amount: impl IntoAmount) -> Result<Paid, PayError> {
        self.pay_with(payee, amount, PayOptions::default()).await
    }

    /// See [`Client::pay_with`].
    pub async fn pay_with(
        &self,
        payee: impl IntoPayee,
        amount: impl IntoAmount,
        options: PayOptions,
    ) -> Result<Paid, PayError> {
        let (reply, answer) = oneshot::channel();
        let order = PayOrder {
            channel_id: self.id,
            payee: payee.into_payee(),
            amount: amount.into_amount(),
            options,
            reply,
        };
        let stopped = || PayError::Stopped(self.client.why_stopped());
        let sent = self.client.inner.commands.send(Command::Pay(order)).await;
        sent.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// See [`Client::pay_locked`].
    pub async fn pay_locked(
        &self,
        invoice: &SignedInvoice,
        payee_signer: Address,
        options: LockOptions,
    ) -> Result<LockedPaid, PayError> {
        let domain = &self.client.inner.hub.domain;
        let signed = invoice.verify(domain, payee_signer);
        signed.map_err(|_| PayError::Invoice("it is not signed by the payee's signer"))?;
        let asked = &invoice.invoice;
        if asked.expires_at <= self.client.inner.options.ports.now() {
            return Err(PayError::Invoice("it has expired"));
        }
        if asked.condition().has_resolver() && self.client.inner.chain.is_none() {
            return Err(PayError::Invoice(
                "it names a resolver, which only the chain can ask: give this client an endpoint with `rpc`",
            ));
        }
        let fee_max = match options.fee_max {
            Some(fee_max) => fee_max,
            None => self.fee_for(asked.channel_id, asked.amount).await?,
        };
        let (reply, answer) = oneshot::channel();
        let order = LockOrder {
            channel_id: self.id,
            digest: asked.digest(domain),
            invoice: asked.clone(),
            fee_max,
            payment_id: options.payment_id,
            life: options.life.unwrap_or(LOCK_LIFE),
            reply,
        };
        let stopped = || PayError::Stopped(self.client.why_stopped());
        let sent = self.client.inner.commands.send(Command::PayLocked(order)).await;
        sent.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    async fn fee_for(&self, payee: ChannelId, amount: Amount) -> Result<Amount, PayError> {
        let quote = self.quote(payee, amount).await?;
        let limit = Limit::Percent(self.client.inner.options.fee_limit_percent).of(amount);
        if quote.fee > limit {
            return Err(PayError::FeeTooHigh {
                fee: quote.fee,
                limit,
            });
        }
        Ok(quote.fee)
    }

    /// Asks to be paid `amount` by a locked payment, within `life`. The preimage is made and kept in this client's store;
    /// whoever pays gets it. Hand the invoice to the payer together with this client's signer address, not through the hub.
    pub async fn invoice(
        &self,
        amount: impl IntoAmount,
        life: Duration,
        memo: Digest,
    ) -> Result<SignedInvoice, ChannelError> {
        self.ask_invoice(amount.into_amount(), life, memo, None).await
    }

    /// Asks to be paid `amount` by a payment that is locked until `condition`'s resolver takes a witness: an escrow, for
    /// instance. `life` bounds only until when it may be locked. A lock that pays the invoice is held by itself; see
    /// [`ChannelHandle::held`] and [`ChannelHandle::release`]. The hub forwards only resolvers on its list.
    ///
    /// Errors: as [`ChannelHandle::invoice`]; [`ChannelError::UnknownInvoice`] without a resolver, whose preimage would be
    /// unknown here.
    pub async fn invoice_on(
        &self,
        amount: impl IntoAmount,
        life: Duration,
        memo: Digest,
        condition: Condition,
    ) -> Result<SignedInvoice, ChannelError> {
        if !condition.has_resolver() {
            return Err(ChannelError::UnknownInvoice);
        }
        self.ask_invoice(amount.into_amount(), life, memo, Some(condition))
            .await
    }

    async fn ask_invoice(
        &self,
        amount: Amount,
        life: Duration,
        memo: Digest,
        condition: Option<Condition>,
    ) -> Result<SignedInvoice, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Invoice {
            channel_id: self.id,
            amount,
            life,
            memo,
            condition,
            reply,
        };
        self.client.send(command).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    /// Waits until the money for an invoice with a resolver is locked: from then on it is this client's as soon as it
    /// releases, and the payer's again at the expiry at the latest.
    pub async fn held(&self, invoice: &SignedInvoice) -> Result<LockHeld, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let hash = invoice.invoice.hash;
        self.client.send(Command::Held { hash, reply }).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    /// Opens the lock that is held for `invoice` with what its resolver takes, and waits until a voucher of the hub pays
    /// it. The chain is asked first, as the adjudicator would: a wrong witness goes nowhere.
    ///
    /// Errors: [`ChannelError::WitnessRefused`], [`ChannelError::NotHeld`]. After [`ChannelError::Offline`] and
    /// [`ChannelError::LockAtRisk`] the witness is stored and in the evidence: the hub is told as soon as it is back, and
    /// `settle` collects without it.
    pub async fn release(
        &self,
        invoice: &SignedInvoice,
        witness: Witness,
    ) -> Result<LockedReceived, ChannelError> {
        let (condition, hash) = (invoice.invoice.condition(), invoice.invoice.hash);
        let chain = self.client.inner.chain.as_ref();
        let chain = chain.ok_or(ChainError::NotConfigured)?;
        if !chain.opens(&condition, &witness).await? {
            return Err(ChannelError::WitnessRefused);
        }
        let opened = Opened::vouched(condition, witness).ok_or(ChannelError::UnknownInvoice)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Release { hash, opened, reply };
        self.client.send(command).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    /// Gives up the lock that is held for `invoice`, for good: the payer has its money back at once.
    /// Errors: [`ChannelError::NotHeld`]; refused after a release (R11).
    pub async fn give_up(&self, invoice: &SignedInvoice) -> Result<(), ChannelError> {
        let (reply, answer) = oneshot::channel();
        let hash = invoice.invoice.hash;
        self.client.send(Command::GiveUp { hash, reply }).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    /// Waits until an invoice of this client is paid: a voucher of the hub pays it, and this client holds it.
    /// Locks that pay an open invoice are accepted by themselves, whether or not anybody waits here.
    pub async fn accept(&self, invoice: &SignedInvoice) -> Result<LockedReceived, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let hash = invoice.invoice.hash;
        self.client.send(Command::Accept { hash, reply }).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    /// See [`Client::quote`].
    pub async fn quote(&self, payee: impl IntoPayee, amount: impl IntoAmount) -> Result<Quote, PayError> {
        let call = QuoteCall {
            channel_id: self.id,
            payee: payee.into_payee(),
            amount: amount.into_amount(),
        };
        match self.client.call(Request::Quote(call)).await {
            Ok(Reply::Quote(quote)) => Ok(Quote {
                fee: quote.fee,
                would_bounce: quote.would_bounce,
                ready_at: quote.ready_at,
            }),
            Err(ChannelError::Hub(error)) => Err(PayError::Quote(error)),
            Err(ChannelError::Offline | ChannelError::Timeout) => Err(PayError::Offline),
            Ok(other) => Err(PayError::Stopped(unexpected(&other).to_string())),
            Err(other) => Err(PayError::Stopped(other.to_string())),
        }
    }

    /// Asks the hub what it costs that it sets aside `amount` more in this channel, so that as much more can be received.
    /// Errors: [`ChannelError::Hub`] with `NoCapacity` (not sold, or more than its vault has left) or `Busy` (a quote of
    /// another amount is open).
    pub async fn request_capacity(&self, amount: impl IntoAmount) -> Result<CapacityOffer, ChannelError> {
        let (channel_id, amount) = (self.id, amount.into_amount());
        let call = CapacityCall { channel_id, amount };
        let hub = &self.client.inner.hub;
        match self.client.call(Request::Capacity(call)).await? {
            Reply::Capacity(CapacityReply { quote, signature }) => {
                let asked = quote.channel_id == channel_id && quote.amount == amount;
                let signed = hub.key.verify(&quote.digest(&hub.domain), &signature).is_ok();
                (asked && signed)
                    .then_some(CapacityOffer { quote, signature })
                    .ok_or(ChannelError::BadCountersignature)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Pays the offer's fee to the hub, bound to the offer. The capacity is there when [`ChannelHandle::wait_hub_deposit`]
    /// sees it: `ready_in_s` later, as the hub expects. Errors: [`PayError::OfferInvalid`] when the offer has
    /// expired or is not this channel's, [`PayError::Bounced`] with `QuoteUnknown` when the hub no longer knows it, with
    /// `InsufficientReserve` when its vault does not cover it any more; the fee is back.
    pub async fn accept_capacity(&self, offer: &CapacityOffer) -> Result<Paid, PayError> {
        let hub = &self.client.inner.hub;
        let (quote, now) = (&offer.quote, self.client.inner.options.ports.now());
        let digest = quote.digest(&hub.domain);
        let signed = hub.key.verify(&digest, &offer.signature).is_ok();
        if quote.channel_id != self.id || !signed || quote.expires_at <= now {
            return Err(PayError::OfferInvalid);
        }
        // First: whatever becomes of the payment, it may have been delivered.
        let keep = Command::KeepCapacity {
            channel_id: self.id,
            until: now.after(quote.hold_s),
        };
        let kept = self.client.send(keep).await;
        kept.map_err(|_| PayError::Stopped(self.client.why_stopped()))?;
        let left_s = quote.expires_at.0.saturating_sub(now.0);
        let options = PayOptions {
            fee_max: Some(Amount::ZERO),
            expires_in: Some(Duration::from_secs(left_s)),
            invoice: Some(digest),
            ..PayOptions::default()
        };
        self.pay_with(hub.pin.hub, quote.fee, options).await
    }

    /// See [`Client::payments`].
    #[must_use]
    pub fn payments(&self, after: Option<Cursor>) -> Payments {
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        let (client, channel_id) = (self.client.clone(), self.id);
        tokio::spawn(async move {
            let stream = sender.clone();
            let command = Command::Subscribe {
                channel_id,
                after,
                stream,
            };
            if let Err(error) = client.send(command).await {
                let _ = sender.send(Err(StreamError::Stopped(error.to_string()))).await;
            }
        });
        Payments::new(receiver)
    }

    /// Deposits more and waits until it is confirmed. Anybody's money may be deposited for the client; this sends the sender's.
    pub async fn deposit(&self, amount: impl IntoAmount) -> Result<(), ChannelError> {
        let chain = self.client.inner.chain.as_ref();
        let chain = chain.ok_or(ChainError::NotConfigured)?;
        let before = self.view().ok_or(ChannelError::NoChannel)?;
        chain.deposit(&before.config, amount.into_amount()).await?;
        let more = |view: &ChannelView| view.balance.deposit > before.balance.deposit;
        self.wait(more, "the deposit was not confirmed").await
    }

    /// Withdraws `amount` while the channel stays open, and waits until it is confirmed on chain. The hub sends the
    /// transaction, or this client with `broadcast(true)`. Payments wait while it is being signed.
    pub async fn withdraw(&self, amount: impl IntoAmount) -> Result<(), ChannelError> {
        let kind = CooperativeKind::Withdraw(amount.into_amount());
        let config = self.view().ok_or(ChannelError::NoChannel)?.config;
        let signed = self.cooperate(kind).await?;
        let Signed::Withdraw(message, own, hub) = signed else {
            return Err(ChannelError::Busy);
        };
        self.broadcast(calls::withdraw(&config, &message, &own.0, &hub.0).abi_encode())
            .await?;
        let done = |view: &ChannelView| !view.withdraw_pending && view.withdrawn_on_chain >= message.total;
        self.wait(done, "the withdrawal was not confirmed").await
    }

    /// Closes co-operatively, and waits for the payout. Queued payments go first. A hub that does not sign is asked again
    /// with the same bytes, also after this has returned its refusal, until the close's deadline (minutes); the channel stays
    /// closing until then and is open again after it. Leave with `settle` if the hub never signs.
    pub async fn close(&self) -> Result<(), ChannelError> {
        let config = self.view().ok_or(ChannelError::NoChannel)?.config;
        let signed = self.cooperate(CooperativeKind::Close).await?;
        let Signed::Close(message, own, hub) = signed else {
            return Err(ChannelError::Busy);
        };
        self.broadcast(calls::close(&config, &message, &own.0, &hub.0).abi_encode())
            .await?;
        self.wait(|view| view.phase == "closed", "the close was not confirmed")
            .await
    }

    /// What `settle` needs with the hub gone.
    pub async fn evidence(&self) -> Result<Evidence, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let channel_id = self.id;
        self.client.send(Command::Evidence { channel_id, reply }).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    /// Whether the hub kept the protocol on this channel.
    #[must_use]
    pub fn health(&self) -> Health {
        self.view().map_or(Health::Good, |view| view.health)
    }

    /// Waits until payments flow: confirmed on chain, registered, resumed.
    /// Errors: at once when the channel is closed or frozen.
    pub async fn wait_live(&self) -> Result<(), ChannelError> {
        let over = |view: &ChannelView| view.phase == "closed" || view.health != Health::Good;
        self.wait(|view| view.live || over(view), "the channel did not become live")
            .await?;
        match self.view() {
            Some(view) if view.live => Ok(()),
            Some(view) => match view.health {
                Health::Frozen(fault) => Err(ChannelError::Frozen(fault)),
                Health::Good => Err(Reject::ChannelNotOpen { phase: view.phase }.into()),
            },
            None => Err(ChannelError::NoChannel),
        }
    }

    /// Waits until at least `deposit` of the hub is confirmed in this channel, so that as much can be received.
    pub async fn wait_hub_deposit(&self, deposit: impl IntoAmount) -> Result<(), ChannelError> {
        let least: Amount = deposit.into_amount();
        self.wait(
            |view| view.hub_deposit >= least,
            "the hub's deposit was not confirmed",
        )
        .await
    }

    /// Waits until every watchtower has the hub's voucher `seq` of this channel, or a newer one: `view().received_seq` for all
    /// that was received. It takes as long as it takes; put a time limit around it. Cancel safe.
    /// Errors: there is no tower; the client has stopped.
    pub async fn wait_towers(&self, seq: Seq) -> Result<(), ChannelError> {
        let holds = |view: &View| {
            view.stopped.is_some() || view.towers.iter().all(|tower| tower.holds(&self.id, seq))
        };
        let view = self.client.inner.board.wait_for(holds).await;
        match (&view.stopped, view.towers.is_empty()) {
            (Some(_), _) => Err(self.client.stopped()),
            (None, true) => Err(ChannelError::NoTower),
            (None, false) => Ok(()),
        }
    }

    async fn cooperate(&self, kind: CooperativeKind) -> Result<Signed, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Cooperate {
            channel_id: self.id,
            kind,
            reply,
        };
        self.client.send(command).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    async fn broadcast(&self, data: Vec<u8>) -> Result<(), ChannelError> {
        if !self.client.inner.options.broadcast {
            return Ok(());
        }
        let chain = self.client.inner.chain.as_ref();
        let sent = chain.ok_or(ChainError::NotConfigured)?.broadcast(data).await;
        if let Err(error) = sent {
            // The hub may have been faster; what counts is the channel's state, which the caller waits for.
            tracing::info!(channel = %self.id, %error, "own broadcast failed");
        }
        Ok(())
    }

    async fn wait(
        &self,
        done: impl Fn(&ChannelView) -> bool + Send,
        what: &'static str,
    ) -> Result<(), ChannelError> {
        let reached = |view: &View| view.stopped.is_some() || view.channels.get(&self.id).is_some_and(&done);
        let reached = self.client.inner.board.wait_for(reached);
        let reached = tokio::time::timeout(self.client.inner.options.chain_timeout, reached).await;
        match reached.map_err(|_| ChainError::Timeout(what))?.stopped {
            Some(_) => Err(self.client.stopped()),
            None => Ok(()),
        }
    }
}
