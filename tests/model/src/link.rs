//! One channel: an honest party, an arbitrary one who holds all that the honest one signed, and the contract.
//!
//! A step of time is `LAG` and `ACT` long: what is mined in a step may be undone in that step (a reorg), and is final and
//! seen in the next. Time does not pass while the honest party has a duty (R21) that must be done in this step.

use crate::chain::{Chain, Close, LOCKS, Status, Terms, Voucher, Withdraw, sum};
use crate::honest::{ACT, Honest, Known, LAG, Op, Sight};
use crate::rules::Rule;

/// A cancel may be mined for so long after it was signed, steps, as far as R27 is concerned: here, always.
pub const CANCEL_LIFE: u8 = 1;

/// Which events there are, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Deposits at the start.
    pub dep: [u8; 2],
    /// Vouchers per direction.
    pub vouchers: [u8; 2],
    /// Direct payments in each direction.
    pub pays: [bool; 2],
    /// Locks per direction.
    pub locks: [usize; 2],
    /// Withdrawals.
    pub withdraws: bool,
    /// Co-signed closes.
    pub closes: bool,
    /// Vouchers shown while open, by each party.
    pub checkpoints: [bool; 2],
    /// The honest party may dispute without need.
    pub leaves: bool,
    /// The arbitrary party may deposit once more.
    pub deposits: bool,
    /// Reorgs.
    pub reorgs: u8,
    /// Cancels the honest party signs.
    pub cancels: u8,
    /// Disputes at most.
    pub disputes: u8,
    /// The honest party may go away for good; with true, a watchtower may have what it accepted.
    pub away: Option<bool>,
    /// The honest party may lose what it wrote since some backup.
    pub rollback: bool,
    /// Last step.
    pub time: u8,
}

impl Bounds {
    /// Nothing but vouchers and disputes.
    pub const BARE: Self = Self {
        dep: [1, 1],
        vouchers: [2, 2],
        pays: [true, true],
        locks: [0, 0],
        withdraws: false,
        closes: false,
        checkpoints: [false, false],
        leaves: false,
        deposits: false,
        reorgs: 0,
        cancels: 0,
        disputes: 1,
        away: None,
        rollback: false,
        time: 6,
    };
}

/// One channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Link {
    /// The contract now.
    pub chain: Chain,
    /// The contract as it was when the step began: what is final.
    pub base: Chain,
    /// The honest party.
    pub h: Honest,
    /// Sum of the direct payments it signed.
    pub direct: u8,
    /// Own locks whose witness it was told in time; never forgotten.
    pub told: [bool; LOCKS],
    /// Own locks that it holds to be dead, and has given back to whoever they were for.
    pub refunded: [bool; LOCKS],
    /// Those of which a rollback lost that it was told.
    pub forgot: [bool; LOCKS],
    /// The signed close, until its deadline.
    pub close: Option<Close>,
    /// Cancels signed, by number of the dispute.
    pub cancels: u8,
    /// Cancels signed in all.
    pub cancels_signed: u8,
    /// The late deposit was made.
    pub deposited: bool,
    /// Reorgs so far.
    pub reorgs: u8,
    /// Gone for good, with what it was sure of: (floor seq, sum) of the reverse direction.
    pub away: Option<(u8, u8)>,
    /// What the watchtower may show.
    pub tower: Voucher,
    /// The backup.
    pub saved: Option<Honest>,
    /// What a rollback lost: own vouchers, last accepted, earnings, what was signed.
    pub lost: Option<Lost>,
    /// Two vouchers with one seq were signed.
    pub conflict: bool,
}

