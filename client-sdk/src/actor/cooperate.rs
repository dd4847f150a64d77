//! Withdrawals and closes: quiesce, plan, store, sign, ask the hub for its signature.
//!
//! What was signed holds the channel until its deadline (R12, R15), so it is not given up with the first refusal: the same
//! bytes are sent again with growing waits. A close goes on until its deadline, also when nobody waits for it any more, and
//! after a restart.

use super::{
    Actor,
    command::{CooperateReply, CooperativeKind, Signed},
    entry::Entry,
    pay::later,
    retries::Retries,
    session::Pending,
};
use crate::{ChannelError, HubFault};
use protocol_spec::{
    ChannelId, Close, Digest, Domain, Reject, Side, Signature, Withdraw,
    channel::{Clock, Phase},
    limits,
    message::{ChannelCall, CloseCall, Release, Reply, Request, RpcError, WithdrawCall},
};
use std::time::Duration;
use tokio::time::Instant;

/// A signed withdrawal counts as done until then (R12), so the deadline is short.
const WITHDRAW_LIFE_S: u64 = 15 * 60;
/// After a release that was signed and never mined none is agreed to for so long.
const RELEASE_REST_S: u64 = 24 * 3600;
/// Nothing is signed or accepted until then unless the close is mined (R15).
const CLOSE_LIFE_S: u64 = 10 * 60;
const COMPARE_EVERY: Duration = Duration::from_millis(100);
/// Between two attempts with the same bytes.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) enum Planned {
    Withdraw(Withdraw),
    Close(Close),
}

impl Planned {
    fn digest(&self, domain: &Domain) -> Digest {
        match self {
            Self::Withdraw(message) => message.digest(domain),
            Self::Close(message) => message.digest(domain),
        }
    }
}

#[derive(Clone, Debug)]
enum Stage {
    /// Waits until both sides know the same.
    Draining,
    /// The hub is asked for its numbers; again at that time.
    Comparing(Instant),
    /// The hub's numbers are ours.
    Equal,
    /// Stored; to be signed.
    ToSign(Planned),
    /// Signed; to be sent (again) then.
    ToSend(Planned, Signature, Instant),
    /// With the hub; sent again then if there is no answer.
    Sent(Planned, Signature, Instant),
}

/// A withdrawal or close under way.
#[derive(Debug)]
pub(super) struct Cooperation {
    kind: CooperativeKind,
    stage: Stage,
    /// Who asked waits until then.
    deadline: Instant,
    reply: Option<CooperateReply>,
    retries: Retries,
    /// Why the hub did not sign the last time.
    refusal: Option<RpcError>,
}

impl Cooperation {
    fn new(kind: CooperativeKind, stage: Stage, deadline: Instant, reply: Option<CooperateReply>) -> Self {
        Self {
            kind,
            stage,
            deadline,
            reply,
            retries: Retries::default(),
            refusal: None,
        }
    }

    /// A close that this side has signed, or is about to: only time or the chain ends it.
    fn is_signed_close(&self) -> bool {
        let signed = matches!(self.stage, Stage::ToSign(_) | Stage::ToSend(..) | Stage::Sent(..));
        signed && matches!(self.kind, CooperativeKind::Close)
    }

    /// The answer for who waited until the deadline.
    fn in_vain(&self) -> ChannelError {
        self.refusal
            .clone()
            .map_or(ChannelError::Timeout, ChannelError::Hub)
    }

    fn answer(&mut self, answer: Result<Signed, ChannelError>) {
        if let Some(reply) = self.reply.take() {
            // The caller may have dropped its future.
            let _ = reply.send(answer);
        }
    }
}

impl Entry {
    /// Payments wait while a withdrawal or close is made; a close lets the queued ones go first.
    pub(super) fn holds_payments(&self) -> bool {
        match &self.cooperation {
            None => false,
            // Nothing comes of waiting: the channel is closing.
            Some(cooperation) if cooperation.is_signed_close() && cooperation.reply.is_none() => false,
            Some(cooperation) => {
                let draining = matches!(cooperation.stage, Stage::Draining);
                !(draining && matches!(cooperation.kind, CooperativeKind::Close))
            }
        }
    }

