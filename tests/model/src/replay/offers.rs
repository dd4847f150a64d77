//! In every view: all that might be asked of the honest party, the model's verdict beside the channel's.

use super::party::Party;
use super::world::{World, at, clock, opened};
use crate::chain::{LOCKS, Status, Voucher, Withdraw};
use crate::honest::{Known, MINE, Op};
use crate::link::{CANCEL_LIFE, Link, LinkModel, final_marks};
use protocol_spec::{Address, CancelDispute, Seq, UnixSeconds, limits};

/// What is asked, and of whom.
pub(super) struct Offers<'a> {
    /// The world.
    pub(super) world: &'a World,
    /// The model.
    pub(super) model: &'a LinkModel,
    /// The real one.
    pub(super) party: &'a Party,
    /// The model's.
    pub(super) link: &'a Link,
    /// The step.
    pub(super) now: u8,
}

/// How many were compared, or the first on which they differ.
type Verdicts = Result<u64, String>;

fn same(what: impl FnOnce() -> String, model: bool, real: bool) -> Verdicts {
    let word = |yes| if yes { "takes" } else { "refuses" };
    if model == real {
        Ok(1)
    } else {
        Err(format!(
            "{}: the model {} it, the channel {} it",
            what(),
            word(model),
            word(real)
        ))
    }
}

