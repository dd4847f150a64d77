//! What both sides signed, as it is handed around: close, withdraw, cancel-dispute. The file and its checks.

use super::{evidence::CheckedEvidence, exit::SettleError, text};
use alloy::primitives::{Address, Bytes};
use protocol_spec::{CancelDispute, ChannelId, Close, Digest, Seq, Side, Signature, UnixSeconds, Withdraw};
use serde::{Deserialize, Serialize};

/// For `--help` of the three commands.
pub(super) const HELP: &str = r#"No command writes this file: your own program does. It agrees with the other side on the numbers, signs the message (with
Rust: protocol_spec::{Close, Withdraw, CancelDispute}, digest(&domain), SignerKey::sign; anywhere else: EIP-712, see
protocol-spec/SPEC.md), and gets the other signature from the other side. An app with client-sdk needs none of this:
channel.close() and channel.withdraw() do it with the hub. `settle verify` shows the amounts that your evidence proves.

The message file (numbers are decimal strings, in base units and unix seconds; `message` is one of the three):
  {
    "format": "channelhub.cooperative.v1",
    "chain_id": "1", "adjudicator": "0x...",
    "message":
      {"close": {"channel_id": "0x...", "client_deposit": "1000", "hub_deposit": "500",
                 "client_balance": "790", "hub_balance": "710", "deadline": "1800003600"}}
      {"withdraw": {"channel_id": "0x...", "side": "client", "total": "100", "client_seq": "1", "client_paid": "257",
                    "hub_seq": "1", "hub_paid": "47", "deadline": "1800003600"}}
      {"cancel_dispute": {"channel_id": "0x...", "dispute_no": "1", "deadline": "1800003600"}},
    "client_signature": "0x...",
    "hub_signature": "0x..."
  }
A signature is 65 bytes (r, s, v) by the side's signer or account, or what the account's contract takes (ERC-1271). That of
the sender's own side may be null. Anybody may relay a message with both. Deadlines are at most one day ahead."#;

/// Longest signature taken, bytes.
const SIGNATURE_BYTES_MAX: usize = 4096;

/// A message of both sides as it is handed around. JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CooperativeFile {
    /// Format: `channelhub.cooperative.v1`.
    pub format: String,
    /// EIP-155 chain id, decimal string.
    pub chain_id: Seq,
    /// The adjudicator.
    pub adjudicator: Address,
    /// What was signed.
    pub message: Message,
    /// The client side's signature; not needed when that side sends.
    pub client_signature: Option<Bytes>,
    /// The hub side's signature; not needed when that side sends.
    pub hub_signature: Option<Bytes>,
}

/// What both sides sign.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Message {
    /// Pays out at once (R15).
    Close(Close),
    /// Pays one side, the channel stays open (R14).
    Withdraw(Withdraw),
    /// Ends a dispute (R27).
    CancelDispute(CancelDispute),
}

impl Message {
    /// The command that relays it.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            Self::Close(_) => "close",
            Self::Withdraw(_) => "withdraw",
            Self::CancelDispute(_) => "cancel-dispute",
        }
    }

    pub(super) fn event(&self) -> &'static str {
        match self {
            Self::Close(_) => "Closed",
            Self::Withdraw(_) => "Withdrawn",
            Self::CancelDispute(_) => "DisputeCancelled",
        }
    }

    pub(super) fn channel(&self) -> ChannelId {
        match self {
            Self::Close(message) => message.channel_id,
            Self::Withdraw(message) => message.channel_id,
            Self::CancelDispute(message) => message.channel_id,
        }
    }

    pub(super) fn deadline(&self) -> UnixSeconds {
        match self {
            Self::Close(message) => message.deadline,
            Self::Withdraw(message) => message.deadline,
            Self::CancelDispute(message) => message.deadline,
        }
    }
}

fn refuse<T>(what: String) -> Result<T, SettleError> {
    Err(SettleError::Refused(format!("the message: {what}")))
}

impl CooperativeFile {
    /// The `format` of this version.
    pub const FORMAT: &str = "channelhub.cooperative.v1";

