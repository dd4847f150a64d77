//! A ledger with its clients, a clock and a chain that says what it is told.

use super::client::{Client, HUB, HUB_KEY, TOKEN, domain, key};
use super::{state::Tables, twin::Twin};
use crate::{
    engine::SessionId,
    ledger::{
        Capacity, ChainBlock, ChainFact, ChainPosition, FrameOut, Input, Ledger, LockPolicy, Origin, Output,
        Policy, Reserve, Resumption, RowItems, Tariff,
    },
};
use protocol_spec::{
    Amount, ChannelId, Digest, Op, Payee, PaymentId, Preimage, Seq, Side, SignedVoucher, SignerKey,
    UnixSeconds, VoucherSignature,
    channel::{Clock, Delays},
    message::{
        CapacityReply, Event, Frame, LockCall, PaymentCall, PaymentStatus, RegisterCall, Reply, ResumeCall,
        Reveal, RpcError, VoucherReply,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Fee granted by locks.
pub(super) const FEE_MAX: u128 = 50;

pub(super) const START: UnixSeconds = UnixSeconds(1_700_000_000);

#[derive(Debug)]
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) twin: Option<Twin>,
    pub(super) hub: SignerKey,
    pub(super) clients: Vec<Client>,
    pub(super) now: UnixSeconds,
    pub(super) records: Vec<Vec<u8>>,
    /// O1: the digest of every voucher ever issued.
    pub(super) issued: BTreeMap<(ChannelId, Seq), Digest>,
    /// The same, in order, by record.
    pub(super) issued_by_record: Vec<Vec<Digest>>,
    pub(super) answers: BTreeMap<(u64, u64), Result<Reply, RpcError>>,
    pub(super) events: BTreeMap<u64, Vec<(u64, Amount)>>,
    pub(super) dropped: BTreeSet<u64>,
    /// As the hub told it last.
    pub(super) rollbacks: u64,
    /// Session of each client; `None`: offline.
    pub(super) sessions: Vec<Option<u64>>,
    next_session: u64,
    pub(super) next_id: u64,
}

pub(super) fn policy() -> Policy {
    Policy {
        server: "hub.test".to_owned(),
        log_epoch: 1,
        delays: Delays::default(),
        challenge_period_s: 3600,
        retention_s: 7 * 24 * 3600,
        events_per_channel_max: 10_000,
        remembered_max: 10_000_000,
        locks: LockPolicy::standard(Delays::default()),
        tokens: vec![Tariff {
            token: TOKEN,
            fee_flat: Amount(1),
            fee_ppm: 10_000,
            locked_max: Amount(u128::MAX >> 40),
            reserve: Reserve::default(),
            capacity: Capacity::default(),
            send_min: Amount::ZERO,
        }],
    }
}

pub(super) fn new_ledger() -> Ledger {
    Ledger::new(domain(), HUB, key(HUB_KEY).address()).with_rows(RowItems::FEW)
}

impl World {
    /// `count` clients, registered and online, each side of each channel with `deposit`.
    pub(super) fn new(count: u64, deposit: u128) -> Self {
        Self::with(policy(), count, deposit)
    }

    pub(super) fn with(policy: Policy, count: u64, deposit: u128) -> Self {
        let mut world = Self {
            ledger: new_ledger(),
            twin: None,
            hub: key(HUB_KEY),
            clients: Vec::new(),
            now: START,
            records: Vec::new(),
            issued: BTreeMap::new(),
            issued_by_record: Vec::new(),
            answers: BTreeMap::new(),
            events: BTreeMap::new(),
            dropped: BTreeSet::new(),
            rollbacks: 0,
            sessions: Vec::new(),
            next_session: 1,
            next_id: 1,
        };
        world.commit(vec![Input::Policy(policy)]);
        for number in 0..count {
            world.add(Client::new(number, TOKEN), deposit);
        }
        world
    }

    pub(super) fn add(&mut self, client: Client, deposit: u128) -> usize {
        let config = client.channel.config().clone();
        self.clients.push(client);
        self.sessions.push(None);
        let index = self.clients.len() - 1;
        self.block(vec![ChainFact::Opened(config.clone())]);
        self.fund(index, deposit, deposit);
        let origin = self.fresh_origin(index);
        let owner_signature = Some(self.hub.sign(&Digest::ZERO)); // verified before it becomes an input
        self.commit(vec![Input::Register(
            origin,
            RegisterCall {
                config,
                owner_signature,
            },
        )]);
        self.online(index);
        index
    }

    pub(super) fn clock(&self) -> Clock {
        let chain = self.ledger.chain().timestamp;
        Clock {
            now: self.now.max(chain),
            chain,
        }
    }