impl Offers<'_> {
    /// All of them.
    pub(super) fn compare(&self) -> Verdicts {
        // A10: whoever is in doubt asks nothing of the channel until the other side has shown what it holds.
        if self.link.h.doubt {
            return Ok(0);
        }
        Ok(self.vouchers()?
            + self.impossible()?
            + self.own()?
            + self.messages()?
            + self.withdrawals()?
            + self.endings()?)
    }

    fn ops(&self, payer: usize) -> Vec<Op> {
        let mut ops = vec![Op::Ack, Op::Pay];
        for i in 0..self.model.bounds.locks[payer] {
            ops.extend([Op::Add(i), Op::Convert(i), Op::Drop(i)]);
        }
        ops
    }

    /// R1-R6: what the other side might sign. The model has no jumps, and every lock is as its operations make it.
    fn vouchers(&self) -> Verdicts {
        let (h, mut count) = (&self.link.h, 0);
        let most = self.link.chain.dep[0] + self.link.chain.dep[1] + 1;
        for op in self.ops(1) {
            let (locks, frame) = (op.after(h.acc.locks), op.frame());
            let paid = h.acc.paid..=h.acc.paid + 2;
            let right = |v: &Voucher| v.seq == h.acc.seq + 1;
            for (paid, ack_seq) in paid.flat_map(|paid| (0..=h.n + 1).map(move |ack_seq| (paid, ack_seq))) {
                for ack_paid in 0..=most {
                    let v = Voucher {
                        seq: h.acc.seq + 1,
                        paid,
                        ack_seq,
                        ack_paid,
                        locks,
                    };
                    count += self.voucher(&v, op, frame)?;
                }
            }
            for seq in [h.acc.seq.saturating_sub(1), h.acc.seq]
                .into_iter()
                .filter(|seq| *seq > 0)
            {
                let v = Voucher {
                    seq,
                    paid: h.acc.paid + frame,
                    locks,
                    ..h.acc
                };
                // The very voucher that was accepted would be answered as before.
                if !right(&v) && v != h.acc {
                    count += self.voucher(&v, op, frame)?;
                }
            }
        }
        Ok(count)
    }

    /// What no voucher may be: one that would be good but for one field.
    fn impossible(&self) -> Verdicts {
        let h = &self.link.h;
        let v = Voucher {
            seq: h.acc.seq + 1,
            ..h.acc
        };
        let (good, ops) = self.party.theirs(self.world, &v, Op::Ack);
        let changes: [fn(&mut protocol_spec::Voucher); 4] = [
            |v| v.seq.0 += limits::SEQ_JUMP_MAX,
            |v| v.locks.0[0] ^= 1,
            |v| v.history.0[0] ^= 1,
            |v| v.channel_id.0[0] ^= 1,
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut voucher = good.voucher().clone();
            change(&mut voucher);
            let voucher = self.world.verified(1, voucher);
            let taken = self.party.channel.clone().accept(&voucher, &ops, clock(self.now));
            same(|| format!("a voucher changed in field {i}"), false, taken.is_ok())?;
        }
        Ok(4)
    }

    fn voucher(&self, v: &Voucher, op: Op, frame: u8) -> Verdicts {
        let sight = self.model.sight(self.link, self.now);
        let model = self
            .link
            .h
            .accept(self.model.terms.rules, &sight, v, op, frame)
            .is_some();
        let (verified, ops) = self.party.theirs(self.world, v, op);
        let mut channel = self.party.channel.clone();
        let real = channel.accept(&verified, &ops, clock(self.now)).is_ok();
        if !real && channel != self.party.channel {
            return Err(format!("{v:?} {op:?} is refused and leaves something behind"));
        }
        // Of an own voucher that a rollback lost only bounds of the sum are known, which is money that is owed anyway.
        if self.party.forgotten.contains(&v.ack_seq) && real {
            return Ok(1);
        }
        same(|| format!("{v:?} {op:?}"), model, real)
    }

    /// R7-R10: what it might sign itself.
    fn own(&self) -> Verdicts {
        let (h, mut count) = (&self.link.h, 0);
        if usize::from(h.n) == MINE {
            return Ok(0); // The model has no room for more.
        }
        let sight = self.model.sight(self.link, self.now);
        for op in self.ops(0) {
            let model = h.issue(self.model.terms.rules, &sight, op).is_some();
            let ops = self.party.ops(self.world, 0, h.n + 1, op);
            let real = self.party.channel.draft(&ops, clock(self.now)).is_ok();
            let fresh = matches!(op, Op::Convert(i) if self.link.chain.marks[0][i] != 0);
            count += same(|| format!("own {op:?}"), model && (real || !fresh), real)?;
        }
        Ok(count)
    }

    /// R8, R11: what is told about locks.
    fn messages(&self) -> Verdicts {
        let (h, mut count, channel) = (&self.link.h, 0, &self.party.channel);
        for i in 0..LOCKS {
            let (own, other) = (self.party.ids[0][i], self.party.ids[1][i]);
            let live = h.newest().locks[i] > 0;
            let early = self.now < self.model.terms.expiry[0][i];
            let told = channel
                .clone()
                .told_witness(own, &opened(0, i), clock(self.now))
                .is_ok();
            // A marked lock must be converted anyway.
            let marked = self.link.base.marks[0][i] != 0;
            count += same(|| format!("told {i}"), live && (early || marked), told)?;
            let wrong = channel
                .clone()
                .told_witness(own, &opened(1, i), clock(self.now))
                .is_ok();
            count += same(|| format!("told {i} wrongly"), false, wrong)?;
            count += same(
                || format!("consent to {i}"),
                live,
                channel.clone().consented(own).is_ok(),
            )?;
            let may = h.acc.locks[i] > 0 && h.known[i] == Known::No;
            count += same(
                || format!("consents to {i}"),
                may,
                channel.clone().consent(other).is_ok(),
            )?;
        }
        Ok(count)
    }

    /// R13, for either side, with right and wrong sums.
    fn withdrawals(&self) -> Verdicts {
        let (h, mut count) = (&self.link.h, 0);
        if h.wd.is_some() || self.link.base.wd != [0, 0] {
            return Ok(0);
        }
        let most = self.link.chain.dep[0] + self.link.chain.dep[1] + 1;
        for (side, own) in (0..2).flat_map(|side| (0..=h.n).map(move |own| (side, own))) {
            let paid = h.mine.get(usize::from(own).wrapping_sub(1)).map_or(0, |v| v.paid);
            for (total, wrong, deadline) in (0..=most).flat_map(|total| {
                [
                    (total, 0, 1),
                    (total, 1, 1),
                    (total, 2, 1),
                    (total, 3, 1),
                    (total, 0, 0),
                ]
            }) {
                let w = Withdraw {
                    side,
                    total,
                    seq: [own, h.acc.seq + u8::from(wrong == 3)],
                    paid: [paid + u8::from(wrong == 1), h.acc.paid + u8::from(wrong == 2)],
                    deadline: self.now + deadline,
                };
                count += self.withdrawal(&w)?;
            }
        }
        Ok(count)
    }

    fn withdrawal(&self, w: &Withdraw) -> Verdicts {
        let h = &self.link.h;
        let sight = self.model.sight(self.link, self.now);
        let model = h.sign_withdraw(self.model.terms.rules, &sight, w).is_some();
        let mut channel = self.party.channel.clone();
        let message = self.world.withdraw(&channel, w);
        let real = channel.sign_withdraw(&message, clock(self.now)).is_ok();
        // What an own voucher locked that a rollback lost is not known; who names a newer one does not need it.
        if w.side == 0 && self.party.forgotten.iter().any(|seq| *seq >= w.seq[0]) && real {
            return Ok(1);
        }
        same(|| format!("{w:?}"), model, real)
    }

    /// R15, R27, R28.
    fn endings(&self) -> Verdicts {
        let (h, channel, mut count) = (&self.link.h, &self.party.channel, 0);
        if h.close.is_none() {
            let sight = self.model.sight(self.link, self.now);
            let signs = h
                .sign_close(self.model.terms.rules, &sight, self.now + 1)
                .is_some();
            let right = channel.plan_close(at(self.now + 1));
            let mut wrong = right.clone();
            (wrong.client_balance, wrong.hub_balance) = (right.hub_balance, right.client_balance);
            let mut late = right.clone();
            late.deadline = at(self.now);
            for (close, good) in [(&right, true), (&wrong, wrong == right), (&late, false)] {
                let real = channel.clone().sign_close(close, clock(self.now)).is_ok();
                count += same(|| format!("{close:?}"), signs && good, real)?;
            }
        }
        let marked = final_marks(self.link);
        let sight = self.model.sight(self.link, self.now);
        let safe = h.may_cancel(self.model.terms.rules, &sight, marked, self.now + CANCEL_LIFE);
        for dispute_no in 0..=self.link.chain.dispute_no + 1 {
            let cancel = CancelDispute {
                channel_id: channel.id(),
                dispute_no: Seq(dispute_no.into()),
                deadline: at(self.now + CANCEL_LIFE),
            };
            if h.seen && self.link.chain.status != Status::Disputed {
                continue; // A reorg took it away: the model knows no number any more.
            }
            let named = h.seen && self.link.is_settled() && dispute_no == self.link.chain.dispute_no;
            let model = named && safe;
            let real = channel.sign_cancel(&cancel, clock(self.now)).is_ok();
            count += same(|| format!("{cancel:?}"), model, real)?;
        }
        let unconverted = (0..LOCKS).any(|i| self.link.base.marks[1][i] != 0 && h.acc.locks[i] > 0);
        let accept = channel.plan_accept(Address::ZERO, false, UnixSeconds(u64::MAX));
        count += same(|| "a countersignature".into(), !unconverted, accept.is_ok())?;
        let nothing = h.acc.seq == 0;
        count += same(
            || "a countersignature of nothing".into(),
            nothing,
            matches!(accept, Ok(None)),
        )?;
        Ok(count)
    }
}
