//! A Ledger device: its Ethereum app signs what a person confirms on it.
//!
//! What it returns is checked by the caller, as with any other signer. The crates that speak with it panic on answers
//! that no app gives: that ends a task of its own, and not the process.

use super::compare::asked;
use crate::settle::{exit::SettleError, files::say, hd_path::HdPath};
use alloy::{consensus::SignableTransaction, primitives::Signature, signers::Signer as _};
use alloy_signer_ledger::{
    HDPath, LedgerError, LedgerSigner,
    coins_ledger::{
        common::APDUResponseCodes as Code, errors::LedgerError as DeviceError,
        transports::native::NativeTransportError,
    },
};
use protocol_spec::{Address, Domain};
use std::{sync::Arc, time::Duration};

/// Without a person: whether it is there, and which address it has.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// A device, and which of its keys.
pub(in crate::settle) struct Ledger {
    device: Arc<LedgerSigner>,
    address: Address,
    path: HdPath,
    /// How long a person may take to press a button.
    timeout: Duration,
}

impl Ledger {
    /// Finds the device, and asks for the address at `path`: `address`, if that is known.
    pub(super) async fn connect(
        path: &HdPath,
        address: Option<Address>,
        timeout: Duration,
    ) -> Result<Self, SettleError> {
        let derivation = HDPath::Other(path.to_string());
        let device = within(HELLO_MAX, LedgerSigner::new(derivation, None)).await?;
        let found = device.address();
        if let Some(expected) = address.filter(|expected| *expected != found) {
            return Err(SettleError::Refused(format!(
                "the Ledger has {found} at {path}, expected {expected}"
            )));
        }
        Ok(Self {
            device: Arc::new(device),
            address: found,
            path: path.clone(),
            timeout,
        })
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    /// Has it signed. The caller checks by whom, and over what.
    pub(super) async fn transaction(
        &self,
        tx: &dyn SignableTransaction<Signature>,
    ) -> Result<Signature, SettleError> {
        let encoded = asked(tx)?.encoded_for_signing();
        self.tell();
        let device = self.device.clone();
        within(self.timeout, async move { device.sign_tx_rlp(&encoded).await }).await
    }

    /// Has a countersignature signed, as typed data. The caller checks by whom, and over what.
    pub(super) async fn accept(
        &self,
        accept: protocol_spec::abi::Accept,
        domain: &Domain,
    ) -> Result<Signature, SettleError> {
        self.tell();
        let (device, domain) = (self.device.clone(), domain.to_eip712());
        let signed = within(self.timeout, async move {
            Ok(device.sign_typed_data(&accept, &domain).await)
        });
        signed.await?.map_err(|error| match error {
            alloy::signers::Error::Other(error) => match error.downcast::<LedgerError>() {
                Ok(error) => failed(&error),
                Err(error) => SettleError::NotSigned(format!("the Ledger: {error}")),
            },
            error => SettleError::NotSigned(format!("the Ledger: {error}")),
        })
    }

    fn tell(&self) {
        say(&format!(
            "waiting for the Ledger's {} at {}, {} s at most: confirm on the device",
            self.address,
            self.path,
            self.timeout.as_secs()
        ));
    }
}

/// Asks within a time limit, in a task of its own. Whatever goes wrong, nothing is signed that this process knows of; a
/// button that is pressed too late signs for nobody.
async fn within<T: Send + 'static>(
    limit: Duration,
    question: impl Future<Output = Result<T, LedgerError>> + Send + 'static,
) -> Result<T, SettleError> {
    match tokio::time::timeout(limit, tokio::spawn(question)).await {
        Ok(Ok(answer)) => answer.map_err(|error| failed(&error)),
        Ok(Err(_)) => Err(SettleError::NotSigned(
            "the Ledger's answer makes no sense".to_owned(),
        )),
        Err(_) => Err(SettleError::NotSigned(format!(
            "no answer from the Ledger within {} s (--signer-timeout)",
            limit.as_secs()
        ))),
    }
}

fn failed(error: &LedgerError) -> SettleError {
    let hint = match error {
        LedgerError::LedgerError(DeviceError::NativeTransportError(NativeTransportError::DeviceNotFound)) => {
            "connect it, unlock it and open its Ethereum app; this user must be allowed to reach it (Linux: Ledger's udev rules)"
        }
        LedgerError::LedgerError(DeviceError::BadRetcode(Code::ConditionsNotSatisfied)) => {
            "it was declined on the device"
        }
        LedgerError::LedgerError(DeviceError::BadRetcode(Code::InvalidData)) => {
            "its Ethereum app takes calls of contracts and hashed typed data only with blind signing allowed in its settings"
        }
        // A locked device answers with a status and nothing else.
        LedgerError::LedgerError(_) | LedgerError::UnexpectedNullResponse => {
            "is it unlocked, with its Ethereum app open, and used by nothing else?"
        }
        LedgerError::UnsupportedAppVersion(_) => "its Ethereum app is too old for typed data",
        _ => "it answered what its Ethereum app does not answer",
    };
    SettleError::NotSigned(format!("the Ledger: {error}: {hint}"))
}
