//! Closes (R15): signed once, and gone on with until the deadline or the chain ends them.

use super::{Cooperation, Planned, Stage};
use crate::{
    ChannelError,
    actor::{command::CooperativeKind, entry::Entry},
};
use protocol_spec::{
    channel::{Clock, Phase},
    limits,
};
use tokio::time::Instant;

/// Nothing is signed or accepted until then unless the close is mined (R15).
const CLOSE_LIFE_S: u64 = 10 * 60;

impl Cooperation {
    /// A close that this side has signed, or is about to: only time or the chain ends it.
    pub(super) fn is_signed_close(&self) -> bool {
        let signed = matches!(self.stage, Stage::ToSign(_) | Stage::ToSend(..) | Stage::Sent(..));
        signed && matches!(self.kind, CooperativeKind::Close)
    }
}

impl Entry {
    /// Goes on with a close that was signed before a restart: the same sums, so the same bytes unless a deposit was confirmed
    /// since; then both closes pay the same, because what is deposited later goes to its own side.
    pub(super) fn resume_close(&mut self, clock: Clock) {
        let Phase::Closing { deadline } = *self.channel.phase() else {
            return;
        };
        let timely = clock.now < deadline && deadline <= clock.now.after(limits::DEADLINE_AHEAD_MAX_S);
        let message = self.channel.plan_close(deadline);
        if timely && self.fault.is_none() && self.channel.sign_close(&message, clock).is_ok() {
            let stage = Stage::ToSign(Planned::Close(message));
            let close = Cooperation::new(CooperativeKind::Close, stage, Instant::now(), None);
            self.cooperation = Some(close);
        }
    }

    pub(super) fn plan_close(&mut self, clock: Clock) -> Result<Planned, ChannelError> {
        let message = self.channel.plan_close(clock.now.after(CLOSE_LIFE_S));
        self.channel.sign_close(&message, clock)?;
        Ok(Planned::Close(message))
    }
}
