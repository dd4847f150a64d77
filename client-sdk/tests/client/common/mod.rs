//! A scripted mini-hub on a real socket: `protocol_spec::Channel` with `Side::Hub`, real signatures, planted misbehaviour.
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    reason = "shared by several test crates"
)]

mod court;
mod node;
mod session;
mod simulated;
mod state;

pub use court::{Court, DEPOSIT, PURSE};
pub use node::{Lie, Node};
pub use simulated::{SimulatedNetwork, TOWER, Tower as SimulatedTower, Wire, simulated, simulated_builder};
pub use state::{Cut, HubChannel, Refuse, Silence, Spoil, State};

use client_sdk::{
    Address, Amount, ChannelId, Client, ClientBuilder, Config, Digest, MemoryStore, PaymentId, ReturnReason,
    SignerKey, SpendLimit,
};
use protocol_spec::{
    Channel, Credit, Domain, Lock, Op, Opened, Payee, Return, Seq, Side, SignedInvoice, SignedVoucher,
    UnixSeconds, VoucherSignature,
    batch::{Tree, batch_digest},
    channel::{Clock, Delays},
    message::{Event, Frame, HubInfo, Notification},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender};

pub struct Hub {
    pub url: String,
    pub key: SignerKey,
    /// Owner of the hub's side.
    pub account: Address,
    pub domain: Domain,
    pub state: Mutex<State>,
    pub nonce: AtomicU64,
    pub time: Arc<dyn Fn() -> UnixSeconds + Send + Sync>,
}

fn system_time() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// What the mini-hub asks for more capacity.
pub const CAPACITY_FEE: Amount = Amount(7);
/// And how long it leaves it.
pub const CAPACITY_HOLD_S: u64 = 3_600;
/// A quote of this amount carries somebody else's signature.
pub const FORGED_CAPACITY: Amount = Amount(666);

pub fn key(byte: u8) -> SignerKey {
    SignerKey::from_bytes(&[byte; 32]).unwrap()
}

impl Hub {
    pub async fn start() -> Arc<Self> {
        Self::start_at(Arc::new(system_time)).await
    }

