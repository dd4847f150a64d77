//! The commands that send: what each plans, its price, and what is said of it. A dry run ends here.

use super::{
    CheckedEvidence, Intent, Mined, Node, Plan, Settle, SettleError, TokenInfo, Verb,
    args::{Format, KeyArgs, SendArgs},
    cooperative::CooperativeFile,
    files::say,
    output::Output,
    relay, render,
    run::open,
    send::{Cost, Fees},
    signer::Signer,
    view::{self, View},
};
use alloy::{eips::BlockId, primitives::TxHash};
use protocol_spec::Address;

/// What is to be sent.
pub(super) enum What {
    /// By the evidence.
    Verb {
        verb: Verb,
        force: bool,
        without_evidence: bool,
        /// Received locks that are not shown.
        left_out: Vec<u64>,
    },
    /// By a message of both sides.
    Message { file: Box<CooperativeFile>, force: bool },
}

impl What {
    pub(super) fn command(&self) -> &'static str {
        match self {
            Self::Verb { verb, .. } => verb.name(),
            Self::Message { file, .. } => file.message.command(),
        }
    }

    /// What does the rest of a channel's locks when they are more than fit one transaction.
    pub(super) fn rest(&self) -> Option<Self> {
        match self {
            Self::Verb {
                verb,
                without_evidence: false,
                ..
            } => verb.rest().map(|verb| Self::Verb {
                verb,
                force: false,
                without_evidence: false,
                left_out: Vec::new(),
            }),
            _ => None,
        }
    }

    fn left_out(&self) -> &[u64] {
        match self {
            Self::Verb { left_out, .. } => left_out,
            Self::Message { .. } => &[],
        }
    }

    pub(super) async fn plan(&self, settle: &Settle, sender: Address) -> Result<Plan, SettleError> {
        match self {
            Self::Verb {
                verb,
                force,
                without_evidence,
                ..
            } => {
                let intent = Intent {
                    verb: *verb,
                    sender,
                    force: *force,
                    without_evidence: *without_evidence,
                };
                settle.plan(intent).await
            }
            Self::Message { file, force } => {
                plan_relay(settle.node(), settle.evidence(), file, sender, *force).await
            }
        }
    }
}

/// Plans to relay `file`: what is no signature of a key may be one of a contract.
pub(super) async fn plan_relay(
    node: &Node,
    evidence: &CheckedEvidence,
    file: &CooperativeFile,
    sender: Address,
    force: bool,
) -> Result<Plan, SettleError> {
    for account in file.unproven(evidence, sender)? {
        if !node.has_code(account).await? {
            return Err(SettleError::Refused(format!(
                "the message: a signature is not by {account} or its signer: wrong key or changed content"
            )));
        }
    }
    let view = View::read(node, evidence).await?;
    relay::plan(&view, evidence, file, sender, force)
}

/// Who signs, if somebody was named. To send something somebody must be.
pub(super) async fn signer(args: &KeyArgs, broadcast: bool) -> Result<Option<Signer>, SettleError> {
    match (Signer::open(args).await?, broadcast) {
        (None, true) => Err(SettleError::Usage(
            "--broadcast needs --key-file PATH, --key-env NAME, --signer SIGNER or --ledger".to_owned(),
        )),
        (signer, _) => Ok(signer),
    }
}

/// Runs the command.
pub(super) async fn send(args: &SendArgs, format: Format, what: What) -> Result<Output, SettleError> {
    let signer = signer(&args.tx.key, args.tx.broadcast).await?;
    let settle = open(&args.chain).await?.leaving_out(what.left_out())?;
    let config = &settle.evidence().raw().config;
    let account = config.account(settle.evidence().side());
    let run = Run {
        args,
        format,
        settle: &settle,
        sender: match &signer {
            Some(signer) => signer.address(),
            None => args.tx.from.unwrap_or(account),
        },
    };
    match signer.filter(|_| args.tx.broadcast) {
        Some(signer) => run.broadcast(&what, &signer.wallet()).await,
        None => {
            let plan = what.plan(&settle, run.sender).await?;
            let cost = run.price(&plan).await?;
            let planned = Done {
                plan,
                cost,
                hash: None,
                mined: None,
            };
            run.output(&what, &planned, &[]).await
        }
    }
}

/// A plan, priced, and what became of it: the hash when it was sent, the rest when it was waited for.
pub(super) struct Done {
    pub(super) plan: Plan,
    pub(super) cost: Cost,
    pub(super) hash: Option<TxHash>,
    pub(super) mined: Option<Mined>,
}

/// One run of a command.
pub(super) struct Run<'a> {
    pub(super) args: &'a SendArgs,
    pub(super) format: Format,
    pub(super) settle: &'a Settle,
    pub(super) sender: Address,
}

impl Run<'_> {
    pub(super) async fn price(&self, plan: &Plan) -> Result<Cost, SettleError> {
        plan.notes.iter().for_each(|note| say(&format!("note: {note}")));
        let fees = Fees {
            fee_per_gas_max: self.args.tx.fees.max_fee_gwei,
            priority_fee_per_gas_max: self.args.tx.fees.priority_fee_gwei,
            gas_limit: self.args.gas_limit,
        };
        let cost = self
            .settle
            .node()
            .simulate_with(&plan.transaction(), fees)
            .await?;
        if cost.too_expensive() {
            say(&format!(
                "note: {} holds {} wei, it may need {} wei",
                self.sender,
                cost.balance,
                cost.wei_max()
            ));
        }
        Ok(cost)
    }

    pub(super) async fn output(
        &self,
        what: &What,
        first: &Done,
        further: &[Done],
    ) -> Result<Output, SettleError> {
        let last = further.last().unwrap_or(first);
        if last.hash.is_some() {
            self.next(what, last.mined.is_some()).await;
        }
        let sent = render::Sent {
            evidence: self.settle.evidence(),
            token: &token(self.settle, what).await?,
            first,
            further,
        };
        Ok(Output::done(render::sent_table(&sent), render::sent_json(&sent)))
    }

    /// What to do next. The transaction is what counts, so a failure here is not one of the command.
    pub(super) async fn next(&self, what: &What, mined: bool) {
        if !mined {
            return say("not waited for: run `settle status` to see it happen");
        }
        if matches!(
            what,
            What::Verb {
                verb: Verb::Claim { .. },
                ..
            }
        ) {
            return;
        }
        if let Ok(status) = self.settle.status().await {
            say(&format!("next: {}", status.next));
        }
    }
}

async fn token(settle: &Settle, what: &What) -> Result<TokenInfo, SettleError> {
    let evidence: &CheckedEvidence = settle.evidence();
    let address = match what {
        What::Verb {
            verb: Verb::Claim { token, .. },
            ..
        } => *token,
        _ => evidence.raw().config.token,
    };
    view::token_info(settle.node(), address, BlockId::latest()).await
}
