//! Starting and stopping the engine: restore, replay, then the threads and tasks.

use super::{
    Control, Engine, Outboxes,
    journal::Journal,
    restore::restore,
    run::{BATCHES_MAX, CheckpointPolicy, LedgerLoop, ToJournal, ToLedger},
    seal::Seal,
    signatures::Signatures,
    start_error::StartError,
    threads::Lanes,
    verify::Hub,
};
use crate::{
    execution::Execution,
    ledger::{CHECKS_MAX, Check, Input, Ledger, Policy, RowItems},
    now::Now,
    store::{ShardId, Store},
};
use futures::future::BoxFuture;
use protocol_spec::{Domain, GuardError, SignerKey, UnixSeconds, message::HubInfo};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};

/// Calls of all sessions that wait for a worker.
pub(super) const INBOUND_MAX: usize = 8192;
/// Commits between ledger and journal: one is written, one is ready.
const COMMITS_MAX: usize = 2;

/// What the engine is made of.
pub struct EngineOptions {
    /// EIP-712 domain.
    pub domain: Domain,
    /// Told to every client.
    pub info: HubInfo,
    /// The operator's decisions.
    pub policy: Policy,
    /// The hub's voucher key.
    pub key: SignerKey,
    /// Durable storage, already opened.
    pub store: Arc<dyn Store>,
    /// The shard served.
    pub shard: ShardId,
    /// The ledger's time.
    pub now: Now,
    /// Where the stages run.
    pub execution: Execution,
    /// Number of verify stages.
    pub workers: usize,
    /// How they verify.
    pub signatures: Signatures,
    /// Longest time between checkpoints.
    pub checkpoint_every: Duration,
    /// Most records between checkpoints.
    pub checkpoint_records: u64,
    /// Rows of checkpoints.
    pub rows: RowItems,
}

/// The running engine.
pub struct Running {
    /// For sessions.
    pub engine: Engine,
    /// For the chain driver.
    pub control: ControlHandle,
    /// Questions to resolvers, each to be answered by an [`Input::Checked`]. Ends with the engine.
    pub checks: mpsc::Receiver<Check>,
    /// Ends with an error when the process must stop: a commit failed or the guard refused.
    pub fatal: JoinHandle<Result<(), String>>,
}

/// Asks the ledger's thread.
#[derive(Clone, Debug)]
pub struct ControlHandle(mpsc::Sender<ToLedger>);

impl ControlHandle {
    /// Hands over a request; waits while the queue is full. False when the engine has stopped.
    pub async fn send(&self, control: Control) -> bool {
        self.0.send(ToLedger::Control(control)).await.is_ok()
    }

    /// Tells the ledger what the chain told. False when the engine has stopped.
    pub async fn tell(&self, input: crate::ledger::Input) -> bool {
        self.send(Control::Chain(Box::new(input))).await
    }

    /// A handle that does not keep the engine running.
    #[must_use]
    pub fn downgrade(&self) -> WeakControl {
        WeakControl(self.0.downgrade())
    }

    /// What is to be done on chain; `None` when the engine has stopped.
    pub async fn snapshot(&self) -> Option<super::Snapshot> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.send(Control::Snapshot(sender)).await.then_some(())?;
        receiver.await.ok()
    }

    /// The reserves, for the operator; `None` when the engine has stopped.
    pub async fn liquidity(&self) -> Option<crate::ledger::Liquidity> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.send(Control::Liquidity(sender)).await.then_some(())?;
        receiver.await.ok()
    }

    /// See [`Control::Unsettled`]; `None` when the engine has stopped. What is shown to the chain was durable before it
    /// was acknowledged, and is the client's own signature.
    pub async fn unsettled(
        &self,
        above: std::collections::BTreeMap<protocol_spec::Address, protocol_spec::Amount>,
        shown: std::collections::HashMap<protocol_spec::ChannelId, protocol_spec::Amount>,
    ) -> Option<Vec<crate::ledger::Unsettled>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let question = Control::Unsettled(above, shown, sender);
        self.send(question).await.then_some(())?;
        receiver.await.ok()
    }

    /// What the ledger believes of every channel; `None` when the engine has stopped.
    pub async fn beliefs(&self) -> Option<Vec<crate::ledger::Belief>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.send(Control::Beliefs(sender)).await.then_some(())?;
        receiver.await.ok()
    }
}

