//! The immutable facts of a channel.

use crate::{Address, ChannelId, Domain, Reject, abi, limits};
use alloy_primitives::B256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// One of the two parties; a direction is named by its payer's side.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The client (0 on chain).
    Client,
    /// The hub (1 on chain).
    Hub,
}

impl Side {
    /// The other party.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Hub,
            Self::Hub => Self::Client,
        }
    }

    /// The contract's number of this side.
    #[must_use]
    pub fn index(self) -> u8 {
        match self {
            Self::Client => 0,
            Self::Hub => 1,
        }
    }
}

/// The immutable facts of a channel. `channel_id` is its EIP-712 digest.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Owner of the client's side: an account or a contract wallet. Receives the client's payouts.
    pub client: Address,
    /// The client's session key: signs vouchers.
    pub client_signer: Address,
    /// Owner of the hub's side; its vault receives the hub's payouts.
    pub hub: Address,
    /// The hub's session key: signs vouchers and batches.
    pub hub_signer: Address,
    /// ERC-20 token, or zero for the native coin.
    pub token: Address,
    /// Length of a dispute's window, seconds. JSON: decimal string, as every u64.
    #[serde(with = "crate::message::decimal_u64")]
    pub challenge_period_s: u64,
    /// Random, so that two channels with otherwise equal facts differ.
    pub salt: crate::Digest,
}

impl Config {
    /// The channel's id in `domain`.
    #[must_use]
    pub fn id(&self, domain: &Domain) -> ChannelId {
        ChannelId(domain.digest(&self.to_abi()).0)
    }

    /// The signer of vouchers whose payer is `side`.
    #[must_use]
    pub fn signer(&self, side: Side) -> Address {
        match side {
            Side::Client => self.client_signer,
            Side::Hub => self.hub_signer,
        }
    }

    /// The owner of `side`.
    #[must_use]
    pub fn account(&self, side: Side) -> Address {
        match side {
            Side::Client => self.client,
            Side::Hub => self.hub,
        }
    }

    /// What the adjudicator's `open` requires. Errors: [`Reject::ConfigInvalid`].
    pub fn check(&self) -> Result<(), Reject> {
        let zero = [self.client, self.client_signer, self.hub, self.hub_signer].contains(&Address::ZERO);
        let period = limits::CHALLENGE_PERIOD_MIN_S..=limits::CHALLENGE_PERIOD_MAX_S;
        match () {
            () if zero => Err(Reject::ConfigInvalid("a party's address is zero")),
            () if self.client_signer == self.hub_signer => {
                Err(Reject::ConfigInvalid("both sides have one signer"))
            }
            () if !period.contains(&self.challenge_period_s) => Err(Reject::ConfigInvalid(
                "challenge_period_s is outside 1 hour to 30 days",
            )),
            () => Ok(()),
        }
    }

    /// The Solidity struct.
    #[must_use]
    pub fn to_abi(&self) -> abi::Config {
        abi::Config {
            client: self.client,
            clientSigner: self.client_signer,
            hub: self.hub,
            hubSigner: self.hub_signer,
            token: self.token,
            challengePeriodS: self.challenge_period_s,
            salt: B256::from(self.salt.0),
        }
    }

    /// From the Solidity struct, as an event carries it.
    #[must_use]
    pub fn from_abi(abi: &abi::Config) -> Self {
        Self {
            client: abi.client,
            client_signer: abi.clientSigner,
            hub: abi.hub,
            hub_signer: abi.hubSigner,
            token: abi.token,
            challenge_period_s: abi.challengePeriodS,
            salt: crate::Digest(abi.salt.0),
        }
    }
}
