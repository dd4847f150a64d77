//! The builder of a [`Client`].

use crate::{
    Client, ConnectError, Encoding, HubPin, Ports, Rpc, SpendLimit, Store, Tower, VoucherSigner,
    options::Options, start,
};
use alloy::{
    providers::{DynProvider, Provider},
    signers::local::PrivateKeySigner,
};
use protocol_spec::Address;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Collects the options of a client. Required: `signer`, `store`, and `rpc` or `provider` (or
/// `trust_hub_chain_view`).
#[must_use]
pub struct ClientBuilder {
    options: Options,
    signer: Option<Arc<dyn VoucherSigner>>,
    store: Option<Arc<dyn Store>>,
}

impl ClientBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            options: Options::new(url),
            signer: None,
            store: None,
        }
    }

    /// The session key: signs vouchers and the login. One key, one store, one process. Required.
    pub fn signer(mut self, signer: impl VoucherSigner) -> Self {
        self.signer = Some(Arc::new(signer));
        self
    }

    /// Where channels, vouchers and payments are kept. Required.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The chain, by URL or alloy provider. Deposits and disputes are learned from it, never from the hub's word: it must be
    /// neither the hub's nor a friend's of the hub. Once more for each further endpoint, best two: one of three may then be
    /// down, stand still or lie. A dispute counts when one of them shows it, all else as [`Self::agree`] says.
    pub fn rpc(mut self, rpc: impl Into<Rpc>) -> Self {
        self.options.rpcs.push(rpc.into());
        self
    }

    /// The chain by an alloy provider: one with layers of its own, or one of a chain in this process. It needs no wallet.
    /// An endpoint as those of [`Self::rpc`].
    pub fn provider(mut self, provider: impl Provider + 'static) -> Self {
        self.options.rpcs.push(Rpc::Provider(DynProvider::new(provider)));
        self
    }

    /// How many endpoints must say the same before a deposit, a payout, a withdrawal, a block's number or time, the end of a window, or
    /// a resolver's yes counts. From 1 to the number of endpoints; more than half of them is wise, for two groups could say
    /// different things otherwise. While fewer are up to date, nothing of that is believed, and the view of the chain grows old
    /// ([`crate::ClientEvent::ChainStale`]). A dispute counts when one endpoint shows it, whatever is said here.
    ///
    /// Default: more than half of all. Of two that is both; when only one of the two is up to date it decides alone.
    ///
    /// Transactions offer what the endpoint in the middle names, of two the lower; a defence that no block takes later the higher.
    /// Never more than eight times what more than half of all agreed on last; before they first do, than eight times the
    /// lowest that is named, and eight times more with every minute in which no block takes it.
    pub fn agree(mut self, endpoints: usize) -> Self {
        self.options.agree = Some(endpoints);
        self
    }

    /// Believes the hub about deposits, withdrawals and disputes when there is no endpoint. Only for demos and tests: a hub
    /// that lies about its deposit can pay with money that does not exist, and one that disputes tells nobody. Such a client
    /// never says [`crate::ClientEvent::ChainStale`], answers no dispute, opens no channel and asks no resolver.
    pub fn trust_hub_chain_view(mut self, trust: bool) -> Self {
        self.options.trust_hub_chain_view = trust;
        self
    }

    /// The key that sends transactions (`open`, `deposit`) and owns the channels it opens. Default: the signer's own key
    /// when it is local.
    pub fn sender(mut self, key: PrivateKeySigner) -> Self {
        self.options.sender = Some(key);
        self
    }

    /// Signs for the owner account (`Register`), when that is neither the signer nor the sender. Then no channel is attached that
    /// pays out to anybody else.
    pub fn owner(mut self, owner: impl VoucherSigner) -> Self {
        self.options.owner = Some(Arc::new(owner));
        self
    }

    /// The hub's facts as known from elsewhere. Default: trusted on first use, then kept in the store.
    pub fn pin(mut self, pin: HubPin) -> Self {
        self.options.pin = Some(pin);
        self
    }

    /// The server name the hub must have.
    pub fn server(mut self, name: impl Into<String>) -> Self {
        self.options.server = Some(name.into());
        self
    }

    /// The token that `open`, `pay` and `balance` mean. Default: the native coin (zero).
    pub fn token(mut self, token: Address) -> Self {
        self.options.token = token;
        self
    }

    /// How messages are encoded. Default: binary.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.options.encoding = encoding;
        self
    }

    /// Spend limits. Default: [`SpendLimit::default`], half of the channel's funds.
    pub fn spend_limit(mut self, limit: SpendLimit) -> Self {
        self.options.limit = limit;
        self
    }

    /// The fee accepted without being named in [`crate::PayOptions`], in percent of the amount. Default: 5.
    pub fn fee_limit_percent(mut self, percent: u8) -> Self {
        self.options.fee_limit_percent = percent;
        self
    }

    /// Confirmations after which a block counts. Default: as many as the hub waits for.
    pub fn confirmations(mut self, confirmations: u64) -> Self {
        self.options.confirmations = Some(confirmations);
        self
    }

    /// How long `connect` tries to reach the hub. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a call waits for the hub's answer. Default: 20 s.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.options.call_timeout = timeout;
        self
    }

    /// How long `pay` waits before it returns `NotSent` or `Unknown`. Default: 30 s. What `pay_locked` has not signed within this
    /// time is `NotSent`; a lock that is signed is waited for as long as it lives.
    pub fn pay_timeout(mut self, timeout: Duration) -> Self {
        self.options.pay_timeout = timeout;
        self
    }

    /// How long a signature may take. Default: 30 s. Until a signer has answered, or is given up and asked again later,
    /// the client does nothing else: short for a signer that no person has to touch. A login also ends with
    /// [`connect_timeout`](Self::connect_timeout).
    pub fn sign_timeout(mut self, timeout: Duration) -> Self {
        self.options.sign_timeout = timeout;
        self
    }

    /// How long chain operations wait. Default: 10 minutes.
    pub fn chain_timeout(mut self, timeout: Duration) -> Self {
        self.options.chain_timeout = timeout;
        self
    }

    /// How often the chain is read. Default: 2 s.
    pub fn chain_poll(mut self, interval: Duration) -> Self {
        self.options.chain_poll = interval;
        self
    }

    /// Shortest and longest wait between reconnects. Default: 100 ms and 30 s. The wait doubles with every failure until a
    /// voucher is accepted or a connection has lived for 10 s.
    pub fn reconnect(mut self, min: Duration, max: Duration) -> Self {
        self.options.reconnect_min = min;
        self.options.reconnect_max = max;
        self
    }

    /// How long an acknowledgement waits for a payment to ride on. Default: 20 ms.
    pub fn ack_delay(mut self, delay: Duration) -> Self {
        self.options.ack_delay = delay;
        self
    }

    /// Vouchers with payments under way at once; what is queued meanwhile shares the next one. Default: 4.
    pub fn frames_in_flight(mut self, frames: usize) -> Self {
        self.options.frames_in_flight = frames.max(1);
        self
    }

    /// Lets the hub take back reserve that it does not need in this client's channels, when it asks: less can be received
    /// at once then, but never less than was paid for. Default: true.
    pub fn accept_releases(mut self, accept: bool) -> Self {
        self.options.accept_releases = accept;
        self
    }

    /// Does on chain what must be done, by itself: answers disputes (shows the newest voucher, resolves locks, finalizes,
    /// claims), and starts one for a lock that it can open and the hub has not folded half an hour before its expiry. With
    /// the sender's key, which must be the channel's client or signer and have coins for gas. Default: true. Without, or without
    /// such a key, only [`crate::ClientEvent::Disputed`] and [`crate::ClientEvent::LockAtRisk`] tell, and somebody must run
    /// `settle`.
    pub fn defend(mut self, defend: bool) -> Self {
        self.options.defend = defend;
        self
    }

    /// Sends the transaction of a close or withdrawal itself instead of leaving it to the hub. Default: false; what
    /// moves too little for the hub to pay the gas, and a withdrawal that it leaves lying for five minutes, is sent all the same.
    pub fn broadcast(mut self, broadcast: bool) -> Self {
        self.options.broadcast = broadcast;
        self
    }

    /// Writes `<channel id>.json` there whenever a hub voucher was accepted: the evidence file for `settle`.
    pub fn evidence_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.options.evidence_dir = Some(dir.into());
        self
    }

    /// A watchtower that is handed every accepted voucher, countersigned (R28); once more for each further tower. It never
    /// holds up payments. See [`Client::towers`] for what it has, [`crate::ChannelHandle::wait_towers`] to wait for it.
    pub fn tower(mut self, tower: Tower) -> Self {
        self.options.towers.push(tower);
        self
    }

    /// The authority that signs the hub's TLS certificate (`wss://`), as X.509 in PEM, one or several. Once one is given
    /// only such are trusted; without any, the public ones of the web are.
    pub fn root_certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.options.root_certificates.push(pem.into());
        self
    }

    /// Network, time of day and randomness. Default: the real ones. For tests that simulate them.
    pub fn ports(mut self, ports: Ports) -> Self {
        self.options.ports = ports;
        self
    }

    /// Starts the client's task, connects, checks the hub, and logs in. Channels in the store resume by themselves.
    ///
    /// A client with channels in its store starts without the hub, too, whatever keeps it from there: it watches the chain, does
    /// there what must be done, and connects when it can. [`Client::unreachable`] says why it has no connection. The first
    /// start needs the hub.
    ///
    /// Errors: [`ConnectError`]; nothing keeps running after one.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let signer = self.signer.ok_or(ConnectError::Options(
            "no signer: call `.signer(..)` on the builder",
        ))?;
        let store = self.store.ok_or(ConnectError::Options(
            "no store: call `.store(..)` on the builder",
        ))?;
        if self.options.rpcs.is_empty() && !self.options.trust_hub_chain_view {
            return Err(ConnectError::Options(
                "no view of the chain: call `.rpc(..)` or `.provider(..)` on the builder (or, for demos only, `.trust_hub_chain_view(true)`)",
            ));
        }
        let endpoints = self.options.rpcs.len();
        if let Some(agree) = self.options.agree {
            if agree == 0 || agree > endpoints {
                return Err(ConnectError::Agree { agree, endpoints });
            }
            if agree.saturating_mul(2) <= endpoints {
                tracing::warn!(
                    agree,
                    endpoints,
                    "two groups of endpoints may agree on different things"
                );
            }
        }
        start::start(self.options, signer, store).await
    }
}
