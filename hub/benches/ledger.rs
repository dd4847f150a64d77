//! What the ledger's thread spends on a payment, and what repeating it from the journal after a crash costs: microseconds of
//! CPU time, median (min-max) of five rounds, by the payments of one commit and the number of payers. Every payment has a
//! voucher of its own; its digest and signature were checked before, as in the hub.
//! `cargo bench -p hub --bench ledger [-- PAYERS]`; what counts are ratios.

#![allow(
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    reason = "a benchmark"
)]

mod timing;

use hub::{
    engine::SessionId,
    ledger::{
        Capacity, ChainBlock, ChainFact, ChainPosition, FrameOut, Input, Ledger, LockPolicy, Origin, Output,
        Policy, Reserve, Resumption, Tariff,
    },
};
use protocol_spec::{
    Address, Amount, Channel, ChannelId, Config, Digest, Domain, Op, Payee, Payment, PaymentId, Side,
    Signature, SignedVoucher, UnixSeconds, VerifiedVoucher, VoucherSignature,
    channel::{Clock, Delays},
    message::{RegisterCall, ResumeCall},
};
use std::collections::HashMap;
use timing::{ROUNDS, cpu_us, median};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCHES: [usize; 4] = [1, 32, 256, 1_024];
const PAYMENTS: usize = 20_000;
const PAYEES: usize = 1_000;
const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const CLOCK: Clock = Clock { now: NOW, chain: NOW };
const TOKEN: Address = Address::repeat_byte(7);
const HUB: Address = Address::repeat_byte(1);
const HUB_SIGNER: Address = Address::repeat_byte(2);
const MONEY: Amount = Amount(1 << 80);

fn main() {
    let payers = std::env::args()
        .find_map(|text| text.parse().ok())
        .unwrap_or(10_000);
    let mut world = World::new(payers);
    println!("{payers} payers, {PAYEES} payees");
    println!(
        "{:>8}{:>24}{:>24}{:>16}",
        "commit", "us per payment", "us to repeat it", "record bytes"
    );
    for batch in BATCHES {
        let (mut times, mut repeats) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let (time, written) = world.round(batch);
            times.push(time);
            repeats.push(world.repeat());
            bytes = written;
        }
        println!(
            "{batch:>8}{:>24}{:>24}{bytes:>16}",
            median(times),
            median(repeats)
        );
    }
}

struct Client {
    channel: Channel,
    session: SessionId,
}

struct World {
    ledger: Ledger,
    /// Does what the journal says.
    follower: Ledger,
    /// What it has not done yet.
    journal: Vec<(u64, Vec<u8>)>,
    domain: Domain,
    clients: Vec<Client>,
    by_id: HashMap<ChannelId, usize>,
    payers: usize,
    next_id: u64,
    next_payer: usize,
}

impl World {
    fn new(payers: usize) -> Self {
        let domain = Domain::new(31_337, Address::repeat_byte(3));
        let mut world = Self {
            ledger: Ledger::new(domain, HUB, HUB_SIGNER),
            follower: Ledger::new(domain, HUB, HUB_SIGNER),
            journal: Vec::new(),
            domain,
            clients: Vec::new(),
            by_id: HashMap::new(),
            payers,
            next_id: 0,
            next_payer: 0,
        };
        world.commit(vec![Input::Policy(policy())]);
        for number in 0..payers + PAYEES {
            world.open(number);
        }
        world.repeat();
        world
    }

    fn open(&mut self, number: usize) {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        let account = Address::from(bytes);
        let config = Config {
            client: account,
            client_signer: account,
            hub: HUB,
            hub_signer: HUB_SIGNER,
            token: TOKEN,
            challenge_period_s: 3_600,
            salt: Digest::ZERO,
        };
        let mut channel =
            Channel::new(config.clone(), &self.domain, Side::Client, Delays::default()).unwrap();
        let id = channel.id();
        channel.deposit_confirmed(Side::Client, MONEY);
        channel.deposit_confirmed(Side::Hub, MONEY);
        let both = Amount(MONEY.0 * 2);
        let facts = vec![
            ChainFact::Opened(config.clone()),
            ChainFact::Deposited {
                channel: id,
                total: both,
                client_net: (MONEY, Amount::ZERO),
            },
            ChainFact::Reserved {
                channel: id,
                amount: MONEY,
            },
        ];
        let position = ChainPosition {
            number: number as u64 + 1,
            hash: [9; 32],
            timestamp: NOW,
        };
        let origin = self.origin(number, account);
        let register = RegisterCall {
            config,
            owner_signature: Some(Signature([0; 65])),
        };
        let resume = ResumeCall {
            channel_id: id,
            sent: None,
            received: None,
            sent_locks: None,
            received_locks: None,
        };
        let inputs = vec![
            Input::Chain(ChainBlock { position, facts }),
            Input::Register(origin, register),
            Input::Resume(
                origin,
                Box::new(Resumption {
                    call: resume,
                    sent: None,
                    received: None,
                }),
            ),
        ];
        self.commit(inputs);
        self.by_id.insert(id, number);
        self.clients.push(Client {
            channel,
            session: origin.session,
        });
    }

