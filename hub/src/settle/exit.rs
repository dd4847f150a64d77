//! Exit codes and the errors behind them: the one place that decides what the shell sees.

use super::evidence::EvidenceError;

macro_rules! exits {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $word:literal, $text:literal;)*) => {
        /// What the process ends with. Numbers are append-only.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Exit { $($(#[$meta])* $name),* }

        impl Exit {
            /// The number for the shell.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $(Self::$name => $code),* }
            }

            /// The stable word in JSON.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// All of them: number, word, meaning. `--help` prints it.
            pub const TABLE: &[(u8, &str, &str)] = &[$(($code, $word, $text)),*];
        }
    };
}

exits! {
    /// It is done, or a dry run succeeded.
    Done = 0, "done", "done, or the dry run succeeded";
    /// Our own fault.
    Internal = 1, "internal", "internal error";
    /// The command line is wrong.
    Usage = 2, "usage", "wrong command line, unreadable file or key";
    /// The evidence, the chain or the key is not what the command needs.
    Refused = 3, "refused", "refused: invalid evidence, wrong chain, wrong adjudicator or wrong key";
    /// Nothing would change.
    NothingToDo = 4, "nothing_to_do", "nothing to do: the chain says already what this would say";
    /// Somebody would pay for it.
    WouldLose = 5, "would_lose", "would lose money (--force overrides)";
    /// No answer from the node, or the transaction was not seen in time.
    Unreachable = 6, "unreachable", "chain unreachable or stuck, nodes that contradict each other, or not included in time (it may still be)";
    /// Before its time.
    NotNow = 7, "not_now", "too early: run it again later";
    /// The chain said no.
    Reverted = 8, "reverted", "the adjudicator reverted, in simulation or on chain";
    /// Of many, some were not done.
    Partly = 9, "partly", "batch: some channels were not done; the table says which and why";
    /// The signer did not sign.
    NotSigned = 10, "not_signed", "the signer declined, could not be reached, or did not answer in time: nothing was sent";
    /// After its time.
    TooLate = 11, "too_late", "the deadline has passed (watch: a window ended before its evidence was on chain)";
}

impl Exit {
    /// The table as text for `--help`.
    #[must_use]
    pub fn help() -> String {
        Self::TABLE
            .iter()
            .fold("Exit codes:\n".to_owned(), |text, (code, _, meaning)| {
                format!("{text}  {code}  {meaning}\n")
            })
    }
}

/// Why a command did not do what it was asked. The text says what is wrong and what to do next.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettleError {
    /// Our own fault.
    #[error("internal error: {0}")]
    Internal(String),
    /// The command line, a file or a key cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The evidence is not what it claims to be.
    #[error("evidence refused: {0}")]
    Evidence(#[from] EvidenceError),
    /// The chain, the adjudicator, the channel or the sender is not the one this needs.
    #[error("refused: {0}")]
    Refused(String),
    /// Nothing would change.
    #[error("nothing to do: {0}")]
    NothingToDo(String),
    /// It would cost money.
    #[error("would lose money: {0}")]
    WouldLose(String),
    /// No answer. Retry, or use another node.
    #[error("chain unreachable: {0}")]
    Unreachable(String),
    /// The signer did not sign, so nothing was sent. Confirm it there, or name another.
    #[error("not signed: {0}; nothing was sent")]
    NotSigned(String),
    /// Sent, but not seen in a block in time.
    #[error("not included in time: {0}")]
    NotIncluded(String),
    /// Too early.
    #[error("not now: {0}")]
    NotNow(String),
    /// Its time has passed.
    #[error("too late: {0}")]
    TooLate(String),
    /// The adjudicator's reason, in words.
    #[error("reverted: {0}")]
    Reverted(String),
}

impl SettleError {
    /// The exit it leads to.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Internal(_) => Exit::Internal,
            Self::Usage(_) => Exit::Usage,
            Self::Evidence(_) | Self::Refused(_) => Exit::Refused,
            Self::NothingToDo(_) => Exit::NothingToDo,
            Self::WouldLose(_) => Exit::WouldLose,
            Self::Unreachable(_) | Self::NotIncluded(_) => Exit::Unreachable,
            Self::NotNow(_) => Exit::NotNow,
            Self::TooLate(_) => Exit::TooLate,
            Self::NotSigned(_) => Exit::NotSigned,
            Self::Reverted(_) => Exit::Reverted,
        }
    }
}