    /// As [`Hub::start`], with a time of day that the test sets.
    pub async fn start_at(time: Arc<dyn Fn() -> UnixSeconds + Send + Sync>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let hub = Self::new(url, time);
        let server = hub.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(session::serve(server.clone(), socket));
            }
        });
        hub
    }

    /// As [`Hub::start`], behind TLS and by name.
    pub async fn start_tls(tls: tokio_rustls::TlsAcceptor) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hub = Self::new(format!("wss://localhost:{port}"), Arc::new(system_time));
        let server = hub.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (server, tls) = (server.clone(), tls.clone());
                tokio::spawn(async move {
                    if let Ok(socket) = tls.accept(socket).await {
                        session::serve(server, socket).await;
                    }
                });
            }
        });
        hub
    }

    pub fn new(url: String, time: Arc<dyn Fn() -> UnixSeconds + Send + Sync>) -> Arc<Self> {
        let domain = Domain::new(31337, Address::repeat_byte(0xad));
        Self::of(url, time, Address::repeat_byte(0x44), domain)
    }

    /// With an adjudicator and an account of the caller's.
    pub fn of(
        url: String,
        time: Arc<dyn Fn() -> UnixSeconds + Send + Sync>,
        account: Address,
        domain: Domain,
    ) -> Arc<Self> {
        Arc::new(Self {
            url,
            time,
            key: key(9),
            account,
            domain,
            state: Mutex::default(),
            nonce: AtomicU64::new(1),
        })
    }

    pub fn clock(&self) -> Clock {
        let now = (self.time)();
        Clock { now, chain: now }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn info(&self) -> HubInfo {
        HubInfo {
            server: if self.state().renamed { "other" } else { "mini" }.to_owned(),
            chain_id: self.domain.chain_id,
            adjudicator: self.domain.adjudicator,
            hub: self.account,
            hub_signer: self.key.address(),
            hub_public_key: self.key.public().to_compressed().to_vec(),
            tokens: vec![Address::ZERO],
            challenge_period_s: 86_400,
            confirmations: 1,
            now: self.clock().now,
        }
    }

    pub fn config(&self, client: &SignerKey) -> Config {
        Config {
            client: client.address(),
            client_signer: client.address(),
            hub: self.account,
            hub_signer: self.key.address(),
            token: Address::ZERO,
            challenge_period_s: 86_400,
            salt: Digest([3; 32]),
        }
    }

    /// Makes the hub know an open channel of `client`, with 1,000,000 on each side.
    pub fn add_channel(&self, client: &SignerKey) -> Config {
        self.add_channel_of(self.config(client))
    }

    pub fn add_channel_of(&self, config: Config) -> Config {
        let mut channel = Channel::new(config.clone(), &self.domain, Side::Hub, Delays::default()).unwrap();
        channel.deposit_confirmed(Side::Client, Amount(1_000_000));
        channel.deposit_confirmed(Side::Hub, Amount(1_000_000));
        let entry = HubChannel {
            channel,
            frames: Vec::new(),
            received: None,
        };
        self.state().channels.insert(config.id(&self.domain), entry);
        config
    }

    /// A batch signature over one real leaf and one of its own.
    pub fn sign(&self, digest: Digest) -> VoucherSignature {
        let tree = Tree::new(vec![digest, self.next_nonce()]);
        VoucherSignature::Batch {
            root_signature: self.key.sign(&batch_digest(&self.domain, &tree.root())),
            proof: tree.proof(0),
        }
    }

    /// The hub's next frame, spoiled if that is asked for.
    pub fn issue(&self, state: &mut State, id: &ChannelId, ops: &[Op]) -> Frame {
        let spoil = state.spoil.take();
        let entry = state.channels.get_mut(id).unwrap();
        let issued = entry.channel.issue(ops, &self.domain, self.clock()).unwrap();
        let mut voucher = issued.voucher;
        match spoil {
            Some(Spoil::Paid) => voucher.paid = Amount(voucher.paid.0 + 1),
            Some(Spoil::AckSeq) => voucher.ack_seq = Seq(voucher.ack_seq.0 + 5),
            Some(Spoil::AckPaid) => voucher.ack_paid = Amount(voucher.ack_paid.0 + 1),
            Some(Spoil::History) => voucher.history = Digest([1; 32]),
            Some(Spoil::Signature) | None => {}
        }
        let signature = if spoil == Some(Spoil::Signature) {
            VoucherSignature::Direct(key(8).sign(&voucher.digest(&self.domain)))
        } else {
            self.sign(voucher.digest(&self.domain))
        };
        let frame = Frame {
            voucher: SignedVoucher { voucher, signature },
            ops: ops.to_vec(),
        };
        entry.frames.push(frame.clone());
        frame
    }

    /// Cuts the connection at the next request.
    pub fn cut_next(&self) {
        let mut state = self.state();
        state.cut = Cut::BeforeRequest(state.requests + 1);
    }

    /// Credits a channel from outside and sends the frame.
    pub fn credit(&self, id: &ChannelId, amount: u128) -> PaymentId {
        let mut state = self.state();
        let (payment_id, frame) = self.issue_credit(&mut state, id, amount);
        if let Some(push) = &state.push {
            push.send(Notification::Voucher(frame)).unwrap();
        }
        payment_id
    }

    /// As [`Hub::credit`], with the receipt in the same breath.
    pub fn credit_with_receipt(&self, id: &ChannelId, amount: u128) {
        self.credit(id, amount);
        let state = self.state();
        let event = self.events(&state, id).pop().unwrap();
        state
            .push
            .as_ref()
            .unwrap()
            .send(Notification::Event(event))
            .unwrap();
    }

    /// The log of receipts is derived from the frames: one position for each credit and each folded lock.
    pub fn events(&self, state: &State, id: &ChannelId) -> Vec<Event> {
        session::events(self, state, id)
    }

    /// Acknowledges what it has, with a voucher that does nothing else.
    pub fn acknowledge(&self, id: &ChannelId) {
        let mut state = self.state();
        let frame = self.issue(&mut state, id, &[]);
        state
            .push
            .as_ref()
            .unwrap()
            .send(Notification::Voucher(frame))
            .unwrap();
    }

    /// Whether this is the connection that resumed last.
    pub fn resumed_last(&self, push: &UnboundedSender<Notification>) -> bool {
        let state = self.state();
        state.push.as_ref().is_some_and(|last| last.same_channel(push))
    }

    /// A frame with one credit.
    pub fn issue_credit(&self, state: &mut State, id: &ChannelId, amount: u128) -> (PaymentId, Frame) {
        let payment_id = PaymentId(self.next_nonce().0[..16].try_into().unwrap());
        let op = Op::Credit(Credit {
            payment_id,
            payer: Credit::payer_of(&ChannelId([5; 32]), &payment_id),
            amount: Amount(amount),
            invoice: Digest::ZERO,
        });
        (payment_id, self.issue(state, id, &[op]))
    }

    /// The hub locks so much for an invoice; the client is told.
    pub fn lock(&self, id: &ChannelId, amount: Amount, invoice: &SignedInvoice, expiry: UnixSeconds) -> Lock {
        let named = invoice.invoice.digest(&self.domain);
        self.lock_naming(id, amount, invoice, expiry, (PaymentId([8; 16]), named))
    }

    /// As [`Hub::lock`], with the payer's id for it and the digest that the payer names.
    pub fn lock_naming(
        &self,
        id: &ChannelId,
        amount: Amount,
        invoice: &SignedInvoice,
        expiry: UnixSeconds,
        (payment_id, named): (PaymentId, Digest),
    ) -> Lock {
        let mut state = self.state();
        let lock = Lock {
            id: state.channels[id].channel.sent().newest_lock + 1,
            amount,
            expiry,
            hash: invoice.invoice.hash,
            resolver: invoice.invoice.resolver,
        };
        let op = Op::LockAdd {
            lock: Box::new(lock.clone()),
            payment_id,
            payee: Payee::Channel(*id),
            fee_max: Amount::ZERO,
            invoice: named,
        };
        let frame = self.issue(&mut state, id, &[op]);
        let push = state.push.as_ref().unwrap();
        push.send(Notification::Voucher(frame)).unwrap();
        lock
    }

    /// The hub pays a lock of its own whose opening the client told.
    pub fn fold(&self, id: &ChannelId, lock_id: u64) {
        let mut state = self.state();
        let told = state
            .reveals
            .iter()
            .rev()
            .find(|reveal| reveal.lock_id == lock_id);
        let witness = told.unwrap().witness.clone();
        let channel = &mut state.channels.get_mut(id).unwrap().channel;
        let condition = channel.sent().locks.lock(lock_id).unwrap().condition();
        let opened = Opened::by_hash(condition, witness.clone());
        let opened = opened
            .or_else(|| Opened::vouched(condition, witness.clone()))
            .unwrap();
        channel.told_witness(lock_id, &opened, self.clock()).unwrap();
        let witness = witness.as_bytes().to_vec();
        let op = Op::LockConvert { id: lock_id, witness };
        let frame = self.issue(&mut state, id, &[op]);
        let push = state.push.as_ref().unwrap();
        push.send(Notification::Voucher(frame)).unwrap();
    }

    /// What the hub answers to payments: delivered (with one unit of change) or bounced.
    pub fn answers(state: &mut State, ops: &[Op]) -> Vec<Op> {
        let mut answers = Vec::new();
        for op in ops {
            let Op::Pay(payment) = op else { continue };
            let (amount, reason) = match state.bounce {
                Some(reason) => (payment.amount.0 + payment.fee_max.0, reason),
                None => {
                    state.delivered.push(payment.payment_id);
                    (
                        payment.fee_max.0.saturating_sub(state.fee.0),
                        ReturnReason::Change,
                    )
                }
            };
            if amount > 0 {
                answers.push(Op::Return(Return {
                    payment_id: payment.payment_id,
                    amount: Amount(amount),
                    reason,
                }));
            }
        }
        answers
    }

    pub fn next_nonce(&self) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.nonce.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        Digest(bytes)
    }
}

