//! [`Channel`]: both directions of one channel as one party sees them. The same object runs in hub and SDK.
//!
//! Nothing here reads a clock, signs or stores. Callers persist [`Channel::to_record`] (or replay the same calls)
//! before anything signed leaves.

mod accept;
mod cooperative;
mod half;
mod issue;
mod phase;
mod record;
mod restore;
mod witness;

pub use accept::Accepted;
pub use half::{Half, Outgoing};
pub use issue::{Draft, Issued};
pub use phase::{Event, MOVES, Phase};
pub use record::{LockFacts, LockKey};
pub use restore::ShownLocks;

use crate::{
    Amount, ChannelId, Config, Digest, Domain, History, Op, Reject, Side, SignedVoucher, UnixSeconds,
    Voucher, VoucherSignature, Witness,
    canary::{Canary, planted},
    limits,
    settlement::{Adjudication, Funds},
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::{BTreeMap, BTreeSet};

/// The two times that rules speak of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// `now`: the later of the own clock and the newest block's timestamp.
    pub now: UnixSeconds,
    /// Chain time: timestamp of the newest *confirmed* block.
    pub chain: UnixSeconds,
}

impl Clock {
    /// At the latest chain time at which the new locks among `ops` were good (R5). A lock that has expired while its frame
    /// waited is worth nothing and does no harm, but its voucher was signed, and can be no other one: whoever takes it takes
    /// it as of then, and gives the lock up.
    #[must_use]
    pub fn when_made(self, ops: &[Op]) -> Self {
        let expiries = ops.iter().filter_map(|op| match op {
            Op::LockAdd { lock, .. } => Some(UnixSeconds(lock.expiry.0.saturating_sub(1))),
            _ => None,
        });
        let chain = expiries.fold(self.chain, UnixSeconds::min);
        Self { chain, ..self }
    }
}

/// The delays a party works with, seconds. Each party's own choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Delays {
    /// Worst delay of the own view of the chain.
    pub lag_s: u64,
    /// Worst time to get a transaction mined.
    pub act_s: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            lag_s: limits::LAG_DEFAULT_S,
            act_s: limits::ACT_DEFAULT_S,
        }
    }
}

/// A withdrawal that this party signed and that is neither final nor expired (R12).
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct PendingWithdraw {
    /// What was signed.
    pub withdraw: crate::Withdraw,
}

/// Both directions of one channel as one party sees them.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Channel {
    id: ChannelId,
    config: Config,
    me: Side,
    delays: Delays,
    phase: Phase,
    /// Deadline of the close this party signed last, while it may still be mined (R15): also in a dispute and after it.
    signed_close: Option<UnixSeconds>,
    funds: Funds,
    outgoing: Outgoing,
    incoming: Half,
    /// Of the newest accepted voucher.
    incoming_signature: Option<VoucherSignature>,
    /// True when a voucher with operations was accepted since the last own voucher.
    unanswered: bool,
    pending_withdraw: Option<Box<PendingWithdraw>>,
    /// Witnesses told in time for own locks (R8), by lock id. What is known of locks is not in the Borsh form: see `record`.
    #[borsh(skip)]
    told: BTreeMap<u64, Witness>,
    /// Witnesses this party knew in time for locks of the other side, by lock id.
    #[borsh(skip)]
    known: BTreeMap<u64, Witness>,
    /// Own locks whose removal the other side consented to.
    #[borsh(skip)]
    consents_received: BTreeSet<u64>,
    /// Locks of the other side whose removal this party consented to (R11).
    #[borsh(skip)]
    consents_given: BTreeSet<u64>,
    /// Locks with an in-time mark on chain (R17).
    #[borsh(skip)]
    marked: BTreeSet<LockKey>,
}