/// What a rollback lost, and the other side still has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lost {
    /// Everything as it was.
    pub was: Honest,
    /// Step in which it happened.
    pub at: u8,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The other's voucher is accepted; the sum is what its payments add.
    Accepts(Voucher, Op, u8),
    /// An own voucher is signed and sent.
    Issues(Op),
    /// A dispute is seen.
    SeesDispute,
    /// The end of a dispute is final and seen.
    SeesOpen,
    /// A witness of the other's lock becomes known.
    Learns(usize),
    /// A witness of an own lock is told.
    Told(usize),
    /// The other consents to an own lock's end.
    GetsConsent(usize),
    /// Consents to the end of the other's lock.
    Consents(usize),
    /// Gives a dead own lock back to whoever it was for.
    Refunds(usize),
    /// Signs a withdrawal.
    SignsWithdraw(Withdraw),
    /// Signs a close.
    SignsClose(Close),
    /// Signs the cancel of the running dispute.
    SignsCancel,
    /// Shows its newest voucher while the channel is open.
    Checkpoints,
    /// Disputes, or answers a dispute: newest voucher and all locks it can.
    Defends,
    /// Only with R17Newest removed: resolves in the stored voucher first.
    ResolvesStored(usize),
    /// Goes away for good.
    GoesAway,
    /// Countersigns the newest for the watchtower.
    Countersigns,
    /// The watchtower shows what it holds.
    TowerSubmits,
    /// A backup is made.
    Saves,
    /// The backup is restored.
    Restores,
    /// The other shows the own voucher with this seq, and its newest if true.
    Resyncs(u8, bool),
    /// Mallory disputes.
    MDisputes,
    /// Mallory shows an own voucher of the honest party; lost ones count from 100.
    MSubmits(u8),
    /// Only with R16Payee removed: Mallory shows a voucher of its own.
    MSubmitsOwn(Voucher),
    /// Mallory resolves.
    MResolves(usize),
    /// Mallory mines the withdrawal.
    MWithdraws,
    /// Mallory mines the close.
    MCloses,
    /// Mallory mines a cancel.
    MCancels,
    /// Mallory deposits.
    MDeposits,
    /// The dispute's end is paid out.
    Finalizes,
    /// What was mined in this step is undone.
    Reorg,
}

/// What the world around a channel permits.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The step.
    pub now: u8,
    /// The honest party may add its lock.
    pub may_add: [bool; LOCKS],
    /// It may consent to the end of the other's lock.
    pub may_consent: [bool; LOCKS],
    /// A witness of the other's lock may come from nowhere.
    pub may_learn: bool,
}

/// A channel's facts.
#[derive(Clone, Copy, Debug)]
pub struct LinkModel {
    /// Rules, sides, times.
    pub terms: Terms,
    /// Events.
    pub bounds: Bounds,
}

impl LinkModel {
    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> Link {
        let chain = Chain {
            dep: self.bounds.dep,
            ..Chain::default()
        };
        Link {
            chain,
            base: chain,
            ..Link::default()
        }
    }

    /// What the honest party sees.
    #[must_use]
    pub fn sight(&self, link: &Link, now: u8) -> Sight {
        let dep = if self.terms.rules.has(Rule::R26) {
            link.base.dep
        } else {
            link.chain.dep
        };
        let marked = link.chain.marks.map(|marks| marks.map(|mark| mark != 0));
        Sight {
            now,
            dep,
            wd: link.base.wd,
            marked,
            expiry: self.terms.expiry,
        }
    }

    /// All that may happen in this step.
    pub fn next(&self, link: &Link, around: &Around, out: &mut Vec<(Act, Link)>) {
        if link.chain.status != Status::Closed {
            if link.away.is_none() {
                self.vouchers(link, around, out);
                self.messages(link, around, out);
                self.signs(link, around.now, out);
                self.defence(link, around.now, out);
                self.disk(link, around.now, out);
            }
            self.tower(link, around.now, out);
            self.mallory(link, around.now, out);
        }
        if link.reorgs < self.bounds.reorgs && link.chain != link.base {
            out.push((
                Act::Reorg,
                Link {
                    chain: link.base,
                    reorgs: link.reorgs + 1,
                    ..*link
                },
            ));
        }
    }

