//! The keys of a batch, and which of them sends for which evidence.

use crate::settle::{
    SettleError, args_batch::BatchSendArgs, cooperative::CooperativeFile, evidence::CheckedEvidence,
    files::named_files, key, signer::Signer,
};
use alloy::network::EthereumWallet;
use protocol_spec::Address;
use std::collections::BTreeSet;

/// Whose key a channel's transaction needs.
#[derive(Clone, Copy)]
pub(super) enum Need<'a> {
    /// The payee's, or the submitter's that a package names.
    Payee,
    /// The account's own.
    Account,
    /// Anybody's.
    Any,
    /// Anybody's, but of a side that has not signed that side's.
    Message(&'a CooperativeFile),
}

/// The keys, as they were named.
pub(super) struct Keys {
    addresses: Vec<Address>,
    pub(super) wallet: EthereumWallet,
}

impl Keys {
    /// Everything that the command line names.
    ///
    /// # Errors
    /// As [`Signer::open`], and [`SettleError::Usage`] for a file that holds no key or a directory without any.
    pub(super) async fn open(args: &BatchSendArgs) -> Result<Self, SettleError> {
        let mut signers = Vec::from_iter(Signer::open(&args.tx.key).await?);
        for path in &args.keys {
            for file in named_files("keys", path, "key")? {
                signers.push(Signer::Local(key::from_file(&file)?));
            }
        }
        if args.tx.broadcast && signers.is_empty() {
            return Err(SettleError::Usage(
                "--broadcast needs --keys PATH, --key-file PATH, --key-env NAME, --signer SIGNER or --ledger"
                    .to_owned(),
            ));
        }
        let mut once = BTreeSet::new();
        signers.retain(|signer| once.insert(signer.address()));
        let mut wallet = EthereumWallet::default();
        signers.iter().for_each(|signer| signer.join(&mut wallet));
        Ok(Self {
            addresses: signers.iter().map(Signer::address).collect(),
            wallet,
        })
    }

    /// Who sends for `evidence`. Without any key, for a dry run: `from`, or the account of the evidence's own side.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when none of several keys is the one that is needed. A key that is the only one is taken; what
    /// it may not do is told by the plan.
    pub(super) fn choose(
        &self,
        evidence: &CheckedEvidence,
        need: Need<'_>,
        from: Option<Address>,
    ) -> Result<Address, SettleError> {
        let account = evidence.raw().config.account(evidence.side());
        let fits = |key: &Address| match need {
            Need::Payee => evidence.may_submit(*key),
            Need::Account => *key == account,
            Need::Any => true,
            Need::Message(file) => file.unproven(evidence, *key).is_ok(),
        };
        // A party may do more than the submitter of its package.
        let party = |key: &&Address| fits(key) && evidence.is_party(**key);
        let fitting = match need {
            Need::Payee => self.addresses.iter().find(party),
            _ => None,
        };
        let fitting = fitting.or_else(|| self.addresses.iter().find(|key| fits(key)));
        match (fitting, self.addresses.as_slice()) {
            (Some(key), _) | (None, [key]) => Ok(*key),
            (None, []) => Ok(from.unwrap_or(account)),
            (None, keys) => Err(SettleError::Refused(missing(evidence, need, keys.len()))),
        }
    }
}

fn missing(evidence: &CheckedEvidence, need: Need<'_>, keys: usize) -> String {
    let config = &evidence.raw().config;
    let (account, signer) = (config.account(evidence.side()), config.signer(evidence.side()));
    match need {
        Need::Account => format!("none of the {keys} keys is of the account {account}"),
        Need::Message(_) => {
            format!("none of the {keys} keys is of a side whose signature the message lacks")
        }
        Need::Payee | Need::Any => {
            let submitter = evidence.accept().map_or_else(String::new, |signed| {
                format!(" or of the submitter {}", signed.accept.submitter)
            });
            format!("none of the {keys} keys is of the account {account} or the signer {signer}{submitter}")
        }
    }
}