    /// Reads the file's bytes, and checks that it is what `command` relays and belongs to the channel of `evidence`.
    ///
    /// # Errors
    /// [`SettleError::Refused`].
    pub fn from_json(bytes: &[u8], command: &str, evidence: &CheckedEvidence) -> Result<Self, SettleError> {
        let file = Self::parse(bytes)?;
        if file.message.command() != command {
            return refuse(format!("it is for `settle {}`", file.message.command()));
        }
        file.require_channel(evidence)?;
        Ok(file)
    }

    /// Reads the file's bytes. Whose channel it is for is not looked at.
    ///
    /// # Errors
    /// [`SettleError::Refused`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SettleError> {
        let file: Self = match serde_json::from_slice(bytes) {
            Ok(file) => file,
            Err(error) => return refuse(format!("the file cannot be read as {}: {error}", Self::FORMAT)),
        };
        if file.format != Self::FORMAT {
            let format: String = file.format.chars().take(64).collect();
            return refuse(format!(
                "format is {format:?}, this settle reads {:?}",
                Self::FORMAT
            ));
        }
        let signatures = [&file.client_signature, &file.hub_signature];
        if signatures
            .into_iter()
            .flatten()
            .any(|signature| signature.len() > SIGNATURE_BYTES_MAX)
        {
            return refuse("a signature is longer than 4096 bytes".to_owned());
        }
        Ok(file)
    }

    /// Checks that it is for the channel of `evidence`.
    ///
    /// # Errors
    /// [`SettleError::Refused`].
    pub(super) fn require_channel(&self, evidence: &CheckedEvidence) -> Result<(), SettleError> {
        let raw = evidence.raw();
        if (self.chain_id.0, self.adjudicator) != (raw.chain_id, raw.adjudicator) {
            return refuse("it is for another chain or adjudicator than the evidence".to_owned());
        }
        if self.message.channel() != evidence.id() {
            return refuse(format!(
                "it is for channel {}, the evidence is of {}",
                self.message.channel(),
                evidence.id()
            ));
        }
        Ok(())
    }

    /// The signatures of client and hub as items of a call for many carry them: `None` in place of the sender's own. No
    /// pair at all when one is not by ECDSA of its side's signer or account, which a call for many does not take.
    pub(super) fn for_many(
        &self,
        evidence: &CheckedEvidence,
        sender: Address,
    ) -> Option<(Option<Signature>, Option<Signature>)> {
        if !self.unproven(evidence, sender).ok()?.is_empty() {
            return None;
        }
        let config = &evidence.raw().config;
        let of = |side| match [config.account(side), config.signer(side)].contains(&sender) {
            true => Some(None),
            false => {
                let bytes = self.signature(side)?.as_ref().try_into().ok()?;
                Some(Some(Signature(bytes)))
            }
        };
        Some((of(Side::Client)?, of(Side::Hub)?))
    }

    fn digest(&self, evidence: &CheckedEvidence) -> Digest {
        match &self.message {
            Message::Close(message) => message.digest(evidence.domain()),
            Message::Withdraw(message) => message.digest(evidence.domain()),
            Message::CancelDispute(message) => message.digest(evidence.domain()),
        }
    }

    pub(super) fn signature(&self, side: Side) -> Option<&Bytes> {
        match side {
            Side::Client => self.client_signature.as_ref(),
            Side::Hub => self.hub_signature.as_ref(),
        }
    }

    /// The accounts whose signatures only the chain can judge, because they may be contracts; the others are checked here.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when a signature is missing that the sender's role does not replace.
    pub fn unproven(&self, evidence: &CheckedEvidence, sender: Address) -> Result<Vec<Address>, SettleError> {
        let (config, digest) = (&evidence.raw().config, self.digest(evidence));
        let mut unproven = Vec::new();
        for side in [Side::Client, Side::Hub] {
            let parties = [config.account(side), config.signer(side)];
            if parties.contains(&sender) {
                continue;
            }
            let Some(signature) = self.signature(side) else {
                return Err(SettleError::Refused(format!(
                    "the {} has not signed the message, and the sender {sender} is neither its account {} nor its signer {}",
                    text::side(side),
                    config.account(side),
                    config.signer(side)
                )));
            };
            let direct: Result<[u8; 65], _> = signature.as_ref().try_into();
            let by = direct
                .ok()
                .and_then(|bytes| Signature(bytes).recover(&digest).ok());
            if !by.is_some_and(|key| parties.contains(&key.address())) {
                unproven.push(config.account(side));
            }
        }
        Ok(unproven)
    }
}