    fn origin(&mut self, client: usize, signer: Address) -> Origin {
        self.next_id += 1;
        Origin {
            session: SessionId(client as u64 + 1),
            id: self.next_id,
            signer,
        }
    }

    /// Microseconds per payment, and bytes of the journal for it.
    fn round(&mut self, batch: usize) -> (f64, usize) {
        let (mut spent, mut bytes, mut payments) = (0.0, 0, 0);
        while payments < PAYMENTS {
            let inputs: Vec<Input> = (0..batch).map(|_| self.payment()).collect();
            let before = cpu_us();
            let commit = self.ledger.commit(inputs, NOW);
            spent += cpu_us() - before;
            payments += batch;
            bytes += commit.record.as_ref().map_or(0, |(_, bytes)| bytes.len());
            self.journal.extend(commit.record);
            let mut acks = Vec::new();
            for output in commit.outputs {
                if let Output::Frame(out) = output {
                    acks.extend(self.take(&out));
                }
            }
            self.commit(acks);
            let _ = self.ledger.checkpoint();
        }
        (spent / payments as f64, bytes / payments)
    }

    fn commit(&mut self, inputs: Vec<Input>) {
        let commit = self.ledger.commit(inputs, NOW);
        self.journal.extend(commit.record);
    }

    /// Microseconds per payment, the acknowledgements included.
    fn repeat(&mut self) -> f64 {
        let before = cpu_us();
        for (number, bytes) in self.journal.drain(..) {
            self.follower.replay(number, &bytes).unwrap();
        }
        (cpu_us() - before) / PAYMENTS as f64
    }

    fn payment(&mut self) -> Input {
        let payer = self.next_payer;
        self.next_payer = (payer + 1) % self.payers;
        self.next_id += 1;
        let payee = self.payers + self.next_id as usize * 7_919 % PAYEES;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next_id.to_be_bytes());
        let payment = Payment {
            payment_id: PaymentId(id),
            payee: Payee::Channel(self.clients[payee].channel.id()),
            amount: Amount(10),
            fee_max: Amount(1),
            expires_at: NOW.after(60),
            invoice: Digest::ZERO,
        };
        self.frame(payer, vec![Op::Pay(payment)])
    }

    fn frame(&mut self, client: usize, ops: Vec<Op>) -> Input {
        let domain = self.domain;
        let issued = self.clients[client].channel.issue(&ops, &domain, CLOCK).unwrap();
        let signer = self.clients[client].channel.config().client_signer;
        let signature = VoucherSignature::Direct(Signature([0; 65]));
        let signed = SignedVoucher {
            voucher: issued.voucher,
            signature,
        };
        let voucher = VerifiedVoucher::assume_verified(signed, &domain, signer);
        let origin = self.origin(client, signer);
        Input::Frame { origin, voucher, ops }
    }

    /// The client takes the hub's voucher; a payee acknowledges now and then.
    fn take(&mut self, out: &FrameOut) -> Option<Input> {
        let client = self.by_id[&out.issue.voucher.channel_id];
        assert_eq!(out.session, Some(self.clients[client].session));
        let signature = VoucherSignature::Direct(Signature([0; 65]));
        let signed = SignedVoucher {
            voucher: out.issue.voucher.clone(),
            signature,
        };
        let voucher = VerifiedVoucher::assume_verified(signed, &self.domain, HUB_SIGNER);
        let channel = &mut self.clients[client].channel;
        channel.accept(&voucher, &out.issue.ops, CLOCK).unwrap();
        let due = client >= self.payers && out.issue.voucher.seq.0.is_multiple_of(64);
        due.then(|| self.frame(client, Vec::new()))
    }
}

fn policy() -> Policy {
    Policy {
        server: "hub.test".to_owned(),
        log_epoch: 1,
        delays: Delays::default(),
        challenge_period_s: 3_600,
        retention_s: 7 * 24 * 3_600,
        events_per_channel_max: 10_000,
        remembered_max: 10_000_000,
        locks: LockPolicy::standard(Delays::default()),
        tokens: vec![Tariff {
            token: TOKEN,
            fee_flat: Amount(1),
            fee_ppm: 0,
            locked_max: MONEY,
            reserve: Reserve::default(),
            capacity: Capacity::default(),
            send_min: Amount::ZERO,
        }],
    }
}
