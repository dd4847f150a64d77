//! The journal's task: makes commits durable one after the other, and hands on what is durable.
//!
//! A failed commit stops the process: what was signed or acknowledged after it could be lost.

use super::run::ToJournal;
use crate::{
    ledger::{Output, Saved},
    store::{Durable, Epoch, JournalRecord, ShardId, Store, StoreError},
};
use protocol_spec::canary::{Canary, planted};
use std::sync::Arc;
use tokio::{sync::mpsc, time::Instant};

/// What seal takes: outputs whose commit is durable. Without a record there was nothing to make durable.
#[derive(Debug)]
pub(super) struct Sealable {
    pub(super) durable: Option<Durable>,
    pub(super) outputs: Vec<Output>,
}

/// The journal's side of the store.
pub(super) struct Journal {
    pub(super) store: Arc<dyn Store>,
    pub(super) shard: ShardId,
    pub(super) epoch: Epoch,
}

impl Journal {
    /// Runs until the ledger is done, then waits for the last checkpoint. Errors: the process must stop.
    pub(super) async fn run(
        self,
        mut commits: mpsc::Receiver<ToJournal>,
        seal: mpsc::Sender<Sealable>,
    ) -> Result<(), StoreError> {
        let (checkpoints, behind) = mpsc::channel(1);
        let writer = tokio::spawn(write_behind(self.store.clone(), self.shard, self.epoch, behind));
        while let Some(item) = commits.recv().await {
            match item {
                ToJournal::Commit { record, mut outputs } => {
                    if planted(Canary::AcknowledgeBeforeCommit) {
                        let outputs = std::mem::take(&mut outputs);
                        let early = Sealable {
                            durable: None,
                            outputs,
                        };
                        drop(seal.send(early).await);
                    }
                    let durable = match record {
                        Some((number, bytes)) => match self.append(number, bytes).await {
                            Err(error) if !planted(Canary::GoOnAfterError) => return Err(error),
                            appended => appended.ok(),
                        },
                        None => None,
                    };
                    if seal.send(Sealable { durable, outputs }).await.is_err() {
                        break;
                    }
                }
                // Whoever acts on it signs what the ledger agreed to: that must be durable first.
                ToJournal::Snapshot(sender, snapshot) => drop(sender.send(*snapshot)),
                ToJournal::Checkpoint(saved) => {
                    if checkpoints.send(saved).await.is_err() {
                        break;
                    }
                }
            }
        }
        drop(checkpoints);
        writer
            .await
            .map_err(|error| StoreError::CommitFailed(error.to_string()))?
    }

    async fn append(&self, number: u64, bytes: Vec<u8>) -> Result<Durable, StoreError> {
        let began = Instant::now();
        metrics::histogram!("hub_journal_record_bytes")
            .record(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let durable = self
            .store
            .append(self.shard, self.epoch, JournalRecord { number, bytes })
            .await?;
        metrics::histogram!("hub_commit_seconds").record(began.elapsed());
        metrics::counter!("hub_commits_total").increment(1);
        Ok(durable)
    }
}

/// Checkpoints and trims, beside the commits.
async fn write_behind(
    store: Arc<dyn Store>,
    shard: ShardId,
    epoch: Epoch,
    mut checkpoints: mpsc::Receiver<Saved>,
) -> Result<(), StoreError> {
    while let Some(mut saved) = checkpoints.recv().await {
        // In steps: connections are served on this thread as well.
        while saved.write_some() {
            tokio::task::yield_now().await;
        }
        let checkpoint = saved.into_checkpoint();
        let below = checkpoint.upto.saturating_add(1);
        store.checkpoint(shard, epoch, checkpoint).await?;
        while store.trim(shard, epoch, below).await?.more {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
