//! One client, one hub, their keys and a clock.

use protocol_spec::{
    Address, Amount, Channel, Condition, Config, Credit, Digest, Domain, Lock, Op, Opened, Payee, Payment,
    PaymentId, Preimage, Reject, Return, ReturnReason, Seq, Side, SignedVoucher, SignerKey, UnixSeconds,
    VerifiedVoucher, Voucher, VoucherSignature,
    channel::{Accepted, Clock, Delays},
};

pub const START: u64 = 1_800_000_000;
pub const LAG: u64 = 600;

pub fn clock(at: u64) -> Clock {
    Clock {
        now: UnixSeconds(at),
        chain: UnixSeconds(at),
    }
}

pub fn key(byte: u8) -> SignerKey {
    SignerKey::from_bytes(&[byte; 32]).unwrap()
}

pub fn domain() -> Domain {
    Domain::new(31_337, Address::repeat_byte(0xad))
}

pub fn config() -> Config {
    Config {
        client: Address::repeat_byte(0xc1),
        client_signer: key(1).address(),
        hub: Address::repeat_byte(0x4b),
        hub_signer: key(2).address(),
        token: Address::repeat_byte(0x70),
        challenge_period_s: 86_400,
        salt: Digest([7; 32]),
    }
}

pub fn pay(id: u8, amount: u128, fee_max: u128) -> Op {
    Op::Pay(Payment {
        payment_id: PaymentId([id; 16]),
        payee: Payee::Account(Address::repeat_byte(0x99)),
        amount: Amount(amount),
        fee_max: Amount(fee_max),
        expires_at: UnixSeconds(START + 60),
        invoice: Digest::ZERO,
    })
}

pub fn credit(id: u8, amount: u128) -> Op {
    Op::Credit(Credit {
        payment_id: PaymentId([id; 16]),
        payer: Digest([id; 32]),
        amount: Amount(amount),
        invoice: Digest::ZERO,
    })
}

pub fn give_back(id: u8, amount: u128) -> Op {
    Op::Return(Return {
        payment_id: PaymentId([id; 16]),
        amount: Amount(amount),
        reason: ReturnReason::Change,
    })
}

/// What opens every test lock with this id.
pub fn opened(id: u64) -> Opened {
    let preimage = preimage(id);
    Opened::by_hash(Condition::preimage(&preimage), preimage.into()).unwrap()
}

/// The preimage that every test lock with this id is on.
pub fn preimage(id: u64) -> Preimage {
    Preimage([id as u8; 32])
}

pub fn lock(id: u64, amount: u128, expiry: u64) -> Lock {
    use sha2::Digest as _;
    Lock {
        id,
        amount: Amount(amount),
        expiry: UnixSeconds(expiry),
        hash: Digest(sha2::Sha256::digest(preimage(id).0).into()),
        resolver: Address::ZERO,
    }
}

pub fn add(lock: Lock) -> Op {
    Op::LockAdd {
        lock: Box::new(lock),
        payment_id: PaymentId::ZERO,
        payee: Payee::Account(Address::ZERO),
        fee_max: Amount::ZERO,
        invoice: Digest::ZERO,
    }
}

pub fn convert(id: u64) -> Op {
    Op::LockConvert {
        id,
        witness: preimage(id).0.to_vec(),
    }
}

pub fn drop_lock(id: u64) -> Op {
    Op::LockDrop { id }
}

/// A voucher with the operations it travels with.
#[derive(Clone, Debug)]
pub struct Sent {
    pub verified: VerifiedVoucher,
    pub ops: Vec<Op>,
}

impl Sent {
    pub fn seq(&self) -> Seq {
        self.verified.voucher().seq
    }
}

pub fn signed(side: Side, voucher: &Voucher) -> SignedVoucher {
    let key = if side == Side::Client { key(1) } else { key(2) };
    SignedVoucher {
        voucher: voucher.clone(),
        signature: VoucherSignature::Direct(key.sign(&voucher.digest(&domain()))),
    }
}

pub fn verified(side: Side, voucher: &Voucher) -> VerifiedVoucher {
    let key = if side == Side::Client { key(1) } else { key(2) };
    signed(side, voucher)
        .verify(&domain(), &key.public(), side == Side::Hub)
        .unwrap()
}

/// Client with 1000 and hub with 500, confirmed by both.
#[derive(Clone)]
pub struct World {
    pub client: Channel,
    pub hub: Channel,
    pub clock: Clock,
}