/// A handle that does not keep the engine running.
#[derive(Clone, Debug)]
pub struct WeakControl(mpsc::WeakSender<ToLedger>);

impl WeakControl {
    /// As [`ControlHandle::tell`].
    pub async fn tell(&self, input: crate::ledger::Input) -> bool {
        match self.0.upgrade() {
            Some(sender) => ControlHandle(sender).tell(input).await,
            None => false,
        }
    }
}

/// Restores the ledger, replays the journal's tail and starts all stages. Stop it by dropping every [`Engine`] and
/// [`ControlHandle`]: what was accepted is made durable, a last checkpoint is written, then `fatal` ends with `Ok`.
pub fn start(options: EngineOptions) -> BoxFuture<'static, Result<Running, StartError>> {
    Box::pin(async move {
        let loaded = options.store.acquire(options.shard).await?;
        let info = &options.info;
        let mut ledger = Ledger::new(options.domain, info.hub, info.hub_signer).with_rows(options.rows);
        let (store, shard, execution) = (options.store.as_ref(), options.shard, options.execution);
        let guard = restore(&mut ledger, store, shard, loaded.upto, execution).await?;
        tracing::info!(
            channels = ledger.channels(),
            records = loaded.last,
            "ledger restored"
        );

        let (inbound, calls) = mpsc::channel(INBOUND_MAX);
        let (to_ledger, inputs) = mpsc::channel(BATCHES_MAX);
        let (to_journal, commits) = mpsc::channel(COMMITS_MAX);
        let (to_seal, batches) = mpsc::channel(COMMITS_MAX);
        let outboxes = Outboxes::default();
        let now = options.now.get();
        let first = first_commit(&mut ledger, options.policy, now);
        drop(to_journal.send(first).await);

        let hub = Hub {
            domain: options.domain,
            hub_key: options.key.public(),
            server: info.server.clone(),
        };
        let (alarms, panics) = mpsc::unbounded_channel();
        let lanes = Lanes { execution, alarms };
        let verifiers = lanes.verifiers(&hub, options.signatures, options.workers)?;
        lanes.spawn_verifiers(calls, &to_ledger, verifiers)?;
        let (every, records) = (options.checkpoint_every, options.checkpoint_records);
        let ledger_loop = LedgerLoop {
            ledger,
            inputs,
            journal: to_journal,
            now: options.now,
            checkpoint: CheckpointPolicy { every, records },
            outboxes: outboxes.clone(),
        };
        lanes.spawn("ledger", ledger_loop.run())?;
        drop(lanes);

        let journal = Journal {
            store: options.store,
            shard: options.shard,
            epoch: loaded.epoch,
        };
        let (asking, checks) = mpsc::channel(CHECKS_MAX);
        let seal = Seal {
            key: options.key,
            domain: options.domain,
            guard,
            outboxes: outboxes.clone(),
            checks: asking,
        };
        let fatal = tokio::spawn(watch(supervise(journal, seal, commits, to_seal, batches), panics));
        let engine = Engine {
            inbound,
            outboxes,
            info: Arc::new(options.info),
        };
        Ok(Running {
            engine,
            control: ControlHandle(to_ledger),
            checks,
            fatal,
        })
    })
}

/// The operator's decisions are the first input of every start. The logs of events keep their epoch for the life of the
/// database.
fn first_commit(ledger: &mut Ledger, mut policy: Policy, now: UnixSeconds) -> ToJournal {
    policy.log_epoch = Some(ledger.log_epoch())
        .filter(|epoch| *epoch != 0)
        .unwrap_or(now.0);
    let commit = ledger.commit(vec![Input::Policy(policy)], now);
    ToJournal::Commit {
        record: commit.record,
        outputs: commit.outputs,
    }
}

