//! A hub's `Channel` beside a reference: a client with a key may sign any voucher without locks, and the hub must take
//! exactly those that R1-R4 allow, change nothing when it refuses, and owe what the reference says.

use crate::bytes::Bytes;
use protocol_spec::{
    Address, Amount, Channel, ChannelId, Config, Credit, Digest, Domain, History, Op, Payee, Payment,
    PaymentId, Seq, Side, Signature, SignedVoucher, UnixSeconds, VerifiedVoucher, Voucher, VoucherSignature,
    channel::{Accepted, Clock, Delays},
    limits,
};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const CLOCK: Clock = Clock { now: NOW, chain: NOW };
const CLIENT: Address = Address::repeat_byte(1);
const HUB: Address = Address::repeat_byte(2);
const AMOUNTS: [u128; 8] = [0, 1, 2, 99, 100, 101, limits::AMOUNT_MAX, u128::MAX];

/// R1-R4 for vouchers without locks, in plain sums.
struct Reference {
    client_deposit: u128,
    hub_deposit: u128,
    seq: u64,
    paid: u128,
    history: Digest,
    ack_seq: u64,
    ack_paid: u128,
    digest: Digest,
    /// `paid` of the hub's vouchers by seq; the first is none.
    hub: Vec<u128>,
}

struct World {
    domain: Domain,
    id: ChannelId,
    channel: Channel,
    expected: Reference,
    newest: Option<(VerifiedVoucher, Vec<Op>)>,
    made: u64,
}

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut world = World::new();
    while !bytes.is_empty() {
        match bytes.below(8) {
            0 => world.deposit(&mut bytes),
            1 | 2 => world.credit(&mut bytes),
            3 => world.repeat(&mut bytes),
            4 => world.restart(),
            _ => world.voucher(&mut bytes),
        }
        world.compare();
    }
}

impl World {
    fn new() -> Self {
        let domain = Domain::new(31_337, Address::repeat_byte(3));
        let config = Config {
            client: CLIENT,
            client_signer: CLIENT,
            hub: Address::repeat_byte(4),
            hub_signer: HUB,
            token: Address::ZERO,
            challenge_period_s: 86_400,
            salt: Digest::ZERO,
        };
        let channel = Channel::new(config, &domain, Side::Hub, Delays::default()).unwrap();
        let id = channel.id();
        let expected = Reference {
            client_deposit: 0,
            hub_deposit: 0,
            seq: 0,
            paid: 0,
            history: History::initial(&id, Side::Client).0,
            ack_seq: 0,
            ack_paid: 0,
            digest: Digest::ZERO,
            hub: vec![0],
        };
        Self {
            domain,
            id,
            channel,
            expected,
            newest: None,
            made: 0,
        }
    }

    /// Deposits are sums since the channel was opened.
    fn deposit(&mut self, bytes: &mut Bytes<'_>) {
        let (side, more) = (bytes.below(2), u128::from(bytes.byte()));
        if side == 0 {
            self.expected.client_deposit += more;
            self.channel
                .deposit_confirmed(Side::Client, Amount(self.expected.client_deposit));
        } else {
            self.expected.hub_deposit += more;
            self.channel
                .deposit_confirmed(Side::Hub, Amount(self.expected.hub_deposit));
        }
    }

    fn credit(&mut self, bytes: &mut Bytes<'_>) {
        let amount = AMOUNTS[usize::from(bytes.below(8))];
        self.made += 1;
        let op = Op::Credit(Credit {
            payment_id: payment_id(self.made),
            payer: Digest::ZERO,
            amount: Amount(amount),
            invoice: Digest::ZERO,
        });
        let paid = *self.expected.hub.last().unwrap();
        let income = self.expected.hub_deposit + self.expected.paid;
        let allowed =
            amount > 0 && amount <= limits::AMOUNT_MAX && paid + amount <= income.min(limits::AMOUNT_MAX);
        let issued = self.channel.issue(&[op], &self.domain, CLOCK);
        assert_eq!(
            issued.is_ok(),
            allowed,
            "{issued:?} of {amount} after {paid} of {income}"
        );
        if allowed {
            self.expected.hub.push(paid + amount);
        }
    }

    /// The same voucher again counts nothing; another one of its seq is refused.
    fn repeat(&mut self, bytes: &mut Bytes<'_>) {
        let Some((verified, ops)) = self.newest.clone() else {
            return;
        };
        if bytes.below(2) == 0 {
            let accepted = self.channel.accept(&verified, &ops, CLOCK);
            assert_eq!(accepted, Ok(Accepted::Duplicate));
            return;
        }
        let mut other = verified.voucher().clone();
        other.paid.0 ^= 1;
        assert!(self.channel.accept(&self.signed(other), &ops, CLOCK).is_err());
    }

    fn restart(&mut self) {
        let record = self.channel.to_record();
        let again = Channel::from_record(&record).unwrap();
        assert_eq!(again, self.channel);
        self.channel = again;
    }

