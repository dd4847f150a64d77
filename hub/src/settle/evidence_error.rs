//! Why evidence is refused, in words.

use protocol_spec::{Address, Amount, ChannelId, Evidence, Reject, Seq};

/// Why an evidence file is refused. The file was changed, damaged, or is of another program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Not JSON of the right shape.
    #[error("the file cannot be read as {expected}: {text}", expected = Evidence::FORMAT)]
    Malformed {
        /// The parser's words.
        text: String,
    },
    /// Another format or version.
    #[error("format is {got:?}, this settle reads {expected:?}", expected = Evidence::FORMAT)]
    Format {
        /// In the file.
        got: String,
    },
    /// The channel's facts could never have been opened.
    #[error("config: {0}")]
    Config(Reject),
    /// A voucher of another channel: config, chain id or adjudicator differ from what was signed.
    #[error(
        "the {which} voucher is for channel {got}; config, chain id and adjudicator here make {expected}"
    )]
    WrongChannel {
        /// `received` or `sent`.
        which: &'static str,
        /// By the file's config.
        expected: ChannelId,
        /// In the voucher.
        got: ChannelId,
    },
    /// The signature is somebody else's, or over other content.
    #[error("the {which} voucher is signed by {got}, expected {expected}: wrong key or changed content")]
    WrongSigner {
        /// `received` or `sent`, or `receipt`.
        which: &'static str,
        /// The payer's signer.
        expected: Address,
        /// Whom the signature names for this content.
        got: Address,
    },
    /// The voucher or its signature is malformed.
    #[error("the {which} voucher: {reject}")]
    Voucher {
        /// `received` or `sent`, or `receipt`.
        which: &'static str,
        /// Why.
        reject: Reject,
    },
    /// Locks or opening are not what the voucher commits to.
    #[error("the {which} locks: {what}")]
    Locks {
        /// `received` or `sent`.
        which: &'static str,
        /// What does not fit.
        what: String,
    },
    /// A witness opens nothing.
    #[error("the witness of lock {id}: {what}")]
    Witness {
        /// The lock's id as the file has it.
        id: String,
        /// Why.
        what: &'static str,
    },
    /// R3: an acknowledgement contradicts the acknowledged voucher.
    #[error(
        "R3: the {which} voucher acknowledges seq {seq} at paid {got}, that voucher's paid is {expected}"
    )]
    Ack {
        /// Which voucher acknowledges.
        which: &'static str,
        /// Acknowledged.
        seq: Seq,
        /// By the acknowledged voucher.
        expected: Amount,
        /// By the acknowledgement.
        got: Amount,
    },
    /// A package's countersignature is not the payee's over its voucher.
    #[error("the countersignature: {what}")]
    Accept {
        /// What does not fit.
        what: String,
    },
    /// The deposits are outside what the adjudicator can hold.
    #[error("deposits are outside the adjudicator's range")]
    Deposits,
}
