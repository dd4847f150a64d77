//! Evidence: what a party needs to settle alone, with the hub gone.

use crate::{
    Address, Amount, Channel, Config, Lock, LocksOpening, Side, SignedVoucher, Witness,
    canary::{Canary, planted},
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// One direction: its newest voucher, the locks in it, and the witnesses known.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectionEvidence {
    /// Newest voucher, if there is any.
    pub voucher: Option<SignedVoucher>,
    /// The locks the voucher commits to, ascending id.
    pub locks: Vec<Lock>,
    /// The opening of the commitment, when there are locks.
    pub opening: Option<LocksOpening>,
    /// What opens them as far as it is known, by lock id. Version 1 called it `preimages`.
    #[serde(alias = "preimages")]
    pub witnesses: Vec<(String, Witness)>,
}

/// The evidence file of one party of one channel. JSON.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Format: `channelhub.evidence.v2`.
    pub format: String,
    /// EIP-155 chain id.
    #[serde(with = "crate::message::decimal_u64")]
    pub chain_id: u64,
    /// The adjudicator.
    pub adjudicator: Address,
    /// The channel.
    pub config: Config,
    /// Whose evidence this is.
    pub side: Side,
    /// What `side` received: vouchers of the other side. Only these can be submitted by `side`.
    pub received: DirectionEvidence,
    /// What `side` signed itself, for information (`who gets what`).
    pub sent: DirectionEvidence,
    /// Confirmed deposits as `side` knows them, gross: client, hub.
    pub deposits: (Amount, Amount),
    /// True when `side` never made a lock in this channel. Otherwise, and when a file does not say, older vouchers of its own
    /// may hold locks that were given up since, which only the newest of `received` ends (R10, R21).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_locked: bool,
}

impl DirectionEvidence {
    /// What `channel`'s party received: the newest voucher with its signature, its locks, and the witnesses known in time.
    #[must_use]
    pub fn received_by(channel: &Channel) -> Self {
        let witnesses = channel
            .known_witnesses()
            .filter(|_| !planted(Canary::ForgetWitnesses));
        Self {
            voucher: channel.received_signed(),
            locks: channel.received().locks.iter().cloned().collect(),
            opening: channel.received().opening.as_deref().copied(),
            witnesses: witnesses
                .map(|(id, witness)| (id.to_string(), witness.clone()))
                .collect(),
        }
    }
}

impl Evidence {
    /// The `format` of this version.
    pub const FORMAT: &str = "channelhub.evidence.v2";
    /// The version before, which knew preimages only. It is read, and no longer written.
    pub const FORMAT_V1: &str = "channelhub.evidence.v1";
}
