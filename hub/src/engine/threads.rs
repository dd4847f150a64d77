//! The engine's threads, and the alarm that tells when one of them dies.

use super::{
    Inbound,
    run::{self, ToLedger},
    start::INBOUND_MAX,
    verify::Verifier,
};
use crate::execution::Execution;
use tokio::{runtime::Handle, sync::mpsc};

/// Tells when a thread dies of a panic: its queues close as if it had ended well.
struct PanicAlarm {
    thread: &'static str,
    alarms: mpsc::UnboundedSender<&'static str>,
}

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody listens when the process is ending anyway.
            let _ = self.alarms.send(self.thread);
        }
    }
}

/// Starts stages; a panic of one is told to `alarms`.
pub(super) struct Lanes {
    pub(super) execution: Execution,
    pub(super) alarms: mpsc::UnboundedSender<&'static str>,
}

impl Lanes {
    /// Runs `work` on a thread named `name`, or as a task.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), std::io::Error> {
        let alarm = PanicAlarm {
            thread: name,
            alarms: self.alarms.clone(),
        };
        let work = async move {
            let _alarm = alarm;
            work.await;
        };
        match self.execution {
            Execution::Inline => drop(tokio::spawn(work)),
            Execution::Threads => {
                let runtime = Handle::current();
                let named = std::thread::Builder::new().name(name.to_owned());
                named.spawn(move || runtime.block_on(work))?;
            }
        }
        Ok(())
    }

    /// The verify workers and, if there are several, the dispatcher.
    pub(super) fn spawn_verifiers(
        &self,
        calls: mpsc::Receiver<Inbound>,
        to_ledger: &mpsc::Sender<ToLedger>,
        verifiers: Vec<Verifier>,
    ) -> Result<(), std::io::Error> {
        let work = |verifier, queue| self.spawn("verify", run::work(verifier, queue, to_ledger.clone()));
        let verifiers = match <[Verifier; 1]>::try_from(verifiers) {
            Ok([alone]) => return work(alone, calls),
            Err(several) => several,
        };
        let mut queues = Vec::new();
        for verifier in verifiers {
            let (sender, queue) = mpsc::channel(INBOUND_MAX);
            queues.push(sender);
            work(verifier, queue)?;
        }
        self.spawn("dispatch", run::dispatch(calls, queues))
    }
}