async fn supervise(
    journal: Journal,
    seal: Seal,
    commits: mpsc::Receiver<ToJournal>,
    to_seal: mpsc::Sender<super::journal::Sealable>,
    batches: mpsc::Receiver<super::journal::Sealable>,
) -> Result<(), String> {
    let mut sealing = tokio::spawn(seal.run(batches));
    let writing = journal.run(commits, to_seal);
    tokio::pin!(writing);
    let written = tokio::select! {
        biased;
        written = &mut writing => written.map_err(|error| error.to_string()),
        // Before the journal is done only a refusal or a panic ends it.
        sealed = &mut sealing => return flatten(sealed).and(Err("seal ended before the journal".to_owned())),
    };
    written.and(flatten(sealing.await))
}

fn flatten(sealed: Result<Result<(), GuardError>, tokio::task::JoinError>) -> Result<(), String> {
    let done = sealed.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// The result of the tasks, unless a thread panicked: then the process must stop, too.
async fn watch(
    tasks: impl Future<Output = Result<(), String>>,
    mut panics: mpsc::UnboundedReceiver<&'static str>,
) -> Result<(), String> {
    let panicked = |thread| Err(format!("the {thread} thread panicked"));
    tokio::pin!(tasks);
    let done = tokio::select! {
        biased;
        Some(thread) = panics.recv() => return panicked(thread),
        done = &mut tasks => done,
    };
    done?;
    panics.recv().await.map_or(Ok(()), panicked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digests::samples::voucher,
        engine::SessionId,
        ledger::{FrameOut, Issue, Output},
        store::MemoryStore,
    };
    use protocol_spec::{Address, Seq};

    const SESSION: SessionId = SessionId(1);

    /// A voucher with this seq and this content, for the session.
    fn frame(domain: &Domain, seq: u64, content: u8) -> Output {
        let voucher = protocol_spec::Voucher {
            channel_id: voucher(1).channel_id,
            seq: Seq(seq),
            ..voucher(content)
        };
        let digest = voucher.digest(domain);
        let issue = Issue {
            voucher,
            digest,
            ops: Vec::new(),
        };
        Output::Frame(FrameOut {
            session: Some(SESSION),
            issue: Arc::new(issue),
            again: false,
        })
    }

    /// G1: a ledger that is wrong asks for a second voucher of one seq, or for an older one. It is not signed, nothing of its
    /// batch leaves, and the engine ends with an error while there is still more to do.
    #[tokio::test]
    async fn g1_a_refused_signature_ends_the_engine_and_nothing_of_its_batch_leaves() {
        for (seq, says) in [(3, "seq 3 was signed"), (1, "newest signed seq is 3")] {
            let domain = Domain::new(31_337, Address::repeat_byte(0xad));
            let store = Arc::new(MemoryStore::new());
            let shard = ShardId(0);
            let epoch = store.acquire(shard).await.unwrap().epoch;
            let (commits, to_journal) = mpsc::channel(COMMITS_MAX);
            let (to_seal, batches) = mpsc::channel(COMMITS_MAX);
            let outboxes = Outboxes::default();
            let mut inbox = outboxes.open(SESSION, 16);
            let seal = Seal {
                key: SignerKey::from_bytes(&[9; 32]).unwrap(),
                domain,
                guard: protocol_spec::SigningGuard::default(),
                outboxes: outboxes.clone(),
                checks: mpsc::channel(1).0,
            };
            let journal = Journal { store, shard, epoch };
            let running = tokio::spawn(supervise(journal, seal, to_journal, to_seal, batches));
            for (number, contents) in [(1, [(1, 1), (2, 2)]), (2, [(3, 3), (seq, 4)])] {
                let outputs = contents.map(|(seq, content)| frame(&domain, seq, content)).into();
                let record = Some((number, vec![7]));
                let commit = ToJournal::Commit { record, outputs };
                commits.send(commit).await.unwrap();
            }
            assert_eq!(
                inbox.recv().await.unwrap().len(),
                2,
                "the vouchers of the first batch"
            );
            let ended = tokio::time::timeout(Duration::from_secs(10), running).await;
            let error = ended.expect("it ends by itself").unwrap().unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(inbox.try_recv().is_none(), "nothing of the second leaves");
            drop(commits);
        }
    }
}
