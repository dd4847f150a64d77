//! Checking that the hub is the one expected: pinned by the builder, or on first use and kept in the store.

use crate::{ConnectError, HubPin, PinMismatch};
use protocol_spec::{Domain, PublicKey, message::HubInfo};
use std::sync::Arc;

/// A hub whose facts were checked.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    pub(crate) pin: HubPin,
    pub(crate) info: Arc<HubInfo>,
    pub(crate) key: PublicKey,
    pub(crate) domain: Domain,
}

impl Hub {
    /// Checks `info` against itself and against `expected`.
    pub(crate) fn check(
        info: HubInfo,
        expected: Option<&HubPin>,
        server: Option<&str>,
    ) -> Result<Self, ConnectError> {
        let bytes: [u8; 33] = info
            .hub_public_key
            .as_slice()
            .try_into()
            .map_err(|_| ConnectError::HubInvalid("hub_public_key is not 33 bytes"))?;
        let key = PublicKey::from_compressed(&bytes)
            .map_err(|_| ConnectError::HubInvalid("hub_public_key is no point of the curve"))?;
        if key.address() != info.hub_signer {
            return Err(ConnectError::HubInvalid("hub_public_key is not hub_signer's"));
        }
        let pin = HubPin {
            server: info.server.clone(),
            chain_id: info.chain_id,
            adjudicator: info.adjudicator,
            hub: info.hub,
            hub_signer: info.hub_signer,
        };
        if let Some(expected) = expected {
            same(expected, &pin)?;
        }
        if let Some(server) = server.filter(|server| *server != pin.server) {
            return Err(mismatch("server", server, &pin.server).into());
        }
        Ok(Self {
            domain: Domain::new(info.chain_id, info.adjudicator),
            pin,
            info: Arc::new(info),
            key,
        })
    }
}

impl Hub {
    /// The same facts, whenever they were told.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let now = self.info.now;
        *self.info
            == HubInfo {
                now,
                ..(*other.info).clone()
            }
    }
}

fn same(expected: &HubPin, got: &HubPin) -> Result<(), PinMismatch> {
    match () {
        () if expected.server != got.server => Err(mismatch("server", &expected.server, &got.server)),
        () if expected.chain_id != got.chain_id => {
            Err(mismatch("chain_id", &expected.chain_id, &got.chain_id))
        }
        () if expected.adjudicator != got.adjudicator => {
            Err(mismatch("adjudicator", &expected.adjudicator, &got.adjudicator))
        }
        () if expected.hub != got.hub => Err(mismatch("hub", &expected.hub, &got.hub)),
        () if expected.hub_signer != got.hub_signer => {
            Err(mismatch("hub_signer", &expected.hub_signer, &got.hub_signer))
        }
        () => Ok(()),
    }
}

fn mismatch(
    field: &'static str,
    expected: &(impl ToString + ?Sized),
    got: &(impl ToString + ?Sized),
) -> PinMismatch {
    PinMismatch {
        field,
        expected: expected.to_string(),
        got: got.to_string(),
    }
}
