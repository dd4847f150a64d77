//! A build without support for Ledger devices: the option exists, and says what is missing.

use crate::settle::{exit::SettleError, hd_path::HdPath};
use alloy::{consensus::SignableTransaction, primitives::Signature};
use protocol_spec::{Address, Domain};
use std::time::Duration;

/// There is none.
pub(in crate::settle) enum Ledger {}

impl Ledger {
    pub(super) async fn connect(_: &HdPath, _: Option<Address>, _: Duration) -> Result<Self, SettleError> {
        Err(SettleError::Usage(
            "this settle was built without Ledger devices: install libudev's headers (Debian: libudev-dev) and build it with \
             `cargo build --release -p hub --bin settle --features ledger`"
                .to_owned(),
        ))
    }

    pub(super) fn address(&self) -> Address {
        match *self {}
    }

    pub(super) async fn transaction(
        &self,
        _: &dyn SignableTransaction<Signature>,
    ) -> Result<Signature, SettleError> {
        match *self {}
    }

    pub(super) async fn accept(
        &self,
        _: protocol_spec::abi::Accept,
        _: &Domain,
    ) -> Result<Signature, SettleError> {
        match *self {}
    }
}
