//! Withdrawals of this client's own money (R12).

use super::Planned;
use crate::{ChannelError, actor::entry::Entry};
use protocol_spec::{Amount, Side, channel::Clock};

/// A signed withdrawal counts as done until then (R12), so the deadline is short.
pub(super) const WITHDRAW_LIFE_S: u64 = 15 * 60;

impl Entry {
    pub(super) fn plan_withdrawal(&mut self, amount: Amount, clock: Clock) -> Result<Planned, ChannelError> {
        let deadline = clock.now.after(WITHDRAW_LIFE_S);
        let message = self.channel.plan_withdraw(Side::Client, amount, deadline)?;
        self.channel.sign_withdraw(&message, clock)?;
        Ok(Planned::Withdraw(message))
    }
}
