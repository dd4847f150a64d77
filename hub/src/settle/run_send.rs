//! The commands that send: plan, simulate, write down, send, wait. A dry run stops after the second.

use super::{
    CheckedEvidence, Intent, Mined, Node, Plan, Settle, SettleError, TokenInfo, Verb,
    args::{Format, KeyArgs, SendArgs},
    cooperative::CooperativeFile,
    files::{journal_beside, say},
    journal::{Journal, Purpose},
    outbox::Outbox,
    output::{Output, Teller},
    relay, render,
    resume::{self, Fate, Resumed},
    run::open,
    send::{Cost, Fees},
    signer::Signer,
    view::{self, View},
};
use alloy::{eips::BlockId, network::EthereumWallet, primitives::TxHash};
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
    fn command(&self) -> &'static str {
        match self {
            Self::Verb { verb, .. } => verb.name(),
            Self::Message { file, .. } => file.message.command(),
        }
    }

    fn left_out(&self) -> &[u64] {
        match self {
            Self::Verb { left_out, .. } => left_out,
            Self::Message { .. } => &[],
        }
    }

    async fn plan(&self, settle: &Settle, sender: Address) -> Result<Plan, SettleError> {
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
            run.output(&what, &plan, &cost, None, None).await
        }
    }
}

struct Run<'a> {
    args: &'a SendArgs,
    format: Format,
    settle: &'a Settle,
    sender: Address,
}

impl Run<'_> {
    async fn price(&self, plan: &Plan) -> Result<Cost, SettleError> {
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

    async fn broadcast(&self, what: &What, wallet: &EthereumWallet) -> Result<Output, SettleError> {
        let path = match &self.args.tx.journal {
            Some(path) => path.clone(),
            None => journal_beside(&self.args.chain.evidence)?,
        };
        let mut journal = Journal::open(&path)?;
        let chain_id = self.settle.evidence().raw().chain_id;
        let resumed = self.resume(&mut journal, chain_id).await?;
        let earlier = resumed.iter().rev().find(|one| {
            let purpose = &one.entry.purpose;
            let channel = self.settle.evidence().id();
            one.done().is_some() && purpose.command == what.command() && purpose.channels.contains(&channel)
        });
        let plan = match (what.plan(self.settle, self.sender).await, earlier) {
            (Ok(plan), _) => plan,
            // The earlier run's transaction did what was asked, so there is nothing left to do.
            (
                Err(SettleError::NothingToDo(_) | SettleError::NotNow(_) | SettleError::TooLate(_)),
                Some(earlier),
            ) => {
                return self.resumed(what, earlier).await;
            }
            (Err(error), _) => return Err(error),
        };
        let cost = self.price(&plan).await?;
        let mut outbox = Outbox {
            node: self.settle.node(),
            wallet,
            journal: &mut journal,
            chain_id,
        };
        let nonce = match self.args.nonce {
            Some(nonce) => nonce,
            None => outbox.next_nonce(self.sender).await?,
        };
        let call = plan.transaction();
        let purpose = Purpose::of(&plan, self.settle.evidence().id());
        let entry = outbox.send(purpose, &call, &cost, nonce).await?;
        say(&format!("sent {}", entry.hash));
        let mined = match self.args.tx.wait {
            Some(confirmations) => {
                let mut teller = Teller::new(self.format)
                    .until(plan.deadline, plan.at)
                    .about(entry.hash);
                let mut tell = |progress| teller.tell(progress);
                Some(outbox.wait(&entry, &call, confirmations, &mut tell).await?)
            }
            None => None,
        };
        self.output(what, &plan, &cost, Some(entry.hash), mined).await
    }

    /// Goes on with what an earlier run left open. Nothing new is sent while that is pending, unless it is to be replaced.
    async fn resume(&self, journal: &mut Journal, chain_id: u64) -> Result<Vec<Resumed>, SettleError> {
        let node = self.settle.node();
        if journal.open_entries().is_empty() {
            return Ok(Vec::new());
        }
        let looked = resume::look(node, journal, chain_id).await?;
        let pending = looked.iter().find(|one| matches!(one.fate, Fate::Pending));
        let resumed = match (pending, self.args.tx.wait) {
            (None, _) => looked,
            (Some(one), _) if self.args.nonce == Some(one.entry.nonce.0) => looked,
            (Some(one), None) => {
                return Err(SettleError::NotIncluded(format!(
                    "{}: add --wait, or replace it with --nonce {} and higher fees",
                    one.text(),
                    one.entry.nonce
                )));
            }
            (Some(one), Some(confirmations)) => {
                say(&format!("{}; waiting", one.text()));
                let mut teller = Teller::new(self.format).about(one.entry.hash);
                let mut tell = |progress| teller.tell(progress);
                let waited = resume::finish(node, journal, chain_id, confirmations, &mut tell).await?;
                let ended = looked
                    .into_iter()
                    .filter(|one| !matches!(one.fate, Fate::Pending));
                ended.chain(waited).collect()
            }
        };
        resumed.iter().for_each(|one| say(&one.text()));
        Ok(resumed)
    }

    /// What an earlier run sent is the result.
    async fn resumed(&self, what: &What, earlier: &Resumed) -> Result<Output, SettleError> {
        let Some(found) = earlier.done() else {
            return Err(SettleError::Internal("not done".to_owned()));
        };
        let mined = match earlier.entry.transaction() {
            Some(call) => found.proven(&call)?,
            None => found.mined(),
        };
        self.next(what, true).await;
        Ok(Output::done(
            render::resumed_table(self.settle.evidence(), &earlier.entry, &mined),
            render::resumed_json(self.settle.evidence(), &earlier.entry, &mined),
        ))
    }

    async fn output(
        &self,
        what: &What,
        plan: &Plan,
        cost: &Cost,
        hash: Option<TxHash>,
        mined: Option<Mined>,
    ) -> Result<Output, SettleError> {
        if hash.is_some() {
            self.next(what, mined.is_some()).await;
        }
        let sent = render::Sent {
            evidence: self.settle.evidence(),
            plan,
            cost,
            token: &token(self.settle, what).await?,
            hash,
            mined,
        };
        Ok(Output::done(render::sent_table(&sent), render::sent_json(&sent)))
    }

    /// What to do next. The transaction is what counts, so a failure here is not one of the command.
    async fn next(&self, what: &What, mined: bool) {
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
