//! Closes (R15): signed once, and gone on with until the deadline or the chain ends them.

use super::{Cooperation, Planned, Stage};
use crate::{
    ChannelError,
    actor::{command::CooperativeKind, entry::Entry, session::Pending},
};
use protocol_spec::{
    ChannelId, UnixSeconds,
    channel::{Clock, Phase},
    limits,
    message::{ChannelCall, PrepareCloseCall, Request},
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

    /// Asks the hub for its numbers, telling it of a close: from then on until the deadline it credits nothing, so that the
    /// numbers which are compared are still its numbers when the close arrives.
    pub(super) fn ask_numbers(&mut self, channel_id: ChannelId, clock: Clock) -> (Request, Pending) {
        let close = self.cooperation.as_mut();
        let Some(close) = close.filter(|cooperation| matches!(cooperation.kind, CooperativeKind::Close))
        else {
            let request = Request::Channel(ChannelCall { channel_id });
            return (request, Pending::Compare(channel_id, None));
        };
        let enough = clock.now.after(CLOSE_LIFE_S / 2);
        let until = close.announced.filter(|until| *until > enough);
        let until = until.unwrap_or(clock.now.after(CLOSE_LIFE_S));
        close.announced = Some(until);
        let call = PrepareCloseCall { channel_id, until };
        (
            Request::PrepareClose(call),
            Pending::Compare(channel_id, Some(until)),
        )
    }

    /// The close with the deadline that the hub was told.
    pub(super) fn plan_announced_close(&mut self, clock: Clock) -> Result<Planned, ChannelError> {
        let announced = self.cooperation.as_ref().and_then(|close| close.announced);
        let deadline = announced.unwrap_or(clock.now.after(CLOSE_LIFE_S));
        let message = self.channel.plan_close(deadline);
        self.channel.sign_close(&message, clock)?;
        Ok(Planned::Close(message))
    }
}

/// The close that the hub was told of is not going to come.
pub(super) fn stay(channel_id: ChannelId) -> Request {
    let until = UnixSeconds::default();
    Request::PrepareClose(PrepareCloseCall { channel_id, until })
}
