//! Who signs: a key that this process has read, or a remote signer.
//!
//! Whatever signs is not believed: a signature counts only over what was asked, by the address that was named.

mod compare;
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
use protocol_spec::{Accept, Address, Domain, Signature};
use remote::Remote;
use std::sync::Arc;

/// What signs.
#[derive(Clone)]
pub(super) enum Signer {
    /// A key in this process.
    Local(PrivateKeySigner),
    /// A process that is asked by JSON-RPC.
    Remote(Arc<Remote>),
}

impl Signer {
    /// What the command line names; `None` when nothing is named. A remote signer is asked whether it has the address.
    ///
    /// # Errors
    /// [`SettleError::Usage`]; [`SettleError::Refused`] when it has not; [`SettleError::NotSigned`] when it does not answer.
    pub(super) fn open<'a>(args: &'a KeyArgs) -> BoxFuture<'a, Result<Option<Self>, SettleError>> {
        Box::pin(async move {
            if args.key.is_some() {
                return Err(SettleError::Usage(key::LITERAL.to_owned()));
            }
            Ok(Some(match (&args.signer, &args.key_file, &args.key_env) {
                (Some(named), _, _) => Self::named(named, args).await?,
                (None, Some(path), _) => Self::Local(key::from_file(path)?),
                (None, None, Some(name)) => Self::Local(key::from_env(name)?),
                (None, None, None) => return Ok(None),
            }))
        })
    }

    async fn named(named: &str, args: &KeyArgs) -> Result<Self, SettleError> {
        let timeout = std::time::Duration::from_secs(args.signer_timeout);
        match named.split_once(':') {
            Some(("http" | "https", _)) => {
                let remote = Remote::connect(named, args.signer_address, timeout).await?;
                Ok(Self::Remote(Arc::new(remote)))
            }
            _ => Err(SettleError::Usage(
                "--signer must be the URL of a remote signer (http, https); a key file is --key-file PATH"
                    .to_owned(),
            )),
        }
    }

    /// Whose signatures it makes.
    pub(super) fn address(&self) -> Address {
        match self {
            Self::Local(key) => key.address(),
            Self::Remote(remote) => remote.address(),
        }
    }

    /// The same for transactions, as alloy takes it.
    pub(super) fn wallet(&self) -> EthereumWallet {
        match self {
            Self::Local(key) => EthereumWallet::from(key.clone()),
            _ => EthereumWallet::from(Elsewhere(self.clone())),
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
        };
        let signature = signed.map_err(SigningError::other)?;
        match signature.recover_address_from_prehash(&tx.signature_hash()) {
            Ok(address) if address == self.0.address() => Ok(signature.normalized_s()),
            got => Err(SigningError::other(compare::stranger(self.0.address(), got.ok()))),
        }
    }
}
