//! The threads between the sessions and the journal: dispatcher, verify workers, ledger.

use super::{
    Control, Inbound, Outboxes, Snapshot,
    verify::{Verified, Verifier},
};
use crate::ledger::{Input, Ledger, Output, Saved};
use crate::now::Now;
use std::{collections::VecDeque, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

/// Inputs of one commit, at most.
const COMMIT_INPUTS_MAX: usize = 2048;
/// Operations of one commit, at most, but for one frame: keeps a record far below what the store takes.
const COMMIT_OPS_MAX: usize = 16_384;
/// Calls that a worker takes together: enough to share inversions, few enough not to keep the ledger waiting.
const VERIFY_MAX: usize = 256;
/// Batches between workers and ledger.
pub(super) const BATCHES_MAX: usize = 32;
/// Batches that the ledger takes at once.
const TAKEN_MAX: usize = 8;
/// How long the ledger waits for inputs while subscribers have events to come.
const LAG_PAUSE: Duration = Duration::from_millis(2);
/// Between two times that some channels are made cold.
const COOL_PAUSE: Duration = Duration::from_millis(10);

/// What the ledger's thread takes.
#[derive(Debug)]
pub(super) enum ToLedger {
    Verified(Vec<Verified>),
    Control(Control),
}

/// What the ledger takes one by one.
enum Item {
    Verified(Verified),
    Control(Control),
}

/// What the journal takes: one commit, or a checkpoint of everything before it.
#[derive(Debug)]
pub(super) enum ToJournal {
    Commit {
        record: Option<(u64, Vec<u8>)>,
        outputs: Vec<Output>,
    },
    Checkpoint(Saved),
    /// An answer that may be given once everything before it is durable.
    Snapshot(oneshot::Sender<Snapshot>, Box<Snapshot>),
}

/// Hands calls to the workers. The calls of one session always go to the same one, so they stay in order.
pub(super) async fn dispatch(mut inbound: mpsc::Receiver<Inbound>, workers: Vec<mpsc::Sender<Inbound>>) {
    while let Some(call) = inbound.recv().await {
        let session = match &call {
            Inbound::Call { session, .. } | Inbound::Gone { session } => session.0,
        };
        let count = workers.len().max(1) as u64;
        let worker = usize::try_from(session.checked_rem(count).unwrap_or(0)).unwrap_or(0);
        let Some(worker) = workers.get(worker) else { return };
        if worker.send(call).await.is_err() {
            return;
        }
    }
}

/// One verify worker.
pub(super) async fn work(
    mut verifier: Verifier,
    mut calls: mpsc::Receiver<Inbound>,
    ledger: mpsc::Sender<ToLedger>,
) {
    let mut batch = Vec::with_capacity(VERIFY_MAX);
    while calls.recv_many(&mut batch, VERIFY_MAX).await > 0 {
        let verified = ToLedger::Verified(verifier.verify(&mut batch));
        if ledger.send(verified).await.is_err() {
            return;
        }
    }
}

/// When the ledger's state is written behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckpointPolicy {
    pub(super) every: Duration,
    pub(super) records: u64,
}

/// The ledger's thread. Ends when all senders are gone; its last act is a checkpoint.
pub(super) struct LedgerLoop {
    pub(super) ledger: Ledger,
    pub(super) inputs: mpsc::Receiver<ToLedger>,
    pub(super) journal: mpsc::Sender<ToJournal>,
    pub(super) now: Now,
    pub(super) checkpoint: CheckpointPolicy,
    pub(super) outboxes: Outboxes,
}

impl LedgerLoop {
    pub(super) async fn run(mut self) {
        let mut taken = Vec::new();
        let mut items = VecDeque::new();
        let mut last = Instant::now();
        let mut cooled = last;
        let mut records = 0_u64;
        loop {
            let got = match () {
                () if self.ledger.is_lagging() => self.poll(&mut taken, LAG_PAUSE).await,
                () if self.ledger.is_cooling() => self.poll(&mut taken, COOL_PAUSE).await,
                () => self.inputs.recv_many(&mut taken, TAKEN_MAX).await > 0,
            };
            if !got {
                break;
            }
            for batch in taken.drain(..) {
                match batch {
                    ToLedger::Verified(batch) => items.extend(batch.into_iter().map(Item::Verified)),
                    ToLedger::Control(control) => items.push_back(Item::Control(control)),
                }
            }
            loop {
                let together = commit_len(&items);
                match self.turn(items.drain(..together)).await {
                    Some(wrote) => records = records.saturating_add(u64::from(wrote)),
                    None => return,
                }
                if items.is_empty() {
                    break;
                }
            }
            if records >= self.checkpoint.records || (records > 0 && last.elapsed() >= self.checkpoint.every)
            {
                if self.write_behind().await.is_none() {
                    return;
                }
                (last, records) = (Instant::now(), 0);
            }
            if self.ledger.is_cooling() && cooled.elapsed() >= COOL_PAUSE {
                self.ledger.cool();
                cooled = Instant::now();
            }
        }
        let _ = self.write_behind().await;
    }

