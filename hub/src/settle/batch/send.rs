//! The verbs of `batch` that send: plan each channel, put together what can share a call, simulate, write down, send, wait.

use super::{
    Good, READS_AT_ONCE, Row, exit,
    group::{Group, Item, groups},
    keys::Keys,
    render, rows,
    task::{Planned, Task},
    warn,
};
use crate::settle::{
    Node, SettleError,
    args::Format,
    args_batch::BatchSendArgs,
    evidence::CheckedEvidence,
    files::say,
    journal::{Entry, Journal, Purpose},
    outbox::Outbox,
    output::{Output, Teller},
    resume::{self, Fate, Resumed},
    send::{Cost, Fees, Transaction},
};
use alloy::primitives::TxHash;
use futures::{StreamExt as _, stream};
use protocol_spec::Address;
use std::{collections::BTreeMap, path::PathBuf};

/// A transaction under way and the channels that it is for.
struct Sent {
    entry: Entry,
    call: Transaction,
    group: Group,
}

/// A transaction that was simulated.
struct Priced {
    group: Group,
    call: Transaction,
    purpose: Purpose,
    cost: Cost,
}

struct Batch<'a> {
    args: &'a BatchSendArgs,
    task: Task,
    format: Format,
    node: Node,
    keys: Keys,
    rows: Vec<Row>,
    /// Why nothing more can be sent.
    stopped: Option<SettleError>,
}

/// Does it for every file. `bad`: rows of files that are no use.
pub(super) async fn run(
    args: &BatchSendArgs,
    task: Task,
    bad: Vec<Row>,
    format: Format,
) -> Result<Output, SettleError> {
    let keys = Keys::open(args).await?;
    let node = Node::open(&args.plan.node).await?;
    let mut rows = rows(&args.plan.paths, &node).await?;
    if let Task::Relay { messages, .. } = &task {
        let strays = messages.strays(|channel| rows.iter().any(|row| row.id().as_ref() == Some(channel)));
        rows.extend(strays);
    }
    rows.extend(bad);
    let mut batch = Batch {
        args,
        task,
        format,
        node,
        keys,
        rows,
        stopped: None,
    };
    let name = batch.task.name();
    match args.tx.broadcast {
        true => batch.send().await?,
        false => batch.dry().await,
    }
    let mut json = render::sent_json(name, &batch.rows);
    warn(&batch.node, &mut json).await;
    Ok(Output {
        exit: exit(&batch.rows),
        text: render::sent_table(name, &batch.rows),
        json,
    })
}

/// In the directory that was named first, or beside the file.
fn journal_of(paths: &[PathBuf]) -> PathBuf {
    let first = paths.first().cloned().unwrap_or_default();
    match first.is_dir() {
        true => first.join("settle.journal"),
        false => first.with_file_name("settle.journal"),
    }
}

