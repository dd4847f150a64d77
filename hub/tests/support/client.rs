//! A client with real keys and a real `Channel`, without any transport. Shared by the tests of ledger, engine and kills.

use protocol_spec::{
    Address, Amount, Channel, Config, Credit, Digest, Domain, Lock, Op, Opened, Payee, Payment, PaymentId,
    Preimage, PublicKey, Reject, Return, ReturnReason, Seq, Side, SignedVoucher, SignerKey, UnixSeconds,
    VerifiedVoucher, VoucherSignature,
    channel::{Accepted, Clock, Delays},
    message::{Frame, Notification, ResumeCall},
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// A key that is the same for the same number in every run and process.
pub(crate) fn key(number: u64) -> SignerKey {
    let mut bytes = [7; 32];
    bytes[24..].copy_from_slice(&(number + 1).to_be_bytes());
    SignerKey::from_bytes(&bytes).unwrap()
}

/// The domain of all tests.
pub(crate) fn domain() -> Domain {
    Domain::new(31_337, Address::repeat_byte(0xad))
}

/// The hub's owner account.
pub(crate) const HUB: Address = Address::repeat_byte(0x4b);
/// Number of the hub's key.
pub(crate) const HUB_KEY: u64 = 1_000_000;
/// The token of the tests.
pub(crate) const TOKEN: Address = Address::repeat_byte(0x70);

/// One client of the hub.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) key: SignerKey,
    pub(crate) channel: Channel,
    pub(crate) hub: PublicKey,
    /// Every hub voucher ever seen: a second digest for one seq is oracle O1 failing.
    pub(crate) seen: BTreeMap<Seq, Digest>,
    pub(crate) credits: Vec<Credit>,
    pub(crate) returns: Vec<Return>,
    /// Locks of the hub that came, with the payments they carry.
    pub(crate) locks: Vec<(Lock, PaymentId)>,
    /// Locks of the hub that it converted.
    pub(crate) converted: Vec<u64>,
    /// Own locks that the hub gave up, with its reasons.
    pub(crate) given_up: BTreeMap<u64, ReturnReason>,
    /// Signed frames that the hub has not been seen to accept.
    pub(crate) unaccepted: Vec<Frame>,
    pub(crate) newest_sent: Option<SignedVoucher>,
    /// Everything it ever signed.
    signed: BTreeMap<Seq, SignedVoucher>,
    /// With these locks.
    locks_at: BTreeMap<Seq, Vec<Lock>>,
    number: u64,
    payments: u64,
}

impl Client {
    pub(crate) fn new(number: u64, token: Address) -> Self {
        let key = key(number);
        let hub = self::key(HUB_KEY).public();
        let config = Config {
            client: key.address(),
            client_signer: key.address(),
            hub: HUB,
            hub_signer: hub.address(),
            token,
            challenge_period_s: 24 * 3600,
            salt: Digest([u8::try_from(number % 251).unwrap(); 32]),
        };
        let channel = Channel::new(config, &domain(), Side::Client, Delays::default()).unwrap();
        Self {
            key,
            channel,
            hub,
            seen: BTreeMap::new(),
            credits: Vec::new(),
            returns: Vec::new(),
            locks: Vec::new(),
            converted: Vec::new(),
            given_up: BTreeMap::new(),
            unaccepted: Vec::new(),
            newest_sent: None,
            signed: BTreeMap::new(),
            locks_at: BTreeMap::new(),
            number,
            payments: 0,
        }
    }

    pub(crate) fn account(&self) -> Address {
        self.key.address()
    }

