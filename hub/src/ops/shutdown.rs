//! One switch that everything long-running watches.

use std::io;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// The switch. Cheap to clone; all clones are one switch, and it cannot be switched back.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    /// A switch that is off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }

    /// True once somebody has asked.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody asks. Cancel safe.
    pub async fn triggered(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|stop| *stop).await;
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
