//! Sending for one channel: plan, simulate, write down, send, wait.

use super::{
    Plan, SettleError,
    files::{journal_beside, say},
    journal::{Journal, Purpose},
    outbox::Outbox,
    output::{Output, Teller},
    render,
    resume::{self, Fate, Resumed},
    run_send::{Done, Run, What},
};
use alloy::{network::EthereumWallet, primitives::TxHash};

impl Run<'_> {
    /// Goes on with what an earlier run left open, then sends what is planned; with `--wait` one transaction after the other
    /// until no lock is left.
    pub(super) async fn broadcast(
        &self,
        what: &What,
        wallet: &EthereumWallet,
    ) -> Result<Output, SettleError> {
        let path = match &self.args.tx.journal {
            Some(path) => path.clone(),
            None => journal_beside(&self.args.chain.evidence)?,
        };
        let mut journal = Journal::open(&path)?;
        let chain_id = self.settle.evidence().raw().chain_id;
        let resumed = self.resume(&mut journal, chain_id).await?;
        let rest = what.rest().filter(|_| self.args.tx.wait.is_some());
        let earlier = resumed.iter().rev().find(|one| {
            let purpose = &one.entry.purpose;
            let commands = [Some(what), rest.as_ref()].map(|what| what.map(What::command));
            let ours = purpose.channels.contains(&self.settle.evidence().id())
                && commands.contains(&Some(purpose.command.as_str()));
            one.done().is_some() && ours
        });
        let plan = match (what.plan(self.settle, self.sender).await, earlier) {
            (Ok(plan), _) => plan,
            (
                Err(error @ (SettleError::NothingToDo(_) | SettleError::NotNow(_) | SettleError::TooLate(_))),
                earlier,
            ) => match (self.begun(rest.as_ref(), &error).await?, earlier) {
                (Some(plan), _) => plan,
                // The earlier run's transaction did what was asked, so there is nothing left to do.
                (None, Some(earlier)) => return self.resumed(what, earlier).await,
                (None, None) => return Err(error),
            },
            (Err(error), _) => return Err(error),
        };
        let mut outbox = Outbox {
            node: self.settle.node(),
            wallet,
            journal: &mut journal,
            chain_id,
        };
        let mut first = self
            .send_one(&mut outbox, plan, self.args.nonce, rest.as_ref())
            .await?;
        let mut further: Vec<Done> = Vec::new();
        while let Some(rest) = rest
            .as_ref()
            .filter(|_| further.last().unwrap_or(&first).plan.more)
        {
            match rest.plan(self.settle, self.sender).await {
                Ok(plan) => further.push(self.send_one(&mut outbox, plan, None, Some(rest)).await?),
                // Somebody else was faster.
                Err(SettleError::NothingToDo(_)) => break,
                Err(error) => return Err(error),
            }
        }
        for one in std::iter::once(&mut first).chain(&mut further) {
            self.confirm(one).await?;
        }
        self.output(what, &first, &further).await
    }

    /// The plan for what an earlier run left that was killed between two transactions, when `error` says that nothing is to be
    /// begun.
    async fn begun(&self, rest: Option<&What>, error: &SettleError) -> Result<Option<Plan>, SettleError> {
        let Some(rest) = rest else { return Ok(None) };
        match rest.plan(self.settle, self.sender).await {
            Ok(plan) => {
                say(&format!("{error}; going on with the locks that are left"));
                Ok(Some(plan))
            }
            Err(error @ SettleError::Unreachable(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// `rest`: what follows when it leaves locks.
    async fn send_one(
        &self,
        outbox: &mut Outbox<'_>,
        plan: Plan,
        nonce: Option<u64>,
        rest: Option<&What>,
    ) -> Result<Done, SettleError> {
        let cost = self.price(&plan).await?;
        let nonce = match nonce {
            Some(nonce) => nonce,
            None => outbox.next_nonce(self.sender).await?,
        };
        let call = plan.transaction();
        let purpose = Purpose::of(&plan, self.settle.evidence().id());
        let entry = outbox.send(purpose, &call, &cost, nonce).await?;
        say(&format!("sent {}", entry.hash));
        // The next one is not kept waiting until this one is certain: their nonces follow each other.
        let follows = plan.more && rest.is_some();
        let mined = match self.args.tx.wait {
            Some(confirmations) => {
                let confirmations = if follows { 1 } else { confirmations };
                let mut teller = self.teller(&plan, entry.hash);
                let mut tell = |progress| teller.tell(progress);
                Some(outbox.wait(&entry, &call, confirmations, &mut tell).await?)
            }
            None => None,
        };
        Ok(Done {
            plan,
            cost,
            hash: Some(entry.hash),
            mined,
        })
    }

    fn teller(&self, plan: &Plan, hash: TxHash) -> Teller {
        Teller::new(self.format).until(plan.deadline, plan.at).about(hash)
    }

    /// Waits until it has all the confirmations that were asked for.
    async fn confirm(&self, done: &mut Done) -> Result<(), SettleError> {
        let (Some(hash), Some(mined), Some(wanted)) = (done.hash, done.mined, self.args.tx.wait) else {
            return Ok(());
        };
        if mined.confirmations >= wanted {
            return Ok(());
        }
        let call = done.plan.transaction();
        let mut teller = self.teller(&done.plan, hash);
        let mut tell = |progress| teller.tell(progress);
        let node = self.settle.node();
        done.mined = Some(node.wait_telling(&call, hash, wanted, &mut tell).await?);
        Ok(())
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
            // A gap: what is pending waits for it, whatever its fees.
            (Some(one), _) if self.args.nonce.is_some_and(|nonce| nonce < one.entry.nonce.0) => looked,
            (Some(one), wait) => {
                let next = node.next_nonce(self.sender).await?;
                if next < one.entry.nonce.0 {
                    return Err(SettleError::NotIncluded(format!(
                        "{}, and waits for an earlier one that nobody has: run this with --nonce {next}, or send anything \
                         else of this sender with it",
                        one.text()
                    )));
                }
                let Some(confirmations) = wait else {
                    return Err(SettleError::NotIncluded(format!(
                        "{}: add --wait, or replace it with --nonce {} and higher fees",
                        one.text(),
                        one.entry.nonce
                    )));
                };
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
}
