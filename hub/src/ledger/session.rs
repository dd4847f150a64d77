//! Login, register, resume, subscriptions and questions: what connections ask about.

use super::{
    Commit, Ledger, Origin, Output, Resumption,
    entry::{Entry, Subscriber},
    input::Change,
    output::FrameOut,
};
use crate::engine::SessionId;
use protocol_spec::{
    ChannelId, Reject, Seq, VerifiedVoucher,
    canary::{Canary, planted},
    channel::Clock,
    message::{
        Cursor, Empty, ErrorCode, LoginReply, RegisterCall, Reply, ResumeCall, ResumeReply, RpcError,
        SubscribeCall, SubscribeReply, shown_locks,
    },
};
use std::collections::BTreeSet;

/// Channels listed by the answer to `login`. Anybody may open channels for any signer, and the answer must fit a message.
pub(super) const LOGIN_CHANNELS_MAX: usize = 64;

/// What vouchers that are sent again in one commit may weigh, but for those of one channel, and of channels with little to
/// send; see [`super::remembered`].
const AGAIN_MAX: u64 = 65_536;
const LITTLE: u64 = 64;

/// When a resume may be tried again that found no place.
const RESUME_AGAIN_MS: u32 = 100;

/// Channels that were resumed in a commit. What their clients have not seen is sent again, as often as they ask.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    channels: BTreeSet<usize>,
    weight: u64,
}

impl Resumed {
    /// False when the channel was resumed in this commit already, or others with much to send again as this one has.
    fn take_place(&mut self, index: usize, weight: impl FnOnce() -> u64) -> bool {
        if !self.channels.insert(index) {
            return false;
        }
        let weight = weight();
        let has_place = self.weight <= AGAIN_MAX || weight <= LITTLE;
        if has_place {
            self.weight = self.weight.saturating_add(weight);
        }
        has_place
    }
}

/// Connections that may stream one channel's receipts at once.
const SUBSCRIBERS_MAX: usize = 8;

impl Ledger {
    /// The channel's index, if it belongs to the signer that asks.
    pub(super) fn owned(&self, origin: Origin, id: &ChannelId) -> Result<usize, RpcError> {
        let index = self
            .index(id)
            .ok_or_else(|| RpcError::of(ErrorCode::UnknownChannel).with("registered", id))?;
        let signer = self
            .entries
            .get(index)
            .map(|entry| entry.channel.config().client_signer);
        if signer == Some(origin.signer) {
            Ok(index)
        } else {
            Err(RpcError::of(ErrorCode::NotYourChannel))
        }
    }

    /// The same, of a channel whose terms were looked at: anybody may open one on terms of his own, a challenge period that is
    /// shorter than the operator counts on for instance.
    pub(super) fn served(&self, origin: Origin, id: &ChannelId) -> Result<usize, RpcError> {
        let index = self.owned(origin, id)?;
        let registered = self
            .entries
            .get(index)
            .is_some_and(|entry| entry.stored.registered || planted(Canary::ServeUnregistered));
        registered
            .then_some(index)
            .ok_or_else(|| RpcError::of(ErrorCode::UnknownChannel).with("registered", id))
    }

    pub(super) fn login(&mut self, origin: Origin, commit: &mut Commit) {
        let alone = self.logins.entry(origin.session).or_insert(Some(origin.signer));
        *alone = alone.filter(|signer| *signer == origin.signer);
        let (first, last) = ((origin.signer, 0), (origin.signer, usize::MAX));
        let mine = self.by_signer.range(first..=last);
        let channels = mine
            .take(LOGIN_CHANNELS_MAX)
            .filter_map(|(_, index)| self.entries.look(*index))
            .map(|entry| entry.info())
            .collect();
        answer(commit, origin, Ok(Reply::Login(LoginReply { channels })));
    }

    pub(super) fn register(&mut self, origin: Origin, call: &RegisterCall, commit: &mut Commit) {
        let result = self.try_register(origin, call, commit);
        let result = result.map(|info| Reply::Channel(Box::new(info)));
        answer(commit, origin, result);
    }

    fn try_register(
        &mut self,
        origin: Origin,
        call: &RegisterCall,
        commit: &mut Commit,
    ) -> Result<protocol_spec::message::ChannelInfo, RpcError> {
        let config = &call.config;
        let wrong = |why: &str| Err(RpcError::because(ErrorCode::WrongHub, why));
        match () {
            () if config.hub != self.hub || config.hub_signer != self.hub_signer => {
                return wrong("not this hub's addresses");
            }
            () if self.policy.tariff(config.token).is_none() => {
                return wrong("this hub does not serve the token");
            }
            () if config.challenge_period_s < self.policy.challenge_period_s => {
                return wrong("the challenge period is shorter than this hub accepts");
            }
            () => {}
        }
        let id = config.id(&self.domain);
        if self.index(&id).is_none() {
            return Err(RpcError::of(ErrorCode::NotConfirmed)
                .with("opened and confirmed", id)
                .retry_after_ms(1000));
        }
        let index = self.owned(origin, &id)?;
        self.set_registered(&id, commit)
            .map_err(|reject| RpcError::from(&reject))?;
        if call.owner_signature.is_some() && !self.is_passed_over(index) {
            self.set_routed(&id, commit)
                .map_err(|reject| RpcError::from(&reject))?;
        }
        Ok(self
            .entry(index)
            .map_err(|reject| RpcError::from(&reject))?
            .info())
    }

