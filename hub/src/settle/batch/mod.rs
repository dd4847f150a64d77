//! `settle batch`: the verbs over evidence files and directories of them, with one key or many. A failure of one channel does
//! not stop the others.

mod group;
mod keys;
mod messages;
mod render;
mod send;
mod task;

use super::{
    Exit, Node, SettleError, Verb,
    args::Format,
    args_batch::{BatchMessageArgs, BatchPlanArgs, BatchVerb},
    evidence::{CheckedDirection, CheckedEvidence},
    files::{load, named_files, say},
    outlook::{Outcome, outcomes},
    output::Output,
    view::View,
};
use alloy::primitives::TxHash;
use futures::{StreamExt as _, stream};
use messages::Messages;
use protocol_spec::{Address, ChannelId};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use task::Task;

/// Reads under way at once.
const READS_AT_ONCE: usize = 8;

/// One file and what became of it.
pub(super) struct Row {
    file: PathBuf,
    evidence: Option<CheckedEvidence>,
    result: Result<Good, SettleError>,
    /// What an earlier run did for it, and this one found.
    earlier: Option<(String, TxHash)>,
}

/// What is known of a channel whose file is good.
#[derive(Clone, Debug, Default)]
struct Good {
    view: Option<View>,
    outcomes: Vec<Outcome>,
    /// Words for the table.
    word: String,
    sender: Option<Address>,
    transaction: Option<TxHash>,
}

impl Row {
    /// A file that is no use.
    fn bad(file: PathBuf, error: SettleError) -> Self {
        Self {
            file,
            evidence: None,
            result: Err(error),
            earlier: None,
        }
    }

    fn id(&self) -> Option<ChannelId> {
        self.evidence.as_ref().map(CheckedEvidence::id)
    }
}

/// Runs one of the verbs.
pub(super) async fn run(verb: &BatchVerb, format: Format) -> Result<Output, SettleError> {
    let (args, task) = match verb {
        BatchVerb::Plan(args) => return plan(args).await,
        BatchVerb::Dispute(args) => {
            let task = Task::Verb {
                verb: Verb::Dispute,
                without_evidence: args.without_evidence,
            };
            (&args.send, task)
        }
        BatchVerb::Submit(args) => (args, Task::verb(Verb::Submit)),
        BatchVerb::Resolve(args) => (args, Task::verb(Verb::Resolve)),
        BatchVerb::Finalize(args) => (args, Task::verb(Verb::Finalize)),
        BatchVerb::Claim(args) => {
            let (token, to) = (args.token, args.to);
            (&args.send, Task::Claim { token, to })
        }
        BatchVerb::Close(args) => return relay(args, "close", format).await,
        BatchVerb::Withdraw(args) => return relay(args, "withdraw", format).await,
        BatchVerb::CancelDispute(args) => return relay(args, "cancel-dispute", format).await,
    };
    send::run(args, task, Vec::new(), format).await
}

async fn relay(
    args: &BatchMessageArgs,
    command: &'static str,
    format: Format,
) -> Result<Output, SettleError> {
    let (messages, bad) = Messages::read(&args.messages, command)?;
    send::run(&args.send, Task::Relay { command, messages }, bad, format).await
}

async fn plan(args: &BatchPlanArgs) -> Result<Output, SettleError> {
    let node = Node::open(&args.node).await?;
    let mut rows = rows(&args.paths, &node).await?;
    look(&node, &mut rows).await;
    let mut json = render::plan_json(&rows);
    warn(&node, &mut json).await;
    Ok(Output {
        exit: exit(&rows),
        text: render::plan_table(&rows),
        json,
    })
}

/// Says so, in words and in `warnings`, when the nodes are stuck. One that does not answer is in every row already.
async fn warn(node: &Node, json: &mut Value) {
    let stale = node.head().await.ok().and_then(|head| node.stale(head));
    stale.iter().for_each(|text| say(&format!("warning: {text}")));
    if let Some(object) = json.as_object_mut() {
        object.insert(
            "warnings".to_owned(),
            json!(stale.into_iter().collect::<Vec<_>>()),
        );
    }
}

