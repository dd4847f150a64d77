//! What the adjudicator does with evidence, as a pure function: R16-R20, the same merges as the contract's.
//!
//! Each direction has one floor (seq, paid) that vouchers and acks raise by maximum, and at most one stored
//! commitment of locks, live while its voucher's seq is the floor's. Evidence may arrive in any order.
//! The differential test runs random evidence through this module and through the real bytecode.

use crate::{
    Amount, Digest, LocksOpening, Side, UnixSeconds, Voucher,
    canary::{Canary, planted},
    limits,
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeMap;

/// A stored commitment of locks.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct LiveLocks {
    /// The voucher's `locks` word.
    pub commitment: Digest,
    /// `paid` of that voucher.
    pub base: Amount,
    /// Sum of the locks counted as resolved in it.
    pub counted: Amount,
    /// Latest expiry, once the opening was shown.
    pub max_expiry: Option<UnixSeconds>,
    /// Sum of all locks, once the opening was shown; `counted` never exceeds it.
    pub total: Option<Amount>,
}

/// What is stored about one direction.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Direction {
    /// Highest seq shown by a voucher, an ack or a withdrawal.
    pub seq: u64,
    /// Highest `paid` shown likewise.
    pub paid: Amount,
    /// Locks of the voucher with `seq`, if one with locks was shown.
    pub live: Option<LiveLocks>,
}

impl Direction {
    fn raise(&mut self, seq: u64, paid: Amount) {
        self.paid = match planted(Canary::SumNotMax) {
            false => self.paid.max(paid),
            true => Amount(self.paid.0.saturating_add(paid.0)),
        };
        if seq > self.seq {
            self.seq = seq;
            self.live = None;
        }
    }

    /// R19. Maximum, never sum.
    #[must_use]
    pub fn effective(&self) -> Amount {
        let resolved = self
            .live
            .as_ref()
            .map_or(0, |live| live.base.0.saturating_add(live.counted.0));
        Amount(resolved.max(self.paid.0))
    }
}

/// Deposits and withdrawals of both sides, gross.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Funds {
    /// Deposited by the client.
    pub client_deposit: Amount,
    /// Deposited by the hub.
    pub hub_deposit: Amount,
    /// Withdrawn by the client.
    pub client_withdrawn: Amount,
    /// Withdrawn by the hub.
    pub hub_withdrawn: Amount,
}

impl Funds {
    /// Gross deposit of a side.
    #[must_use]
    pub fn deposit(&self, side: Side) -> Amount {
        match side {
            Side::Client => self.client_deposit,
            Side::Hub => self.hub_deposit,
        }
    }

    /// Withdrawn by a side.
    #[must_use]
    pub fn withdrawn(&self, side: Side) -> Amount {
        match side {
            Side::Client => self.client_withdrawn,
            Side::Hub => self.hub_withdrawn,
        }
    }

    /// Deposits less withdrawals: what the contract holds for the channel.
    #[must_use]
    pub fn total(&self) -> Amount {
        let deposits = self.client_deposit.0.saturating_add(self.hub_deposit.0);
        Amount(deposits.saturating_sub(self.client_withdrawn.0.saturating_add(self.hub_withdrawn.0)))
    }
}

/// R20: divides the total. `effective` is (client to hub, hub to client). Returns (client, hub); the sum is the total.
#[must_use]
pub fn divide(funds: &Funds, client_paid: Amount, hub_paid: Amount) -> (Amount, Amount) {
    let total = funds.total().0;
    // All terms are below 2^90, so the sums fit.
    let plus = funds.client_deposit.0.saturating_add(hub_paid.0);
    let minus = funds.client_withdrawn.0.saturating_add(client_paid.0);
    let client = plus.saturating_sub(minus).min(total);
    (Amount(client), Amount(total.saturating_sub(client)))
}

/// The adjudicator's memory of one channel.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Adjudication {
    /// Payer: client.
    pub client: Direction,
    /// Payer: hub.
    pub hub: Direction,
    /// Leaves resolved in time (R17), with the seq of the voucher each was last counted in.
    pub marks: BTreeMap<(Side, Digest), u64>,
}