    /// Takes what is there without waiting long. False when all senders are gone.
    async fn poll(&mut self, taken: &mut Vec<ToLedger>, pause: Duration) -> bool {
        let count = timeout(pause, self.inputs.recv_many(taken, TAKEN_MAX)).await;
        count.map_or(true, |count| count > 0)
    }

    /// One commit. `None` when the journal is gone.
    async fn turn(&mut self, items: std::collections::vec_deque::Drain<'_, Item>) -> Option<bool> {
        let mut inputs = Vec::with_capacity(items.len());
        let mut refused = Vec::new();
        let mut asked = Vec::new();
        let mut questions = Vec::new();
        for item in items {
            match item {
                Item::Verified(Verified::Input(input)) => inputs.push(input),
                Item::Verified(Verified::Refused(refusal)) => {
                    let (origin, error) = *refusal;
                    refused.push(Output::Reply(origin, Err(error)));
                }
                Item::Control(Control::Chain(input)) => inputs.push(input),
                Item::Control(Control::Snapshot(sender)) => asked.push(sender),
                Item::Control(question) => questions.push(question),
            }
        }
        let outboxes = &self.outboxes;
        let ready = |session| outboxes.has_room(session);
        let mut commit = self.ledger.commit_paced(inputs, self.now.get(), &ready);
        commit.outputs.append(&mut refused);
        let wrote = commit.record.is_some();
        if wrote || !commit.outputs.is_empty() {
            let commit = ToJournal::Commit {
                record: commit.record,
                outputs: commit.outputs,
            };
            self.journal.send(commit).await.ok()?;
        }
        // After what came with the question.
        for question in questions {
            self.answer(question);
        }
        for sender in asked {
            let answer = ToJournal::Snapshot(sender, Box::new(self.snapshot()));
            self.journal.send(answer).await.ok()?;
        }
        Some(wrote)
    }

    /// What is told before it is durable: it leaves no trace on the chain by itself.
    fn answer(&self, question: Control) {
        // Nobody waits any more: then nobody misses it.
        match question {
            Control::Beliefs(sender) => drop(sender.send(self.ledger.beliefs())),
            Control::Liquidity(sender) => drop(sender.send(self.ledger.liquidity())),
            Control::Unsettled(above, shown, sender) => {
                drop(sender.send(self.ledger.unsettled(&above, &shown)));
            }
            Control::Chain(_) | Control::Snapshot(_) => {}
        }
    }

    async fn write_behind(&mut self) -> Option<()> {
        let saved = self.ledger.save();
        self.journal.send(ToJournal::Checkpoint(saved)).await.ok()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            chain: self.ledger.chain(),
            liquidity: self.ledger.reserves(),
            pending: self.ledger.pending_transactions(),
            disputed: self.ledger.disputed(),
            overdue: self.ledger.overdue(self.now.get()),
            broken: self.ledger.broken(),
            frozen: self.ledger.frozen(),
            channels: self.ledger.channels(),
            staked: self.ledger.staked(),
            hot: self.ledger.hot(),
            remembered: self.ledger.remembered(),
            forwarded_locks: self.ledger.forwarded_locks(),
            unsynced: self.ledger.unsynced(),
            rollbacks: self.ledger.rollbacks(),
        }
    }
}

/// How many of `items` fit into one commit; at least one, if there is one.
fn commit_len(items: &VecDeque<Item>) -> usize {
    let mut ops = 0_usize;
    let fits = |item: &&Item| {
        let before = ops;
        ops = ops.saturating_add(weight(item));
        before < COMMIT_OPS_MAX
    };
    items.iter().take(COMMIT_INPUTS_MAX).take_while(fits).count()
}

fn weight(item: &Item) -> usize {
    match item {
        Item::Verified(Verified::Input(input)) => match input.as_ref() {
            Input::Frame { ops, .. } => ops.len().saturating_add(1),
            _ => 1,
        },
        Item::Control(Control::Chain(input)) => match input.as_ref() {
            Input::Chain(block) => block.facts.len().saturating_add(1),
            _ => 1,
        },
        _ => 1,
    }
}