/// A builder with short waits.
pub fn builder(hub: &Hub, signer: SignerKey, store: impl client_sdk::Store) -> ClientBuilder {
    Client::builder(hub.url.clone())
        .signer(signer)
        .store(store)
        .trust_hub_chain_view(true)
        .spend_limit(SpendLimit::none())
        .fee_limit_percent(100)
        .pay_timeout(Duration::from_secs(5))
        .chain_timeout(Duration::from_secs(5))
        .reconnect(Duration::from_millis(10), Duration::from_millis(50))
}

pub async fn connect(hub: &Hub, signer: SignerKey) -> (Client, ChannelId) {
    connect_with(hub, signer, MemoryStore::new()).await
}

/// For tests that count requests: no acknowledgement comes between.
pub const NO_ACKS: Duration = Duration::from_secs(60);

pub async fn connect_with(
    hub: &Hub,
    signer: SignerKey,
    store: impl client_sdk::Store,
) -> (Client, ChannelId) {
    let config = hub.config(&signer);
    if !hub.state().channels.contains_key(&config.id(&hub.domain)) {
        hub.add_channel(&signer);
    }
    attached(hub, config, builder(hub, signer, store)).await
}

/// Connects and brings the channel up.
pub async fn attached(hub: &Hub, config: Config, builder: ClientBuilder) -> (Client, ChannelId) {
    assert!(hub.state().channels.contains_key(&config.id(&hub.domain)));
    let client = builder.connect().await.unwrap();
    let channel = client.attach(config).await.unwrap();
    channel.wait_live().await.unwrap();
    (client, channel.id())
}

/// Polls until true; panics after five seconds.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not reached: {what}");
}
