//! Withdrawals (R12): what is signed counts as done until it lapses, so the hub is asked for its signature until then, and
//! what both have signed is stored for the chain.

use super::{Cooperation, Planned, Stage};
use crate::{
    ChannelError,
    actor::{
        command::{CooperativeKind, Signed},
        entry::Entry,
    },
};
use protocol_spec::{
    Amount, Channel, Side, Withdraw,
    channel::{Clock, Phase},
    message::{ErrorCode, RpcError},
};
use tokio::time::Instant;

/// A signed withdrawal counts as done until then (R12), so the deadline is short.
pub(in crate::actor) const WITHDRAW_LIFE_S: u64 = 15 * 60;

impl Cooperation {
    /// A withdrawal that this side has signed, or is about to.
    pub(super) fn is_signed_withdrawal(&self) -> bool {
        self.signed_withdrawal().is_some()
    }

    fn signed_withdrawal(&self) -> Option<&Withdraw> {
        match &self.stage {
            Stage::ToSign(Planned::Withdraw(message))
            | Stage::ToSend(Planned::Withdraw(message), ..)
            | Stage::Sent(Planned::Withdraw(message), ..) => Some(message),
            _ => None,
        }
    }

    /// Nothing is signed beside it: it names the newest own voucher, and with a newer one the hub can never sign it.
    pub(super) fn may_be_signed(&self) -> bool {
        self.undecided || self.reply.is_some()
    }

    /// The chain has it, whatever became of the hub's answer.
    pub(super) fn mined(&self, channel: &Channel) -> Option<Signed> {
        let message = self.signed_withdrawal()?;
        let done = channel.funds().withdrawn(message.side) >= message.total;
        done.then(|| Signed::Withdraw(message.clone()))
    }

    /// The hub did not sign. Of a hub that is busy it is not known what it would say.
    pub(super) fn refused(&mut self, error: RpcError) {
        let busy = error.data.retry_after_ms.is_some()
            || [ErrorCode::Busy, ErrorCode::RateLimited]
                .iter()
                .any(|code| error.is(*code));
        self.undecided &= busy;
        self.refusal = Some(error);
    }
}

impl Entry {
    pub(super) fn plan_withdrawal(&mut self, amount: Amount, clock: Clock) -> Result<Planned, ChannelError> {
        let deadline = clock.now.after(WITHDRAW_LIFE_S);
        let message = self.channel.plan_withdraw(Side::Client, amount, deadline)?;
        self.channel.sign_withdraw(&message, clock)?;
        self.countersigned = None;
        Ok(Planned::Withdraw(message))
    }

    /// Goes on with a withdrawal that was signed before a restart, and of which the hub's signature is not here.
    pub(super) fn resume_withdrawal(&mut self, clock: Clock) {
        let Some(message) = self.channel.pending_withdraw().cloned() else {
            return;
        };
        let kind = match message.side {
            Side::Client => CooperativeKind::Withdraw(message.total),
            Side::Hub => CooperativeKind::Release {
                total: message.total,
                deadline: message.deadline,
            },
        };
        if self.is_withdrawing(clock) && self.fault.is_none() {
            let stage = Stage::ToSign(Planned::Withdraw(message));
            self.cooperation = Some(Cooperation::new(kind, stage, Instant::now(), None));
        }
    }

    /// A withdrawal is signed and may still be mined (R14).
    pub(super) fn is_withdrawing(&self, clock: Clock) -> bool {
        let pending = self.channel.pending_withdraw();
        *self.channel.phase() == Phase::Open && pending.is_some_and(|message| clock.now < message.deadline)
    }
}
