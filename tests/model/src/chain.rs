//! The contract of one channel in small integers. With all its rules in force every step of evidence is the real
//! `protocol_spec::settlement`; the copy beside it, in which rules can be removed, must then say the same.
//!
//! Party 0 is honest, party 1 is not; direction 0 is paid by party 0.

use crate::rules::{Rule, Rules};
use protocol_spec::{
    Amount, ChannelId, Digest, LocksOpening, Seq, Side, UnixSeconds, Voucher as RealVoucher,
    settlement::{self, Adjudication, Funds, LiveLocks},
};

/// Locks per direction.
pub const LOCKS: usize = 2;
/// A multiset of locks: how often each is there. All locks have the amount 1.
pub type LockBag = [u8; LOCKS];

/// Sum of a bag.
#[must_use]
pub fn sum(locks: LockBag) -> u8 {
    locks.iter().sum()
}

/// What a voucher says, signature and history left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Voucher {
    /// From 1; 0 is none.
    pub seq: u8,
    /// Sum paid.
    pub paid: u8,
    /// Acknowledged.
    pub ack_seq: u8,
    /// Acknowledged sum.
    pub ack_paid: u8,
    /// Locks.
    pub locks: LockBag,
}

/// A co-signed withdrawal, by party instead of client and hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Withdraw {
    /// Who takes out.
    pub side: u8,
    /// Total so far.
    pub total: u8,
    /// Seqs of both directions.
    pub seq: [u8; 2],
    /// Sums of both directions.
    pub paid: [u8; 2],
    /// Last step in which it may be mined.
    pub deadline: u8,
}

/// A co-signed close.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Close {
    /// Deposits it divides.
    pub dep: [u8; 2],
    /// What each gets.
    pub balance: [u8; 2],
    /// Last step in which it may be mined.
    pub deadline: u8,
}

/// Status of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Status {
    /// Vouchers flow.
    #[default]
    Open,
    /// A dispute runs.
    Disputed,
    /// Paid out.
    Closed,
}

/// What is stored about a direction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Dir {
    /// Highest seq shown.
    pub seq: u8,
    /// Highest sum shown.
    pub paid: u8,
    /// True while locks of the voucher with `seq` are stored.
    pub live: bool,
    /// `paid` of that voucher.
    pub base: u8,
    /// What was counted in it.
    pub counted: u8,
    /// Its locks.
    pub locks: LockBag,
    /// Only when R19 is removed: highest sum of an ack.
    pub acked: u8,
}

/// The contract's memory of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Chain {
    /// Status.
    pub status: Status,
    /// No vouchers from this step on.
    pub window_end: u8,
    /// Disputes so far.
    pub dispute_no: u8,
    /// Deposits, gross.
    pub dep: [u8; 2],
    /// Withdrawn, in all.
    pub wd: [u8; 2],
    /// Both directions.
    pub dir: [Dir; 2],
    /// Per direction and lock: 0, or 1 + the seq of the voucher it was last counted in.
    pub marks: [LockBag; 2],
    /// What a close or the end of a dispute paid.
    pub payout: [u8; 2],
    /// Own seq and balance of party 0 at the mined withdrawal; for the offline property.
    pub signed_at: Option<(u8, i8)>,
}

/// Facts that do not change.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The rules in force.
    pub rules: Rules,
    /// The side of party 0.
    pub side: Side,
    /// Challenge period, steps.
    pub window: u8,
    /// Expiry of each lock, per direction.
    pub expiry: [LockBag; 2],
}

fn amount(value: u8) -> Amount {
    Amount(value.into())
}

#[allow(clippy::cast_possible_truncation, reason = "small numbers by construction")]
fn small(value: u128) -> u8 {
    value as u8
}

impl Terms {
    fn side_of(&self, party: usize) -> Side {
        if party == 0 { self.side } else { self.side.other() }
    }

    fn opening(&self, payer: usize, locks: LockBag) -> LocksOpening {
        let latest = (0..LOCKS)
            .filter(|i| locks[*i] > 0)
            .map(|i| self.expiry[payer][i])
            .max();
        LocksOpening {
            root: bag_digest(payer, locks),
            total: amount(sum(locks)),
            max_expiry: UnixSeconds(latest.unwrap_or(0).into()),
        }
    }
}

fn bag_digest(payer: usize, locks: LockBag) -> Digest {
    let mut bytes = [1; 32];
    bytes[0] = small(payer as u128);
    bytes[1..=LOCKS].copy_from_slice(&locks);
    Digest(bytes)
}

fn leaf(lock: usize) -> Digest {
    Digest([small(lock as u128); 32])
}

