//! The threads between the sessions and the journal: dispatcher, verify workers, ledger.

use super::{
    Control, Inbound, Snapshot,
    verify::{Verified, Verifier},
};
use crate::ledger::{Input, Ledger, Output};
use crate::store::Checkpoint;
use protocol_spec::UnixSeconds;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Inputs of one commit, at most.
const COMMIT_INPUTS_MAX: usize = 2048;
/// Inputs between ledger and workers.
pub(super) const INPUTS_MAX: usize = 8192;
/// How often the ledger wakes without inputs, to show events to slow subscribers.
const IDLE: Duration = Duration::from_millis(50);

/// Where `now` comes from.
pub type NowFn = Arc<dyn Fn() -> UnixSeconds + Send + Sync>;

/// What the ledger's thread takes.
#[derive(Debug)]
pub(super) enum ToLedger {
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
    Checkpoint(Checkpoint),
}

/// Hands calls to the workers. The calls of one session always go to the same one, so they stay in order.
pub(super) fn dispatch(mut inbound: mpsc::Receiver<Inbound>, workers: &[mpsc::Sender<Inbound>]) {
    while let Some(call) = inbound.blocking_recv() {
        let session = match &call {
            Inbound::Call { session, .. } | Inbound::Gone { session } => session.0,
        };
        let count = workers.len().max(1) as u64;
        let worker = usize::try_from(session.checked_rem(count).unwrap_or(0)).unwrap_or(0);
        let Some(worker) = workers.get(worker) else { return };
        if worker.blocking_send(call).is_err() {
            return;
        }
    }
}

/// One verify worker.
pub(super) fn work(verifier: &Verifier, mut calls: mpsc::Receiver<Inbound>, ledger: &mpsc::Sender<ToLedger>) {
    while let Some(call) = calls.blocking_recv() {
        if ledger
            .blocking_send(ToLedger::Verified(verifier.verify(call)))
            .is_err()
        {
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
    pub(super) now: NowFn,
    pub(super) checkpoint: CheckpointPolicy,
}

impl LedgerLoop {
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        let mut last = Instant::now();
        let mut records = 0_u64;
        loop {
            let got = if self.ledger.is_lagging() {
                self.poll(&mut batch)
            } else {
                self.inputs.blocking_recv_many(&mut batch, COMMIT_INPUTS_MAX) > 0
            };
            if !got {
                break;
            }
            match self.turn(&mut batch) {
                Some(wrote) => records = records.saturating_add(u64::from(wrote)),
                None => return,
            }
            if records >= self.checkpoint.records || (records > 0 && last.elapsed() >= self.checkpoint.every)
            {
                if self.write_behind().is_none() {
                    return;
                }
                (last, records) = (Instant::now(), 0);
            }
        }
        let _ = self.write_behind();
    }

    /// Takes what is there without waiting long. False when all senders are gone.
    fn poll(&mut self, batch: &mut Vec<ToLedger>) -> bool {
        while batch.len() < COMMIT_INPUTS_MAX {
            match self.inputs.try_recv() {
                Ok(input) => batch.push(input),
                Err(mpsc::error::TryRecvError::Empty) => {
                    if batch.is_empty() {
                        std::thread::sleep(IDLE.min(Duration::from_millis(2)));
                    }
                    return true;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => return !batch.is_empty(),
            }
        }
        true
    }

    /// One commit. `None` when the journal is gone.
    fn turn(&mut self, batch: &mut Vec<ToLedger>) -> Option<bool> {
        let mut inputs = Vec::with_capacity(batch.len());
        let mut refused = Vec::new();
        let mut asked = Vec::new();
        for item in batch.drain(..) {
            match item {
                ToLedger::Verified(Verified::Input(input)) => inputs.push(input),
                ToLedger::Verified(Verified::Refused(origin, error)) => {
                    refused.push(Output::Reply(origin, Err(error)));
                }
                ToLedger::Control(Control::Block(block)) => inputs.push(Input::Chain(block)),
                ToLedger::Control(Control::DisputeSeen { channel, dispute_no }) => {
                    inputs.push(Input::DisputeSeen { channel, dispute_no });
                }
                ToLedger::Control(Control::Snapshot(sender)) => asked.push(sender),
            }
        }
        let mut commit = self.ledger.commit(inputs, (self.now)());
        for sender in asked {
            drop(sender.send(self.snapshot()));
        }
        commit.outputs.append(&mut refused);
        let wrote = commit.record.is_some();
        if wrote || !commit.outputs.is_empty() {
            let commit = ToJournal::Commit {
                record: commit.record,
                outputs: commit.outputs,
            };
            self.journal.blocking_send(commit).ok()?;
        }
        Some(wrote)
    }

    fn write_behind(&mut self) -> Option<()> {
        let checkpoint = self.ledger.checkpoint();
        self.journal.blocking_send(ToJournal::Checkpoint(checkpoint)).ok()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            chain: self.ledger.chain(),
            reserve_needs: self.ledger.reserve_needs(),
            pending: self.ledger.pending_transactions(),
            disputed: self.ledger.disputed(),
            channels: self.ledger.channels(),
            rolled_back: self.ledger.rolled_back(),
        }
    }
}
