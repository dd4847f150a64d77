//! The engine's threads, and the alarm that tells when one of them dies.

use super::{
    Inbound,
    run::{self, ToLedger},
    start::INBOUND_MAX,
    verify::Verifier,
};
use tokio::sync::mpsc;

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

/// Starts a thread whose panic is told to `alarms`.
pub(super) fn spawn(
    name: &'static str,
    alarms: &mpsc::UnboundedSender<&'static str>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), std::io::Error> {
    let alarm = PanicAlarm {
        thread: name,
        alarms: alarms.clone(),
    };
    let named = std::thread::Builder::new().name(name.to_owned());
    named.spawn(move || {
        let _alarm = alarm;
        work();
    })?;
    Ok(())
}

/// The dispatcher and the verify workers.
pub(super) fn spawn_threads(
    calls: mpsc::Receiver<Inbound>,
    to_ledger: &mpsc::Sender<ToLedger>,
    verifier: &Verifier,
    workers: usize,
    alarms: &mpsc::UnboundedSender<&'static str>,
) -> Result<(), std::io::Error> {
    let mut queues = Vec::new();
    for _ in 0..workers {
        let (sender, queue) = mpsc::channel(INBOUND_MAX);
        queues.push(sender);
        let (verifier, to_ledger) = (verifier.clone(), to_ledger.clone());
        spawn("verify", alarms, move || run::work(&verifier, queue, &to_ledger))?;
    }
    spawn("dispatch", alarms, move || run::dispatch(calls, &queues))
}