/// The real module's view of a [`Chain`].
fn adjudication(chain: &Chain, terms: &Terms) -> Adjudication {
    let direction = |payer: usize| {
        let dir = &chain.dir[payer];
        settlement::Direction {
            seq: dir.seq.into(),
            paid: amount(dir.paid),
            live: dir.live.then(|| {
                let opening = terms.opening(payer, dir.locks);
                LiveLocks {
                    commitment: opening.commitment(),
                    base: amount(dir.base),
                    counted: amount(dir.counted),
                    max_expiry: Some(opening.max_expiry),
                    total: Some(opening.total),
                }
            }),
        }
    };
    let (client, hub) = if terms.side == Side::Client {
        (0, 1)
    } else {
        (1, 0)
    };
    let mut real = Adjudication {
        client: direction(client),
        hub: direction(hub),
        ..Adjudication::default()
    };
    for payer in 0..2 {
        for lock in 0..LOCKS {
            if let Some(seq) = chain.marks[payer][lock].checked_sub(1) {
                real.marks.insert((terms.side_of(payer), leaf(lock)), seq.into());
            }
        }
    }
    real
}

/// True when `chain` says what the real module says.
fn same(chain: &Chain, terms: &Terms, real: &Adjudication) -> bool {
    adjudication(chain, terms) == *real
}

impl Chain {
    /// Everything in the channel.
    #[must_use]
    pub fn total(&self) -> u8 {
        self.dep[0] + self.dep[1] - self.wd[0] - self.wd[1]
    }

    fn funds(&self, terms: &Terms) -> Funds {
        let (client, hub) = if terms.side == Side::Client {
            (0, 1)
        } else {
            (1, 0)
        };
        Funds {
            client_deposit: amount(self.dep[client]),
            hub_deposit: amount(self.dep[hub]),
            client_withdrawn: amount(self.wd[client]),
            hub_withdrawn: amount(self.wd[hub]),
        }
    }

    fn raise(&mut self, terms: &Terms, payer: usize, seq: u8, paid: u8) {
        let dir = &mut self.dir[payer];
        dir.paid = dir.paid.max(paid);
        if seq > dir.seq {
            let counted = if terms.rules.has(Rule::R17Drop) {
                0
            } else {
                dir.counted
            };
            *dir = Dir {
                seq,
                paid: dir.paid,
                counted,
                acked: dir.acked,
                ..Dir::default()
            };
        }
    }

    /// R16: a voucher with the opening of its locks.
    pub fn submit(&mut self, terms: &Terms, payer: usize, voucher: &Voucher) {
        let real = terms.rules.contract_is_real().then(|| {
            let mut real = adjudication(self, terms);
            let opening = terms.opening(payer, voucher.locks);
            let locked = sum(voucher.locks) > 0;
            let v = RealVoucher {
                channel_id: ChannelId::ZERO,
                seq: Seq(voucher.seq.into()),
                paid: amount(voucher.paid),
                ack_seq: Seq(voucher.ack_seq.into()),
                ack_paid: amount(voucher.ack_paid),
                locks: if locked {
                    opening.commitment()
                } else {
                    Digest::ZERO
                },
                history: Digest::ZERO,
            };
            real.submit(terms.side_of(payer), &v, locked.then_some(&opening));
            real
        });
        let other = 1 - payer;
        let stale = !terms.rules.has(Rule::R16Checkpoint)
            && (self.status == Status::Open || voucher.seq == self.dir[payer].seq);
        if terms.rules.has(Rule::R19) {
            self.raise(terms, other, voucher.ack_seq, voucher.ack_paid);
        } else {
            self.dir[other].acked = self.dir[other].acked.max(voucher.ack_paid);
        }
        self.raise(terms, payer, voucher.seq, voucher.paid);
        let dir = &mut self.dir[payer];
        if sum(voucher.locks) > 0 && voucher.seq == dir.seq && !dir.live && !stale {
            (dir.live, dir.base, dir.locks) = (true, voucher.paid, voucher.locks);
        }
        assert!(real.is_none_or(|real| same(self, terms, &real)), "submit differs");
    }

    /// R17: a lock of the stored voucher. False when it cannot be counted.
    pub fn resolve(&mut self, terms: &Terms, payer: usize, lock: usize, now: u8) -> bool {
        let before = *self;
        let (dir, mark) = (&mut self.dir[payer], &mut self.marks[payer][lock]);
        let in_time = now < terms.expiry[payer][lock];
        if !dir.live || dir.locks[lock] == 0 || (*mark == 0 && !in_time) || *mark == dir.seq + 1 {
            return false;
        }
        *mark = dir.seq + 1;
        dir.counted = (dir.counted + 1).min(sum(dir.locks));
        if terms.rules.contract_is_real() {
            let mut real = adjudication(&before, terms);
            assert!(
                real.resolve(terms.side_of(payer), leaf(lock), amount(1), in_time),
                "resolve differs"
            );
            assert!(same(self, terms, &real), "resolve differs");
        }
        true
    }

