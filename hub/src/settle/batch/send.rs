//! `batch dispute`, `submit`, `finalize`: plan, simulate, write down and send for each, then wait for all.

use super::{Good, How, Row, exit, render, rows, warn};
use crate::settle::{
    Intent, Node, Plan, SettleError, Verb,
    args::{BatchSendArgs, Format},
    evidence::CheckedEvidence,
    files::say,
    journal::{Entry, Journal, Purpose},
    outbox::Outbox,
    outlook::{better_unshown, loses, offer},
    output::{Output, Teller},
    plan,
    resume::{self, Fate, Resumed},
    run_send::signer,
    send::{Fees, Transaction},
    sweep::{self, CHANNELS_PER_TX_MAX},
    view::View,
};
use alloy::{network::EthereumWallet, primitives::TxHash, sol_types::SolEvent as _};
use protocol_spec::{Address, ChannelId, abi::IAdjudicator};
use std::{collections::BTreeMap, path::PathBuf};

/// A transaction under way and the rows that it is for.
struct Sent {
    entry: Entry,
    call: Transaction,
    rows: Vec<usize>,
}

struct Batch<'a> {
    args: &'a BatchSendArgs,
    how: How,
    format: Format,
    node: Node,
    rows: Vec<Row>,
    sent: Vec<Sent>,
    /// Why nothing more can be sent.
    stopped: Option<SettleError>,
}

