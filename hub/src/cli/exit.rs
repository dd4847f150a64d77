//! Exit codes, decided here and nowhere else.

use crate::ops::{ConfigError, InitError, logging::LoggingError, secrets::SecretError};
use std::process::ExitCode;
use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// It started and then failed.
    #[error("{0:#}")]
    Running(anyhow::Error),
    /// It never came to serve: the chain, the database or an address is refused.
    #[error("{0:#}")]
    Start(anyhow::Error),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key is refused.
    #[error("{name}: {error}")]
    Key {
        /// Which key.
        name: &'static str,
        /// Why.
        error: SecretError,
    },
    /// `init` found something or could not write.
    #[error(transparent)]
    Init(#[from] InitError),
    /// Logs cannot be set up.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A backup is damaged, or its newest part is too old.
    #[error("{0}")]
    BadBackup(String),
    /// A backup, a restore, an acceptance of a loss or a move of money is refused; nothing was changed.
    #[error("{0:#}")]
    Refused(anyhow::Error),
    /// A sum of the demo is wrong.
    #[error("it does not add up: {0}")]
    DoesNotAddUp(String),
    /// Asked twice to stop.
    #[error("interrupted twice; connections were cut off")]
    Interrupted,
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Running(_) => 1,
            Self::Config(_) | Self::Key { .. } | Self::Init(_) | Self::Logging(_) => 3,
            Self::DoesNotAddUp(_) => 4,
            Self::Start(_) => 5,
            Self::BadBackup(_) => 6,
            Self::Refused(_) => 7,
            Self::Interrupted => 130,
        }
    }
}

/// Prints a failure to stderr and gives the code.
pub(super) fn report(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::words(&format!("hub: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

/// Help and version succeed; a usage error is 2.
pub(super) fn code_of_usage(is_error: bool) -> ExitCode {
    if is_error {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}