    /// Not even an acknowledgement is signed between our signature and the hub's.
    pub(super) fn awaits_countersignature(&self) -> bool {
        let stage = self.cooperation.as_ref().map(|cooperation| &cooperation.stage);
        matches!(
            stage,
            Some(Stage::Equal | Stage::ToSign(_) | Stage::ToSend(..) | Stage::Sent(..))
        )
    }

    pub(super) fn cooperation_offline(&mut self) {
        if let Some(cooperation) = &mut self.cooperation {
            cooperation.stage = match std::mem::replace(&mut cooperation.stage, Stage::Draining) {
                Stage::ToSign(planned) => Stage::ToSign(planned),
                Stage::Sent(planned, signature, _) | Stage::ToSend(planned, signature, _) => {
                    Stage::ToSend(planned, signature, Instant::now())
                }
                _ => Stage::Draining,
            };
        }
    }

    pub(super) fn fail_cooperation(&mut self, fault: &HubFault) {
        if let Some(mut cooperation) = self.cooperation.take() {
            cooperation.answer(Err(ChannelError::Frozen(fault.clone())));
        }
    }

    /// Goes on with a close that was signed before a restart: the same sums, so the same bytes unless a deposit was confirmed
    /// since; then both closes pay the same, because what is deposited later goes to its own side.
    fn resume_close(&mut self, clock: Clock) {
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

    /// Ends what nobody waits for any more: a withdrawal at its caller's deadline, a signed close once the channel has moved on.
    fn end_cooperation(&mut self, now: Instant) {
        let closing = matches!(self.channel.phase(), Phase::Closing { .. });
        let Some(cooperation) = &mut self.cooperation else {
            return;
        };
        if cooperation.deadline <= now {
            cooperation.answer(Err(cooperation.in_vain()));
        }
        let over = match cooperation.is_signed_close() {
            true => !closing && cooperation.reply.is_none(),
            // The hub asked for it, nobody here waits.
            false if matches!(cooperation.kind, CooperativeKind::Release { .. }) => {
                cooperation.deadline <= now
            }
            false => cooperation.reply.is_none(),
        };
        if over {
            self.cooperation = None;
        }
    }

    /// Everything of ours is accepted, everything of the hub's is acknowledged, nothing waits.
    fn quiescent(&self, close: bool) -> bool {
        self.live()
            && self.accepted == self.channel.sent().seq
            && self.frames.iter().all(|frame| frame.sent)
            && self.open.is_empty()
            && !self.channel.must_ack()
            && self.held.is_empty()
            && (!close || (self.queue.is_empty() && self.quoting.is_empty()))
    }

    /// A release under way that is not signed yet gives way to what this client wants itself.
    fn drop_unsigned_release(&mut self) {
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
    fn release_pending(&self) -> bool {
        let pending = self.channel.pending_withdraw();
        pending.is_some_and(|withdraw| withdraw.side == Side::Hub)
    }

    fn plan(&mut self, kind: CooperativeKind, clock: Clock) -> Result<Planned, ChannelError> {
        self.dirty = true;
        match kind {
            CooperativeKind::Withdraw(amount) => {
                let deadline = clock.now.after(WITHDRAW_LIFE_S);
                let message = self.channel.plan_withdraw(Side::Client, amount, deadline)?;
                self.channel.sign_withdraw(&message, clock)?;
                Ok(Planned::Withdraw(message))
            }
            CooperativeKind::Release { total, deadline } => {
                let more = total.minus(self.channel.withdrawn(Side::Hub))?;
                let message = self.channel.plan_withdraw(Side::Hub, more, deadline)?;
                self.channel.sign_withdraw(&message, clock)?;
                self.agreed_release = Some((total, deadline));
                Ok(Planned::Withdraw(message))
            }
            CooperativeKind::Close => {
                let message = self.channel.plan_close(clock.now.after(CLOSE_LIFE_S));
                self.channel.sign_close(&message, clock)?;
                Ok(Planned::Close(message))
            }
        }
    }
}

impl Actor {
    pub(super) fn start_cooperation(&mut self, id: ChannelId, kind: CooperativeKind, reply: CooperateReply) {
        let deadline = later(self.options.call_timeout);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.drop_unsigned_release();
        }
        let refusal = match self.entries.get_mut(&id) {
            None => ChannelError::NoChannel,
            Some(entry) if entry.cooperation.is_some() => match (&mut entry.cooperation, kind) {
                // The close that is under way anyhow.
                (Some(close), CooperativeKind::Close) if close.is_signed_close() && close.reply.is_none() => {
                    (close.deadline, close.reply) = (deadline, Some(reply));
                    return;
                }
                _ => ChannelError::Busy,
            },
            Some(entry) => match (&entry.fault, entry.channel.phase()) {
                (Some(fault), _) => ChannelError::Frozen(fault.clone()),
                (None, Phase::Open) => {
                    entry.cooperation = Some(Cooperation::new(kind, Stage::Draining, deadline, Some(reply)));
                    return;
                }
                (None, phase) => Reject::ChannelNotOpen { phase: phase.name() }.into(),
            },
        };
        let _ = reply.send(Err(refusal));
    }

    /// The hub wants a part of its reserve back. Agreed to when that costs this client nothing: its own money is not
    /// touched, and capacity that it paid for stays as long as it was promised.
    pub(super) fn release_asked(&mut self, release: &Release) {
        let clock = self.clock();
        let (agree, deadline) = (self.options.accept_releases, later(self.options.call_timeout));
        let Some(entry) = self.entries.get_mut(&release.channel_id) else {
            return;
        };
        let free = entry.cooperation.is_none() && !entry.channel.is_withdraw_pending();
        let open = *entry.channel.phase() == Phase::Open && entry.live() && entry.fault.is_none();
        if agree && free && open && entry.may_ask_release(release, clock) {
            let kind = CooperativeKind::Release {
                total: release.total,
                deadline: release.deadline,
            };
            entry.cooperation = Some(Cooperation::new(kind, Stage::Draining, deadline, None));
        }
    }

    /// Moves every withdrawal and close on. Runs before the turn's commit.
    pub(super) fn cooperate(&mut self) {
        let clock = self.clock();
        let mut compare = Vec::new();
        let now = Instant::now();
        for (id, entry) in &mut self.entries {
            if std::mem::take(&mut entry.close_left_open) {
                entry.resume_close(clock);
            }
            entry.end_cooperation(now);
            let Some(cooperation) = &entry.cooperation else {
                continue;
            };
            let kind = cooperation.kind;
            let close = matches!(kind, CooperativeKind::Close);
            let quiet = entry.quiescent(close) && !entry.release_pending();
            let next = match &cooperation.stage {
                Stage::Draining if quiet => {
                    compare.push(*id);
                    Ok(Stage::Comparing(later(COMPARE_EVERY)))
                }
                Stage::Comparing(again) if *again <= now => Ok(Stage::Draining),
                Stage::Equal if quiet => entry.plan(kind, clock).map(Stage::ToSign),
                Stage::Equal => Ok(Stage::Draining),
                Stage::Sent(planned, signature, again) if *again <= now => {
                    Ok(Stage::ToSend(planned.clone(), *signature, now))
                }
                _ => continue,
            };
            match (next, &mut entry.cooperation) {
                (Ok(stage), Some(cooperation)) => cooperation.stage = stage,
                (Err(error), slot) => {
                    if let Some(mut cooperation) = slot.take() {
                        cooperation.answer(Err(error));
                    }
                }
                (Ok(_), None) => {}
            }
        }
        for id in compare {
            let call = ChannelCall { channel_id: id };
            self.call(Request::Channel(call), Pending::Compare(id));
        }
    }

    /// The hub's numbers before we sign: with a credit or a deposit that only one side has seen, the hub would refuse
    /// a close, and a signed close holds the channel until its deadline.
    pub(super) fn compared(&mut self, id: &ChannelId, result: Result<Reply, RpcError>) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let equal = match &result {
            Ok(Reply::Channel(info)) => {
                let funds = entry.channel.funds();
                info.hub_seq == entry.channel.received().seq
                    && info.client_seq == entry.channel.sent().seq
                    && info.client_deposit == funds.client_deposit
                    && info.hub_deposit == funds.hub_deposit
                    && info.client_withdrawn == funds.client_withdrawn
                    && info.hub_withdrawn == funds.hub_withdrawn
            }
            _ => false,
        };
        if let Some(cooperation) = &mut entry.cooperation
            && matches!(cooperation.stage, Stage::Comparing(_))
            && equal
        {
            cooperation.stage = Stage::Equal;
        }
    }

