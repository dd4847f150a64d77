//! A party that follows the rules: what it remembers, accepts and signs (R1-R15). `me` is 0 in its own view.

use crate::chain::{Close, LOCKS, LockBag, Voucher, Withdraw, sum};
use crate::rules::{Rule, Rules};

/// Own vouchers at most.
pub const MINE: usize = 4;
/// Worst delay of the view of the chain, steps: what was mined in earlier steps is final and seen.
pub const LAG: u8 = 1;
/// Worst time to get a transaction mined, steps.
pub const ACT: u8 = 1;

/// One operation of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Only the ack changes.
    Ack,
    /// Pays 1.
    Pay,
    /// Adds the lock.
    Add(usize),
    /// Converts the lock.
    Convert(usize),
    /// Drops the lock.
    Drop(usize),
}

impl Op {
    /// What it adds to `paid`.
    pub fn frame(self) -> u8 {
        u8::from(matches!(self, Self::Pay | Self::Convert(_)))
    }

    /// The locks after it, whether there was one or not.
    pub fn after(self, mut locks: LockBag) -> LockBag {
        match self {
            Self::Add(i) => locks[i] += 1,
            Self::Convert(i) | Self::Drop(i) => locks[i] = locks[i].saturating_sub(1),
            Self::Ack | Self::Pay => {}
        }
        locks
    }
}

/// What the party sees of the chain: the state one step ago, or more where it may not wait.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Own clock and newest block. Chain time is one step less.
    pub now: u8,
    /// Deposits that count.
    pub dep: [u8; 2],
    /// Final withdrawals.
    pub wd: [u8; 2],
    /// Marks by direction, seen at once.
    pub marked: [[bool; LOCKS]; 2],
    /// Expiries by direction.
    pub expiry: [LockBag; 2],
}

impl Sight {
    fn chain_time(&self) -> u8 {
        self.now.saturating_sub(LAG)
    }
}

/// What is known of the witness of a lock of the other side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Known {
    /// Nothing.
    #[default]
    No,
    /// Known early enough to go on chain.
    InTime,
    /// Too late for any promise.
    Late,
}

/// What the party remembers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Honest {
    /// Own vouchers, by seq - 1.
    pub mine: [Voucher; MINE],
    /// How many.
    pub n: u8,
    /// Last accepted.
    pub acc: Voucher,
    /// A dispute was seen.
    pub seen: bool,
    /// Signed and neither final nor lapsed.
    pub wd: Option<Withdraw>,
    /// Signed and not lapsed.
    pub close: Option<Close>,
    /// Own locks whose witness was told in time.
    pub told: [bool; LOCKS],
    /// Own locks whose witness was told late; remembered only when R8 is removed.
    pub told_late: [bool; LOCKS],
    /// Witnesses of the other's locks.
    pub known: [Known; LOCKS],
    /// Consents received.
    pub got: [bool; LOCKS],
    /// Consents given.
    pub given: [bool; LOCKS],
    /// Lock ids used, by direction.
    pub used: [[bool; LOCKS]; 2],
    /// Locks of the other that left too early, which only a removed rule permits.
    pub robbed: [bool; LOCKS],
    /// Own locks consented away: the seq that removed each, 0 for none.
    pub leaving: [u8; LOCKS],
    /// Own locks that are dead (R9, R10).
    pub expired: [bool; LOCKS],
    /// Own locks that left in a part that a rollback lost: whether by payment is not known.
    pub lost: [bool; LOCKS],
    /// Given for what was accepted, by the frames' payments.
    pub earned: u8,
    /// An operation was accepted since the last own voucher: only then is an ack due (R1, last sentence).
    pub unanswered: bool,
    /// After a rollback: nothing is signed or accepted before.
    pub doubt: bool,
    /// After a rollback: before this step what it is paid goes back.
    pub held_until: u8,
    /// Payments that go back.
    pub returns: u8,
}

impl Honest {
    /// Newest own voucher.
    #[must_use]
    pub fn newest(&self) -> Voucher {
        if self.n == 0 {
            Voucher::default()
        } else {
            self.mine[usize::from(self.n) - 1]
        }
    }

    fn paid_at(&self, seq: u8) -> Option<u8> {
        match seq {
            0 => Some(0),
            seq if seq <= self.n => Some(self.mine[usize::from(seq) - 1].paid),
            _ => None,
        }
    }

