//! Owns one file's writing side: on a thread, so that no commit blocks the async runtime, or inline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::database::panic_text;
use crate::execution::Execution;
use crate::store::StoreError;

/// Jobs that wait for the thread; more callers than that wait before they enter the queue.
const QUEUE_JOBS: usize = 16;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Set once a commit failed; shared by everything that belongs to one store.
#[derive(Clone, Debug, Default)]
pub(super) struct Poison(Arc<AtomicBool>);

impl Poison {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.0.load(Ordering::Acquire) {
            Err(StoreError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// Runs a job that may panic; a panic or a failed commit poisons the store before anybody hears of it.
    pub(super) fn guard<R>(&self, job: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
        self.check()?;
        let result = catch_unwind(AssertUnwindSafe(job))
            .unwrap_or_else(|panic| Err(StoreError::CommitFailed(panic_text(panic.as_ref()))));
        if matches!(result, Err(StoreError::CommitFailed(_))) {
            self.0.store(true, Ordering::Release);
        }
        result
    }
}

/// Runs jobs on the owned value, one after another, in the order of arrival.
pub(super) struct Worker<T> {
    lane: Lane<T>,
    poison: Poison,
}

enum Lane<T> {
    Thread {
        queue: mpsc::Sender<Job<T>>,
        thread: JoinHandle<()>,
    },
    /// Jobs run where they are asked for; none of them waits while it holds the lock.
    Inline(Box<Mutex<T>>),
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread, if there is to be one. It stops when the worker is dropped and the queue is empty.
    pub(super) fn start(
        name: &str,
        mut owned: T,
        poison: Poison,
        execution: Execution,
    ) -> std::io::Result<Self> {
        let lane = match execution {
            Execution::Inline => Lane::Inline(Box::new(Mutex::new(owned))),
            Execution::Threads => {
                let (queue, mut jobs) = mpsc::channel::<Job<T>>(QUEUE_JOBS);
                let thread = Builder::new().name(name.to_owned()).spawn(move || {
                    while let Some(job) = jobs.blocking_recv() {
                        job(&mut owned);
                    }
                })?;
                Lane::Thread { queue, thread }
            }
        };
        Ok(Self { lane, poison })
    }

    /// Runs one job and waits for its result.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let queue = match &self.lane {
            Lane::Thread { queue, .. } => queue,
            Lane::Inline(owned) => {
                // A job that panicked poisoned the store: nobody gets this far after it.
                let run = || job(&mut owned.lock().unwrap_or_else(PoisonError::into_inner));
                return self.poison.guard(run);
            }
        };
        let (reply, answer) = oneshot::channel();
        let poison = self.poison.clone();
        let job: Job<T> = Box::new(move |owned| {
            let result = poison.guard(|| job(owned));
            // The caller may have gone: see "Cancel safety" of the port.
            let _gone = reply.send(result);
        });
        queue.send(job).await.map_err(|_| StoreError::Poisoned)?;
        answer.await.map_err(|_| StoreError::Poisoned)?
    }

    /// Lets the queue run dry and waits for the end of the thread.
    pub(super) fn stop(self) -> std::thread::Result<()> {
        match self.lane {
            Lane::Inline(_) => Ok(()),
            Lane::Thread { queue, thread } => {
                drop(queue);
                thread.join()
            }
        }
    }
}
