//! Locked payments: paid, asked for, held, released, given up.

use super::ChannelHandle;
use crate::{
    ChainError, ChannelError, IntoAmount, Limit, LockHeld, LockOptions, LockedPaid, LockedReceived, PayError,
    actor::{Command, INVOICE_EXPIRED, LockOrder, ReleaseOrder, later},
};
use protocol_spec::{
    Address, Amount, ChannelId, Condition, Digest, Opened, PaymentId, SignedInvoice, Witness,
};
use std::time::Duration;
use tokio::sync::oneshot;

/// Default life of a lock: the hub takes an hour or so of it for itself.
const LOCK_LIFE: Duration = Duration::from_secs(3 * 3600);

impl ChannelHandle {
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
            return Err(INVOICE_EXPIRED);
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
            payment_id: options
                .payment_id
                .unwrap_or_else(|| PaymentId(self.client.inner.options.ports.random())),
            life: options.life.unwrap_or(LOCK_LIFE),
            deadline: later(self.client.inner.options.pay_timeout),
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
    ///
    /// Errors: [`ChannelError::Frozen`] when the hub has broken the protocol, [`ChannelError::Refused`] when the channel takes no
    /// locks any more.
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
    ///
    /// Errors: [`ChannelError::UnknownInvoice`], also for one without a resolver; [`ChannelError::Frozen`] when the hub has broken
    /// the protocol, [`ChannelError::Refused`] when the channel is closed.
    pub async fn held(&self, invoice: &SignedInvoice) -> Result<LockHeld, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let hash = invoice.invoice.hash;
        self.client.send(Command::Held { hash, reply }).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }

    /// Opens the lock that is held for `invoice` with what its resolver takes, and waits until a voucher of the hub pays
    /// it. The chain is asked first, as the adjudicator would: a wrong witness goes nowhere. Just after a start it waits until
    /// the channel has been read from the chain, some 20 seconds at most.
    ///
    /// Errors: [`ChannelError::WitnessRefused`], [`ChannelError::NotHeld`]; [`ChannelError::ChainStale`] while the view of the
    /// chain is too old, or when the client ends before it has read the chain: release again. After
    /// [`ChannelError::Offline`], [`ChannelError::Frozen`] and [`ChannelError::LockAtRisk`] the witness is stored and in the
    /// evidence: a hub that kept the protocol is told as soon as it is back, and half an hour before the expiry at the latest it
    /// is collected on chain without it (R21): wait for that with [`ChannelHandle::accept`]. After
    /// [`ChannelError::Stopped`] it may be stored or not: release again after the next start.
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
        let command = Command::Release(ReleaseOrder { hash, opened, reply });
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
    /// Locks that pay an open invoice are accepted by themselves, whether or not anybody waits here. A lock that was collected on
    /// chain pays it with the payout, when the sum of those that were leaves no doubt which.
    ///
    /// Errors: [`ChannelError::Refused`] when the channel is closed and it is not known to be paid. [`ChannelError::Frozen`] when the
    /// hub has broken the protocol, unless what opens its lock is known here: that can still be collected on chain.
    pub async fn accept(&self, invoice: &SignedInvoice) -> Result<LockedReceived, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let hash = invoice.invoice.hash;
        self.client.send(Command::Accept { hash, reply }).await?;
        answer.await.map_err(|_| self.client.stopped())?
    }
}