    fn vouchers(&self, link: &Link, around: &Around, out: &mut Vec<(Act, Link)>) {
        let (rules, sight, h) = (self.terms.rules, self.sight(link, around.now), &link.h);
        if !h.open(rules) {
            return;
        }
        if h.acc.seq < self.bounds.vouchers[1] {
            self.incoming(link, &sight, out);
        }
        if h.n >= self.bounds.vouchers[0] {
            return;
        }
        let mut issue = |op: Op| {
            if let Some(next) = h.issue(rules, &sight, op) {
                let mut link = Link { h: next, ..*link };
                link.direct += u8::from(op == Op::Pay && h.returns == 0);
                let new = next.newest();
                link.conflict |= link.lost.is_some_and(|lost| {
                    lost.was
                        .mine
                        .iter()
                        .take(lost.was.n.into())
                        .any(|old| old.seq == new.seq && *old != new)
                });
                out.push((Act::Issues(op), link));
            }
        };
        issue(Op::Ack);
        if self.bounds.pays[0] {
            issue(Op::Pay);
        }
        for i in 0..self.bounds.locks[0] {
            if around.may_add[i] && self.has_locks(link) {
                issue(Op::Add(i));
            }
            issue(Op::Convert(i));
            issue(Op::Drop(i));
        }
    }

    /// Whatever Mallory may sign and the honest party accepts.
    fn incoming(&self, link: &Link, sight: &Sight, out: &mut Vec<(Act, Link)>) {
        let (rules, h) = (self.terms.rules, &link.h);
        let mut ops = vec![Op::Ack];
        if self.bounds.pays[1] {
            ops.push(Op::Pay);
        }
        for i in 0..self.bounds.locks[1] {
            ops.extend([Op::Add(i), Op::Convert(i), Op::Drop(i)]);
        }
        for op in ops {
            let (locks, frame) = (op.after(h.acc.locks), op.frame());
            for paid in h.acc.paid..=h.acc.paid + 1 {
                for ack_seq in 0..=h.n {
                    for ack_paid in 0..=sum_of(self.bounds.dep) {
                        let v = Voucher {
                            seq: h.acc.seq + 1,
                            paid,
                            ack_seq,
                            ack_paid,
                            locks,
                        };
                        if let Some(next) = h.accept(rules, sight, &v, op, frame) {
                            out.push((Act::Accepts(v, op, frame), Link { h: next, ..*link }));
                        }
                    }
                }
            }
        }
    }

    fn messages(&self, link: &Link, around: &Around, out: &mut Vec<(Act, Link)>) {
        let (rules, now, h) = (self.terms.rules, around.now, &link.h);
        if link.chain.status == Status::Disputed && !h.seen {
            out.push((Act::SeesDispute, with(link, |h| h.seen = true)));
        }
        let final_open = link.base.status == Status::Open || !rules.has(Rule::R27Final);
        if h.seen && link.chain.status == Status::Open && final_open {
            let opens = |h: &mut Honest| {
                h.seen = false;
                h.close = h.close.filter(|_| rules.has(Rule::R15Dispute));
            };
            out.push((Act::SeesOpen, with(link, opens)));
        }
        for i in 0..self.bounds.locks[1] {
            if h.robbed[i] && around.may_learn && in_time(now, self.terms.expiry[1][i]) == Known::InTime {
                let learns = |h: &mut Honest| (h.robbed[i], h.earned) = (false, h.earned + 1);
                out.push((Act::Learns(i), with(link, learns)));
            }
            if h.acc.locks[i] > 0 && h.known[i] == Known::No && !h.given[i] {
                let expiry = self.terms.expiry[1][i];
                if around.may_learn && now < expiry {
                    let sure = !h.doubt && self.has_locks(link);
                    let known = if sure { in_time(now, expiry) } else { Known::Late };
                    out.push((Act::Learns(i), with(link, |h| h.known[i] = known)));
                }
                // A rollback may have lost how it was resolved, the chain has not.
                if around.may_consent[i] && link.base.marks[1][i] == 0 {
                    out.push((Act::Consents(i), with(link, |h| h.given[i] = true)));
                }
            }
        }
        for i in 0..self.bounds.locks[0] {
            let live = h.newest().locks[i] > 0;
            if live && !h.told[i] && now < self.terms.expiry[0][i] {
                let mut next = with(link, |h| h.told[i] = true);
                next.told[i] = true;
                out.push((Act::Told(i), next));
            }
            if live && !h.told[i] && !h.told_late[i] && now >= self.terms.expiry[0][i] && !rules.has(Rule::R8)
            {
                out.push((Act::Told(i), with(link, |h| h.told_late[i] = true)));
            }
            if live && !h.got[i] {
                out.push((Act::GetsConsent(i), with(link, |h| h.got[i] = true)));
            }
            if h.dead(rules, i) && !h.lost[i] && !link.refunded[i] {
                let mut next = *link;
                next.refunded[i] = true;
                out.push((Act::Refunds(i), next));
            }
        }
    }

