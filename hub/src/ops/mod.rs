//! Running the daemon: configuration, secrets, logs, metrics, health, signals.

mod shutdown;

pub use shutdown::{Shutdown, watch_signals};
