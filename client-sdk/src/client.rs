//! The client: a cheap handle on the task that owns the channels.

use crate::{
    Balance, ChainError, ChannelError, ChannelHandle, ChannelView, ClientBuilder, ClientEvent, ConnectError,
    Health, HubPin, IntoAmount, IntoPayee, LockOptions, LockedPaid, Paid, PayError, PayOptions,
    PaymentAnswer, Payments, Quote, TowerView,
    actor::{Command, View},
    board::Board,
    chain::ChainAccess,
    options::Options,
    pin::Hub,
};
use protocol_spec::{
    Address, ChannelId, Config, Digest, Evidence, PaymentId, SignedInvoice,
    message::{Cursor, HubInfo, PaymentCall, Reply, Request, RpcError},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{broadcast, mpsc, oneshot};

/// A client of one hub. Clones share the connection; its task stops on [`Client::shutdown`] or with the last clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) board: Arc<Board>,
    pub(crate) events: broadcast::Sender<ClientEvent>,
    pub(crate) chain: Option<ChainAccess>,
    /// As it was known at the start.
    pub(crate) hub: Hub,
    pub(crate) signer: Address,
    pub(crate) owner: Address,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({} at {})", self.inner.signer, self.inner.options.url)
    }
}

impl Client {
    /// Starts to build a client of the hub at `url` (`ws://` or `wss://`).
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    pub(crate) fn of(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens a channel in the default token with `deposit`, waits for the confirmations, and registers it.
    /// An ERC-20 deposit is approved first. Needs an RPC endpoint and a sender.
    ///
    /// Errors: [`ChannelError::Offline`] when there is no connection within the time of a connect: nothing is paid into a channel
    /// with a hub that is away. When the transaction cannot be made no channel is kept; once it may have been sent one is.
    ///
    /// Cancel safe in this sense: once the transaction is sent, the store knows the channel and it comes up by itself.
    pub async fn open(&self, deposit: impl IntoAmount) -> Result<ChannelHandle, ChannelError> {
        self.open_token(self.inner.options.token, deposit).await
    }

    /// [`Client::open`] in another token (zero: the native coin).
    pub async fn open_token(
        &self,
        token: Address,
        deposit: impl IntoAmount,
    ) -> Result<ChannelHandle, ChannelError> {
        let hub = self.hub();
        if !hub.tokens.contains(&token) {
            let served = hub.tokens.clone();
            return Err(ChannelError::TokenNotServed { token, served });
        }
        let chain = self.inner.chain.as_ref().ok_or(ChainError::NotConfigured)?;
        let sender = chain.sender().ok_or(ChainError::NoSender)?;
        let options = &self.inner.options;
        let connected = |view: &View| view.connected;
        self.wait_for(connected, options.connect_timeout, ChannelError::Offline)
            .await?;
        let config = Config {
            client: if self.inner.options.owner.is_some() {
                self.inner.owner
            } else {
                sender
            },
            client_signer: self.inner.signer,
            hub: self.inner.hub.pin.hub,
            hub_signer: self.inner.hub.pin.hub_signer,
            token,
            challenge_period_s: hub.challenge_period_s,
            salt: Digest(self.inner.options.ports.random()),
        };
        // What cannot be opened leaves no channel behind; what may be mined is in the store before.
        let opening = chain.prepare_open(&config, deposit.into_amount()).await?;
        let handle = self.attach(config).await?;
        chain.send_prepared(&opening).await?;
        handle.wait_live().await?;
        Ok(handle)
    }

    /// Adds a channel that somebody else opened for this client's signer, or opens. It becomes live by itself once it
    /// is confirmed on chain; with terms of which no channel was opened it stays `opening`.
    ///
    /// What the channel pays out goes to `config.client`, whoever that is: take the terms only from somebody who is to name it.
    /// With [`ClientBuilder::owner`] it must be that account, the sender's or the signer's.
    ///
    /// Errors: [`ChannelError::Refused`] for terms that are not for this client and hub.
    pub async fn attach(&self, config: Config) -> Result<ChannelHandle, ChannelError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Attach { config, reply }).await?;
        let id = answer.await.map_err(|_| self.stopped())??;
        Ok(self.channel(id))
    }

    /// Pays `amount` to `payee` from the channel of the default token. Returns when the payment is delivered: credited
    /// to the payee, durable, and acknowledged by a hub voucher this client holds.
    ///
    /// Dropping the future does not stop a payment: ask `payment(id)` (name the id with [`Client::pay_with`]).
    /// Errors: [`PayError`]; only `Unknown` leaves the money in doubt.
    pub async fn pay(&self, payee: impl IntoPayee, amount: impl IntoAmount) -> Result<Paid, PayError> {
        self.pay_with(payee, amount, PayOptions::default()).await
    }

    /// Pays an invoice from the channel of the default token so that neither the hub nor the payee can keep the money
    /// without delivering: the hub gets it only with the payee's preimage, which is this payment's proof. The payee must be
    /// online. An invoice with a resolver is paid once that takes a witness, of which this client asks the chain itself. `payee_signer` must come from the payee itself, not through the hub.
    ///
    /// Errors: [`PayError::Bounced`] when it cannot be delivered (`PayeeOffline`, `LocksFull`, ...) and the hub has acknowledged
    /// a voucher without the lock, which takes two round trips: the money is back, and a direct payment may be tried.
    /// [`PayError::NotPaid`] when a dispute has closed the channel and the lock was not opened there.
    /// [`PayError::Unknown`] when it was neither opened nor given up for good in time.
    /// [`PayError::NotSent`] when it could not be signed within `pay_timeout`, [`PayError::Invoice`] when the invoice has expired
    /// before: nothing was signed. [`PayError::DuplicateId`] for every id used before.
    pub async fn pay_locked(
        &self,
        invoice: &SignedInvoice,
        payee_signer: Address,
    ) -> Result<LockedPaid, PayError> {
        let channel = self.default_channel().ok_or(PayError::NoChannel)?;
        channel
            .pay_locked(invoice, payee_signer, LockOptions::default())
            .await
    }

    /// [`Client::pay`] with options.
    pub async fn pay_with(
        &self,
        payee: impl IntoPayee,
        amount: impl IntoAmount,
        options: PayOptions,
    ) -> Result<Paid, PayError> {
        let channel = self.default_channel().ok_or(PayError::NoChannel)?;
        channel.pay_with(payee, amount, options).await
    }

    /// What a payment from the default channel would cost now.
    pub async fn quote(&self, payee: impl IntoPayee, amount: impl IntoAmount) -> Result<Quote, PayError> {
        let channel = self.default_channel().ok_or(PayError::NoChannel)?;
        channel.quote(payee, amount).await
    }

    /// Money of the default channel; zeros without one.
    #[must_use]
    pub fn balance(&self) -> Balance {
        let channel = self.default_channel().and_then(|channel| channel.view());
        channel.map(|view| view.balance).unwrap_or_default()
    }

    /// All channels of this client.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelView> {
        self.view().channels.values().cloned().collect()
    }

    /// A handle on one channel.
    #[must_use]
    pub fn channel(&self, id: ChannelId) -> ChannelHandle {
        ChannelHandle::new(self.clone(), id)
    }

    /// The channel of the default token that `pay` uses: open, else frozen, else one that is being opened, else one that is being
    /// closed. One that is being opened may never come to be: it hides none that is frozen.
    #[must_use]
    pub fn default_channel(&self) -> Option<ChannelHandle> {
        let view = self.view();
        let rank = |channel: &&ChannelView| match (channel.phase, &channel.health) {
            ("open", Health::Good) => 0,
            ("closing" | "disputed", _) => 3,
            ("opening", Health::Good) => 2,
            _ => 1,
        };
        let token = self.inner.options.token;
        let channels = view.channels.values();
        let mine = channels.filter(|channel| channel.config.token == token && channel.phase != "closed");
        mine.min_by_key(rank)
            .map(|channel| self.channel(channel.channel_id))
    }

    /// Deposits more into the default channel and waits for the confirmations.
    pub async fn deposit(&self, amount: impl IntoAmount) -> Result<(), ChannelError> {
        self.required()?.deposit(amount).await
    }

    /// Withdraws from the default channel while it stays open.
    pub async fn withdraw(&self, amount: impl IntoAmount) -> Result<(), ChannelError> {
        self.required()?.withdraw(amount).await
    }

    /// Closes the default channel co-operatively and waits for the payout.
    pub async fn close(&self) -> Result<(), ChannelError> {
        self.required()?.close().await
    }

    /// Evidence of the default channel: what `settle` needs with the hub gone.
    pub async fn evidence(&self) -> Result<Evidence, ChannelError> {
        self.required()?.evidence().await
    }

    /// Payments received on `channel` after a cursor; without one from the earliest the hub keeps.
    #[must_use]
    pub fn payments(&self, channel: ChannelId, after: Option<Cursor>) -> Payments {
        self.channel(channel).payments(after)
    }

    /// What became of an own payment: by accepted vouchers if this client knows, else by the hub's word.
    pub async fn payment(&self, id: PaymentId) -> Result<PaymentAnswer, ChannelError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Payment { id, reply }).await?;
        let known = answer.await.map_err(|_| self.stopped())?;
        let channel_id = match known {
            Some((_, state)) if state != crate::PaymentState::Lost => return Ok(PaymentAnswer::Known(state)),
            Some((channel_id, _)) => channel_id,
            None => self.required()?.id(),
        };
        let call = PaymentCall {
            channel_id,
            payment_id: id,
        };
        match self.call(Request::Payment(call)).await? {
            Reply::Payment(answer) => Ok(PaymentAnswer::HubSays(answer.status)),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether the hub kept the protocol on all channels: the first breach otherwise.
    #[must_use]
    pub fn health(&self) -> Health {
        let view = self.view();
        let frozen = view
            .channels
            .values()
            .find(|channel| channel.health != Health::Good);
        frozen.map_or(Health::Good, |channel| channel.health.clone())
    }

    /// What happens beside the calls made. A receiver that lags loses the oldest events.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ClientEvent> {
        self.inner.events.subscribe()
    }

    /// The watchtowers, in the builder's order: what each has of every channel, and what went wrong.
    #[must_use]
    pub fn towers(&self) -> Vec<TowerView> {
        self.view().towers.clone()
    }

    /// True while logged in.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.view().connected
    }

    /// Why there is no connection to the hub; it is tried again. `None` while logged in. A client that has channels starts
    /// without the hub, and does on chain what must be done.
    #[must_use]
    pub fn unreachable(&self) -> Option<ConnectError> {
        self.view().unreachable.clone()
    }

    /// The hub as it presented itself last.
    #[must_use]
    pub fn hub(&self) -> Arc<HubInfo> {
        let shown = self.view().hub.clone();
        shown.unwrap_or_else(|| self.inner.hub.info.clone())
    }

    /// The facts of the hub that must not change; hand them to `pin` on another device.
    #[must_use]
    pub fn pin(&self) -> &HubPin {
        &self.inner.hub.pin
    }

    /// The session key's address.
    #[must_use]
    pub fn signer(&self) -> Address {
        self.inner.signer
    }

    /// Remembers in the store up to where payments were processed. Call it after processing, not before.
    pub async fn save_cursor(&self, channel: ChannelId, cursor: Cursor) -> Result<(), ChannelError> {
        let (reply, done) = oneshot::channel();
        let command = Command::SaveCursor {
            channel_id: channel,
            cursor,
            reply,
        };
        self.send(command).await?;
        done.await.map_err(|_| self.stopped())
    }

    /// What `save_cursor` remembered: hand it to `payments`.
    pub async fn saved_cursor(&self, channel: ChannelId) -> Result<Option<Cursor>, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let channel_id = channel;
        self.send(Command::SavedCursor { channel_id, reply }).await?;
        answer.await.map_err(|_| self.stopped())
    }

    /// Flushes what is queued as far as the connection allows and stops the task. Then the store is released, also while
    /// other handles live on: their operations fail with `Stopped`.
    pub async fn shutdown(self) {
        let (reply, done) = oneshot::channel();
        if self
            .inner
            .commands
            .send(Command::Shutdown { reply })
            .await
            .is_ok()
        {
            let _ = done.await;
        }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.inner.board.view()
    }

    /// Waits until the view is as `wanted`. Errors: `late` when it is not `within` that time; the client has stopped.
    pub(crate) async fn wait_for(
        &self,
        wanted: impl Fn(&View) -> bool,
        within: Duration,
        late: ChannelError,
    ) -> Result<(), ChannelError> {
        let reached = |view: &View| view.stopped.is_some() || wanted(view);
        let reached = tokio::time::timeout(within, self.inner.board.wait_for(reached)).await;
        match reached.map_err(|_| late)?.stopped {
            Some(_) => Err(self.stopped()),
            None => Ok(()),
        }
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), ChannelError> {
        self.inner
            .commands
            .send(command)
            .await
            .map_err(|_| self.stopped())
    }

    /// One call to the hub, answered by its reply or its error.
    pub(crate) async fn call(&self, request: Request) -> Result<Reply, ChannelError> {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(request);
        self.send(Command::Call { request, reply }).await?;
        let answer = tokio::time::timeout(self.inner.options.call_timeout, answer).await;
        answer
            .map_err(|_| ChannelError::Timeout)?
            .map_err(|_| match self.view().stopped {
                Some(_) => self.stopped(),
                None => ChannelError::Offline,
            })?
            .map_err(ChannelError::Hub)
    }

    pub(crate) fn stopped(&self) -> ChannelError {
        ChannelError::Stopped(self.why_stopped())
    }

    pub(crate) fn why_stopped(&self) -> String {
        let view = self.view();
        view.stopped.clone().unwrap_or_else(|| "shut down".to_owned())
    }

    fn required(&self) -> Result<ChannelHandle, ChannelError> {
        self.default_channel().ok_or(ChannelError::NoChannel)
    }
}

/// An answer of another kind than the question's: the hub's fault.
pub(crate) fn unexpected(reply: &Reply) -> ChannelError {
    let text: String = format!("{reply:?}").chars().take(80).collect();
    ChannelError::Hub(RpcError::because(
        protocol_spec::message::ErrorCode::Internal,
        format!("answer of another kind: {text}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol_spec::UnixSeconds;

    /// A hub may put anything into its answers.
    #[test]
    fn an_answer_of_another_kind_is_told_in_any_alphabet() {
        for shift in ["", "x"] {
            let info = HubInfo {
                server: format!("{shift}{}", "é".repeat(100)),
                chain_id: 1,
                adjudicator: Address::ZERO,
                hub: Address::ZERO,
                hub_signer: Address::ZERO,
                hub_public_key: Vec::new(),
                tokens: Vec::new(),
                challenge_period_s: 0,
                confirmations: 0,
                now: UnixSeconds(0),
            };
            let told = unexpected(&Reply::Info(Box::new(info))).to_string();
            assert!(told.contains("éé"), "{told}");
        }
    }
}
