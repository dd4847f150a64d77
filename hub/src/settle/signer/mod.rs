//! Who signs: a key that this process has read, a remote signer, or a Ledger device.
//!
//! Whatever signs is not believed: a signature counts only over what was asked, by the address that was named.

mod compare;
#[cfg(feature = "ledger")]
mod ledger;
#[cfg(not(feature = "ledger"))]
#[path = "no_ledger.rs"]
mod ledger;
mod remote;
mod typed;

use super::{args::KeyArgs, exit::SettleError, key};
use alloy::{
    consensus::SignableTransaction,
    network::{EthereumWallet, TxSigner},
    primitives::Signature as AlloySignature,
    signers::{Error as SigningError, SignerSync as _, local::PrivateKeySigner},
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use ledger::Ledger;
use protocol_spec::{Accept, Address, Domain, Signature};
use remote::Remote;
use std::{sync::Arc, time::Duration};

/// What signs.
#[derive(Clone)]
pub(super) enum Signer {
    /// A key in this process.
    Local(PrivateKeySigner),
    /// A process that is asked by JSON-RPC.
    Remote(Arc<Remote>),
    /// A device on this machine.
    Ledger(Arc<Ledger>),
}

impl Signer {
    /// What the command line names; `None` when nothing is named. A remote signer or a device is asked whether it has the
    /// address.
    ///
    /// # Errors
    /// [`SettleError::Usage`]; [`SettleError::Refused`] when it has not; [`SettleError::NotSigned`] when it does not answer
    /// or is not there.
    pub(super) fn open<'a>(args: &'a KeyArgs) -> BoxFuture<'a, Result<Option<Self>, SettleError>> {
        Box::pin(async move {
            if args.key.is_some() {
                return Err(SettleError::Usage(key::LITERAL.to_owned()));
            }
            let timeout = Duration::from_secs(args.signer_timeout);
            if let Some(path) = &args.ledger {
                let ledger = Ledger::connect(path, args.signer_address, timeout).await?;
                return Ok(Some(Self::Ledger(Arc::new(ledger))));
            }
            Ok(Some(match (&args.signer, &args.key_file, &args.key_env) {
                (Some(named), _, _) => Self::named(named, args, timeout).await?,
                (None, Some(path), _) => Self::Local(key::from_file(path)?),
                (None, None, Some(name)) => Self::Local(key::from_env(name)?),
                (None, None, None) => return Ok(None),
            }))
        })
    }

    async fn named(named: &str, args: &KeyArgs, timeout: Duration) -> Result<Self, SettleError> {
        match named.split_once(':') {
            Some(("http" | "https", _)) => {
                let remote = Remote::connect(named, args.signer_address, timeout).await?;
                Ok(Self::Remote(Arc::new(remote)))
            }
            _ => Err(SettleError::Usage(
                "--signer must be the URL of a remote signer (http, https); a key file is --key-file PATH, a device is --ledger"
                    .to_owned(),
            )),
        }
    }

    /// Whose signatures it makes.
    pub(super) fn address(&self) -> Address {
        match self {
            Self::Local(key) => key.address(),
            Self::Remote(remote) => remote.address(),
            Self::Ledger(ledger) => ledger.address(),
        }
    }

    /// The same for transactions, as alloy takes it.
    pub(super) fn wallet(&self) -> EthereumWallet {
        let mut wallet = EthereumWallet::default();
        self.join(&mut wallet);
        wallet
    }

    /// Signs in `wallet` for its address from now on.
    pub(super) fn join(&self, wallet: &mut EthereumWallet) {
        match self {
            Self::Local(key) => wallet.register_signer(key.clone()),
            _ => wallet.register_signer(Elsewhere(self.clone())),
        }
    }

    /// Signs a countersignature as EIP-712 typed data.
    ///
    /// # Errors
    /// [`SettleError::NotSigned`] when it was declined or not answered; [`SettleError::Refused`] when something else was signed.
    pub(super) fn accept<'a>(
        &'a self,
        accept: &'a Accept,
        domain: &'a Domain,
    ) -> BoxFuture<'a, Result<Signature, SettleError>> {
        Box::pin(async move {
            let digest = accept.digest(domain);
            let signature = match self {
                Self::Local(key) => key
                    .sign_hash_sync(&digest.0.into())
                    .map_err(|error| SettleError::Internal(error.to_string()))?,
                Self::Remote(remote) => remote.typed_data(&typed::json(&accept.to_abi(), domain)).await?,
                Self::Ledger(ledger) => ledger.accept(accept.to_abi(), domain).await?,
            };
            let signature = Signature(signature.normalized_s().as_bytes());
            let signed = signature.recover(&digest).ok();
            match signed.map(|key| key.address()) {
                Some(address) if address == self.address() => Ok(signature),
                got => Err(compare::stranger(self.address(), got)),
            }
        })
    }
}

/// A signer that is not in this process. What it signs is checked before alloy sees it.
struct Elsewhere(Signer);

#[async_trait]
impl TxSigner<AlloySignature> for Elsewhere {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign_transaction(
        &self,
        tx: &mut dyn SignableTransaction<AlloySignature>,
    ) -> Result<AlloySignature, SigningError> {
        let signed = match &self.0 {
            Signer::Local(key) => return key.sign_transaction(tx).await,
            Signer::Remote(remote) => remote.transaction(tx).await,
            Signer::Ledger(ledger) => ledger.transaction(tx).await,
        };
        let signature = signed.map_err(SigningError::other)?;
        match signature.recover_address_from_prehash(&tx.signature_hash()) {
            Ok(address) if address == self.0.address() => Ok(signature.normalized_s()),
            got => Err(SigningError::other(compare::stranger(self.0.address(), got.ok()))),
        }
    }
}
