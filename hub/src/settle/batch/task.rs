//! What a batch does in every channel, and what one channel's part of it is.

use super::{
    keys::{Keys, Need},
    messages::Messages,
};
use crate::settle::{
    CheckedEvidence, Intent, Message, Node, Plan, SettleError, Verb,
    outlook::{better_unshown, loses, offer},
    plan, require_claimable,
    run_send::plan_relay,
    view::{Phase, View},
};
use protocol_spec::{Address, Side, abi, calls};

/// What is to be done in every channel.
pub(super) enum Task {
    /// By the evidence.
    Verb { verb: Verb, without_evidence: bool },
    /// Fetch what was left behind; the channel's own token when none is named.
    Claim { token: Option<Address>, to: Address },
    /// By messages of both sides.
    Relay {
        command: &'static str,
        messages: Messages,
    },
}

/// How one channel's part can share a call with others.
#[derive(Clone)]
pub(super) enum Part {
    /// It cannot.
    Alone,
    /// One claim is for all channels of its account.
    Claim,
    Finalize,
    Voucher(abi::ClientVoucher),
    Close(abi::ClientClose),
    Withdraw(abi::ClientWithdraw),
}

/// One channel's part.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) part: Part,
}

impl Task {
    pub(super) fn verb(verb: Verb) -> Self {
        Self::Verb {
            verb,
            without_evidence: false,
        }
    }

    /// The command's word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Verb { verb, .. } => verb.name(),
            Self::Claim { .. } => "claim",
            Self::Relay { command, .. } => command,
        }
    }

    /// What does the rest of a channel's locks when they are more than fit one transaction.
    pub(super) fn rest(&self) -> Option<Self> {
        match self {
            Self::Verb { verb, .. } => verb.rest().map(Self::verb),
            _ => None,
        }
    }

    /// Who sends for `evidence`.
    pub(super) fn sender(
        &self,
        evidence: &CheckedEvidence,
        keys: &Keys,
        from: Option<Address>,
    ) -> Result<Address, SettleError> {
        let need = match self {
            Self::Verb {
                verb: Verb::Finalize, ..
            } => Need::Any,
            Self::Verb { .. } => Need::Payee,
            Self::Claim { .. } => Need::Account,
            Self::Relay { messages, .. } => messages.of(evidence.id()).map_or(Need::Any, Need::Message),
        };
        keys.choose(evidence, need, from)
    }

    /// Plans it for one channel.
    ///
    /// # Errors
    /// As [`plan::plan`] and the planning of messages.
    pub(super) async fn plan(
        &self,
        node: &Node,
        evidence: &CheckedEvidence,
        sender: Address,
        force: bool,
    ) -> Result<Planned, SettleError> {
        match self {
            Self::Verb {
                verb,
                without_evidence,
            } => by_evidence(node, evidence, *verb, *without_evidence, sender, force).await,
            Self::Claim { token, to } => {
                let (token, to) = (token.unwrap_or(evidence.raw().config.token), *to);
                require_claimable(node, evidence, token, sender).await?;
                let view = View::read(node, evidence).await?;
                let intent = Intent {
                    verb: Verb::Claim { token, to },
                    sender,
                    force,
                    without_evidence: false,
                };
                let plan = plan::plan(&view, evidence, intent)?;
                let part = Part::Claim;
                Ok(Planned { plan, part })
            }
            Self::Relay { command, messages } => {
                let Some(file) = messages.of(evidence.id()) else {
                    return Err(SettleError::NothingToDo(format!(
                        "none of the messages is a {command} of this channel"
                    )));
                };
                file.require_channel(evidence)?;
                let plan = plan_relay(node, evidence, file, sender, force).await?;
                let part = relayed(evidence, file, sender);
                Ok(Planned { plan, part })
            }
        }
    }
}

async fn by_evidence(
    node: &Node,
    evidence: &CheckedEvidence,
    verb: Verb,
    without_evidence: bool,
    sender: Address,
    force: bool,
) -> Result<Planned, SettleError> {
    let view = View::read(node, evidence).await?;
    // A submitter shows what its package permits, or nothing.
    let chooses = evidence.is_party(sender) && !force;
    let unshown = match verb {
        Verb::Dispute => chooses && better_unshown(&view, evidence),
        Verb::Submit if chooses && loses(&view, evidence, &offer(&view, evidence, false)) => {
            return Err(SettleError::NothingToDo(
                "this evidence would lower what you get, because it acknowledges what you paid: it is not shown"
                    .to_owned(),
            ));
        }
        _ => false,
    };
    let intent = Intent {
        verb,
        sender,
        force,
        without_evidence: without_evidence || unshown,
    };
    let plan = plan::plan(&view, evidence, intent)?;
    let part = match verb {
        Verb::Finalize => Part::Finalize,
        Verb::Submit => voucher(&view, evidence, sender).map_or(Part::Alone, Part::Voucher),
        _ => Part::Alone,
    };
    Ok(Planned { plan, part })
}

/// The voucher that a hub's side received, when it fits a call for many: without locks, signed directly.
fn voucher(view: &View, evidence: &CheckedEvidence, sender: Address) -> Option<abi::ClientVoucher> {
    let shows = evidence.side() == Side::Hub
        && evidence.is_party(sender)
        && matches!(view.phase, Phase::Open | Phase::Disputed { .. });
    let received = evidence.received().voucher.as_ref().filter(|_| shows)?;
    calls::client_voucher(&evidence.raw().config, received.signed())
}

fn relayed(evidence: &CheckedEvidence, file: &crate::settle::CooperativeFile, sender: Address) -> Part {
    let config = &evidence.raw().config;
    let Some((client, hub)) = file.for_many(evidence, sender) else {
        return Part::Alone;
    };
    let (client, hub) = (client.as_ref(), hub.as_ref());
    match &file.message {
        Message::Close(message) => Part::Close(calls::client_close(config, message, client, hub)),
        Message::Withdraw(message) => Part::Withdraw(calls::client_withdraw(config, message, client, hub)),
        Message::CancelDispute(_) => Part::Alone,
    }
}