impl Channel {
    /// A channel before its first voucher, with nothing deposited yet.
    /// Errors: R6 when lag + act is not below the challenge period, or terms the adjudicator would not open.
    pub fn new(config: Config, domain: &Domain, me: Side, delays: Delays) -> Result<Self, Reject> {
        config.check()?;
        if delays.lag_s.saturating_add(delays.act_s) >= config.challenge_period_s {
            return Err(Reject::ConfigInvalid(
                "R6: lag + act is not below the challenge period",
            ));
        }
        let id = config.id(domain);
        Ok(Self {
            id,
            me,
            delays,
            phase: Phase::Open,
            signed_close: None,
            funds: Funds::default(),
            outgoing: Outgoing::new(Half::new(&id, me)),
            incoming: Half::new(&id, me.other()),
            incoming_signature: None,
            unanswered: false,
            pending_withdraw: None,
            told: BTreeMap::new(),
            known: BTreeMap::new(),
            consents_received: BTreeSet::new(),
            consents_given: BTreeSet::new(),
            marked: BTreeSet::new(),
            config,
        })
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// The immutable facts.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which party this object speaks for.
    #[must_use]
    pub fn side(&self) -> Side {
        self.me
    }

    /// The delays this party works with.
    #[must_use]
    pub fn delays(&self) -> Delays {
        self.delays
    }

    /// Where the channel is in its life.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Confirmed deposits and withdrawals.
    #[must_use]
    pub fn funds(&self) -> &Funds {
        &self.funds
    }

    /// The direction this party pays in.
    #[must_use]
    pub fn sent(&self) -> &Half {
        &self.outgoing.half
    }

    /// The direction this party is paid in.
    #[must_use]
    pub fn received(&self) -> &Half {
        &self.incoming
    }

    /// Newest voucher accepted from the other side, with its signature: the evidence.
    #[must_use]
    pub fn received_signed(&self) -> Option<SignedVoucher> {
        let signature = self.incoming_signature.clone()?;
        let voucher = self.incoming.voucher(self.id)?;
        Some(SignedVoucher { voucher, signature })
    }

    /// Newest own voucher.
    #[must_use]
    pub fn sent_voucher(&self) -> Option<Voucher> {
        self.outgoing.half.voucher(self.id)
    }

    /// Number of own vouchers newer than the last one the other side acknowledged.
    #[must_use]
    pub fn unacked(&self) -> usize {
        self.outgoing.unacked_after(self.incoming.ack_seq)
    }

    /// Whether there are `count` of them or more. Cheap while there are few.
    #[must_use]
    pub fn has_unacked(&self, count: usize) -> bool {
        self.outgoing.kept() >= count && self.unacked() >= count
    }

    /// R12: withdrawn by `side`, counting what this party signed as done.
    #[must_use]
    pub fn withdrawn(&self, side: Side) -> Amount {
        let pending = self.pending_withdraw.as_ref().map(|pending| &pending.withdraw);
        let signed = pending
            .filter(|withdraw| withdraw.side == side && !planted(Canary::ForgetWithdrawal))
            .map_or(Amount::ZERO, |withdraw| withdraw.total);
        signed.max(self.funds.withdrawn(side))
    }

    /// What this party can still pay: deposit - withdrawn + received - sent - locked. Zero if negative.
    #[must_use]
    pub fn spendable(&self) -> Amount {
        let has = self.funds.deposit(self.me).0.saturating_add(self.incoming.paid.0);
        let gone = self
            .withdrawn(self.me)
            .0
            .saturating_add(self.outgoing.half.paid.0);
        Amount(
            has.saturating_sub(gone)
                .saturating_sub(self.outgoing.half.locks.total().0),
        )
    }

    /// True when this party has paid and withdrawn more than it is known to have: it came back from an old backup, and what
    /// paid for it is forgotten. No own voucher can be made then, not even one that gives something back (R4).
    #[must_use]
    pub fn is_overdrawn(&self) -> bool {
        let (own, locked) = (&self.outgoing.half, self.outgoing.half.locks.total());
        self.check_balance(self.me, self.incoming.paid, own.paid, locked)
            .is_err()
    }

    /// What the other side can still pay, by what this party has acknowledged to it.
    #[must_use]
    pub fn other_spendable(&self) -> Amount {
        let other = self.me.other();
        let has = self
            .funds
            .deposit(other)
            .0
            .saturating_add(self.outgoing.half.paid.0);
        let gone = self.withdrawn(other).0.saturating_add(self.incoming.paid.0);
        Amount(
            has.saturating_sub(gone)
                .saturating_sub(self.incoming.locks.total().0),
        )
    }

    /// What each party would be paid now if both showed their newest vouchers: (client, hub). R19, R20.
    #[must_use]
    pub fn settlement(&self) -> (Amount, Amount) {
        let mut adjudication = Adjudication::default();
        for (payer, half) in [(self.me, &self.outgoing.half), (self.me.other(), &self.incoming)] {
            if let Some(voucher) = half.voucher(self.id) {
                adjudication.submit(payer, &voucher, half.opening.as_deref());
            }
        }
        adjudication.balances(&self.funds)
    }

    fn require_open(&self) -> Result<(), Reject> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Disputed { .. } if planted(Canary::IgnoreDispute) => Ok(()),
            other => Err(Reject::ChannelNotOpen { phase: other.name() }),
        }
    }

    fn half(&self, payer: Side) -> &Half {
        if payer == self.me {
            &self.outgoing.half
        } else {
            &self.incoming
        }
    }

    /// R4 for the voucher of `payer` with these sums.
    fn check_balance(
        &self,
        payer: Side,
        ack_paid: Amount,
        paid: Amount,
        locked: Amount,
    ) -> Result<(), Reject> {
        let has = self.funds.deposit(payer).plus(ack_paid)?;
        let needed = paid.plus(locked)?.plus(self.withdrawn(payer))?;
        if needed > has && !planted(Canary::SkipBalance) {
            return Err(Reject::BalanceExceeded {
                available: has.saturating_minus(self.withdrawn(payer)),
                needed: paid.plus(locked)?,
            });
        }
        Ok(())
    }
}

/// The history before the first operation, as a plain digest.
fn initial_history(id: &ChannelId, payer: Side) -> Digest {
    History::initial(id, payer).0
}