    pub(super) fn set_registered(&mut self, id: &ChannelId, commit: &mut Commit) -> Result<(), Reject> {
        let index = self.index(id).ok_or(Reject::WrongChannel)?;
        let entry = self.entry_mut(index)?;
        if !std::mem::replace(&mut entry.stored.registered, true) {
            self.dirty.insert(index);
            commit.changes.push(&Change::Registered(*id));
        }
        Ok(())
    }

    /// True when payments to the account arrive in a channel that was opened later, and is not paid out: an owner's consent has
    /// no date, so whoever keeps an old one, the signer of a channel that was given up for instance, can show it again.
    /// "Later" is by index, the order in which the hub saw openings confirmed, and stored with each channel. Replay does not
    /// ask: what is in a record was decided.
    fn is_passed_over(&self, index: usize) -> bool {
        let Some(entry) = self.entries.get(index) else {
            return false;
        };
        let account = (entry.channel.config().client, entry.channel.config().token);
        self.by_account
            .get(&account)
            .is_some_and(|routed| *routed > index)
    }

    /// Payments to the channel's account arrive here from now on.
    pub(super) fn set_routed(&mut self, id: &ChannelId, commit: &mut Commit) -> Result<(), Reject> {
        let index = self.index(id).ok_or(Reject::WrongChannel)?;
        let entry = self.entry_mut(index)?;
        let (account, token) = (entry.channel.config().client, entry.channel.config().token);
        if entry.channel.phase().name() == "closed" {
            return Ok(());
        }
        entry.stored.routed = true;
        let before = self.by_account.insert((account, token), index);
        if before == Some(index) {
            return Ok(());
        }
        if let Some(old) = before {
            self.entry_mut(old)?.stored.routed = false;
            self.dirty.insert(old);
        }
        self.dirty.insert(index);
        commit.changes.push(&Change::Routed(*id));
        Ok(())
    }

    pub(super) fn resume(
        &mut self,
        origin: Origin,
        resumption: &Resumption,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Resumption { call, sent, received } = resumption;
        let resumed = self.try_resume(origin, call, sent.as_ref(), received.as_ref(), clock, commit);
        if let Err(error) = resumed {
            answer(commit, origin, Err(error));
        }
    }

    /// The reply goes out first, then the frames the client has not seen; then the session gets what follows.
    fn try_resume(
        &mut self,
        origin: Origin,
        call: &ResumeCall,
        sent: Option<&VerifiedVoucher>,
        received: Option<&VerifiedVoucher>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), RpcError> {
        let index = self.served(origin, &call.channel_id)?;
        let foreign = |shown: Option<&VerifiedVoucher>| {
            shown.is_some_and(|verified| verified.voucher().channel_id != call.channel_id)
        };
        if foreign(sent) || foreign(received) {
            return Err(RpcError::from(&Reject::WrongChannel));
        }
        self.resync(index, call, sent, received, clock, commit)?;
        let seen = received.map_or_else(Default::default, |shown| shown.voucher().seq);
        self.seen(index, seen, commit);
        let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
        if !commit.resumed.take_place(index, || entry.weight_after(seen)) {
            return Err(RpcError::of(ErrorCode::Busy).retry_after_ms(RESUME_AGAIN_MS));
        }
        let entry = self.entry_mut(index).map_err(|reject| RpcError::from(&reject))?;
        let reply = entry.resumed(sent);
        let mut frames = entry.backlog_after(seen);
        if planted(Canary::ForgetUnseen) {
            frames.clear();
        }
        let newest = entry.channel.sent_voucher();
        let newest = newest.map(|voucher| (voucher, entry.channel.sent().digest));
        if let Some(old) = entry
            .session
            .replace(origin.session)
            .filter(|old| *old != origin.session)
            // One that acts for several signers only loses the channel: the key of one must not cut off the others.
            && self.logins.get(&old) != Some(&None)
        {
            commit.outputs.push(Output::Drop(old));
        }
        self.by_session.entry(origin.session).or_default().insert(index);
        commit
            .outputs
            .push(Output::Resumed(origin, Box::new(reply), newest));
        for issue in frames {
            commit.outputs.push(Output::Frame(FrameOut {
                session: Some(origin.session),
                issue,
                again: true,
            }));
        }
        self.tell_locks_again(index, origin.session, commit);
        Ok(())
    }