/// Does it for every file.
pub(super) async fn run(args: &BatchSendArgs, how: How, format: Format) -> Result<Output, SettleError> {
    let signer = signer(&args.tx.key, args.tx.broadcast).await?;
    let node = Node::open(&args.plan.node).await?;
    let rows = rows(&args.plan.paths, &node).await?;
    let mut batch = Batch {
        args,
        how,
        format,
        node,
        rows,
        sent: Vec::new(),
        stopped: None,
    };
    match signer {
        Some(signer) if args.tx.broadcast => {
            let path = args
                .tx
                .journal
                .clone()
                .unwrap_or_else(|| journal_of(&args.plan.paths));
            let mut journal = Journal::open(&path)?;
            let sender = signer.address();
            batch.send(sender, &signer.wallet(), &mut journal).await?;
        }
        signer => {
            let sender = signer.map(|signer| signer.address()).or(args.tx.from);
            batch.dry(sender).await?;
        }
    }
    let mut json = render::sent_json(how.verb.name(), &batch.rows);
    warn(&batch.node, &mut json).await;
    Ok(Output {
        exit: exit(&batch.rows),
        text: render::sent_table(how.verb.name(), &batch.rows),
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

    fn put(&mut self, at: usize, result: Result<(String, Option<TxHash>), SettleError>) {
        if let Some(row) = self.rows.get_mut(at) {
            // Nothing is left to do because an earlier run did it.
            let earlier = row.earlier.clone().map(|(word, hash)| (word, Some(hash)));
            let result = match (result, earlier) {
                (
                    Err(SettleError::NothingToDo(_) | SettleError::NotNow(_) | SettleError::TooLate(_)),
                    Some(earlier),
                ) => Ok(earlier),
                (result, _) => result,
            };
            row.result = result.map(|(word, transaction)| Good {
                word,
                transaction,
                ..Good::default()
            });
        }
    }

    async fn plan(&self, evidence: &CheckedEvidence, sender: Address) -> Result<Plan, SettleError> {
        let view = View::read(&self.node, evidence).await?;
        // A submitter shows what its package permits, or nothing.
        let chooses = evidence.is_party(sender) && !self.args.force;
        let unshown = match self.how.verb {
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
            verb: self.how.verb,
            sender,
            force: self.args.force,
            without_evidence: self.how.without_evidence || unshown,
        };
        plan::plan(&view, evidence, intent)
    }

    /// Plans and simulates, sends nothing. Each by its own side's account when no sender is named.
    async fn dry(&mut self, sender: Option<Address>) -> Result<(), SettleError> {
        for (at, evidence) in self.good() {
            let account = evidence.raw().config.account(evidence.side());
            let planned = async {
                let plan = self.plan(&evidence, sender.unwrap_or(account)).await?;
                self.node.simulate_with(&plan.transaction(), self.fees()).await
            };
            let result = planned.await;
            self.put(
                at,
                result.map(|cost| {
                    (
                        format!(
                            "dry run: about {} gas, at most {} wei; nothing was sent",
                            cost.gas_estimate,
                            cost.wei_max()
                        ),
                        None,
                    )
                }),
            );
        }
        Ok(())
    }

    async fn send(
        &mut self,
        sender: Address,
        wallet: &EthereumWallet,
        journal: &mut Journal,
    ) -> Result<(), SettleError> {
        let chain_id = self.node.chain_id().await?;
        self.resume(journal, chain_id).await?;
        let node = self.node.clone();
        let mut outbox = Outbox {
            node: &node,
            wallet,
            journal,
            chain_id,
        };
        let mut nonce = outbox.next_nonce(sender).await?;
        for (rows, call, purpose) in self.calls(sender).await {
            if let Some(error) = self.stopped.clone() {
                rows.into_iter().for_each(|at| self.put(at, Err(error.clone())));
                continue;
            }
            let priced = node.simulate_with(&call, self.fees()).await;
            let sent = match priced {
                Ok(cost) => outbox.send(purpose, &call, &cost, nonce).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(entry) => {
                    nonce = nonce.saturating_add(1);
                    say(&format!("sent {} ({} channels)", entry.hash, rows.len()));
                    for at in &rows {
                        self.put(
                            *at,
                            Ok(("sent, not yet seen in a block".to_owned(), Some(entry.hash))),
                        );
                    }
                    self.sent.push(Sent { entry, call, rows });
                }
                Err(error) => {
                    // After an unanswered one, and without a journal, nothing more may be sent.
                    if matches!(
                        error,
                        SettleError::NotIncluded(_) | SettleError::Usage(_) | SettleError::Internal(_)
                    ) {
                        self.stopped = Some(error.clone());
                    }
                    rows.into_iter().for_each(|at| self.put(at, Err(error.clone())));
                }
            }
        }
        match self.args.tx.wait {
            Some(confirmations) => self.wait(&mut outbox, confirmations).await,
            None => Ok(()),
        }
    }

    /// The calls to send: one per channel, or one per fifty to finalize. What cannot be planned is in its row.
    async fn calls(&mut self, sender: Address) -> Vec<(Vec<usize>, Transaction, Purpose)> {
        let mut calls = Vec::new();
        let mut finals: BTreeMap<Address, Vec<(usize, CheckedEvidence)>> = BTreeMap::new();
        for (at, evidence) in self.good() {
            match self.plan(&evidence, sender).await {
                Err(error) => self.put(at, Err(error)),
                Ok(_) if self.how.verb == Verb::Finalize => {
                    let adjudicator = evidence.raw().adjudicator;
                    finals.entry(adjudicator).or_default().push((at, evidence));
                }
                Ok(plan) => calls.push((vec![at], plan.transaction(), Purpose::of(&plan, evidence.id()))),
            }
        }
        for channels in finals.values() {
            for chunk in channels.chunks(CHANNELS_PER_TX_MAX) {
                let many: Vec<_> = chunk.iter().map(|(_, evidence)| evidence).collect();
                let rows: Vec<_> = chunk.iter().map(|(at, _)| *at).collect();
                match sweep::finalize(&many, sender) {
                    Ok((call, purpose)) => calls.push((rows, call, purpose)),
                    Err(error) => rows.into_iter().for_each(|at| self.put(at, Err(error.clone()))),
                }
            }
        }
        calls
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
        let ours = one.entry.purpose.command == self.how.verb.name();
        for (at, evidence) in self.good() {
            if !one.entry.purpose.channels.contains(&evidence.id()) {
                continue;
            }
            match &one.fate {
                Fate::Pending => self.put(at, Err(SettleError::NotIncluded(one.text()))),
                Fate::Included(found) if ours && found.receipt.status() => {
                    // Planned again, in case there is more; when there is not, this is the result.
                    if let Some(row) = self.rows.get_mut(at) {
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

    async fn wait(&mut self, outbox: &mut Outbox<'_>, confirmations: u64) -> Result<(), SettleError> {
        for sent in std::mem::take(&mut self.sent) {
            let hash = sent.entry.hash;
            let mut teller = Teller::new(self.format).about(hash);
            let mut tell = |progress| teller.tell(progress);
            if sent.rows.len() == 1 {
                let mined = outbox
                    .wait(&sent.entry, &sent.call, confirmations, &mut tell)
                    .await;
                let word = mined.map(|mined| (format!("mined in block {}", mined.block), Some(hash)));
                sent.rows.into_iter().for_each(|at| self.put(at, word.clone()));
                continue;
            }
            let found = self.node.wait_included(hash, confirmations, &mut tell).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    sent.rows
                        .into_iter()
                        .for_each(|at| self.put(at, Err(error.clone())));
                    continue;
                }
            };
            outbox.ended(&sent.entry, &found)?;
            let failed = match found.receipt.status() {
                true => None,
                false => Some(outbox.node.explain(&sent.call, found.block).await),
            };
            for at in sent.rows {
                let id = self.rows.get(at).and_then(Row::id);
                let result = match (&failed, id) {
                    (Some(error), _) => Err(error.clone()),
                    (None, Some(id)) if closed(&found, sent.call.to, id) => {
                        Ok((format!("mined in block {}", found.block), Some(hash)))
                    }
                    (None, _) => Err(SettleError::NotNow(format!(
                        "{hash} skipped it on chain; run it again to see why"
                    ))),
                };
                self.put(at, result);
            }
        }
        Ok(())
    }
}

fn closed(found: &crate::settle::wait::Included, adjudicator: Address, id: ChannelId) -> bool {
    let proof = plan::Proof {
        event: IAdjudicator::Closed::SIGNATURE_HASH,
        about: id.0.into(),
        name: "Closed",
    };
    found.proves(adjudicator, &proof)
}
