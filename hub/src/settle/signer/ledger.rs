//! A Ledger on USB, by alloy's driver. The person sees and confirms every transaction on the device.

use crate::settle::{exit::SettleError, files::say};
use alloy::{
    consensus::SignableTransaction,
    network::TxSigner as _,
    primitives::Signature,
    signers::{
        Signer as _,
        ledger::{HDPath, LedgerSigner},
    },
};
use protocol_spec::{Address, Domain};
use std::{future::Future, time::Duration};

/// One account of a Ledger.
pub(in crate::settle) struct Ledger {
    device: LedgerSigner,
    address: Address,
    timeout: Duration,
}

impl Ledger {
    /// Opens account `index` of Ledger Live's derivation, and checks that it is `address` if one is named.
    pub(super) async fn connect(
        index: &str,
        address: Option<Address>,
        timeout: Duration,
    ) -> Result<Self, SettleError> {
        let index = index.parse().map_err(|_| {
            SettleError::Usage("--signer ledger:INDEX: the index is a small number".to_owned())
        })?;
        let open = LedgerSigner::new(HDPath::LedgerLive(index), None);
        let device = within(timeout, open).await?;
        let got = within(timeout, device.get_address()).await?;
        match address.filter(|address| *address != got) {
            Some(address) => Err(SettleError::Refused(format!(
                "account {index} of the Ledger is {got}, not {address}"
            ))),
            None => Ok(Self {
                device,
                address: got,
                timeout,
            }),
        }
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    pub(super) async fn transaction(
        &self,
        tx: &mut dyn SignableTransaction<Signature>,
    ) -> Result<Signature, SettleError> {
        self.tell();
        within(self.timeout, self.device.sign_transaction(tx)).await
    }

    pub(super) async fn typed_data(
        &self,
        accept: &protocol_spec::abi::Accept,
        domain: &Domain,
    ) -> Result<Signature, SettleError> {
        self.tell();
        let signed = self.device.sign_typed_data(accept, &domain.to_eip712());
        within(self.timeout, signed).await
    }

    fn tell(&self) {
        say(&format!(
            "waiting for the Ledger of {}, {} s at most: confirm on the device",
            self.address,
            self.timeout.as_secs()
        ));
    }
}

async fn within<T, E: std::fmt::Display>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, SettleError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| SettleError::NotSigned(format!("the Ledger: {error}"))),
        Err(_) => Err(SettleError::NotSigned(format!(
            "the Ledger was not answered within {} s (--signer-timeout)",
            limit.as_secs()
        ))),
    }
}