/// The files, each checked, and checked against the node.
async fn rows(named: &[PathBuf], node: &Node) -> Result<Vec<Row>, SettleError> {
    let mut paths = Vec::new();
    for path in named {
        paths.extend(named_files("dir", path, "json")?);
    }
    // Named twice is one file.
    let mut once = BTreeSet::new();
    paths.retain(|path| once.insert(path.clone()));
    let mut checked: BTreeMap<(u64, Address), Result<(), SettleError>> = BTreeMap::new();
    let files: Vec<_> = paths.into_iter().map(|file| (load(&file), file)).collect();
    let best = best_of(&files);
    let mut rows = Vec::new();
    for (loaded, file) in files {
        let (evidence, result) = match loaded {
            Err(error) => (None, Err(error)),
            Ok(evidence) => {
                let domain = (evidence.raw().chain_id, evidence.raw().adjudicator);
                let fine = match checked.get(&domain) {
                    Some(known) => known.clone(),
                    None => {
                        let answer = node.check(evidence.domain()).await;
                        checked.insert(domain, answer.clone());
                        answer
                    }
                };
                let result = match best.get(&evidence.id()) {
                    Some((_, better)) if *better != file => Err(SettleError::Usage(format!(
                        "of the same channel as {}, which is used: keep that one only",
                        better.display()
                    ))),
                    _ => fine.map(|()| Good::default()),
                };
                (Some(evidence), result)
            }
        };
        rows.push(Row {
            file,
            evidence,
            result,
            earlier: None,
        });
    }
    Ok(rows)
}

/// What evidence can do: a voucher that is newer, pays more, is no package (whose locks nobody resolves), has more witnesses,
/// has what was sent later.
type Reach = (u64, u128, bool, usize, u64);

/// Of several files of one channel the one that can do most, the first of those alike: an older file must not keep it back.
fn best_of(
    files: &[(Result<CheckedEvidence, SettleError>, PathBuf)],
) -> BTreeMap<ChannelId, (Reach, PathBuf)> {
    let mut best: BTreeMap<ChannelId, (Reach, PathBuf)> = BTreeMap::new();
    for (loaded, file) in files {
        let Ok(evidence) = loaded else { continue };
        let received = evidence.received();
        let newest = |direction: &CheckedDirection| {
            let voucher = direction.voucher.as_ref().map(|voucher| voucher.voucher());
            voucher.map_or((0, 0), |voucher| (voucher.seq.0, voucher.paid.0))
        };
        let ((seq, paid), (sent_seq, _)) = (newest(received), newest(evidence.sent()));
        let own = evidence.accept().is_none();
        let reach = (seq, paid, own, received.witnesses.len(), sent_seq);
        let held = best.get(&evidence.id());
        if held.is_none_or(|(most, _)| reach > *most) {
            best.insert(evidence.id(), (reach, file.clone()));
        }
    }
    best
}

/// Reads every good channel.
async fn look(node: &Node, rows: &mut [Row]) {
    let reads = rows.iter().enumerate().filter_map(|(at, row)| {
        let evidence = row.evidence.as_ref().filter(|_| row.result.is_ok())?;
        Some(async move { (at, View::read(node, evidence).await) })
    });
    let views: Vec<_> = stream::iter(reads)
        .buffer_unordered(READS_AT_ONCE)
        .collect()
        .await;
    for (at, view) in views {
        let Some(row) = rows.get_mut(at) else { continue };
        let Some(evidence) = &row.evidence else { continue };
        row.result = view.map(|view| Good {
            outcomes: outcomes(&view, evidence),
            view: Some(view),
            ..Good::default()
        });
    }
}

/// Some failed: that. Else nothing to do anywhere, or done.
fn exit(rows: &[Row]) -> Exit {
    let idle = |row: &Row| matches!(row.result, Err(SettleError::NothingToDo(_)));
    let alike = rows
        .iter()
        .filter_map(|row| row.result.as_ref().err())
        .filter(|error| !matches!(error, SettleError::NothingToDo(_)));
    let codes: Vec<Exit> = alike.map(SettleError::exit).collect();
    match codes.first() {
        // Nothing was done, and all for the same reason: then that says more.
        Some(first)
            if rows.iter().all(|row| row.result.is_err()) && codes.iter().all(|code| code == first) =>
        {
            *first
        }
        Some(_) => Exit::Partly,
        None if rows.iter().all(idle) => Exit::NothingToDo,
        None => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_in_all_that_had_something_to_do_is_the_exit() {
        let early = || Err(SettleError::NotNow(String::new()));
        let idle = || Err(SettleError::NothingToDo(String::new()));
        let of = |results: Vec<Result<Good, SettleError>>| {
            let rows = results.into_iter().map(|result| Row {
                file: PathBuf::new(),
                evidence: None,
                result,
                earlier: None,
            });
            exit(&rows.collect::<Vec<_>>())
        };
        assert_eq!(of(vec![early(), idle()]), Exit::NotNow);
        assert_eq!(of(vec![early(), early()]), Exit::NotNow);
        assert_eq!(of(vec![idle(), idle()]), Exit::NothingToDo);
        assert_eq!(of(vec![Ok(Good::default()), early()]), Exit::Partly);
        let refused = Err(SettleError::Refused(String::new()));
        assert_eq!(of(vec![early(), refused]), Exit::Partly);
        assert_eq!(of(vec![Ok(Good::default()), idle()]), Exit::Done);
    }
}
