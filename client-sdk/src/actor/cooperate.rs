//! Withdrawals and closes: quiesce, plan, store, sign, ask the hub for its signature.

use super::{
    Actor,
    command::{CooperateReply, CooperativeKind, Signed},
    entry::Entry,
    pay::later,
    session::Pending,
};
use crate::{ChannelError, HubFault};
use protocol_spec::{
    ChannelId, Close, Digest, Domain, Reject, Side, Signature, Withdraw,
    channel::{Clock, Phase},
    message::{ChannelCall, CloseCall, Release, Reply, Request, RpcError, WithdrawCall},
};
use std::time::Duration;
use tokio::time::Instant;

/// A signed withdrawal counts as done until then (R12), so the deadline is short.
const WITHDRAW_LIFE_S: u64 = 15 * 60;
/// Nothing is signed or accepted until then unless the close is mined (R15).
const CLOSE_LIFE_S: u64 = 10 * 60;
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
    /// The hub is asked for its numbers; again at that time.
    Comparing(Instant),
    /// The hub's numbers are ours.
    Equal,
    /// Stored; to be signed and sent.
    ToSign(Planned),
    /// With the hub.
    Sent(Planned, Signature),
}

/// A withdrawal or close under way.
#[derive(Debug)]
pub(super) struct Cooperation {
    kind: CooperativeKind,
    stage: Stage,
    deadline: Instant,
    reply: Option<CooperateReply>,
}

impl Entry {
    /// Payments wait while a withdrawal or close is made; a close lets the queued ones go first.
    pub(super) fn holds_payments(&self) -> bool {
        match &self.cooperation {
            None => false,
            Some(cooperation) => {
                let draining = matches!(cooperation.stage, Stage::Draining);
                !(draining && matches!(cooperation.kind, CooperativeKind::Close))
            }
        }
    }

    /// Not even an acknowledgement is signed between our signature and the hub's.
    pub(super) fn awaits_countersignature(&self) -> bool {
        let stage = self.cooperation.as_ref().map(|cooperation| &cooperation.stage);
        matches!(stage, Some(Stage::Equal | Stage::ToSign(_) | Stage::Sent(..)))
    }

    pub(super) fn cooperation_offline(&mut self) {
        if let Some(cooperation) = &mut self.cooperation {
            cooperation.stage = match std::mem::replace(&mut cooperation.stage, Stage::Draining) {
                Stage::Sent(planned, _) | Stage::ToSign(planned) => Stage::ToSign(planned),
                _ => Stage::Draining,
            };
        }
    }

    pub(super) fn fail_cooperation(&mut self, fault: &HubFault) {
        if let Some(reply) = self.cooperation.take().and_then(|cooperation| cooperation.reply) {
            let _ = reply.send(Err(ChannelError::Frozen(fault.clone())));
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
            Some(entry) if entry.cooperation.is_some() => ChannelError::Busy,
            Some(entry) => match (&entry.fault, entry.channel.phase()) {
                (Some(fault), _) => ChannelError::Frozen(fault.clone()),
                (None, Phase::Open) => {
                    entry.cooperation = Some(Cooperation {
                        kind,
                        stage: Stage::Draining,
                        deadline,
                        reply: Some(reply),
                    });
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
        let kept = clock.now < entry.keep_capacity_until;
        let new = release.total > entry.channel.withdrawn(Side::Hub) && clock.now < release.deadline;
        if agree && free && open && new && !kept {
            entry.cooperation = Some(Cooperation {
                kind: CooperativeKind::Release {
                    total: release.total,
                    deadline: release.deadline,
                },
                stage: Stage::Draining,
                deadline,
                reply: None,
            });
        }
    }

    /// Moves every withdrawal and close on. Runs before the turn's commit.
    pub(super) fn cooperate(&mut self) {
        let clock = self.clock();
        let mut compare = Vec::new();
        for (id, entry) in &mut self.entries {
            let Some(cooperation) = &entry.cooperation else {
                continue;
            };
            let (kind, now) = (cooperation.kind, Instant::now());
            let close = matches!(kind, CooperativeKind::Close);
            let quiet = entry.quiescent(close) && !entry.release_pending();
            let late = cooperation.deadline <= now;
            let next = match &cooperation.stage {
                _ if late => Err(ChannelError::Timeout),
                Stage::Draining if quiet => {
                    compare.push(*id);
                    Ok(Stage::Comparing(later(COMPARE_EVERY)))
                }
                Stage::Comparing(again) if *again <= now => Ok(Stage::Draining),
                Stage::Equal if quiet => entry.plan(kind, clock).map(Stage::ToSign),
                Stage::Equal => Ok(Stage::Draining),
                _ => continue,
            };
            match (next, &mut entry.cooperation) {
                (Ok(stage), Some(cooperation)) => cooperation.stage = stage,
                (Err(error), slot) => {
                    if let Some(reply) = slot.take().and_then(|cooperation| cooperation.reply) {
                        let _ = reply.send(Err(error));
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
        let due: Vec<(ChannelId, Planned)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.live())
            .filter_map(|(id, entry)| match &entry.cooperation.as_ref()?.stage {
                Stage::ToSign(planned) => Some((*id, planned.clone())),
                _ => None,
            })
            .collect();
        for (id, planned) in due {
            let digest = planned.digest(&self.hub.domain);
            let signature = match self.signer.sign(&digest).await {
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
            if sent
                && let Some(entry) = self.entries.get_mut(&id)
                && let Some(cooperation) = &mut entry.cooperation
            {
                cooperation.stage = Stage::Sent(planned, signature);
            }
        }
    }

    pub(super) fn countersigned(&mut self, id: &ChannelId, digest: Digest, result: Result<Reply, RpcError>) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let domain = &self.hub.domain;
        let asked = |cooperation: &mut Cooperation| matches!(&cooperation.stage, Stage::Sent(planned, _) if planned.digest(domain) == digest);
        // A late answer to an attempt that was given up says nothing about the present one.
        let Some(cooperation) = entry.cooperation.take_if(asked) else {
            return;
        };
        let answer = match (result, cooperation.stage) {
            (Ok(Reply::Countersigned(reply)), Stage::Sent(planned, own)) => {
                let hub = reply.signature;
                match (self.hub.key.verify(&digest, &hub), planned) {
                    (Err(_), _) => Err(ChannelError::BadCountersignature),
                    (Ok(()), Planned::Withdraw(message)) => Ok(Signed::Withdraw(message, own, hub)),
                    (Ok(()), Planned::Close(message)) => Ok(Signed::Close(message, own, hub)),
                }
            }
            (Err(error), _) => Err(ChannelError::Hub(error)),
            (Ok(_), _) => Err(ChannelError::BadCountersignature),
        };
        if let Some(reply) = cooperation.reply {
            let _ = reply.send(answer);
        }
    }
}