    /// R16: starts a dispute.
    pub fn dispute(&mut self, terms: &Terms, now: u8) {
        self.status = Status::Disputed;
        self.dispute_no += 1;
        self.window_end = now + terms.window;
    }

    /// R18.
    #[must_use]
    pub fn final_at(&self, terms: &Terms) -> u8 {
        let live = |payer: &usize| self.dir[*payer].live;
        (0..2).filter(live).fold(self.window_end, |end, payer| {
            let latest = (0..LOCKS)
                .filter(|i| self.dir[payer].locks[*i] > 0)
                .map(|i| terms.expiry[payer][i])
                .max();
            let recount = terms
                .rules
                .has(Rule::R18Act)
                .then_some(self.window_end + terms.window);
            let expiry = latest.filter(|_| terms.rules.has(Rule::R18Expiry));
            end.max(recount.unwrap_or(0)).max(expiry.unwrap_or(0))
        })
    }

    fn effective(&self, terms: &Terms, payer: usize) -> u8 {
        let dir = &self.dir[payer];
        let counted = if dir.live { dir.base + dir.counted } else { 0 };
        let kept = if terms.rules.has(Rule::R17Drop) || dir.live {
            0
        } else {
            dir.paid + dir.counted
        };
        dir.paid.max(counted).max(kept) + dir.acked
    }

    /// R19 and R20: what each would get now.
    #[must_use]
    pub fn balances(&self, terms: &Terms) -> [u8; 2] {
        let paid = [self.effective(terms, 0), self.effective(terms, 1)];
        let funds = self.funds(terms);
        let (client, hub) = if terms.side == Side::Client {
            let (client, hub) = settlement::divide(&funds, amount(paid[0]), amount(paid[1]));
            (client, hub)
        } else {
            let (client, hub) = settlement::divide(&funds, amount(paid[1]), amount(paid[0]));
            (hub, client)
        };
        [small(client.0), small(hub.0)]
    }

    /// Pays out at the end of a dispute, by the real module.
    pub fn finalize(&mut self, terms: &Terms) {
        self.payout = self.balances(terms);
        if terms.rules.contract_is_real() {
            let real = adjudication(self, terms);
            let end = real.final_at(UnixSeconds(self.window_end.into()), terms.window.into());
            assert_eq!(end.0, u64::from(self.final_at(terms)), "final_at differs");
            let (client, hub) = real.balances(&self.funds(terms));
            let real = if terms.side == Side::Client {
                [client, hub]
            } else {
                [hub, client]
            };
            assert_eq!(self.payout.map(amount), real, "balances differ");
        }
        self.status = Status::Closed;
    }

    /// R14. False when it is not mined.
    pub fn withdraw(&mut self, terms: &Terms, w: &Withdraw, now: u8) -> bool {
        let side = usize::from(w.side);
        if self.status != Status::Open
            || now > w.deadline
            || w.total <= self.wd[side]
            || w.total - self.wd[side] > self.total()
        {
            return false;
        }
        self.wd[side] = w.total;
        for payer in 0..2 {
            let seq = if terms.rules.has(Rule::R14Seq) {
                w.seq[payer]
            } else {
                0
            };
            let paid = if terms.rules.has(Rule::R14Paid) {
                w.paid[payer]
            } else {
                0
            };
            self.raise(terms, payer, seq, paid);
        }
        true
    }

    /// R15. False when it is not mined.
    pub fn close(&mut self, terms: &Terms, c: &Close, now: u8) -> bool {
        let named = c.dep[0] + c.dep[1];
        let divided = c.balance[0] + c.balance[1] + self.wd[0] + self.wd[1];
        let fits = c.dep[0] <= self.dep[0] && c.dep[1] <= self.dep[1] && divided == named;
        if self.status == Status::Closed || now > c.deadline || (terms.rules.has(Rule::R15Contract) && !fits)
        {
            return false;
        }
        for side in 0..2 {
            self.payout[side] = c.balance[side] + self.dep[side].saturating_sub(c.dep[side]);
        }
        self.status = Status::Closed;
        true
    }

    /// R27.
    pub fn cancel(&mut self, terms: &Terms) {
        self.status = Status::Open;
        self.window_end = 0;
        if !terms.rules.has(Rule::R27Keep) {
            (self.dir, self.marks) = Default::default();
        }
    }
}