    /// A10: after a rollback ids may have been used, and the other's vouchers acknowledged, in the part that was lost.
    fn has_locks(&self, link: &Link) -> bool {
        link.lost.is_none() || !self.terms.rules.has(Rule::A10Locks)
    }

    /// Whatever Mallory may propose and the honest party signs. Without R13Theirs that names a voucher it has not accepted, too.
    fn withdrawals(&self, link: &Link, now: u8, out: &mut Vec<(Act, Link)>) {
        let (rules, sight, h) = (self.terms.rules, self.sight(link, now), &link.h);
        if !self.bounds.withdraws || link.base.wd != [0, 0] {
            return;
        }
        let newest = h.acc.seq + u8::from(!rules.has(Rule::R13Theirs));
        for (side, own) in (0..2_u8).flat_map(|side| (0..=h.n).map(move |own| (side, own))) {
            let own_paid = own.checked_sub(1).map_or(0, |at| h.mine[usize::from(at)].paid);
            let totals = 1..=sum_of(self.bounds.dep);
            for (theirs, total) in (h.acc.seq..=newest).flat_map(|seq| totals.clone().map(move |n| (seq, n)))
            {
                let w = Withdraw {
                    side,
                    total,
                    seq: [own, theirs],
                    paid: [own_paid, h.acc.paid],
                    deadline: now + 1,
                };
                if let Some(next) = h.sign_withdraw(rules, &sight, &w) {
                    out.push((Act::SignsWithdraw(w), Link { h: next, ..*link }));
                }
            }
        }
    }

    fn signs(&self, link: &Link, now: u8, out: &mut Vec<(Act, Link)>) {
        let (rules, sight, h) = (self.terms.rules, self.sight(link, now), &link.h);
        self.withdrawals(link, now, out);
        if self.bounds.closes
            && let Some(next) = h.sign_close(rules, &sight, now + 1)
            && let Some(close) = next.close
        {
            out.push((
                Act::SignsClose(close),
                Link {
                    h: next,
                    close: Some(close),
                    ..*link
                },
            ));
        }
        let named = match rules.has(Rule::R27Settled) {
            true => link.is_settled(),
            false => link.chain.status == Status::Disputed,
        };
        if link.cancels_signed < self.bounds.cancels && h.seen && named {
            let bit = 1 << link.chain.dispute_no;
            if link.cancels & bit == 0 && h.may_cancel(rules, &sight, final_marks(link), now + CANCEL_LIFE) {
                let cancels = link.cancels | bit;
                let cancels_signed = link.cancels_signed + 1;
                out.push((
                    Act::SignsCancel,
                    Link {
                        cancels,
                        cancels_signed,
                        ..*link
                    },
                ));
            }
        }
    }

    /// Locks that the party can count on chain now, if its newest voucher is the stored one.
    fn countable(&self, link: &Link, now: u8) -> [bool; LOCKS] {
        let h = &link.h;
        let mut out = [false; LOCKS];
        for (i, out) in out.iter_mut().enumerate() {
            let mark = link.chain.marks[1][i];
            let may = mark != 0 || (h.known[i] != Known::No && now < self.terms.expiry[1][i]);
            *out = h.acc.locks[i] > 0 && !h.given[i] && may;
        }
        out
    }

