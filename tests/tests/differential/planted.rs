//! Copies of the model with one bug each. The comparison must find every one of them, or it finds nothing.

use crate::model::Rules;
use protocol_spec::settlement::{Adjudication, Direction, Funds, divide};
use protocol_spec::{Amount, Digest, LocksOpening, Side, UnixSeconds, Voucher};

/// The bugs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    /// R19: floor + resolved instead of the larger of the two.
    SumForMaximum,
    /// R16: an ack raises the other direction's `paid` but not its seq.
    AcksLeaveSeqFloor,
    /// R14: the same of a withdrawal.
    WithdrawalsLeaveSeqFloor,
    /// R17: what was counted in an older voucher stays counted in a newer one.
    KeepsOldResolutions,
    /// R17: a mark does not survive a newer best.
    ForgetsMarks,
    /// R17: a lock counts each time it is shown.
    CountsTwice,
    /// R18: locks do not keep a dispute open.
    FinalWithoutLocks,
    /// R20: what a party owes beyond what it has is taken from nobody's pocket.
    NotClamped,
}

/// The model with a bug.
#[derive(Clone, Debug)]
pub(crate) struct Planted {
    inner: Adjudication,
    bug: Bug,
}

impl Planted {
    pub(crate) fn new(bug: Bug) -> Self {
        let inner = Adjudication::default();
        Self { inner, bug }
    }

    fn direction_mut(&mut self, payer: Side) -> &mut Direction {
        match payer {
            Side::Client => &mut self.inner.client,
            Side::Hub => &mut self.inner.hub,
        }
    }
}

impl Rules for Planted {
    fn direction(&self, payer: Side) -> &Direction {
        self.inner.direction(payer)
    }

    fn submit(&mut self, payer: Side, voucher: &Voucher, opening: Option<&LocksOpening>) {
        let mut voucher = voucher.clone();
        if self.bug == Bug::AcksLeaveSeqFloor {
            voucher.ack_seq.0 = 0;
        }
        let before = self.direction(payer).clone();
        self.inner.submit(payer, &voucher, opening);
        let newer = self.direction(payer).seq > before.seq;
        if newer && self.bug == Bug::ForgetsMarks {
            self.inner.marks.retain(|(side, _), _| *side != payer);
        }
        if newer && self.bug == Bug::KeepsOldResolutions {
            let counted = before.live.map_or(Amount::ZERO, |live| live.counted);
            if let Some(live) = self.direction_mut(payer).live.as_mut() {
                live.counted = counted;
            }
        }
    }

    fn open_locks(&mut self, payer: Side, opening: &LocksOpening) {
        self.inner.open_locks(payer, opening);
    }

    fn resolve(&mut self, payer: Side, leaf: Digest, amount: Amount, in_time: bool) -> bool {
        if self.bug == Bug::CountsTwice
            && let Some(seq) = self.inner.marks.get_mut(&(payer, leaf))
        {
            *seq = u64::MAX;
        }
        self.inner.resolve(payer, leaf, amount, in_time)
    }

    fn withdraw(&mut self, mut client: (u64, Amount), mut hub: (u64, Amount)) {
        if self.bug == Bug::WithdrawalsLeaveSeqFloor {
            (client.0, hub.0) = (0, 0);
        }
        self.inner.withdraw(client, hub);
    }

    fn final_at(&self, window_end: UnixSeconds, challenge_period_s: u64) -> UnixSeconds {
        match self.bug {
            Bug::FinalWithoutLocks => window_end,
            _ => self.inner.final_at(window_end, challenge_period_s),
        }
    }

    fn balances(&self, funds: &Funds) -> (Amount, Amount) {
        let worth = |direction: &Direction| match &direction.live {
            Some(live) => Amount(direction.paid.0 + live.counted.0),
            None => direction.paid,
        };
        let (client, hub) = (&self.inner.client, &self.inner.hub);
        match self.bug {
            Bug::SumForMaximum => divide(funds, worth(client), worth(hub)),
            Bug::NotClamped => {
                let plus = funds.client_deposit.0 + hub.effective().0;
                let minus = funds.client_withdrawn.0 + client.effective().0;
                let share = plus.saturating_sub(minus);
                (Amount(share), Amount(funds.total().0.saturating_sub(share)))
            }
            _ => self.inner.balances(funds),
        }
    }

    fn mark(&self, payer: Side, leaf: Digest) -> Option<u64> {
        self.inner.marks.get(&(payer, leaf)).copied()
    }
}