    /// R6, R15 and A10: true when vouchers flow.
    #[must_use]
    pub fn open(&self, rules: Rules) -> bool {
        !(self.seen && rules.has(Rule::R6Dispute))
            && !(self.close.is_some() && rules.has(Rule::R6Close))
            && !(self.doubt && rules.has(Rule::A10))
    }

    /// R12.
    #[must_use]
    pub fn withdrawn(&self, rules: Rules, sight: &Sight, side: usize) -> u8 {
        let signed = self
            .wd
            .filter(|w| usize::from(w.side) == side && rules.has(Rule::R12));
        signed.map_or(0, |w| w.total).max(sight.wd[side])
    }

    /// R1-R6. `frame` is what the frame's operation adds to the sum by its own account.
    #[must_use]
    pub fn accept(&self, rules: Rules, sight: &Sight, v: &Voucher, op: Op, frame: u8) -> Option<Self> {
        let last = self.acc;
        if !self.open(rules) || v.seq != last.seq + 1 {
            return None;
        }
        if rules.has(Rule::R2) && v.paid != last.paid + frame {
            return None;
        }
        if rules.has(Rule::R3Older) && v.ack_seq < last.ack_seq {
            return None;
        }
        let known = self.paid_at(v.ack_seq)?;
        if rules.has(Rule::R3Exact) && v.ack_paid != known {
            return None;
        }
        let has = i16::from(sight.dep[1]) + i16::from(v.ack_paid);
        let gone = i16::from(self.withdrawn(rules, sight, 1)) + i16::from(v.paid) + i16::from(sum(v.locks));
        if rules.has(Rule::R4) && has < gone {
            return None;
        }
        let mut next = *self;
        match op {
            Op::Ack | Op::Pay => {}
            Op::Add(i) => {
                if (self.used[1][i] && rules.has(Rule::R5Once)) || sight.chain_time() >= sight.expiry[1][i] {
                    return None;
                }
                next.used[1][i] = true;
            }
            Op::Convert(i) => {
                if last.locks[i] == 0 {
                    return None;
                }
            }
            Op::Drop(i) => {
                if last.locks[i] == 0 || !self.lets_go(rules, sight, i) {
                    return None;
                }
                // With a rule removed it went although it was, or can still become, the party's money.
                if !self.given[i] && (self.known[i] == Known::InTime || sight.marked[1][i]) {
                    next.earned += 1;
                } else if !self.given[i] && sight.now < sight.expiry[1][i] {
                    next.robbed[i] = true;
                }
            }
        }
        match op {
            Op::Pay if sight.now < self.held_until => next.returns += frame,
            _ => next.earned += frame,
        }
        next.unanswered |= op != Op::Ack;
        next.acc = *v;
        Some(next)
    }

    /// R5 (b) and (c).
    fn lets_go(&self, rules: Rules, sight: &Sight, i: usize) -> bool {
        let consent = self.given[i] || !rules.has(Rule::R5Consent);
        let used = self.known[i] != Known::No || sight.marked[1][i];
        let expired = sight.chain_time() >= sight.expiry[1][i] && !(used && rules.has(Rule::R5Known));
        consent || expired
    }