    fn defence(&self, link: &Link, now: u8, out: &mut Vec<(Act, Link)>) {
        let (h, terms, chain) = (&link.h, &self.terms, &link.chain);
        if h.doubt && chain.status == Status::Open {
            return;
        }
        if self.bounds.checkpoints[0] && chain.status == Status::Open && h.acc.seq > chain.dir[1].seq {
            let mut next = *link;
            next.chain.submit(terms, 1, &h.acc);
            out.push((Act::Checkpoints, next));
        }
        let need = (0..LOCKS).any(|i| self.countable(link, now)[i] && now + ACT + 1 >= terms.expiry[1][i]);
        let may_start = chain.dispute_no < self.bounds.disputes + 1;
        if chain.status == Status::Disputed || (may_start && (need || self.bounds.leaves)) {
            let mut next = *link;
            if chain.status == Status::Open {
                next.chain.dispute(terms, now);
            }
            next.h.seen = true;
            if now < next.chain.window_end && h.acc.seq > 0 {
                next.chain.submit(terms, 1, &h.acc);
            }
            let stored = next.chain.dir[1].live && next.chain.dir[1].seq == h.acc.seq;
            if stored && now < next.chain.final_at(terms) && terms.rules.has(Rule::R17Newest) {
                for i in (0..LOCKS).filter(|i| self.countable(link, now)[*i]) {
                    next.chain.resolve(terms, 1, i, now);
                }
            }
            if next != *link {
                out.push((Act::Defends, next));
            }
        }
        if !terms.rules.has(Rule::R17Newest) && chain.status == Status::Disputed {
            for i in (0..LOCKS).filter(|i| chain.marks[1][*i] == 0 && self.countable(link, now)[*i]) {
                let mut next = *link;
                if next.chain.resolve(terms, 1, i, now) {
                    next.h.seen = true;
                    out.push((Act::ResolvesStored(i), next));
                }
            }
        }
    }

