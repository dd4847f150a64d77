//! Plans to relay what both sides signed. Pure.

use super::{
    cooperative::{CooperativeFile, Message},
    evidence::CheckedEvidence,
    exit::SettleError,
    outlook::{Outcome, outcomes},
    plan::{Plan, Proof},
    text::moment,
    view::{Phase, View, share},
};
use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolCall as _,
};
use protocol_spec::{Amount, Close, Side, Withdraw, calls, limits, settlement::Adjudication};

/// Plans to relay `file`.
///
/// # Errors
/// [`SettleError::Refused`], `NotNow` and `TooLate` (a deadline), `NothingToDo`, `WouldLose` unless `force`.
pub(super) fn plan(
    view: &View,
    evidence: &CheckedEvidence,
    file: &CooperativeFile,
    sender: Address,
    force: bool,
) -> Result<Plan, SettleError> {
    let message = &file.message;
    require_phase(view, evidence, message)?;
    let (now, deadline) = (view.head.time, message.deadline());
    if deadline < now {
        return Err(SettleError::TooLate(format!(
            "the deadline has passed: the message counted until {}; sign a new one",
            moment(deadline, now)
        )));
    }
    if deadline > now.after(limits::DEADLINE_AHEAD_MAX_S) {
        return Err(SettleError::NotNow(format!(
            "too early: the message counts until {}, the adjudicator takes deadlines of at most a day ahead",
            moment(deadline, now)
        )));
    }
    let (after, loss) = match message {
        Message::Close(close) => after_close(view, evidence, close)?,
        Message::Withdraw(withdraw) => after_withdraw(view, evidence, withdraw)?,
        Message::CancelDispute(_) => (view.balances(), None),
    };
    match loss {
        Some(text) if !force => return Err(SettleError::WouldLose(format!("{text} (--force overrides)"))),
        _ => {}
    }
    let proof = Proof::named(message.event(), B256::from(evidence.id().0));
    Ok(Plan {
        command: message.command(),
        sender,
        to: evidence.raw().adjudicator,
        calldata: calldata(evidence, file),
        now: Some(view.balances()),
        after: Some(after),
        unlocks: 0,
        more: false,
        proof: proof.ok_or_else(|| SettleError::Internal("no such event".to_owned()))?,
        at: now,
        deadline: Some(deadline),
        notes: evidence.warnings(),
    })
}

fn calldata(evidence: &CheckedEvidence, file: &CooperativeFile) -> Bytes {
    let config = &evidence.raw().config;
    let bytes = |side| file.signature(side).cloned().unwrap_or_default();
    let (client, hub) = (bytes(Side::Client), bytes(Side::Hub));
    let data = match &file.message {
        Message::Close(message) => calls::close(config, message, &client, &hub).abi_encode(),
        Message::Withdraw(message) => calls::withdraw(config, message, &client, &hub).abi_encode(),
        Message::CancelDispute(message) => calls::cancel_dispute(config, message, &client, &hub).abi_encode(),
    };
    data.into()
}

fn require_phase(view: &View, evidence: &CheckedEvidence, message: &Message) -> Result<(), SettleError> {
    let refuse = |text: &str| Err(SettleError::Refused(text.to_owned()));
    match (view.phase, message) {
        (Phase::None, _) => Err(SettleError::Refused(format!(
            "channel {} was never opened at this adjudicator: wrong evidence, or the node is not synced",
            evidence.id()
        ))),
        (Phase::Closed, _) => Err(SettleError::NothingToDo(
            "the channel is closed and paid out".to_owned(),
        )),
        (Phase::Open | Phase::Disputed { .. }, Message::Close(_)) | (Phase::Open, Message::Withdraw(_)) => {
            Ok(())
        }
        (Phase::Disputed { .. }, Message::Withdraw(_)) => {
            refuse("a withdrawal needs an open channel; this one is disputed")
        }
        (Phase::Open, Message::CancelDispute(_)) => Err(SettleError::NothingToDo(
            "there is no dispute to cancel".to_owned(),
        )),
        (Phase::Disputed { no, final_at, .. }, Message::CancelDispute(cancel)) => match () {
            () if cancel.dispute_no.0 != no => Err(SettleError::Refused(format!(
                "dispute {no} is running, the message cancels {}",
                cancel.dispute_no
            ))),
            () if view.head.time >= final_at => Err(SettleError::TooLate(format!(
                "the deadline has passed: the dispute is final since {}; `settle finalize`",
                moment(final_at, view.head.time)
            ))),
            () => Ok(()),
        },
    }
}

