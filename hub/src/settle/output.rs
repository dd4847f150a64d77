//! What goes to stdout, in which form.

use super::{args::Format, exit::Exit, files::say, text, wait::Progress};
use alloy::primitives::TxHash;
use protocol_spec::UnixSeconds;
use serde_json::{Value, json};
use std::{io::Write as _, time::Duration};
use tokio::time::Instant;

/// What a command arrived at.
pub(super) struct Output {
    pub(super) exit: Exit,
    pub(super) text: String,
    pub(super) json: Value,
}

impl Output {
    pub(super) fn done(text: String, json: Value) -> Self {
        Self {
            exit: Exit::Done,
            text,
            json,
        }
    }
}

/// One line of JSON to stdout. Nobody listening any more is no reason to stop a transaction that is under way.
pub(super) fn line(value: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// Pause between two lines about a transaction that is in no block yet.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// Tells how far a transaction is, and how long the adjudicator still takes it.
pub(super) struct Teller {
    format: Format,
    told: Option<Progress>,
    began: Instant,
    left_s: Option<u64>,
    transaction: Option<TxHash>,
}

impl Teller {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            told: None,
            began: Instant::now(),
            left_s: None,
            transaction: None,
        }
    }

    /// Says how long is left until `deadline`, being chain time `now`.
    pub(super) fn until(mut self, deadline: Option<UnixSeconds>, now: UnixSeconds) -> Self {
        self.left_s = deadline.map(|deadline| deadline.0.saturating_sub(now.0));
        self
    }

    pub(super) fn about(mut self, transaction: TxHash) -> Self {
        self.transaction = Some(transaction);
        self
    }

    /// Says how far it is when that is news.
    pub(super) fn tell(&mut self, progress: Progress) {
        let news = match (self.told, progress) {
            (Some(Progress::Pending { waited: before }), Progress::Pending { waited }) => {
                waited >= before.saturating_add(TELL_EVERY)
            }
            (told, now) => told != Some(now),
        };
        if !news {
            return;
        }
        self.told = Some(progress);
        let left = self
            .left_s
            .map(|left| left.saturating_sub(self.began.elapsed().as_secs()));
        match (self.format, left) {
            (Format::Ndjson, _) => line(&self.json(progress, left)),
            (_, Some(left)) => say(&format!(
                "{progress}; the adjudicator takes it for {} more",
                text::duration(left)
            )),
            (_, None) => say(&progress.to_string()),
        }
    }

    fn json(&self, progress: Progress, left: Option<u64>) -> Value {
        let (state, block, seen, wanted) = match progress {
            Progress::Pending { .. } => ("pending", None, 0, None),
            Progress::Included { block, seen, wanted } => ("included", Some(block), seen, Some(wanted)),
        };
        let patience = progress.patience().map(|rest| rest.as_secs().to_string());
        json!({
            "event": "progress",
            "transaction": self.transaction,
            "state": state,
            "block": block.map(|block| block.to_string()),
            "confirmations": seen.to_string(),
            "confirmations_wanted": wanted.map(|wanted| wanted.to_string()),
            // How long the adjudicator still takes it; null when that has no end.
            "seconds_left": left.map(|left| left.to_string()),
            // How long this run still waits for a block.
            "wait_seconds_left": patience,
        })
    }
}
