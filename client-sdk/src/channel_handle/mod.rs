//! A handle on one channel: payments, and waiting for what is to come. `locks`: locked payments; `money`: what goes in and
//! out on chain, and the hub's capacity.

mod locks;
mod money;

use crate::{
    ChainError, ChannelError, ChannelView, Client, Health, IntoAmount, IntoPayee, Paid, PayError, PayOptions,
    Payments, Quote, StreamError,
    actor::{Command, PayOrder, View},
    client::unexpected,
};
use protocol_spec::{
    Amount, ChannelId, Evidence, Reject, Seq,
    message::{Cursor, QuoteCall, Reply, Request},
};
use tokio::sync::{mpsc, oneshot};

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

    /// Waits until the channel is as wanted, for the chain's time limit.
    async fn wait(
        &self,
        done: impl Fn(&ChannelView) -> bool + Send,
        what: &'static str,
    ) -> Result<(), ChannelError> {
        let within = self.client.inner.options.chain_timeout;
        let wanted = |view: &View| view.channels.get(&self.id).is_some_and(&done);
        let late = ChainError::Timeout(what).into();
        self.client.wait_for(wanted, within, late).await
    }
}
