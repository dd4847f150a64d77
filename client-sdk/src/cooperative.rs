//! What both sides have signed, as a file: `settle close` and `settle withdraw` relay it with the hub gone.

use crate::evidence::replace;
use protocol_spec::{Address, Close, Domain, Seq, Signature, Withdraw};
use serde::Serialize;
use std::{io, path::Path};

/// A close or withdrawal with both signatures. Anybody may send it to the adjudicator until its deadline; as JSON it is what
/// `settle close` and `settle withdraw` take (`channelhub.cooperative.v1`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cooperative {
    format: &'static str,
    chain_id: Seq,
    adjudicator: Address,
    message: CooperativeMessage,
    client_signature: String,
    hub_signature: String,
}

/// What was signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CooperativeMessage {
    /// Pays out at once.
    Close(Close),
    /// Pays one side; the channel stays open.
    Withdraw(Withdraw),
}

impl Cooperative {
    pub(crate) fn new(
        domain: &Domain,
        message: CooperativeMessage,
        client: &Signature,
        hub: &Signature,
    ) -> Self {
        let text = |signature: &Signature| format!("0x{}", hex::encode(signature.0));
        Self {
            format: "channelhub.cooperative.v1",
            chain_id: Seq(domain.chain_id),
            adjudicator: domain.adjudicator,
            message,
            client_signature: text(client),
            hub_signature: text(hub),
        }
    }

    /// What was signed.
    #[must_use]
    pub fn message(&self) -> &CooperativeMessage {
        &self.message
    }

    /// The file's content.
    pub fn to_json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Writes the file for `settle`, readable by its owner only. Blocks.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        replace(path, self.to_json()?.as_bytes(), 0o600)
    }
}