impl World {
    pub fn new() -> Self {
        let delays = Delays::default();
        let make = |side| {
            let mut channel = Channel::new(config(), &domain(), side, delays).unwrap();
            channel.deposit_confirmed(Side::Client, Amount(1000));
            channel.deposit_confirmed(Side::Hub, Amount(500));
            channel
        };
        Self {
            client: make(Side::Client),
            hub: make(Side::Hub),
            clock: clock(START),
        }
    }

    pub fn of(&mut self, side: Side) -> &mut Channel {
        match side {
            Side::Client => &mut self.client,
            Side::Hub => &mut self.hub,
        }
    }

    /// Issues and signs; a refusal must leave the state as it was.
    pub fn issue(&mut self, from: Side, ops: &[Op]) -> Result<Sent, Reject> {
        let clock = self.clock;
        let issued = unchanged_if_refused(self.of(from), |channel| channel.issue(ops, &domain(), clock))?;
        assert_eq!(issued.digest, issued.voucher.digest(&domain()));
        Ok(Sent {
            verified: verified(from, &issued.voucher),
            ops: ops.to_vec(),
        })
    }

    /// Delivers to the other side; a refusal must leave the state as it was.
    pub fn deliver(&mut self, from: Side, sent: &Sent) -> Result<Accepted, Reject> {
        let clock = self.clock;
        unchanged_if_refused(self.of(from.other()), |channel| {
            channel.accept(&sent.verified, &sent.ops, clock)
        })
    }

    /// Issues and delivers.
    pub fn send(&mut self, from: Side, ops: &[Op]) -> Sent {
        let sent = self.issue(from, ops).unwrap();
        assert_eq!(self.deliver(from, &sent).unwrap(), Accepted::New);
        sent
    }

    /// What a dishonest `from` would sign: the next voucher, changed by `change`. Its own state stays.
    pub fn forge(&self, from: Side, ops: &[Op], change: impl FnOnce(&mut Voucher)) -> Sent {
        let mut copy = self.clone();
        let mut voucher = copy
            .of(from)
            .issue(ops, &domain(), self.clock)
            .map(|issued| issued.voucher)
            .unwrap_or_else(|_| self.bare(from, ops));
        change(&mut voucher);
        Sent {
            verified: verified(from, &voucher),
            ops: ops.to_vec(),
        }
    }

    /// The next voucher with what the operations say, although an honest signer refuses it.
    fn bare(&self, from: Side, ops: &[Op]) -> Voucher {
        let (own, other) = match from {
            Side::Client => (&self.client, &self.hub),
            Side::Hub => (&self.hub, &self.client),
        };
        let (half, acked) = (own.sent(), own.received());
        let _ = other;
        let mut history = protocol_spec::History(half.history);
        let mut paid = half.paid.0;
        for op in ops {
            history = history.extended(op);
            paid = paid.saturating_add(match op {
                Op::Pay(p) => p.amount.0.saturating_add(p.fee_max.0),
                Op::Credit(c) => c.amount.0,
                Op::Return(r) => r.amount.0,
                _ => 0,
            });
        }
        Voucher {
            channel_id: own.id(),
            seq: half.seq.next(),
            paid: Amount(paid.min((1 << 88) - 1)),
            ack_seq: acked.seq,
            ack_paid: acked.paid,
            locks: half.locks.commitment(),
            history: history.0,
        }
    }

    pub fn at(&mut self, seconds: u64) {
        self.clock = clock(seconds);
    }
}

/// Runs `f`; if it refuses, the channel must be bit for bit what it was.
pub fn unchanged_if_refused<T>(
    channel: &mut Channel,
    f: impl FnOnce(&mut Channel) -> Result<T, Reject>,
) -> Result<T, Reject> {
    let before = channel.to_record();
    let result = f(channel);
    if result.is_err() {
        assert_eq!(before, channel.to_record(), "a refusal changed the state");
    }
    result
}

/// The name of the refusal.
pub fn name<T: std::fmt::Debug>(result: Result<T, Reject>) -> &'static str {
    result.unwrap_err().name()
}

/// A property run whose seed is printed: `PROPERTY_SEED` or a fixed one.
pub fn seeded(cases: u32) -> proptest::test_runner::Config {
    let seed = std::env::var("PROPERTY_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_261_123);
    println!("{cases} cases with PROPERTY_SEED={seed}");
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(seed),
        ..Default::default()
    }
}
