//! Where a channel is in its life. Legal moves are a table; SPEC.md prints it.

use super::{Channel, Clock};
use crate::{Amount, Reject, Seq, Side, UnixSeconds, Withdraw};
use borsh::{BorshDeserialize, BorshSerialize};

/// Where a channel is in its life.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Phase {
    /// Vouchers flow.
    Open,
    /// This party signed a close; nothing is signed or accepted until it is mined or its deadline + lag has passed.
    Closing {
        /// Of the close.
        deadline: UnixSeconds,
    },
    /// A dispute was seen on chain.
    Disputed {
        /// The contract's number of it.
        dispute_no: Seq,
        /// No reorg takes it away any more, unless one deeper than the confirmations: its cancel may be signed (R27).
        is_final: bool,
    },
    /// Paid out, unless a reorg deeper than the confirmations takes that away.
    Closed,
}

/// What moves a channel from phase to phase.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Event {
    /// This party signed a close.
    CloseSigned {
        /// Of the close.
        deadline: UnixSeconds,
    },
    /// The close's deadline + lag has passed by chain time, and it was not mined.
    CloseLapsed,
    /// A dispute was seen that is not final, or not any more.
    DisputeSeen {
        /// The contract's number of it.
        dispute_no: Seq,
    },
    /// A dispute is final.
    DisputeFinal {
        /// The contract's number of it.
        dispute_no: Seq,
    },
    /// A cancel of this dispute is final, or a reorg removed the dispute for good. A close that was signed before it may still
    /// be mined: then the channel is closing again.
    DisputeGone,
    /// The payout is final.
    ClosedOnChain,
    /// R25: a reorg took away a payout that was final.
    PayoutGone,
}

/// Legal moves: (from, event, to), by name.
pub const MOVES: &[(&str, &str, &str)] = &[
    ("open", "close_signed", "closing"),
    ("open", "dispute_seen", "disputed"),
    ("open", "dispute_final", "disputed"),
    ("open", "closed_on_chain", "closed"),
    ("closing", "close_lapsed", "open"),
    ("closing", "dispute_seen", "disputed"),
    ("closing", "dispute_final", "disputed"),
    ("closing", "closed_on_chain", "closed"),
    ("disputed", "dispute_seen", "disputed"),
    ("disputed", "dispute_final", "disputed"),
    ("disputed", "dispute_gone", "open"),
    ("disputed", "dispute_gone", "closing"),
    ("disputed", "closed_on_chain", "closed"),
    ("closed", "payout_gone", "closing"),
];

impl Phase {
    /// Stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing { .. } => "closing",
            Self::Disputed { .. } => "disputed",
            Self::Closed => "closed",
        }
    }
}

impl Event {
    /// Stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CloseSigned { .. } => "close_signed",
            Self::CloseLapsed => "close_lapsed",
            Self::DisputeSeen { .. } => "dispute_seen",
            Self::DisputeFinal { .. } => "dispute_final",
            Self::DisputeGone => "dispute_gone",
            Self::ClosedOnChain => "closed_on_chain",
            Self::PayoutGone => "payout_gone",
        }
    }

    /// `signed_close`: deadline of a close that may still be mined.
    fn target(&self, signed_close: Option<UnixSeconds>) -> Phase {
        match self {
            Self::CloseSigned { deadline } => Phase::Closing { deadline: *deadline },
            Self::CloseLapsed => Phase::Open,
            Self::DisputeGone => signed_close.map_or(Phase::Open, |deadline| Phase::Closing { deadline }),
            Self::DisputeSeen { dispute_no } => Phase::Disputed {
                dispute_no: *dispute_no,
                is_final: false,
            },
            Self::DisputeFinal { dispute_no } => Phase::Disputed {
                dispute_no: *dispute_no,
                is_final: true,
            },
            Self::ClosedOnChain => Phase::Closed,
            // What both signed may still be mined: it never lapses.
            Self::PayoutGone => Phase::Closing {
                deadline: UnixSeconds(u64::MAX),
            },
        }
    }
}

impl Channel {
    /// Moves to the phase that `event` leads to. Errors: [`Reject::ChannelNotOpen`] when [`MOVES`] has no such move.
    pub fn enter(&mut self, event: &Event) -> Result<(), Reject> {
        let to = event.target(self.signed_close);
        if !MOVES.contains(&(self.phase.name(), event.name(), to.name())) {
            return Err(Reject::ChannelNotOpen {
                phase: self.phase.name(),
            });
        }
        match event {
            Event::CloseSigned { deadline } => self.signed_close = Some(*deadline),
            Event::CloseLapsed => self.signed_close = None,
            _ => {}
        }
        self.phase = to;
        Ok(())
    }

    /// Deadline of the close this party signed last, while it may still be mined: until deadline + lag by chain time,
    /// whatever phase the channel is in.
    #[must_use]
    pub fn signed_close(&self) -> Option<UnixSeconds> {
        self.signed_close
    }

    /// R26: a confirmed deposit; `total` is the side's gross deposit so far. Never lowers it.
    pub fn deposit_confirmed(&mut self, side: Side, total: Amount) {
        let slot = match side {
            Side::Client => &mut self.funds.client_deposit,
            Side::Hub => &mut self.funds.hub_deposit,
        };
        *slot = total.max(*slot);
    }

    /// R12: a withdrawal is final on chain; `total` is the side's withdrawn sum so far.
    pub fn withdraw_confirmed(&mut self, side: Side, total: Amount) {
        let slot = match side {
            Side::Client => &mut self.funds.client_withdrawn,
            Side::Hub => &mut self.funds.hub_withdrawn,
        };
        *slot = total.max(*slot);
        let done = |withdraw: &Withdraw| withdraw.side == side && withdraw.total <= total;
        if self
            .pending_withdraw
            .as_ref()
            .is_some_and(|pending| done(&pending.withdraw))
        {
            self.pending_withdraw = None;
        }
    }

    /// Drops a pending withdrawal (R12) and leaves a lapsed close (R15) once chain time > deadline + lag.
    /// The caller has first told every withdrawal and close that is final up to `clock.chain`.
    pub fn tick(&mut self, clock: Clock) {
        let lapsed = |deadline: UnixSeconds| clock.chain > deadline.after(self.delays.lag_s);
        if self
            .pending_withdraw
            .as_ref()
            .is_some_and(|pending| lapsed(pending.withdraw.deadline))
        {
            self.pending_withdraw = None;
        }
        let closing = matches!(self.phase, Phase::Closing { deadline } if lapsed(deadline));
        if self.signed_close.is_some_and(lapsed) {
            self.signed_close = None;
        }
        if closing {
            self.phase = Phase::Open;
        }
    }
}