    /// The next payment's id, unique over all clients.
    pub(crate) fn payment_id(&mut self) -> PaymentId {
        self.payments += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.number.to_be_bytes());
        id[8..].copy_from_slice(&self.payments.to_be_bytes());
        PaymentId(id)
    }

    pub(crate) fn pay(&mut self, payee: Payee, amount: u128, fee_max: u128, expires_at: UnixSeconds) -> Op {
        Op::Pay(Payment {
            payment_id: self.payment_id(),
            payee,
            amount: Amount(amount),
            fee_max: Amount(fee_max),
            expires_at,
            invoice: Digest::ZERO,
        })
    }

    /// A lock on the preimage `secret`, to be added by the next voucher.
    pub(crate) fn lock(
        &mut self,
        payee: Payee,
        amount: u128,
        fee_max: u128,
        expiry: UnixSeconds,
        secret: Preimage,
    ) -> Op {
        let lock = Lock {
            id: self.channel.sent().newest_lock + 1,
            amount: Amount(amount + fee_max),
            expiry,
            hash: Digest(Sha256::digest(secret.0).into()),
            resolver: Address::ZERO,
        };
        Op::LockAdd {
            lock: Box::new(lock),
            payment_id: self.payment_id(),
            payee,
            fee_max: Amount(fee_max),
            invoice: Digest::ZERO,
        }
    }

    /// What the hub tells unasked. Told again it changes nothing.
    pub(crate) fn told(&mut self, told: &Notification, clock: Clock) {
        match told {
            Notification::Reveal(reveal) => {
                // Unknown when it was converted before it was told again. Of a resolver it believes the hub.
                if let Some(lock) = self.channel.sent().locks.lock(reveal.lock_id) {
                    let condition = lock.condition();
                    let by_hash = Opened::by_hash(condition, reveal.witness.clone());
                    if let Some(opened) =
                        by_hash.or_else(|| Opened::vouched(condition, reveal.witness.clone()))
                    {
                        let _ = self.channel.told_witness(reveal.lock_id, &opened, clock);
                    }
                }
            }
            Notification::Consent(consent) if self.channel.consented(consent.lock_id).is_ok() => {
                self.given_up.insert(consent.lock_id, consent.reason);
            }
            _ => {}
        }
    }

    /// Operations that take out every own lock that was told or given up.
    pub(crate) fn fold(&self) -> Vec<Op> {
        let told: Vec<_> = self
            .channel
            .told_witnesses()
            .map(|(id, witness)| (id, witness.as_bytes().to_vec()))
            .collect();
        let converts = told.iter().map(|(id, secret)| Op::LockConvert {
            id: *id,
            witness: secret.clone(),
        });
        let live = |id: &&u64| self.channel.sent().locks.lock(**id).is_some();
        let drops = self
            .given_up
            .keys()
            .filter(live)
            .map(|id| Op::LockDrop { id: *id });
        converts.chain(drops).collect()
    }

    pub(crate) fn sign(&self, voucher: protocol_spec::Voucher) -> SignedVoucher {
        let signature = VoucherSignature::Direct(self.key.sign(&voucher.digest(&domain())));
        SignedVoucher { voucher, signature }
    }

    /// The next voucher with `ops`, signed; kept until the hub is seen to have accepted it.
    pub(crate) fn frame(&mut self, ops: Vec<Op>, clock: Clock) -> Result<Frame, Reject> {
        let issued = self.channel.issue(&ops, &domain(), clock)?;
        let voucher = self.sign(issued.voucher);
        self.newest_sent = Some(voucher.clone());
        let locks = self.channel.sent().locks.iter().cloned().collect();
        self.signed.insert(voucher.voucher.seq, voucher.clone());
        self.locks_at.insert(voucher.voucher.seq, locks);
        let frame = Frame { voucher, ops };
        self.unaccepted.push(frame.clone());
        Ok(frame)
    }

    /// The sum of the locks in the voucher it signed with `seq`.
    pub(crate) fn locked_at(&self, seq: Seq) -> u128 {
        let locks = self.locks_at.get(&seq).into_iter().flatten();
        locks.map(|lock| lock.amount.0).sum()
    }

    /// What a verify worker makes of a frame of this client.
    pub(crate) fn verified(&self, frame: &Frame) -> VerifiedVoucher {
        let key = self.key.public();
        frame.voucher.clone().verify(&domain(), &key, false).unwrap()
    }

    /// Verifies and accepts a hub frame. A frame seen before is answered with `Duplicate`.
    pub(crate) fn take(&mut self, frame: &Frame, clock: Clock) -> Result<Accepted, Reject> {
        let verified = frame.voucher.clone().verify(&domain(), &self.hub, true)?;
        let seq = verified.voucher().seq;
        let first = *self.seen.entry(seq).or_insert_with(|| verified.digest());
        assert_eq!(first, verified.digest(), "O1: seq {seq} was signed twice");
        if seq <= self.channel.received().seq {
            return Ok(Accepted::Duplicate);
        }
        let accepted = self.channel.accept(&verified, &frame.ops, clock)?;
        for op in &frame.ops {
            match op {
                Op::Credit(credit) => self.credits.push(credit.clone()),
                Op::Return(returned) => self.returns.push(returned.clone()),
                Op::LockAdd { lock, payment_id, .. } => self.locks.push((Lock::clone(lock), *payment_id)),
                Op::LockConvert { id, .. } => self.converted.push(*id),
                Op::LockDrop { .. } => {}
                Op::Pay(_) => panic!("the hub sent {op:?}"),
            }
        }
        Ok(accepted)
    }

    /// Forgets frames up to `seq`: the hub has them.
    pub(crate) fn accepted_up_to(&mut self, seq: Seq) {
        self.unaccepted.retain(|frame| frame.voucher.voucher.seq > seq);
    }

    /// To a hub that has forgotten what it signed: the own voucher that its newest acknowledges.
    pub(crate) fn resync_call(&self) -> ResumeCall {
        let acknowledged = self.channel.received().ack_seq;
        ResumeCall {
            sent: self.signed.get(&acknowledged).cloned(),
            sent_locks: self.locks_at.get(&acknowledged).cloned(),
            ..self.resume_call()
        }
    }

    pub(crate) fn resume_call(&self) -> ResumeCall {
        ResumeCall {
            channel_id: self.channel.id(),
            sent: self.newest_sent.clone(),
            received: self.channel.received_signed(),
            sent_locks: self.locks_at.last_key_value().map(|(_, locks)| locks.clone()),
            received_locks: Some(self.channel.received().locks.iter().cloned().collect()),
        }
    }
}
