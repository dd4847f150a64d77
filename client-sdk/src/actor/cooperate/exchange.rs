//! What is exchanged with the hub: its numbers before anything is signed, then the two signatures.

use super::{Planned, Stage};
use crate::{
    ChannelError,
    actor::{Actor, command::Signed, pay::later, session::Pending, sight::Sight},
};
use protocol_spec::{
    ChannelId, Digest, Signature, UnixSeconds,
    message::{CloseCall, Reply, Request, RpcError, WithdrawCall},
};
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts with the same bytes.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

impl Actor {
    /// The hub's numbers before we sign: with a credit or a deposit that only one side has seen, the hub would refuse
    /// a close, and a signed close holds the channel until its deadline. `announced` is what the hub was told with the question.
    pub(in crate::actor) fn compared(
        &mut self,
        id: &ChannelId,
        announced: Option<UnixSeconds>,
        result: Result<Reply, RpcError>,
    ) {
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
            && cooperation.announced == announced
            && equal
        {
            cooperation.stage = Stage::Equal;
        }
    }

    /// Signs and sends what is stored. Runs after the turn's commit.
    pub(in crate::actor) async fn send_cooperative(&mut self) {
        let now = Instant::now();
        let due: Vec<(ChannelId, Planned, Option<Signature>)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.live() && entry.sight > Sight::Stale)
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

    pub(in crate::actor) fn countersigned(
        &mut self,
        id: &ChannelId,
        digest: Digest,
        result: Result<Reply, RpcError>,
    ) {
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
                .map(|()| (reply.signature, reply.hub_sends)),
            Ok(_) => Err(protocol_spec::Reject::SignatureInvalid),
            Err(error) => {
                tracing::warn!(channel = %id, %error, "the hub did not countersign; the same is sent again");
                let wait = cooperation
                    .retries
                    .failed(&self.options.ports, RETRY_MIN, RETRY_MAX);
                cooperation.stage = Stage::ToSend(planned, own, later(wait));
                cooperation.refused(error);
                return;
            }
        };
        // What was signed binds whatever the hub says: only its deadline or the chain ends it.
        let Ok((hub, hub_sends)) = hub else {
            cooperation.undecided = false;
            cooperation.answer(Err(ChannelError::BadCountersignature));
            let wait = cooperation
                .retries
                .failed(&self.options.ports, RETRY_MIN, RETRY_MAX);
            cooperation.stage = Stage::ToSend(planned, own, later(wait));
            return;
        };
        let withdrawal = matches!(planned, Planned::Withdraw(_));
        cooperation.answer(Ok(match planned {
            Planned::Withdraw(message) => Signed::Withdraw(message),
            Planned::Close(message) => Signed::Close(message, own, hub),
        }));
        if let Some(entry) = self.entries.get_mut(id) {
            entry.cooperation = None;
            if withdrawal {
                entry.countersigned = Some((own, hub));
                entry.hub_leaves_it = !hub_sends;
                entry.dirty = true;
            }
        }
    }
}
