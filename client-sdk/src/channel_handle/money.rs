//! What goes into the channel and out of it on chain, and what the hub sets aside in it.

use super::ChannelHandle;
use crate::{
    CapacityOffer, ChainError, ChannelError, ChannelView, Cooperative, CooperativeMessage, IntoAmount, Paid,
    PayError, PayOptions,
    actor::{Command, CooperativeKind, Signed},
    client::unexpected,
};
use alloy::sol_types::SolCall;
use protocol_spec::{
    Amount, Close, Signature, calls,
    message::{CapacityCall, CapacityReply, Reply, Request},
};
use std::time::Duration;
use tokio::sync::oneshot;

impl ChannelHandle {
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
    /// transaction; this client does it at once with `broadcast(true)` or when the hub said that it moves too little for it to
    /// pay the gas, and when the hub has not after five minutes. Payments wait while it is being signed.
    ///
    /// What was signed goes on whether or not anybody waits here, also after a restart, until it is mined or its deadline has
    /// come (15 minutes); `withdraw_pending` in the view says so, and the sum cannot be spent meanwhile (R12).
    pub async fn withdraw(&self, amount: impl IntoAmount) -> Result<(), ChannelError> {
        let kind = CooperativeKind::Withdraw(amount.into_amount());
        let Signed::Withdraw(message) = self.cooperate(kind).await? else {
            return Err(ChannelError::Busy);
        };
        let done = |view: &ChannelView| !view.withdraw_pending && view.withdrawn_on_chain >= message.total;
        self.wait(done, "the withdrawal was not confirmed").await
    }

    /// Closes co-operatively, and waits for the payout. Queued payments go first. A hub that does not sign is asked again
    /// with the same bytes, also after this has returned its refusal, until the close's deadline (minutes); the channel stays
    /// closing until then and is open again after it. Leave with `settle` if the hub never signs.
    pub async fn close(&self) -> Result<(), ChannelError> {
        let config = self.view().ok_or(ChannelError::NoChannel)?.config;
        let (message, own, hub) = self.close_signatures().await?;
        if self.client.inner.options.broadcast {
            self.broadcast(calls::close(&config, &message, &own.0, &hub.0).abi_encode())
                .await?;
        }
        self.wait_closed().await
    }

    /// The first half of [`ChannelHandle::close`]: both signatures, without waiting for the payout. Keep it in a file
    /// ([`Cooperative::save`]): should the hub not send it, `settle close --message FILE` does, until the deadline. The
    /// channel is closing from here on; [`ChannelHandle::wait_closed`] is the second half.
    pub async fn sign_close(&self) -> Result<Cooperative, ChannelError> {
        let (message, own, hub) = self.close_signatures().await?;
        let domain = &self.client.inner.hub.domain;
        Ok(Cooperative::new(
            domain,
            CooperativeMessage::Close(message),
            &own,
            &hub,
        ))
    }

    /// Both signatures, own and the hub's.
    async fn close_signatures(&self) -> Result<(Close, Signature, Signature), ChannelError> {
        match self.cooperate(CooperativeKind::Close).await? {
            Signed::Close(message, own, hub) => Ok((message, own, hub)),
            Signed::Withdraw(..) => Err(ChannelError::Busy),
        }
    }

    /// Waits for the payout of a close, for the chain's time limit.
    pub async fn wait_closed(&self) -> Result<(), ChannelError> {
        self.wait(|view| view.phase == "closed", "the close was not confirmed")
            .await
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
        let chain = self.client.inner.chain.as_ref();
        let sent = chain.ok_or(ChainError::NotConfigured)?.broadcast(data).await;
        if let Err(error) = sent {
            // The hub may have been faster; what counts is the channel's state, which the caller waits for.
            tracing::info!(channel = %self.id, %error, "own broadcast failed");
        }
        Ok(())
    }
}
