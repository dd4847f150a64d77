//! Releases: the hub withdraws a part of its own reserve, which this client agrees to when that costs it nothing.

use super::{Cooperation, Planned, Stage, withdraw::WITHDRAW_LIFE_S};
use crate::{
    ChannelError,
    actor::{Actor, command::CooperativeKind, entry::Entry, pay::later, sight::Sight},
};
use protocol_spec::{
    Amount, Side, UnixSeconds,
    channel::{Clock, Phase},
    message::Release,
};

/// After a release that was signed and never mined none is agreed to for so long.
const RELEASE_REST_S: u64 = 24 * 3600;

impl Entry {
    /// A release under way that is not signed yet gives way to what this client wants itself.
    pub(super) fn drop_unsigned_release(&mut self) {
        self.cooperation.take_if(|cooperation| {
            let unsigned = matches!(
                cooperation.stage,
                Stage::Draining | Stage::Comparing(_) | Stage::Equal
            );
            unsigned && matches!(cooperation.kind, CooperativeKind::Release { .. })
        });
    }

    /// Whether the hub may ask for a part of its reserve: not for long, since this client's own withdrawal or close waits
    /// for the end of it, and not again soon after one that was agreed to and never came.
    fn may_ask_release(&self, release: &Release, clock: Clock) -> bool {
        let withdrawn = self.channel.withdrawn(Side::Hub);
        let in_vain = self
            .agreed_release
            .is_some_and(|(total, until)| total > withdrawn && clock.now < until.after(RELEASE_REST_S));
        let timely = clock.now < release.deadline && release.deadline <= clock.now.after(WITHDRAW_LIFE_S);
        timely && !in_vain && release.total > withdrawn && clock.now >= self.keep_capacity_until
    }

    /// A pending release of the hub's reserve is a matter of minutes: what this client wants waits for its end.
    pub(super) fn release_pending(&self) -> bool {
        let pending = self.channel.pending_withdraw();
        pending.is_some_and(|withdraw| withdraw.side == Side::Hub)
    }

    pub(super) fn plan_release(
        &mut self,
        total: Amount,
        deadline: UnixSeconds,
        clock: Clock,
    ) -> Result<Planned, ChannelError> {
        let more = total.minus(self.channel.withdrawn(Side::Hub))?;
        let message = self.channel.plan_withdraw(Side::Hub, more, deadline)?;
        self.channel.sign_withdraw(&message, clock)?;
        self.countersigned = None;
        self.agreed_release = Some((total, deadline));
        Ok(Planned::Withdraw(message))
    }
}

impl Actor {
    /// The hub wants a part of its reserve back. Agreed to when that costs this client nothing: its own money is not
    /// touched, and capacity that it paid for stays as long as it was promised.
    pub(in crate::actor) fn release_asked(&mut self, release: &Release) {
        let clock = self.clock();
        let (agree, deadline) = (self.options.accept_releases, later(self.options.call_timeout));
        let Some(entry) = self.entries.get_mut(&release.channel_id) else {
            return;
        };
        let free = entry.cooperation.is_none() && !entry.channel.is_withdraw_pending();
        let open = *entry.channel.phase() == Phase::Open && entry.live() && entry.fault.is_none();
        let seen = entry.sight > Sight::Stale;
        if agree && free && open && seen && entry.may_ask_release(release, clock) {
            let kind = CooperativeKind::Release {
                total: release.total,
                deadline: release.deadline,
            };
            entry.cooperation = Some(Cooperation::new(kind, Stage::Draining, deadline, None));
        }
    }
}