impl Batch<'_> {
    fn fees(&self) -> Fees {
        Fees {
            fee_per_gas_max: self.args.tx.fees.max_fee_gwei,
            priority_fee_per_gas_max: self.args.tx.fees.priority_fee_gwei,
            gas_limit: None,
        }
    }

    /// The rows that are still good, with their evidence.
    fn good(&self) -> Vec<(usize, CheckedEvidence)> {
        let rows = self.rows.iter().enumerate().filter(|(_, row)| row.result.is_ok());
        rows.filter_map(|(at, row)| Some((at, row.evidence.clone()?)))
            .collect()
    }

    fn put(&mut self, at: usize, result: Result<Good, SettleError>) {
        let Some(row) = self.rows.get_mut(at) else { return };
        row.result = match (result, &row.earlier) {
            // Nothing is left to do because an earlier run did it.
            (
                Err(SettleError::NothingToDo(_) | SettleError::NotNow(_) | SettleError::TooLate(_)),
                Some((word, hash)),
            ) => Ok(Good {
                word: word.clone(),
                transaction: Some(*hash),
                ..Good::default()
            }),
            (result, _) => result,
        };
    }

    fn fail(&mut self, group: &Group, error: &SettleError) {
        for at in group.rows() {
            self.put(at, Err(error.clone()));
        }
    }

    /// Plans and simulates, sends nothing. Each by its own side's account when neither a key nor a sender is named.
    async fn dry(&mut self) {
        let good = self.good();
        for group in self.plan(good).await {
            for Priced { group, cost, .. } in self.price(group).await {
                let (gas, wei, channels) = (cost.gas_estimate, cost.wei_max(), group.0.len());
                let shared = match channels {
                    1 => String::new(),
                    _ => format!(", shared by {channels} channels"),
                };
                let more = more(&group);
                for at in group.rows() {
                    let word = format!(
                        "dry run: about {gas} gas, at most {wei} wei{shared}; nothing was sent{more}"
                    );
                    self.put(at, Ok(good_row(word, group.sender(), None)));
                }
            }
        }
    }

    /// What can be planned, in groups. What cannot is in its row.
    async fn plan(&mut self, channels: Vec<(usize, CheckedEvidence)>) -> Vec<Group> {
        let this = &*self;
        let plans = channels.into_iter().map(|(at, evidence)| async move {
            let planned = this.plan_one(&evidence).await;
            (at, evidence, planned)
        });
        let planned: Vec<_> = stream::iter(plans).buffered(READS_AT_ONCE).collect().await;
        let mut items = Vec::new();
        for (at, evidence, planned) in planned {
            match planned {
                Ok(planned) => items.push(Item {
                    at,
                    evidence,
                    planned,
                }),
                Err(error) => self.put(at, Err(error)),
            }
        }
        groups(items)
    }

    async fn plan_one(&self, evidence: &CheckedEvidence) -> Result<Planned, SettleError> {
        let sender = self.task.sender(evidence, &self.keys, self.args.tx.from)?;
        self.task
            .plan(&self.node, evidence, sender, self.args.force)
            .await
    }

    /// Simulates the call of a group. One that the chain does not take, or that needs too much gas, is halved, so that what is
    /// wrong with one channel does not stop the others.
    async fn price(&mut self, group: Group) -> Vec<Priced> {
        let (mut left, mut priced) = (vec![group], Vec::new());
        while let Some(group) = left.pop() {
            let result = match group.call() {
                Ok((call, purpose)) => {
                    let cost = self.node.simulate_with(&call, self.fees()).await;
                    cost.map(|cost| (call, purpose, cost))
                }
                Err(error) => Err(error),
            };
            let error = match result {
                Ok((call, purpose, cost)) => {
                    priced.push(Priced {
                        group,
                        call,
                        purpose,
                        cost,
                    });
                    continue;
                }
                Err(error) => error,
            };
            let smaller = matches!(error, SettleError::Refused(_) | SettleError::Reverted(_));
            match if smaller { group.halves() } else { Err(group) } {
                // The first half first.
                Ok([first, second]) => left.extend([second, first]),
                Err(group) => self.fail(&group, &error),
            }
        }
        priced
    }

    async fn send(&mut self) -> Result<(), SettleError> {
        let path = self.args.tx.journal.clone();
        let path = path.unwrap_or_else(|| journal_of(&self.args.plan.paths));
        let mut journal = Journal::open(&path)?;
        let chain_id = self.node.chain_id().await?;
        self.resume(&mut journal, chain_id).await?;
        let (node, wallet) = (self.node.clone(), self.keys.wallet.clone());
        let mut outbox = Outbox {
            node: &node,
            wallet: &wallet,
            journal: &mut journal,
            chain_id,
        };
        let mut nonces = BTreeMap::new();
        let mut channels = self.good();
        while !channels.is_empty() {
            let mut sent = Vec::new();
            for group in self.plan(channels).await {
                for priced in self.price(group).await {
                    sent.extend(self.send_one(&mut outbox, &mut nonces, priced).await);
                }
            }
            let Some(confirmations) = self.args.tx.wait else {
                return Ok(());
            };
            channels = self.wait(&mut outbox, sent, confirmations).await?;
            if let Some(rest) = self.task.rest() {
                self.task = rest;
            }
        }
        Ok(())
    }

    async fn send_one(
        &mut self,
        outbox: &mut Outbox<'_>,
        nonces: &mut BTreeMap<Address, u64>,
        priced: Priced,
    ) -> Option<Sent> {
        let Priced {
            group,
            call,
            purpose,
            cost,
        } = priced;
        if let Some(error) = self.stopped.clone() {
            self.fail(&group, &error);
            return None;
        }
        let result = async {
            let nonce = match nonces.get(&call.sender) {
                Some(nonce) => *nonce,
                None => outbox.next_nonce(call.sender).await?,
            };
            let entry = outbox.send(purpose, &call, &cost, nonce).await?;
            nonces.insert(call.sender, nonce.saturating_add(1));
            Ok(entry)
        };
        match result.await {
            Ok(entry) => {
                let (hash, more) = (entry.hash, more(&group));
                say(&format!("sent {hash} ({} channels)", group.0.len()));
                for at in group.rows() {
                    let word = format!("sent, not yet seen in a block{more}");
                    self.put(at, Ok(good_row(word, call.sender, Some(hash))));
                }
                Some(Sent { entry, call, group })
            }
            Err(error) => {
                // After an unanswered one, and without a journal, nothing more may be sent.
                if matches!(
                    error,
                    SettleError::NotIncluded(_) | SettleError::Usage(_) | SettleError::Internal(_)
                ) {
                    self.stopped = Some(error.clone());
                }
                self.fail(&group, &error);
                None
            }
        }
    }

    /// Goes on with what an earlier run left open. A channel that it still waits for is left alone.
    async fn resume(&mut self, journal: &mut Journal, chain_id: u64) -> Result<(), SettleError> {
        let resumed = match self.args.tx.wait {
            Some(confirmations) => {
                let mut teller = Teller::new(self.format);
                let mut tell = |progress| teller.tell(progress);
                resume::finish(&self.node, journal, chain_id, confirmations, &mut tell).await?
            }
            None => resume::look(&self.node, journal, chain_id).await?,
        };
        for one in &resumed {
            say(&one.text());
            self.resumed(one);
        }
        Ok(())
    }

    fn resumed(&mut self, one: &Resumed) {
        let purpose = &one.entry.purpose;
        let rest = self.task.rest();
        let ours = [Some(&self.task), rest.as_ref()].map(|task| task.map(Task::name));
        let ours = ours.contains(&Some(purpose.command.as_str()));
        for (at, evidence) in self.good() {
            if !purpose.channels.contains(&evidence.id()) {
                continue;
            }
            match &one.fate {
                Fate::Pending => self.put(at, Err(SettleError::NotIncluded(one.text()))),
                Fate::Included(found) if ours && found.receipt.status() => {
                    // It may have been left out of a call for many.
                    let proof = purpose.proof(evidence.id());
                    let done = proof.is_some_and(|proof| found.proves(evidence.raw().adjudicator, &proof));
                    // Planned again, in case there is more; when there is not, this is the result.
                    if let Some(row) = self.rows.get_mut(at).filter(|_| done) {
                        row.earlier = Some((
                            format!("mined in block {}; an earlier run sent it", found.block),
                            one.entry.hash,
                        ));
                    }
                }
                Fate::Included(_) | Fate::Lost(_) => {}
            }
        }
    }

    /// Waits for all. Those channels of which more is to be done by the same task come back.
    async fn wait(
        &mut self,
        outbox: &mut Outbox<'_>,
        sent: Vec<Sent>,
        confirmations: u64,
    ) -> Result<Vec<(usize, CheckedEvidence)>, SettleError> {
        let mut again = Vec::new();
        for sent in sent {
            let hash = sent.entry.hash;
            let (deadline, at) = sent.group.deadline();
            let mut teller = Teller::new(self.format).until(deadline, at).about(hash);
            let mut tell = |progress| teller.tell(progress);
            let follows = self.task.rest().is_some() && sent.group.leaves_locks();
            // What follows is not kept waiting until this one is certain: their nonces follow each other.
            let confirmations = if follows { 1 } else { confirmations };
            let found = match self.node.wait_included(hash, confirmations, &mut tell).await {
                Ok(found) => found,
                Err(error) => {
                    self.fail(&sent.group, &error);
                    continue;
                }
            };
            outbox.ended(&sent.entry, &found)?;
            if !found.receipt.status() {
                let error = outbox.node.explain(&sent.call, found.block).await;
                self.fail(&sent.group, &error);
                continue;
            }
            let alone = sent.group.0.len() == 1;
            let left = more(&sent.group);
            for item in sent.group.0 {
                let done = found.proves(sent.call.to, &Group::proof(&item));
                let result = match (done, alone) {
                    (true, _) => {
                        let word = format!("mined in block {}{left}", found.block);
                        Ok(good_row(word, sent.call.sender, Some(hash)))
                    }
                    (false, true) => found.proven(&sent.call).map(|_| Good::default()),
                    (false, false) => Err(SettleError::NotNow(format!(
                        "{hash} skipped it on chain; run it again to see why"
                    ))),
                };
                if let (Ok(good), Some(row)) = (&result, self.rows.get_mut(item.at)) {
                    // Should what is left turn out to be nothing, or too late.
                    row.earlier = Some((good.word.clone(), hash));
                }
                self.put(item.at, result);
                if done && item.planned.plan.more && self.task.rest().is_some() {
                    again.push((item.at, item.evidence));
                }
            }
        }
        Ok(again)
    }
}

/// Words for a channel of which a transaction leaves locks.
fn more(group: &Group) -> &'static str {
    match group.leaves_locks() {
        true => "; more locks remain: then `batch resolve`",
        false => "",
    }
}

fn good_row(word: String, sender: Address, transaction: Option<TxHash>) -> Good {
    Good {
        word,
        sender: Some(sender),
        transaction,
        ..Good::default()
    }
}