    /// R7-R10: the next own voucher.
    #[must_use]
    pub fn issue(&self, rules: Rules, sight: &Sight, op: Op) -> Option<Self> {
        if !self.open(rules) || usize::from(self.n) == MINE {
            return None;
        }
        let last = self.newest();
        let mut v = Voucher {
            seq: last.seq + 1,
            ack_seq: self.acc.seq,
            ack_paid: self.acc.paid,
            ..last
        };
        let mut next = *self;
        match op {
            Op::Ack if !self.unanswered => return None,
            Op::Ack => {}
            Op::Pay => {
                v.paid += 1;
                next.returns = self.returns.saturating_sub(1);
            }
            Op::Add(i) => {
                if self.used[0][i] || sight.chain_time() >= sight.expiry[0][i] {
                    return None;
                }
                next.used[0][i] = true;
                v.locks[i] += 1;
            }
            Op::Convert(i) => {
                if last.locks[i] == 0 || !(self.told[i] || sight.marked[0][i] || self.told_late[i]) {
                    return None;
                }
                v.locks[i] -= 1;
                v.paid += 1;
            }
            Op::Drop(i) => {
                if last.locks[i] == 0 || (self.told[i] && !self.got[i]) {
                    return None;
                }
                let marked = sight.marked[0][i] && rules.has(Rule::R9Mark);
                let clock = if rules.has(Rule::R9Age) {
                    sight.chain_time()
                } else {
                    u8::MAX
                };
                if !marked && clock >= sight.expiry[0][i] + LAG {
                    next.expired[i] = true;
                } else if self.got[i] {
                    next.leaving[i] = v.seq;
                } else {
                    return None;
                }
                v.locks[i] -= 1;
            }
        }
        let has = i16::from(sight.dep[0]) + i16::from(v.ack_paid);
        let gone = i16::from(self.withdrawn(rules, sight, 0)) + i16::from(v.paid) + i16::from(sum(v.locks));
        if has < gone {
            return None;
        }
        next.mine[usize::from(self.n)] = v;
        next.n += 1;
        next.unanswered = false;
        Some(next)
    }

    /// R10: true when the party holds the own lock to be dead.
    #[must_use]
    pub fn dead(&self, rules: Rules, i: usize) -> bool {
        let consented = if rules.has(Rule::R10) {
            self.leaving[i] != 0 && self.acc.ack_seq >= self.leaving[i]
        } else {
            self.got[i]
        };
        consented || self.expired[i]
    }

    fn live_total(&self, rules: Rules) -> u8 {
        let leaving = (0..LOCKS)
            .filter(|i| self.leaving[*i] != 0 && !self.dead(rules, *i))
            .count();
        sum(self.newest().locks) + u8::try_from(leaving).unwrap_or(u8::MAX)
    }

    /// R13: signs a withdrawal, and from now on counts it (R12).
    #[must_use]
    pub fn sign_withdraw(&self, rules: Rules, sight: &Sight, w: &Withdraw) -> Option<Self> {
        let side = usize::from(w.side);
        if !self.open(rules) || self.wd.is_some() || w.deadline <= sight.now || w.total <= sight.wd[side] {
            return None;
        }
        // Mined, it must not tell the chain the other's voucher without what that acknowledges.
        let older = w.seq[0] < self.acc.ack_seq && rules.has(Rule::R13Older);
        let accepted = (w.seq[1], w.paid[1]) == (self.acc.seq, self.acc.paid);
        let unknown = !accepted && rules.has(Rule::R13Theirs);
        if older || unknown || self.paid_at(w.seq[0]) != Some(w.paid[0]) {
            return None;
        }
        let dep = i16::from(sight.dep[side]);
        let spare = if side == 0 {
            let newest = self.newest();
            let promised = |v: &Voucher| i16::from(v.paid) + i16::from(sum(v.locks));
            let mine = || self.mine.iter().take(usize::from(self.n));
            let since = mine().filter(|v| v.seq >= w.seq[0]);
            let most = since.map(promised).fold(promised(&newest), i16::max);
            let live = if rules.has(Rule::R13Live) {
                self.live_total(rules)
            } else {
                0
            };
            let most = if rules.has(Rule::R13Own) {
                most.max(i16::from(newest.paid) + i16::from(live))
            } else {
                i16::from(w.paid[0])
            };
            let spare = dep + i16::from(newest.ack_paid.max(w.paid[1])) - most;
            // The other side accepts those by R4, which counts what they acknowledge.
            let counts = rules.has(Rule::R13Own) && rules.has(Rule::R13Ack);
            let under_way = mine().filter(|v| v.seq > w.seq[0] && counts);
            under_way
                .map(|v| dep + i16::from(v.ack_paid) - promised(v))
                .fold(spare, i16::min)
        } else {
            let v = &self.acc;
            dep + i16::from(v.ack_paid.max(w.paid[0])) - i16::from(v.paid) - i16::from(sum(v.locks))
        };
        let check = side == 0 || rules.has(Rule::R13Co);
        (!check || i16::from(w.total) <= spare).then(|| Self {
            wd: Some(*w),
            ..*self
        })
    }

