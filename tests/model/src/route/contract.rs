//! The contract of one of the two channels: one direction with money, one lock. What evidence does to it is done by the
//! real `protocol_spec::settlement`; only the times are this file's.

use crate::chain::Status;
use protocol_spec::{
    Amount, ChannelId, Digest, LocksOpening, Seq, Side, UnixSeconds, Voucher as RealVoucher,
    settlement::{Adjudication, Direction, Funds, LiveLocks},
};

/// Challenge period, steps.
pub const WINDOW: u8 = 3;

/// What a voucher says; its acks are the model's own business.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Voucher {
    /// From 1; 0 is none.
    pub seq: u8,
    /// Sum paid.
    pub paid: u8,
    /// The lock is in it.
    pub lock: bool,
}

/// What does not change in a channel.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Who pays in it.
    pub payer: Side,
    /// The payer's deposit; the payee has none.
    pub deposit: u8,
    /// The lock's amount.
    pub amount: u8,
    /// The lock's expiry.
    pub expiry: u8,
    /// Commitment to the lock.
    pub commitment: Digest,
}

/// The contract's memory of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Contract {
    /// Status.
    pub status: Status,
    /// No vouchers from this step on.
    pub window_end: u8,
    /// Highest seq shown.
    pub seq: u8,
    /// Highest sum shown.
    pub paid: u8,
    /// The lock of the voucher with `seq` is stored: that voucher's sum, and what was counted.
    pub live: Option<(u8, u8)>,
    /// 0, or 1 + the seq in which the lock was last counted.
    pub mark: u8,
    /// What the payee got at the end.
    pub payout: u8,
}

fn small(value: u128) -> u8 {
    u8::try_from(value).expect("small numbers")
}

fn amount(value: u8) -> Amount {
    Amount(value.into())
}

impl Facts {
    /// Of a channel.
    #[must_use]
    pub fn new(payer: Side, deposit: u8, amount: u8, expiry: u8) -> Self {
        let mut facts = Self {
            payer,
            deposit,
            amount,
            expiry,
            commitment: Digest::ZERO,
        };
        facts.commitment = facts.opening().commitment();
        facts
    }

    fn opening(&self) -> LocksOpening {
        LocksOpening {
            root: LEAF,
            total: amount(self.amount),
            max_expiry: UnixSeconds(self.expiry.into()),
        }
    }
}

const LEAF: Digest = Digest([1; 32]);

impl Contract {
    fn real(&self, facts: &Facts) -> Adjudication {
        let opening = facts.opening();
        let direction = Direction {
            seq: self.seq.into(),
            paid: amount(self.paid),
            live: self.live.map(|(base, counted)| LiveLocks {
                commitment: facts.commitment,
                base: amount(base),
                counted: amount(counted),
                max_expiry: Some(opening.max_expiry),
                total: Some(opening.total),
            }),
        };
        let mut real = Adjudication::default();
        match facts.payer {
            Side::Client => real.client = direction,
            Side::Hub => real.hub = direction,
        }
        if let Some(seq) = self.mark.checked_sub(1) {
            real.marks.insert((facts.payer, LEAF), seq.into());
        }
        real
    }

    fn read(&mut self, facts: &Facts, real: &Adjudication) {
        let direction = real.direction(facts.payer);
        self.seq = small(direction.seq.into());
        self.paid = small(direction.paid.0);
        let live = direction.live.as_ref();
        self.live = live.map(|live| (small(live.base.0), small(live.counted.0)));
        let mark = real.marks.get(&(facts.payer, LEAF));
        self.mark = mark.map_or(0, |seq| small(u128::from(*seq)) + 1);
    }

    /// R16: the payee shows the payer's voucher.
    pub fn submit(&mut self, facts: &Facts, voucher: Voucher) {
        let opening = facts.opening();
        let shown = RealVoucher {
            locks: if voucher.lock {
                facts.commitment
            } else {
                Digest::ZERO
            },
            ..said(Seq(voucher.seq.into()), amount(voucher.paid))
        };
        let mut real = self.real(facts);
        real.submit(facts.payer, &shown, voucher.lock.then_some(&opening));
        self.read(facts, &real);
    }

    /// R16: the payer shows a voucher of the payee that acknowledges this one.
    pub fn acknowledge(&mut self, facts: &Facts, voucher: Voucher) {
        let shown = RealVoucher {
            ack_seq: Seq(voucher.seq.into()),
            ack_paid: amount(voucher.paid),
            ..said(Seq(0), amount(0))
        };
        let mut real = self.real(facts);
        real.submit(facts.payer.other(), &shown, None);
        self.read(facts, &real);
    }

    /// R17: nothing happens when the lock does not count.
    pub fn resolve(&mut self, facts: &Facts, now: u8) {
        if self.status != Status::Disputed || self.live.is_none() || now >= self.final_at(facts) {
            return;
        }
        let mut real = self.real(facts);
        real.resolve(facts.payer, LEAF, amount(facts.amount), now < facts.expiry);
        self.read(facts, &real);
    }

    /// R16: starts a dispute.
    pub fn dispute(&mut self, now: u8) {
        self.status = Status::Disputed;
        self.window_end = now + WINDOW;
    }

    /// R27: the channel is open again, and keeps all evidence.
    pub fn cancel(&mut self) {
        (self.status, self.window_end) = (Status::Open, 0);
    }

    /// True while vouchers can be shown.
    #[must_use]
    pub fn in_window(&self, now: u8) -> bool {
        self.status == Status::Disputed && now < self.window_end
    }

    /// True when the dispute's end can be paid out.
    #[must_use]
    pub fn ends(&self, facts: &Facts, now: u8) -> bool {
        self.status == Status::Disputed && now >= self.window_end && now >= self.final_at(facts)
    }

    /// R18.
    #[must_use]
    pub fn final_at(&self, facts: &Facts) -> u8 {
        let real = self.real(facts);
        let at = real.final_at(UnixSeconds(self.window_end.into()), WINDOW.into());
        small(at.0.into())
    }

    /// R19 and R20: pays out.
    pub fn finalize(&mut self, facts: &Facts) {
        let funds = match facts.payer {
            Side::Client => Funds {
                client_deposit: amount(facts.deposit),
                ..Funds::default()
            },
            Side::Hub => Funds {
                hub_deposit: amount(facts.deposit),
                ..Funds::default()
            },
        };
        let (client, hub) = self.real(facts).balances(&funds);
        let payee = match facts.payer {
            Side::Client => hub,
            Side::Hub => client,
        };
        // What counts from now on is the payout.
        *self = Self {
            status: Status::Closed,
            payout: small(payee.0),
            mark: self.mark,
            ..Self::default()
        };
    }
}

fn said(seq: Seq, paid: Amount) -> RealVoucher {
    RealVoucher {
        channel_id: ChannelId::ZERO,
        seq,
        paid,
        ack_seq: Seq(0),
        ack_paid: amount(0),
        locks: Digest::ZERO,
        history: Digest::ZERO,
    }
}
