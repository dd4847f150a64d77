//! Withdrawals and closes: quiesce, plan, store, sign, ask the hub for its signature.
//!
//! What was signed holds money or the channel until its deadline (R12, R15), so it is not given up with the first refusal: the
//! same bytes are sent again with growing waits, until the hub has signed, the chain shows it or the deadline has come, also
//! when nobody waits for it any more, and after a restart.

mod close;
mod exchange;
mod release;
mod withdraw;

pub(super) use withdraw::WITHDRAW_LIFE_S;

use close::stay;

use super::{
    Actor,
    command::{CooperateReply, CooperativeKind, Signed},
    entry::Entry,
    pay::later,
    retries::Retries,
    session::Pending,
    sight::Sight,
};
use crate::{ChannelError, HubFault};
use protocol_spec::{
    ChannelId, Close, Digest, Domain, Reject, Signature, UnixSeconds, Withdraw,
    channel::{Clock, Phase},
    message::RpcError,
};
use std::time::Duration;
use tokio::time::Instant;

const COMPARE_EVERY: Duration = Duration::from_millis(100);

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
    /// The hub is asked for its numbers, and told of a close; again at that time.
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
    /// The hub has neither signed nor said no for good.
    undecided: bool,
    /// The deadline of the close that the hub was told of.
    announced: Option<UnixSeconds>,
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
            undecided: true,
            announced: None,
        }
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
            Some(cooperation) if cooperation.is_signed_withdrawal() => cooperation.may_be_signed(),
            Some(cooperation) => {
                let draining = matches!(cooperation.stage, Stage::Draining);
                !(draining && matches!(cooperation.kind, CooperativeKind::Close))
            }
        }
    }

    /// Not even an acknowledgement is signed between our signature and the hub's.
    pub(super) fn awaits_countersignature(&self) -> bool {
        self.cooperation
            .as_ref()
            .is_some_and(|cooperation| match &cooperation.stage {
                Stage::Draining | Stage::Comparing(_) => false,
                Stage::Equal => true,
                Stage::ToSign(_) | Stage::ToSend(..) | Stage::Sent(..) => {
                    cooperation.is_signed_close() || cooperation.may_be_signed()
                }
            })
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
        if let Some(mut cooperation) = self.drop_cooperation() {
            cooperation.answer(Err(ChannelError::Frozen(fault.clone())));
        }
    }

    /// Ends what nobody waits for any more: what is not signed at its caller's deadline, what is signed once the channel has
    /// moved on.
    fn end_cooperation(&mut self, now: Instant, clock: Clock) {
        let closing = matches!(self.channel.phase(), Phase::Closing { .. });
        let withdrawing = self.is_withdrawing(clock);
        let Some(cooperation) = &mut self.cooperation else {
            return;
        };
        if let Some(mined) = cooperation.mined(&self.channel) {
            cooperation.answer(Ok(mined));
        }
        if cooperation.deadline <= now {
            cooperation.answer(Err(cooperation.in_vain()));
        }
        let over = match () {
            () if cooperation.is_signed_close() => !closing && cooperation.reply.is_none(),
            () if cooperation.is_signed_withdrawal() => !withdrawing && cooperation.reply.is_none(),
            // The hub asked for it, nobody here waits.
            () if matches!(cooperation.kind, CooperativeKind::Release { .. }) => cooperation.deadline <= now,
            () => cooperation.reply.is_none(),
        };
        if over {
            self.drop_cooperation();
        }
    }

    /// What is given up unsigned may have been announced: the hub need not hold back credits any more.
    fn drop_cooperation(&mut self) -> Option<Cooperation> {
        let cooperation = self.cooperation.take()?;
        self.close_called_off |= cooperation.announced.is_some() && !cooperation.is_signed_close();
        Some(cooperation)
    }

    /// Nothing of ours is left to sign.
    fn all_signed(&self) -> bool {
        self.live() && self.queue.is_empty() && self.quoting.is_empty()
    }

    /// Everything of ours is accepted, everything of the hub's is acknowledged, nothing waits.
    fn quiescent(&self, close: bool) -> bool {
        self.live()
            && self.accepted == self.channel.sent().seq
            && self.frames.iter().all(|frame| frame.sent)
            && self.open.is_empty()
            && !self.channel.must_ack()
            && self.held.is_empty()
            && (!close || self.all_signed())
    }

    fn plan(&mut self, kind: CooperativeKind, clock: Clock) -> Result<Planned, ChannelError> {
        self.dirty = true;
        match kind {
            CooperativeKind::Withdraw(amount) => self.plan_withdrawal(amount, clock),
            CooperativeKind::Release { total, deadline } => self.plan_release(total, deadline, clock),
            CooperativeKind::Close => self.plan_announced_close(clock),
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
                (None, Phase::Open) if entry.sight_told == Sight::Stale => ChannelError::ChainStale,
                (None, Phase::Open) => {
                    entry.cooperation = Some(Cooperation::new(kind, Stage::Draining, deadline, Some(reply)));
                    return;
                }
                (None, phase) => Reject::ChannelNotOpen { phase: phase.name() }.into(),
            },
        };
        let _ = reply.send(Err(refusal));
    }

    /// Moves every withdrawal and close on. Runs before the turn's commit.
    pub(super) fn cooperate(&mut self) {
        let clock = self.clock();
        let mut questions = Vec::new();
        let now = Instant::now();
        for (id, entry) in &mut self.entries {
            if std::mem::take(&mut entry.close_left_open) {
                entry.resume_close(clock);
            }
            if std::mem::take(&mut entry.withdrawal_left_open) {
                entry.resume_withdrawal(clock);
            }
            entry.end_cooperation(now, clock);
            if entry.live() && std::mem::take(&mut entry.close_called_off) {
                questions.push((stay(*id), Pending::Ignore));
            }
            let Some(cooperation) = &entry.cooperation else {
                continue;
            };
            let kind = cooperation.kind;
            let close = matches!(kind, CooperativeKind::Close);
            let may_sign = !entry.release_pending() && entry.sight > Sight::Stale;
            let quiet = may_sign && entry.quiescent(close);
            let next = match &cooperation.stage {
                Stage::Draining if quiet => {
                    questions.push(entry.ask_numbers(*id, clock));
                    Ok(Stage::Comparing(later(COMPARE_EVERY)))
                }
                // At once: a busy payee is never quiet while credits keep coming.
                Stage::Draining
                    if close && cooperation.announced.is_none() && may_sign && entry.all_signed() =>
                {
                    questions.push(entry.ask_numbers(*id, clock));
                    continue;
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
                (Err(error), _) => {
                    if let Some(mut cooperation) = entry.drop_cooperation() {
                        cooperation.answer(Err(error));
                    }
                }
                (Ok(_), None) => {}
            }
        }
        for (request, pending) in questions {
            self.call(request, pending);
        }
    }
}