    /// Up to three payments, the sum with them, if it may be, and the history.
    fn payments(&mut self, bytes: &mut Bytes<'_>) -> (Vec<Op>, Option<u128>, Digest) {
        let count = bytes.below(4);
        let mut ops = Vec::new();
        let (mut sum, mut history) = (Some(self.expected.paid), self.expected.history);
        for _ in 0..count {
            let (amount, fee) = (
                AMOUNTS[usize::from(bytes.below(8))],
                AMOUNTS[usize::from(bytes.below(5))],
            );
            self.made += 1;
            let op = Op::Pay(Payment {
                payment_id: payment_id(self.made),
                payee: Payee::Account(HUB),
                amount: Amount(amount),
                fee_max: Amount(fee),
                expires_at: NOW,
                invoice: Digest::ZERO,
            });
            history = History(history).extended(&op).0;
            let whole = sum
                .filter(|_| amount > 0)
                .and_then(|sum| sum.checked_add(amount)?.checked_add(fee));
            sum = whole.filter(|sum| *sum <= limits::AMOUNT_MAX);
            ops.push(op);
        }
        (ops, sum, history)
    }

    /// A voucher that is right but for what the bytes change.
    fn voucher(&mut self, bytes: &mut Bytes<'_>) {
        let (ops, sum, history) = self.payments(bytes);
        let seq = match bytes.below(8) {
            0 => bytes.word(),
            1 => self.expected.seq.saturating_sub(u64::from(bytes.below(3))),
            2 => self.expected.seq.saturating_add(u64::from(bytes.byte()) * 8),
            _ => self.expected.seq + 1,
        };
        let newest_ack = self.expected.hub.len() as u64 - 1;
        let ack_seq = match bytes.below(8) {
            0 => bytes.word(),
            1 => self.expected.ack_seq,
            2 => u64::from(bytes.byte()),
            _ => newest_ack,
        };
        let known = usize::try_from(ack_seq)
            .ok()
            .and_then(|seq| self.expected.hub.get(seq))
            .copied();
        let change = |bytes: &mut Bytes<'_>, value: u128| match bytes.below(16) {
            0 => value.wrapping_add(1),
            1 => value.wrapping_sub(1),
            2 => u128::from(bytes.word()),
            _ => value,
        };
        let right = sum.unwrap_or(self.expected.paid);
        let voucher = Voucher {
            channel_id: self.id,
            seq: Seq(seq),
            paid: Amount(change(bytes, right)),
            ack_seq: Seq(ack_seq),
            ack_paid: Amount(change(bytes, known.unwrap_or_default())),
            locks: Digest([u8::from(bytes.below(32) == 1); 32]),
            history: match bytes.below(32) {
                1 => Digest(bytes.array()),
                _ => history,
            },
        };
        let last = &self.expected;
        let allowed = sum == Some(voucher.paid.0)
            && seq > last.seq
            && seq <= last.seq + limits::SEQ_JUMP_MAX
            && voucher.history == history
            && voucher.locks == Digest::ZERO
            && ack_seq >= last.ack_seq
            && known == Some(voucher.ack_paid.0)
            && last.client_deposit + voucher.ack_paid.0 >= voucher.paid.0;
        let verified = self.signed(voucher.clone());
        let before = self.channel.to_record();
        let accepted = self.channel.accept(&verified, &ops, CLOCK);
        if seq == last.seq && verified.digest() == last.digest {
            return assert_eq!(accepted, Ok(Accepted::Duplicate));
        }
        assert_eq!(
            accepted.is_ok(),
            allowed,
            "{accepted:?} of {voucher:?} with {ops:?}"
        );
        if !allowed {
            return assert_eq!(self.channel.to_record(), before, "a refusal changes nothing");
        }
        let last = &mut self.expected;
        (last.seq, last.paid, last.history) = (seq, voucher.paid.0, history);
        (last.ack_seq, last.ack_paid) = (ack_seq, voucher.ack_paid.0);
        last.digest = verified.digest();
        self.newest = Some((verified, ops));
    }

    fn signed(&self, voucher: Voucher) -> VerifiedVoucher {
        let signature = VoucherSignature::Direct(Signature([0; 65]));
        VerifiedVoucher::assume_verified(SignedVoucher { voucher, signature }, &self.domain, CLIENT)
    }

    fn compare(&self) {
        let (received, sent) = (self.channel.received(), self.channel.sent());
        let hub_paid = *self.expected.hub.last().unwrap();
        assert_eq!(
            (received.seq.0, received.paid.0),
            (self.expected.seq, self.expected.paid)
        );
        assert_eq!(
            (sent.seq.0, sent.paid.0),
            (self.expected.hub.len() as u64 - 1, hub_paid)
        );
        // R20 on both newest vouchers, and nobody can owe more than there is.
        let client = self.expected.client_deposit + hub_paid - self.expected.paid;
        let hub = self.expected.hub_deposit + self.expected.paid - hub_paid;
        assert_eq!(self.channel.settlement(), (Amount(client), Amount(hub)));
    }
}

fn payment_id(number: u64) -> PaymentId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    PaymentId(id)
}