    pub(super) fn id(&self, client: usize) -> ChannelId {
        self.clients[client].channel.id()
    }

    pub(super) fn block_of(&self, facts: Vec<ChainFact>) -> Input {
        let number = self.ledger.chain().number + 1;
        let mut hash = [9; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        Input::Chain(ChainBlock {
            position: ChainPosition {
                number,
                hash,
                timestamp: self.now,
            },
            facts,
        })
    }

    pub(super) fn block(&mut self, facts: Vec<ChainFact>) -> Vec<Output> {
        let block = self.block_of(facts);
        self.commit(vec![block])
    }

    /// Adds to both deposits, as the contract's events tell it.
    pub(super) fn fund(&mut self, client: usize, client_adds: u128, hub_adds: u128) {
        let facts = self.fund_facts(client, client_adds, hub_adds);
        self.block(facts);
    }

    pub(super) fn fund_facts(&mut self, client: usize, client_adds: u128, hub_adds: u128) -> Vec<ChainFact> {
        let channel = &mut self.clients[client].channel;
        let funds = *channel.funds();
        let deposit = funds.client_deposit.0 + client_adds;
        channel.deposit_confirmed(Side::Client, Amount(deposit));
        channel.deposit_confirmed(Side::Hub, Amount(funds.hub_deposit.0 + hub_adds));
        let withdrawn = funds.client_withdrawn.0;
        let net = (
            deposit.saturating_sub(withdrawn),
            withdrawn.saturating_sub(deposit),
        );
        let id = channel.id();
        vec![
            ChainFact::Deposited {
                channel: id,
                total: Amount(deposit + funds.hub_deposit.0 - withdrawn - funds.hub_withdrawn.0),
                client_net: (Amount(net.0), Amount(net.1)),
            },
            ChainFact::Reserved {
                channel: id,
                amount: Amount(hub_adds),
            },
        ]
    }

    pub(super) fn fresh_origin(&mut self, client: usize) -> Origin {
        let session = self.sessions[client].unwrap_or(999);
        self.next_id += 1;
        Origin {
            session: SessionId(session),
            id: self.next_id,
            signer: self.clients[client].account(),
        }
    }

    /// What the hub says became of a payment.
    pub(super) fn status(&mut self, client: usize, payment_id: PaymentId) -> PaymentStatus {
        let (origin, channel_id) = (self.fresh_origin(client), self.id(client));
        let call = PaymentCall {
            channel_id,
            payment_id,
        };
        self.commit(vec![Input::Payment(origin, call)]);
        match self.answer(origin) {
            Ok(Reply::Payment(reply)) => reply.status.clone(),
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn answer(&self, origin: Origin) -> &Result<Reply, RpcError> {
        &self.answers[&(origin.session.0, origin.id)]
    }

    pub(super) fn error(&self, origin: Origin) -> String {
        self.answer(origin)
            .as_ref()
            .expect_err("an error")
            .data
            .name
            .clone()
    }

    /// Connects and resumes; the old connection of the client, if any, is still there.
    pub(super) fn resume_input(&mut self, client: usize) -> (Origin, Input) {
        self.sessions[client] = Some(self.next_session);
        self.next_session += 1;
        let origin = self.fresh_origin(client);
        let call = self.clients[client].resume_call();
        (origin, self.verified_resume(client, origin, call))
    }

    pub(super) fn verified_resume(&self, client: usize, origin: Origin, call: ResumeCall) -> Input {
        let one = &self.clients[client];
        let verify = |shown: &Option<SignedVoucher>, hub: bool| {
            let key = if hub { one.hub } else { one.key.public() };
            shown
                .clone()
                .map(|signed| signed.verify(&domain(), &key, hub).unwrap())
        };
        let (sent, received) = (verify(&call.sent, false), verify(&call.received, true));
        let resumption = Resumption { call, sent, received };
        Input::Resume(origin, Box::new(resumption))
    }

    /// The client of a channel in doubt comes back, as the SDK does; what the hub has not accepted it sends again.
    pub(super) fn resync(&mut self, client: usize) -> Origin {
        let (mut origin, input) = self.resume_input(client);
        self.commit(vec![input]);
        if self.answer(origin).is_err() {
            assert_eq!(self.error(origin), "RolledBack");
            origin = self.fresh_origin(client);
            let call = self.clients[client].resync_call();
            let input = self.verified_resume(client, origin, call);
            self.commit(vec![input]);
        }
        let again: Vec<Frame> = self.clients[client].unaccepted.clone();
        for frame in again {
            let (sent, input) = self.input(client, frame);
            self.commit(vec![input]);
            assert!(self.answer(sent).is_ok(), "{:?}", self.answer(sent));
        }
        origin
    }

    pub(super) fn online(&mut self, client: usize) -> Origin {
        let (origin, input) = self.resume_input(client);
        self.commit(vec![input]);
        origin
    }

    pub(super) fn offline(&mut self, client: usize) {
        if let Some(session) = self.sessions[client].take() {
            self.commit(vec![Input::Gone(SessionId(session))]);
        }
    }

    pub(super) fn input(&mut self, client: usize, frame: Frame) -> (Origin, Input) {
        let origin = self.fresh_origin(client);
        let voucher = self.clients[client].verified(&frame);
        let ops = frame.ops;
        (origin, Input::Frame { origin, voucher, ops })
    }

    /// Signs a frame with `ops` and commits it alone.
    pub(super) fn send(&mut self, client: usize, ops: Vec<Op>) -> Origin {
        let clock = self.clock();
        let frame = self.clients[client].frame(ops, clock).unwrap();
        let (origin, input) = self.input(client, frame);
        self.commit(vec![input]);
        origin
    }

    pub(super) fn pay_op(&mut self, from: usize, to: usize, amount: u128, fee_max: u128) -> Op {
        let payee = Payee::Account(self.clients[to].account());
        let expires = self.now.after(60);
        self.clients[from].pay(payee, amount, fee_max, expires)
    }

    pub(super) fn lock_op(
        &mut self,
        from: usize,
        to: usize,
        amount: u128,
        life_s: u64,
        secret: Preimage,
    ) -> Op {
        let payee = Payee::Account(self.clients[to].account());
        let expiry = self.clock().chain.after(life_s);
        self.clients[from].lock(payee, amount, FEE_MAX, expiry, secret)
    }

    pub(super) fn reveal(&mut self, payee: usize, lock_id: u64, preimage: Preimage) -> Origin {
        let origin = self.fresh_origin(payee);
        let call = Reveal {
            channel_id: self.id(payee),
            lock_id,
            witness: preimage.into(),
        };
        self.commit(vec![Input::Reveal(origin, call)]);
        origin
    }

    pub(super) fn give_up(&mut self, payee: usize, lock_id: u64) -> Origin {
        let origin = self.fresh_origin(payee);
        let channel_id = self.id(payee);
        let _ = self.clients[payee].channel.consent(lock_id);
        self.commit(vec![Input::Consent(origin, LockCall { channel_id, lock_id })]);
        origin
    }

    pub(super) fn voucher_reply(&self, origin: Origin) -> &VoucherReply {
        match self.answer(origin) {
            Ok(Reply::Voucher(reply)) => reply,
            other => panic!("no voucher reply: {other:?}"),
        }
    }

    /// One commit; everything that comes out is delivered.
    pub(super) fn commit(&mut self, inputs: Vec<Input>) -> Vec<Output> {
        let told = self.twin.is_some().then(|| inputs.clone());
        let commit = self.ledger.commit(inputs, self.now);
        if let Some((twin, told)) = self.twin.as_mut().zip(told) {
            twin.compare(&commit, told, self.now);
            twin.cool(&mut self.ledger);
        }
        let ledger = &self.ledger;
        let listed = (
            ledger.reserve_needs(),
            ledger.surpluses(),
            ledger.awaited_refills(),
        );
        assert_eq!(listed, self.ledger.reserves_by_walk(), "the lists of reserves");
        let issued: Vec<Digest> = issued_of(&commit.outputs);
        if let Some((number, bytes)) = commit.record {
            self.records.push(bytes);
            self.issued_by_record.push(issued);
            assert_eq!(number, self.records.len() as u64, "records are dense");
        } else {
            assert!(issued.is_empty(), "vouchers without a record");
        }
        for output in &commit.outputs {
            self.deliver(output);
        }
        commit.outputs
    }

    fn deliver(&mut self, output: &Output) {
        match output {
            Output::Frame(out) => self.deliver_frame(out),
            Output::Event(out) => {
                let event: Event = Event {
                    cursor: out.cursor.clone(),
                    receipt: out.receipt.clone(),
                    signature: VoucherSignature::Direct(self.hub.sign(&out.receipt.digest(&domain()))),
                };
                let row = (event.cursor.position, event.receipt.amount);
                self.events.entry(out.session.0).or_default().push(row);
            }
            // Tests answer it.
            Output::Check(_) => {}
            Output::Reply(origin, result) => self.note(*origin, result.clone().map(|reply| *reply)),
            Output::Resumed(origin, reply, newest) => {
                let sent = newest.clone().map(|(voucher, digest)| SignedVoucher {
                    signature: VoucherSignature::Direct(self.hub.sign(&digest)),
                    voucher,
                });
                let mut reply = reply.clone();
                reply.sent = sent;
                let id = reply.channel.channel_id;
                let seq = reply
                    .received
                    .as_ref()
                    .map_or(Seq::NONE, |signed| signed.voucher.seq);
                let client = self
                    .clients
                    .iter_mut()
                    .find(|client| client.channel.id() == id)
                    .unwrap();
                client.accepted_up_to(seq);
                self.note(*origin, Ok(Reply::Resume(reply)));
            }
            Output::Drop(session) => drop(self.dropped.insert(session.0)),
            Output::Tell(session, told) => {
                let clock = self.clock();
                let listens = |one: &Option<u64>| *one == Some(session.0);
                if let Some(index) = self.sessions.iter().position(listens) {
                    self.clients[index].told(told, clock);
                }
            }
            Output::Quoted(origin, quote) => {
                let signature = self.hub.sign(&quote.digest(&domain()));
                let quote = *quote.clone();
                self.note(*origin, Ok(Reply::Capacity(CapacityReply { quote, signature })));
            }
            Output::RolledBack(times) => self.rollbacks = *times,
            Output::Countersign(..) | Output::Released(..) => {}
        }
    }

    /// The hub's database is `tables` and `tail`, restored from a backup; gives the new tables. What nobody has seen of
    /// the hub was never signed.
    pub(super) fn restore(&mut self, tables: &Tables, tail: &[Vec<u8>]) -> Tables {
        let mut ledger = tables.restore();
        for bytes in tail {
            ledger.replay(ledger.next_record, bytes).unwrap();
        }
        ledger.restored(self.rollbacks);
        self.start_on(ledger)
    }

    /// The hub is started on an old copy of its database; gives that.
    pub(super) fn start_copy(&mut self, tables: &Tables) -> Tables {
        self.start_on(tables.restore())
    }

    fn start_on(&mut self, mut ledger: Ledger) -> Tables {
        let mut new = Tables::default();
        new.write(ledger.checkpoint_all());
        self.ledger = new.restore();
        (self.records, self.issued_by_record) = (Vec::new(), Vec::new());
        let clients = &self.clients;
        let seen = |id: &ChannelId, seq: &Seq| {
            let client = clients.iter().find(|client| client.channel.id() == *id).unwrap();
            client.channel.received().seq >= *seq
        };
        self.issued.retain(|(id, seq), _| seen(id, seq));
        for entry in self.ledger.entries.iter() {
            let kept = entry.stored.backlog.iter();
            let id = entry.channel.id();
            self.issued
                .extend(kept.map(|issue| ((id, issue.voucher.seq), issue.digest)));
        }
        self.sessions.fill(None);
        self.commit(vec![Input::Policy(policy())]);
        new
    }

    fn note(&mut self, origin: Origin, result: Result<Reply, RpcError>) {
        if let Ok(Reply::Voucher(reply)) = &result
            && let Some(client) = self
                .clients
                .iter_mut()
                .find(|client| client.channel.config().client_signer == origin.signer)
        {
            client.accepted_up_to(reply.seq);
        }
        let twice = self.answers.insert((origin.session.0, origin.id), result);
        assert!(twice.is_none(), "answered twice");
    }

    fn deliver_frame(&mut self, out: &FrameOut) {
        let place = (out.issue.voucher.channel_id, out.issue.voucher.seq);
        if !out.again {
            assert_eq!(
                self.issued.insert(place, out.issue.digest),
                None,
                "O1: {place:?} issued twice"
            );
        }
        assert_eq!(self.issued.get(&place), Some(&out.issue.digest), "O1");
        assert_eq!(out.issue.voucher.digest(&domain()), out.issue.digest);
        let Some(session) = out.session else { return };
        let index = self
            .clients
            .iter()
            .position(|client| client.channel.id() == place.0)
            .unwrap();
        if self.sessions[index] != Some(session.0) {
            return; // an old connection: nobody reads it
        }
        let signature = VoucherSignature::Direct(self.hub.sign(&out.issue.digest));
        let voucher = SignedVoucher {
            voucher: out.issue.voucher.clone(),
            signature,
        };
        let frame = Frame {
            voucher,
            ops: out.issue.ops.clone(),
        };
        let clock = self.clock();
        self.clients[index]
            .take(&frame, clock)
            .expect("a client accepts every hub frame");
    }
}

pub(super) fn issued_of(outputs: &[Output]) -> Vec<Digest> {
    let fresh = |output: &Output| match output {
        Output::Frame(out) if !out.again => Some(out.issue.digest),
        _ => None,
    };
    outputs.iter().filter_map(fresh).collect()
}
