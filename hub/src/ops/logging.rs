//! Logs: words for people, on stderr, filtered.

use std::io::IsTerminal;
use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// Logging cannot be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The filter does not parse.
    #[error("log.filter: {0}; as in \"info\" or \"info,hub::session=debug\"")]
    Filter(String),
    /// Somebody has set it up before.
    #[error("logging is set up already")]
    Twice,
}

/// Sends logs to stderr. `RUST_LOG`, where set, overrides `filter`.
pub fn start(filter: &str) -> Result<(), LoggingError> {
    let filter = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| filter.to_owned());
    let filter = EnvFilter::try_new(filter).map_err(|error| LoggingError::Filter(error.to_string()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|_| LoggingError::Twice)
}