/// What is fair by the newest vouchers of both directions that the evidence holds.
fn fair(view: &View, evidence: &CheckedEvidence) -> (Amount, Amount) {
    let rows: Vec<Outcome> = outcomes(view, evidence);
    let row = |name: &str| rows.iter().find(|row| row.name == name);
    let best = row("answered").or_else(|| row("with_my_evidence"));
    best.map_or_else(|| view.balances(), |row| (row.client, row.hub))
}

type Effect = ((Amount, Amount), Option<String>);

/// R15: later deposits go to their own side.
fn after_close(view: &View, evidence: &CheckedEvidence, close: &Close) -> Result<Effect, SettleError> {
    let funds = &view.funds;
    let add = |balance: Amount, actual: Amount, named: Amount| {
        let later = actual.0.checked_sub(named.0)?;
        balance.0.checked_add(later).map(Amount)
    };
    let client = add(close.client_balance, funds.client_deposit, close.client_deposit);
    let hub = add(close.hub_balance, funds.hub_deposit, close.hub_deposit);
    let (Some(client), Some(hub)) = (client, hub) else {
        return Err(SettleError::Refused(format!(
            "the message divides deposits of {} (client) and {} (hub), the chain has {} and {}: a reorg took one away, or it is \
             for another channel",
            close.client_deposit, close.hub_deposit, funds.client_deposit, funds.hub_deposit
        )));
    };
    if Amount::sum([client, hub]).ok() != Some(funds.total()) {
        return Err(SettleError::Refused(format!(
            "its balances with later deposits make {client} and {hub}, the channel holds {}: a withdrawal came in between; \
             sign a new close",
            funds.total()
        )));
    }
    let side = evidence.side();
    let (get, due) = (share(side, (client, hub)), share(side, fair(view, evidence)));
    let loss = (get < due)
        .then(|| format!("you get {get} by this close, and {due} by the vouchers in your evidence"));
    Ok(((client, hub), loss))
}

/// R14: the withdrawn sum and both floors rise.
fn after_withdraw(
    view: &View,
    evidence: &CheckedEvidence,
    withdraw: &Withdraw,
) -> Result<Effect, SettleError> {
    let before = view.funds.withdrawn(withdraw.side);
    let amount = withdraw
        .total
        .0
        .checked_sub(before.0)
        .filter(|amount| *amount > 0);
    let Some(amount) = amount else {
        return Err(SettleError::NothingToDo(format!(
            "{before} in all were withdrawn already, the message says {}",
            withdraw.total
        )));
    };
    let mut funds = view.funds;
    match withdraw.side {
        Side::Client => funds.client_withdrawn = withdraw.total,
        Side::Hub => funds.hub_withdrawn = withdraw.total,
    }
    if amount > view.funds.total().0 {
        return Err(SettleError::Refused(format!(
            "the channel holds {}, {amount} were to leave it",
            view.funds.total()
        )));
    }
    let raised = |adjudication: &Adjudication| {
        let mut after = adjudication.clone();
        after.withdraw(
            (withdraw.client_seq.0, withdraw.client_paid),
            (withdraw.hub_seq.0, withdraw.hub_paid),
        );
        after
    };
    let later = View {
        funds,
        adjudication: raised(&view.adjudication),
        ..view.clone()
    };
    let side = evidence.side();
    let mine = if withdraw.side == side { amount } else { 0 };
    let get = share(side, fair(&later, evidence)).0.saturating_add(mine);
    let due = share(side, fair(view, evidence)).0;
    let loss = (get < due).then(|| {
        format!(
            "with this withdrawal {get} are yours in all, by the vouchers in your evidence it would be {due}"
        )
    });
    Ok((later.balances(), loss))
}