    /// Signs and sends what is stored. Runs after the turn's commit.
    pub(super) async fn send_cooperative(&mut self) {
        let now = Instant::now();
        let due: Vec<(ChannelId, Planned, Option<Signature>)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.live())
            .filter_map(|(id, entry)| match &entry.cooperation.as_ref()?.stage {
                Stage::ToSign(planned) => Some((*id, planned.clone(), None)),
                Stage::ToSend(planned, signature, at) if *at <= now => {
                    Some((*id, planned.clone(), Some(*signature)))
                }
                _ => None,
            })
            .collect();
        for (id, planned, signed) in due {
            let digest = planned.digest(&self.hub.domain);
            let signature = match signed {
                Some(signature) => Ok(signature),
                None => self.signer.sign(&digest).await,
            };
            let signature = match signature {
                Ok(signature) => signature,
                Err(error) => {
                    tracing::warn!(channel = %id, %error, "signing failed; retried");
                    continue;
                }
            };
            let request = match planned.clone() {
                Planned::Withdraw(withdraw) => Request::Withdraw(WithdrawCall { withdraw, signature }),
                Planned::Close(close) => Request::Close(CloseCall { close, signature }),
            };
            let sent = self.call(request, Pending::Cooperate(id, digest)).is_some();
            let again = later(self.options.call_timeout);
            if let Some(entry) = self.entries.get_mut(&id)
                && let Some(cooperation) = &mut entry.cooperation
            {
                cooperation.stage = match sent {
                    true => Stage::Sent(planned, signature, again),
                    false => Stage::ToSend(planned, signature, now),
                };
            }
        }
    }

    pub(super) fn countersigned(&mut self, id: &ChannelId, digest: Digest, result: Result<Reply, RpcError>) {
        let Some(cooperation) = self
            .entries
            .get_mut(id)
            .and_then(|entry| entry.cooperation.as_mut())
        else {
            return;
        };
        let (Stage::Sent(planned, own, _) | Stage::ToSend(planned, own, _)) = &cooperation.stage else {
            return;
        };
        // A late answer to an attempt that was given up says nothing about the present one.
        if planned.digest(&self.hub.domain) != digest {
            return;
        }
        let (planned, own) = (planned.clone(), *own);
        let hub = match result {
            Ok(Reply::Countersigned(reply)) => self
                .hub
                .key
                .verify(&digest, &reply.signature)
                .map(|()| reply.signature),
            Ok(_) => Err(protocol_spec::Reject::SignatureInvalid),
            Err(error) => {
                tracing::warn!(channel = %id, %error, "the hub did not countersign; the same is sent again");
                let wait = cooperation
                    .retries
                    .failed(&self.options.ports, RETRY_MIN, RETRY_MAX);
                cooperation.stage = Stage::ToSend(planned, own, later(wait));
                cooperation.refusal = Some(error);
                return;
            }
        };
        // What was signed binds whatever the hub says: only its deadline or the chain ends a close.
        if hub.is_err() && cooperation.is_signed_close() {
            cooperation.answer(Err(ChannelError::BadCountersignature));
            let wait = cooperation
                .retries
                .failed(&self.options.ports, RETRY_MIN, RETRY_MAX);
            cooperation.stage = Stage::ToSend(planned, own, later(wait));
            return;
        }
        cooperation.answer(match (hub, planned) {
            (Err(_), _) => Err(ChannelError::BadCountersignature),
            (Ok(hub), Planned::Withdraw(message)) => Ok(Signed::Withdraw(message, own, hub)),
            (Ok(hub), Planned::Close(message)) => Ok(Signed::Close(message, own, hub)),
        });
        if let Some(entry) = self.entries.get_mut(id) {
            entry.cooperation = None;
        }
    }
}
