//! Running the daemon: configuration, secrets, logs, metrics, health, signals.

mod check;
pub mod config;
mod config_error;
pub mod desk;
pub mod door;
mod environment;
pub mod files;
mod init;
pub mod logging;
mod machine;
mod readiness;
pub mod secrets;
mod shutdown;

use check::check;
pub use config::Config;
pub use config_error::ConfigError;
pub use init::{InitError, Initialized, init};
pub use readiness::Readiness;
pub use secrets::SecretRef;
pub use shutdown::{Shutdown, watch_signals};