impl Adjudication {
    /// What is stored about the direction of `payer`.
    #[must_use]
    pub fn direction(&self, payer: Side) -> &Direction {
        match payer {
            Side::Client => &self.client,
            Side::Hub => &self.hub,
        }
    }

    fn direction_mut(&mut self, payer: Side) -> &mut Direction {
        match payer {
            Side::Client => &mut self.client,
            Side::Hub => &mut self.hub,
        }
    }

    /// R16: takes a voucher of `payer`, with the opening of its own locks if it is shown (any other is not read).
    /// Returns false when it added nothing.
    pub fn submit(&mut self, payer: Side, voucher: &Voucher, opening: Option<&LocksOpening>) -> bool {
        let before = (self.client.clone(), self.hub.clone());
        self.direction_mut(payer.other())
            .raise(voucher.ack_seq.0, voucher.ack_paid);
        let own = self.direction_mut(payer);
        own.raise(voucher.seq.0, voucher.paid);
        if voucher.locks != Digest::ZERO && voucher.seq.0 == own.seq && own.live.is_none() {
            own.live = Some(LiveLocks {
                commitment: voucher.locks,
                base: voucher.paid,
                counted: Amount::ZERO,
                max_expiry: None,
                total: None,
            });
        }
        // An opening belongs to the voucher it comes with: a stale voucher's says nothing about the stored one.
        if let Some(opening) = opening.filter(|opening| opening.commitment() == voucher.locks) {
            self.open_locks(payer, opening);
        }
        before != (self.client.clone(), self.hub.clone())
    }

    /// Takes the opening of the stored commitment. Returns false when it is not its opening.
    pub fn open_locks(&mut self, payer: Side, opening: &LocksOpening) -> bool {
        match self.direction_mut(payer).live.as_mut() {
            Some(live) if live.commitment == opening.commitment() => {
                live.max_expiry = Some(opening.max_expiry);
                live.total = Some(opening.total);
                true
            }
            _ => false,
        }
    }

    /// R17: whether a lock that is proven in the stored commitment would count, as [`Adjudication::resolve`] has it.
    #[must_use]
    pub fn counts(&self, payer: Side, leaf: &Digest, in_time: bool) -> bool {
        let stored = self.direction(payer);
        let counted_in = self.marks.get(&(payer, *leaf)).copied();
        (in_time || counted_in.is_some()) && counted_in != Some(stored.seq) && stored.live.is_some()
    }

    /// R17: counts a lock of `amount` that is proven in the stored commitment. `in_time` says that the witness was
    /// shown before the expiry; without it only a marked leaf counts. Returns false when nothing was counted.
    pub fn resolve(&mut self, payer: Side, leaf: Digest, amount: Amount, in_time: bool) -> bool {
        if !self.counts(payer, &leaf, in_time) {
            return false;
        }
        let seq = self.direction(payer).seq;
        let Some(live) = self.direction_mut(payer).live.as_mut() else {
            return false;
        };
        let limit = live
            .total
            .unwrap_or(Amount(limits::AMOUNT_MAX))
            .0
            .min(limits::AMOUNT_MAX);
        live.counted = Amount(live.counted.0.saturating_add(amount.0).min(limit));
        self.marks.insert((payer, leaf), seq);
        true
    }

    /// R14: a mined withdrawal raises both floors.
    pub fn withdraw(&mut self, client: (u64, Amount), hub: (u64, Amount)) {
        self.client.raise(client.0, client.1);
        self.hub.raise(hub.0, hub.1);
    }

    /// R18: the first chain time at which the dispute may be finalized.
    #[must_use]
    pub fn final_at(&self, window_end: UnixSeconds, challenge_period_s: u64) -> UnixSeconds {
        let live = [&self.client.live, &self.hub.live];
        live.into_iter().flatten().fold(window_end, |at, locks| {
            at.max(window_end.after(challenge_period_s))
                .max(locks.max_expiry.unwrap_or_default())
        })
    }

    /// R19 and R20: (client, hub).
    #[must_use]
    pub fn balances(&self, funds: &Funds) -> (Amount, Amount) {
        divide(funds, self.client.effective(), self.hub.effective())
    }
}