    fn disk(&self, link: &Link, now: u8, out: &mut Vec<(Act, Link)>) {
        if !self.bounds.rollback {
            return;
        }
        let (h, rules) = (&link.h, self.terms.rules);
        match (link.saved, link.lost) {
            (None, None) => out.push((
                Act::Saves,
                Link {
                    saved: Some(*h),
                    ..*link
                },
            )),
            (Some(saved), None) if saved != *h => {
                let mut back = Honest {
                    doubt: true,
                    seen: h.seen,
                    ..saved
                };
                // No dispute is started for what may be old.
                let late = |known| if known == Known::No { known } else { Known::Late };
                back.known = back.known.map(late);
                // It reads the chain first.
                back.tick(rules, &self.sight(link, now));
                let lost = Some(Lost { was: *h, at: now });
                let mut next = Link {
                    h: back,
                    lost,
                    saved: None,
                    ..*link
                };
                for i in 0..LOCKS {
                    // What was given back in the lost part may have to be paid, and what was told there may be given back.
                    next.refunded[i] &= back.dead(rules, i);
                    let left = h.newest().locks[i] < back.newest().locks[i];
                    next.forgot[i] = link.told[i] && (left || !back.told[i]);
                }
                out.push((Act::Restores, next));
            }
            (_, Some(lost)) if h.doubt && link.chain.status == Status::Open => {
                // What may have been countersigned in the lost part lapses then.
                let held_until = match rules.has(Rule::A10Held) {
                    true => lost.at + 1 + LAG + LAG + 1,
                    false => 0,
                };
                for own in h.n..=lost.was.n {
                    for newest in [false, true] {
                        let mut back = Honest {
                            doubt: false,
                            held_until,
                            ..*h
                        };
                        if own > h.n {
                            back.adopts_own(&lost.was, own);
                        }
                        if newest && back.robbed_by(&lost.was.acc, final_marks(link)) {
                            continue;
                        }
                        if newest && lost.was.acc.ack_seq <= own {
                            back.adopts_theirs(&lost.was);
                        }
                        if own > h.n || newest {
                            back.unanswered = back.newest().ack_seq < back.acc.seq;
                        }
                        // What the own one acknowledges must be shown.
                        if back.acc.ack_seq <= own && back.newest().ack_seq <= back.acc.seq {
                            out.push((Act::Resyncs(own, newest), Link { h: back, ..*link }));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn tower(&self, link: &Link, now: u8, out: &mut Vec<(Act, Link)>) {
        let (h, terms) = (&link.h, &self.terms);
        let Some(has_tower) = self.bounds.away else { return };
        if link.away.is_none() {
            let unconverted = (0..LOCKS).any(|i| link.chain.marks[1][i] != 0 && h.acc.locks[i] > 0);
            if has_tower
                && h.acc.seq > link.tower.seq
                && !(unconverted && terms.rules.has(Rule::R28))
                && !h.seen
            {
                out.push((
                    Act::Countersigns,
                    Link {
                        tower: h.acc,
                        ..*link
                    },
                ));
            }
            let sure = link.base.dir[1];
            // An own voucher that acknowledges a newer one ends the count: it is a signature of its own, too.
            let superseded = h.mine.iter().any(|v| v.ack_seq > sure.seq);
            let counts = sure.live && !superseded;
            let counted = if counts { sure.base + sure.counted } else { 0 };
            let sum = sure.paid.max(counted).max(link.tower.paid);
            out.push((
                Act::GoesAway,
                Link {
                    away: Some((sure.seq, sum)),
                    ..*link
                },
            ));
        }
        let dispute = link.chain.status == Status::Disputed && now < link.chain.window_end;
        if dispute && link.tower.seq > link.chain.dir[1].seq {
            let mut next = *link;
            next.chain.submit(terms, 1, &link.tower);
            out.push((Act::TowerSubmits, next));
        }
    }

    fn mallory(&self, link: &Link, now: u8, out: &mut Vec<(Act, Link)>) {
        let (terms, chain) = (&self.terms, &link.chain);
        let mut mined = |act: Act, change: &dyn Fn(&mut Chain) -> bool| {
            let mut next = *link;
            if change(&mut next.chain) {
                out.push((act, next));
            }
        };
        let open = chain.status == Status::Open;
        let disputed = chain.status == Status::Disputed;
        if open && chain.dispute_no < self.bounds.disputes {
            mined(Act::MDisputes, &|chain| {
                chain.dispute(terms, now);
                true
            });
        }
        if (open && self.bounds.checkpoints[1]) || (disputed && now < chain.window_end) {
            for (i, v) in link.h.mine.iter().enumerate().take(link.h.n.into()) {
                let changes = |chain: &mut Chain| {
                    let before = *chain;
                    chain.submit(terms, 0, v);
                    *chain != before
                };
                mined(Act::MSubmits(byte(i + 1)), &changes);
            }
            if let Some(lost) = link.lost {
                for (i, v) in lost.was.mine.iter().enumerate().take(lost.was.n.into()) {
                    let changes = |chain: &mut Chain| {
                        let before = *chain;
                        chain.submit(terms, 0, v);
                        *chain != before
                    };
                    mined(Act::MSubmits(byte(i + 101)), &changes);
                }
            }
            if !terms.rules.has(Rule::R16Payee) {
                let v = Voucher {
                    ack_paid: chain.dep[0],
                    ..link.h.acc
                };
                mined(Act::MSubmitsOwn(v), &|chain| {
                    let before = *chain;
                    chain.submit(terms, 1, &v);
                    *chain != before
                });
            }
        }
        if disputed {
            let end = chain.final_at(terms);
            if now < end {
                for i in 0..self.bounds.locks[0] {
                    mined(Act::MResolves(i), &|chain| chain.resolve(terms, 0, i, now));
                }
                if link.cancels & (1 << chain.dispute_no) != 0
                    || (!terms.rules.has(Rule::R27Number) && link.cancels != 0)
                {
                    mined(Act::MCancels, &|chain| {
                        chain.cancel(terms);
                        true
                    });
                }
            } else {
                mined(Act::Finalizes, &|chain| {
                    chain.finalize(terms);
                    true
                });
            }
        }
        for w in [link.h.wd, link.lost.and_then(|lost| lost.was.wd)]
            .into_iter()
            .flatten()
        {
            mined(Act::MWithdraws, &|chain| {
                chain.signed_at = Some((w.seq[0], i8_of(w.paid[1])));
                chain.withdraw(terms, &w, now)
            });
        }
        if let Some(close) = link.close {
            mined(Act::MCloses, &|chain| chain.close(terms, &close, now));
        }
        if self.bounds.deposits && !link.deposited && open {
            let mut next = Link {
                deposited: true,
                ..*link
            };
            next.chain.dep[1] += 1;
            out.push((Act::MDeposits, next));
        }
    }

    /// R21: true when time may pass, because nothing must be done in this step.
    #[must_use]
    pub fn may_wait(&self, link: &Link, now: u8) -> bool {
        let (chain, h) = (&link.chain, &link.h);
        if chain.status == Status::Closed {
            return true;
        }
        let disputed = chain.status == Status::Disputed;
        let late = disputed && now + self.terms.window >= chain.window_end + LAG + ACT;
        if link.away.is_some() {
            return !(late && now < chain.window_end && link.tower.seq > chain.dir[1].seq);
        }
        let mut shown = *chain;
        shown.submit(&self.terms, 1, &h.acc);
        let locks = shown.dir[1].live && !chain.dir[1].live && self.terms.rules.has(Rule::R21Locks);
        let adds = h.acc.seq > chain.dir[1].seq || shown.dir[1].paid > chain.dir[1].paid || locks;
        if late && now < chain.window_end && adds {
            return false;
        }
        let recount = self.terms.rules.has(Rule::R17Newest);
        (0..LOCKS).all(|i| {
            if h.acc.locks[i] == 0 || h.given[i] {
                return true;
            }
            let (mark, dir) = (chain.marks[1][i], &chain.dir[1]);
            let last_call = mark == 0 && h.known[i] == Known::InTime && now + 1 == self.terms.expiry[1][i];
            let uncounted = mark != 0 && disputed && dir.live && dir.locks[i] > 0 && mark != dir.seq + 1;
            !(last_call || (recount && uncounted && now + 1 >= chain.final_at(&self.terms)))
        })
    }

    /// Time passes: what was mined is final and seen.
    #[must_use]
    pub fn tick(&self, link: &Link, now: u8) -> Link {
        let mut next = Link {
            base: link.chain,
            ..*link
        };
        next.h.seen |= link.chain.status == Status::Disputed;
        next.close = link.close.filter(|close| close.deadline > now);
        let sight = self.sight(&next, now + 1);
        next.h.tick(self.terms.rules, &sight);
        next
    }

    /// What the honest party must have in all at the end: deposit, what it was paid, less what it owes.
    #[must_use]
    pub fn fair(&self, link: &Link) -> i16 {
        let (h, chain) = (&link.h, &link.chain);
        let mut fair = i16::from(chain.dep[0]) + i16::from(h.earned) - i16::from(link.direct);
        for i in 0..LOCKS {
            if h.known[i] == Known::InTime && !h.given[i] {
                fair += i16::from(h.acc.locks[i]);
            }
            let owes = (link.told[i] || chain.marks[0][i] != 0) && !link.refunded[i];
            if owes || link.forgot[i] {
                fair -= 1;
            }
        }
        fair
    }

    /// What it must have at least when it was away: its lowest balance at one of its signatures that count.
    #[must_use]
    pub fn lowest(&self, link: &Link) -> i16 {
        let (from, signed) = link.chain.signed_at.unwrap_or_default();
        let (_, sure) = link.away.unwrap_or_default();
        let sure = i16::from(sure).max(i16::from(signed));
        let h = &link.h;
        let shown = h.mine.iter().take(h.n.into()).filter(|v| v.seq >= from);
        let none = sure
            - h.mine
                .iter()
                .find(|v| v.seq == from && from != 0)
                .map_or(0, |v| i16::from(v.paid));
        let balances =
            shown.map(|v| sure.max(i16::from(v.ack_paid)) - i16::from(v.paid) - i16::from(sum(v.locks)));
        i16::from(link.chain.dep[0]) + balances.fold(none, i16::min)
    }
}

impl Link {
    /// R27: a dispute runs, and it is final.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let disputed = |chain: &Chain| (chain.status == Status::Disputed).then_some(chain.dispute_no);
        disputed(&self.chain).is_some() && disputed(&self.chain) == disputed(&self.base)
    }
}

/// R21: known early enough to be mined before the expiry.
#[must_use]
pub fn in_time(now: u8, expiry: u8) -> Known {
    if now + ACT < expiry {
        Known::InTime
    } else {
        Known::Late
    }
}

/// Locks of the other side that carry a final mark.
#[must_use]
pub fn final_marks(link: &Link) -> [bool; LOCKS] {
    link.base.marks[1].map(|mark| mark != 0)
}

fn with(link: &Link, change: impl FnOnce(&mut Honest)) -> Link {
    let mut next = *link;
    change(&mut next.h);
    next
}

fn sum_of(dep: [u8; 2]) -> u8 {
    dep[0] + dep[1]
}

fn byte(value: usize) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn i8_of(value: u8) -> i8 {
    i8::try_from(value).unwrap_or(i8::MAX)
}