    pub(super) fn subscribe(&mut self, origin: Origin, call: &SubscribeCall, commit: &mut Commit) {
        let result = self.try_subscribe(origin, call).map(Reply::Subscribe);
        // Before the first event.
        commit.outputs.push(Output::Reply(origin, result.map(Box::new)));
    }

    fn try_subscribe(&mut self, origin: Origin, call: &SubscribeCall) -> Result<SubscribeReply, RpcError> {
        let index = self.owned(origin, &call.channel_id)?;
        let epoch = self.policy.log_epoch;
        let entry = self.entry_mut(index).map_err(|reject| RpcError::from(&reject))?;
        let (first, newest) = (entry.stored.events.from(), entry.newest_event());
        let next = match &call.after {
            None => first,
            Some(after) if after.epoch != epoch || after.position > newest => {
                return Err(RpcError::of(ErrorCode::CursorAhead)
                    .with(show(epoch, newest), show(after.epoch, after.position)));
            }
            Some(after) if after.position.saturating_add(1) < first => {
                let earliest = show(epoch, first.saturating_sub(1));
                return Err(
                    RpcError::of(ErrorCode::CursorTooOld).with(earliest, show(after.epoch, after.position))
                );
            }
            Some(after) if planted(Canary::SkipEvent) => after.position.saturating_add(2),
            Some(after) => after.position.saturating_add(1),
        };
        entry
            .subscribers
            .retain(|subscriber| subscriber.session != origin.session);
        if entry.subscribers.len() >= SUBSCRIBERS_MAX {
            return Err(RpcError::because(
                ErrorCode::Busy,
                "too many subscribers of this channel",
            ));
        }
        entry.subscribers.push(Subscriber {
            session: origin.session,
            next,
        });
        if next <= newest {
            self.lagging.insert(index);
        }
        self.by_session.entry(origin.session).or_default().insert(index);
        Ok(SubscribeReply {
            newest: Cursor {
                epoch,
                position: newest,
            },
        })
    }

    pub(super) fn unsubscribe(&mut self, origin: Origin, id: &ChannelId, commit: &mut Commit) {
        let result = self.owned(origin, id).and_then(|index| {
            let entry = self.entry_mut(index).map_err(|reject| RpcError::from(&reject))?;
            entry
                .subscribers
                .retain(|subscriber| subscriber.session != origin.session);
            Ok(Reply::Done(Empty {}))
        });
        answer(commit, origin, result);
    }

    /// Errors: `NotResumed`, also when another connection has resumed the channel since.
    pub(super) fn require_resumed(&self, origin: Origin, index: usize) -> Result<(), RpcError> {
        match self.entries.get(index).and_then(|entry| entry.session) {
            Some(session) if session == origin.session => Ok(()),
            Some(_) => {
                let text = "another connection has resumed the channel; resume it again to take it back";
                Err(RpcError::because(ErrorCode::NotResumed, text))
            }
            None => Err(RpcError::of(ErrorCode::NotResumed)),
        }
    }

    /// The connection ended: its channels wait for the next resume.
    pub(super) fn gone(&mut self, session: SessionId) {
        self.logins.remove(&session);
        for index in self.by_session.remove(&session).unwrap_or_default() {
            let Some(entry) = self.entries.get_mut(index) else {
                continue;
            };
            if entry.session == Some(session) {
                entry.session = None;
            }
            entry
                .subscribers
                .retain(|subscriber| subscriber.session != session);
        }
    }
}

impl Entry {
    /// The answer to a client that shows `sent` as its newest voucher; `sent` of the answer is signed later. One that has
    /// forgotten a voucher of its own takes over the locks of both sides with it (A11).
    fn resumed(&self, sent: Option<&VerifiedVoucher>) -> ResumeReply {
        let (own, theirs) = (self.channel.sent(), self.channel.received());
        let shown = sent.map_or(Seq::NONE, |shown| shown.voucher().seq);
        let (received_locks, sent_locks) = match shown < theirs.seq {
            true => shown_locks(&theirs.locks, &own.locks),
            false => (None, None),
        };
        ResumeReply {
            channel: self.info(),
            received: self.channel.received_signed(),
            sent: None,
            received_locks,
            sent_locks,
        }
    }
}

fn show(epoch: u64, position: u64) -> String {
    format!("{epoch}:{position}")
}

pub(super) fn answer(commit: &mut Commit, origin: Origin, result: Result<Reply, RpcError>) {
    commit.replies.push(Output::Reply(origin, result.map(Box::new)));
}
