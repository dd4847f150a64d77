//! One switch that everything long-running watches.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// The switch. Cheap to clone; all clones are one switch, and it cannot be switched back.
/// Whoever waits is woken in the order in which it began to wait.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    stop: AtomicBool,
    waiting: Notify,
}

impl Shutdown {
    /// A switch that is off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop.
    pub fn trigger(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        self.0.waiting.notify_waiters();
    }

    /// True once somebody has asked.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.0.stop.load(Ordering::SeqCst)
    }

    /// Waits until somebody asks. Cancel safe.
    pub async fn triggered(&self) {
        // Begins to wait before it looks, so that no wake-up falls in between.
        let waiting = self.0.waiting.notified();
        if !self.is_triggered() {
            waiting.await;
        }
    }
}

/// Triggers `shutdown` on the first SIGTERM or SIGINT; returns on the second one, which means "now".
/// Errors: the handlers cannot be installed.
pub async fn watch_signals(shutdown: Shutdown) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for first in [true, false] {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if first {
            tracing::info!(signal = name, "shutting down; once more to exit at once");
            shutdown.trigger();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_clones_are_one_switch() {
        let (first, second) = {
            let one = Shutdown::new();
            (one.clone(), one)
        };
        assert!(!first.is_triggered());
        let waiting = tokio::spawn(async move { second.triggered().await });
        first.trigger();
        waiting.await.unwrap();
        first.triggered().await;
        assert!(first.is_triggered());
    }
}
