//! Signers of vouchers, and the check that a signature is right before it is used (attack G1).

use crate::SignerError;
use alloy::{
    primitives::B256,
    signers::{Signer, local::PrivateKeySigner},
};
use async_trait::async_trait;
use protocol_spec::{Address, Digest, PublicKey, Signature, SignerKey};
use std::{sync::Arc, time::Duration};

/// Signs the SDK's own typed digests. Never give it a digest that somebody else chose.
#[async_trait]
pub trait VoucherSigner: Send + Sync + 'static {
    /// The address whose key signs.
    fn address(&self) -> Address;

    /// Signs a digest: 65 bytes, low s, v 27 or 28. Errors are retried later.
    async fn sign(&self, digest: &Digest) -> Result<Signature, SignerError>;

    /// The key itself when it is local; used to send transactions when no sender is configured.
    fn local_key(&self) -> Option<PrivateKeySigner> {
        None
    }
}

#[async_trait]
impl VoucherSigner for SignerKey {
    fn address(&self) -> Address {
        Self::address(self)
    }

    async fn sign(&self, digest: &Digest) -> Result<Signature, SignerError> {
        Ok(Self::sign(self, digest))
    }

    fn local_key(&self) -> Option<PrivateKeySigner> {
        PrivateKeySigner::from_slice(self.to_bytes().as_slice()).ok()
    }
}

#[async_trait]
impl VoucherSigner for PrivateKeySigner {
    fn address(&self) -> Address {
        Signer::address(self)
    }

    async fn sign(&self, digest: &Digest) -> Result<Signature, SignerError> {
        sign_with(self, digest).await
    }

    fn local_key(&self) -> Option<PrivateKeySigner> {
        Some(self.clone())
    }
}

/// Any other alloy signer: a ledger, a cloud key, a keystore.
#[derive(Clone, Debug)]
pub struct AlloySigner<S>(pub S);

#[async_trait]
impl<S: Signer + Send + Sync + 'static> VoucherSigner for AlloySigner<S> {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign(&self, digest: &Digest) -> Result<Signature, SignerError> {
        sign_with(&self.0, digest).await
    }
}

#[async_trait]
impl VoucherSigner for Arc<dyn VoucherSigner> {
    fn address(&self) -> Address {
        self.as_ref().address()
    }

    async fn sign(&self, digest: &Digest) -> Result<Signature, SignerError> {
        self.as_ref().sign(digest).await
    }

    fn local_key(&self) -> Option<PrivateKeySigner> {
        self.as_ref().local_key()
    }
}

async fn sign_with<S: Signer + Sync>(signer: &S, digest: &Digest) -> Result<Signature, SignerError> {
    let signature = signer
        .sign_hash(&B256::from(digest.0))
        .await
        .map_err(|error| SignerError::Failed(error.to_string()))?;
    Ok(Signature(signature.normalized_s().as_bytes()))
}

/// A signer whose every answer is checked, with a time limit.
#[derive(Clone)]
pub(crate) struct CheckedSigner {
    signer: Arc<dyn VoucherSigner>,
    key: Option<PublicKey>,
    timeout: Duration,
}

impl CheckedSigner {
    pub(crate) fn new(signer: Arc<dyn VoucherSigner>, timeout: Duration) -> Self {
        Self {
            signer,
            key: None,
            timeout,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.signer.address()
    }

    /// Signs and verifies. The first signature tells the public key; later ones are verified against it.
    pub(crate) async fn sign(&mut self, digest: &Digest) -> Result<Signature, SignerError> {
        let signature = tokio::time::timeout(self.timeout, self.signer.sign(digest))
            .await
            .map_err(|_| SignerError::late())??;
        match &self.key {
            Some(key) => key
                .verify(digest, &signature)
                .map_err(|_| SignerError::WrongSignature)?,
            None => {
                let key = signature
                    .recover(digest)
                    .map_err(|_| SignerError::WrongSignature)?;
                if key.address() != self.signer.address() {
                    return Err(SignerError::WrongSignature);
                }
                self.key = Some(key);
            }
        }
        Ok(signature)
    }

    /// The public key, after the first signature.
    pub(crate) fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }
}