    /// R27: whether a cancel that may be mined until `deadline` takes no lock of the other side its last chance to be
    /// resolved. `marked` are those with a final mark.
    #[must_use]
    pub fn may_cancel(&self, rules: Rules, sight: &Sight, marked: [bool; LOCKS], deadline: u8) -> bool {
        let safe = |i: usize| {
            let (gone, expiry) = (self.acc.locks[i] == 0 || self.given[i], sight.expiry[1][i]);
            gone || marked[i] || sight.chain_time() >= expiry || deadline + LAG + 2 * ACT < expiry
        };
        !rules.has(Rule::R27Locks) || (0..LOCKS).all(safe)
    }

    /// R15: the close that divides what this party knows; nothing flows after it.
    #[must_use]
    pub fn sign_close(&self, rules: Rules, sight: &Sight, deadline: u8) -> Option<Self> {
        let leaving = (0..LOCKS).any(|i| self.leaving[i] != 0 && !self.dead(rules, i));
        if !self.open(rules) || self.close.is_some() || self.wd.is_some() || deadline <= sight.now {
            return None;
        }
        if leaving || sum(self.newest().locks) + sum(self.acc.locks) > 0 {
            return None;
        }
        let total = i16::from(sight.dep[0] + sight.dep[1]) - i16::from(sight.wd[0] + sight.wd[1]);
        let own = i16::from(sight.dep[0]) - i16::from(sight.wd[0]) + i16::from(self.acc.paid)
            - i16::from(self.newest().paid);
        let own = u8::try_from(own.clamp(0, total)).ok()?;
        let balance = [own, u8::try_from(total).ok()? - own];
        Some(Self {
            close: Some(Close {
                dep: sight.dep,
                balance,
                deadline,
            }),
            ..*self
        })
    }

    /// A10: the own vouchers up to `own` are those of `was`, which a rollback lost.
    pub fn adopts_own(&mut self, was: &Self, own: u8) {
        let before = self.newest().locks;
        (self.n, self.mine) = (own, was.mine);
        for forgotten in &mut self.mine[usize::from(own)..] {
            *forgotten = Voucher::default();
        }
        let after = self.newest().locks;
        for i in (0..LOCKS).filter(|i| before[*i] > 0 && after[*i] == 0) {
            (self.told[i], self.got[i]) = (false, false);
            (self.leaving[i], self.lost[i]) = (own, true);
        }
        // Ids are skipped.
        self.used[0] = was.used[0];
    }

    /// A10: in the other's voucher a lock is gone that this party could have resolved, and the sum has not risen by it. What an
    /// own voucher acknowledges was accepted once; and what was learnt since the rollback may have been given up before.
    #[must_use]
    pub fn robbed_by(&self, theirs: &Voucher, marked: [bool; LOCKS]) -> bool {
        let used = |i: &usize| (self.known[*i] != Known::No || marked[*i]) && !self.given[*i];
        let gone = (0..LOCKS).filter(|i| self.acc.locks[*i] > 0 && theirs.locks[*i] == 0);
        let owed = gone.filter(used).count();
        let newer = theirs.seq > self.newest().ack_seq;
        newer && owed > usize::from(theirs.paid.saturating_sub(self.acc.paid))
    }

    /// A10: the other's newest voucher is the one that was accepted before the rollback. What is known of its locks is
    /// worth a dispute again.
    pub fn adopts_theirs(&mut self, was: &Self) {
        for i in 0..LOCKS {
            if self.acc.locks[i] > 0 && was.acc.locks[i] == 0 {
                (self.known[i], self.given[i]) = (Known::No, false);
            }
            self.used[1][i] |= was.acc.locks[i] > 0;
        }
        (self.acc, self.earned) = (was.acc, was.earned);
    }

    /// R12 and R15: forgets what is final or has lapsed.
    pub fn tick(&mut self, rules: Rules, sight: &Sight) {
        let lapsed = |deadline: u8| sight.chain_time() > deadline + LAG;
        if self
            .wd
            .is_some_and(|w| sight.wd[usize::from(w.side)] >= w.total || lapsed(w.deadline))
        {
            self.wd = None;
        }
        let early = |deadline: u8| !rules.has(Rule::R15Lapse) && sight.now >= deadline;
        if self
            .close
            .is_some_and(|c| lapsed(c.deadline) || early(c.deadline))
        {
            self.close = None;
        }
    }
}
