//! The steps of a sequence and their calldata.

use crate::cast::FUNDER;
use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::SolCall as _;
use protocol_spec::abi::{self, IAdjudicator as I};
use protocol_spec::{
    Accept, CancelDispute, Config, LocksOpening, Side, Signature, SignedVoucher, Withdraw, calls,
};

/// A voucher as it is handed in.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) payer: Side,
    pub(crate) signed: SignedVoucher,
    pub(crate) opening: Option<LocksOpening>,
    /// The payee's countersignature, for the sender as `submitter`.
    pub(crate) accept: Option<(Accept, Signature)>,
}

/// In a batch, in place of one that is left out.
const UNSIGNED: Signature = Signature([0; 65]);

/// The two signatures of a co-operative message, client's first; `None` is sent as empty bytes.
pub(crate) type Both = [Option<Signature>; 2];

/// One withdrawal of a batch.
#[derive(Clone)]
pub(crate) struct BatchItem {
    /// Of a channel that was never opened, but for the salt the same as the sequence's.
    pub(crate) never_opened: bool,
    pub(crate) message: Withdraw,
    pub(crate) signatures: Both,
}

/// One call of the adjudicator.
#[derive(Clone)]
pub(crate) enum Action {
    Open(u128),
    Deposit(u128),
    FundVault(u128),
    Reserve {
        from: Address,
        amount: u128,
    },
    /// `submit`, or `dispute` with the same arguments.
    Evidence {
        from: Address,
        dispute: bool,
        submissions: Vec<Submission>,
        resolutions: Vec<abi::Resolution>,
    },
    Withdraw {
        from: Address,
        message: Withdraw,
        signatures: Both,
    },
    WithdrawMany {
        from: Address,
        items: Vec<BatchItem>,
    },
    Cancel {
        from: Address,
        message: CancelDispute,
        signatures: Both,
    },
    Finalize,
}

impl Action {
    /// Name in the counts.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Deposit(_) => "deposit",
            Self::FundVault(_) => "fundVault",
            Self::Reserve { .. } => "reserve",
            Self::Evidence { dispute: true, .. } => "dispute",
            Self::Evidence { submissions, .. } if submissions.is_empty() => "resolve only",
            Self::Evidence { resolutions, .. } if resolutions.is_empty() => "submit only",
            Self::Evidence { .. } => "submit and resolve",
            Self::Withdraw { .. } => "withdraw",
            Self::WithdrawMany { .. } => "withdrawMany",
            Self::Cancel { .. } => "cancelDispute",
            Self::Finalize => "finalize",
        }
    }

    /// Sender, coin sent along, calldata.
    pub(crate) fn call(&self, config: &Config) -> (Address, u128, Bytes) {
        let (from, value, data) = match self {
            Self::Open(amount) => (FUNDER, *amount, calls::open(config, *amount).abi_encode()),
            Self::Deposit(amount) => (FUNDER, *amount, calls::deposit(config, *amount).abi_encode()),
            Self::FundVault(amount) => (FUNDER, *amount, fund_vault(config, *amount).abi_encode()),
            Self::Reserve { from, amount } => (*from, 0, reserve(config, *amount).abi_encode()),
            Self::Evidence {
                from,
                dispute,
                submissions,
                resolutions,
            } => (*from, 0, evidence(config, *dispute, submissions, resolutions)),
            Self::Withdraw {
                from,
                message,
                signatures,
            } => {
                let [client, hub] = bytes(signatures);
                (
                    *from,
                    0,
                    calls::withdraw(config, message, &client, &hub).abi_encode(),
                )
            }
            Self::WithdrawMany { from, items } => (*from, 0, withdraw_many(config, items)),
            Self::Cancel {
                from,
                message,
                signatures,
            } => {
                let [client, hub] = bytes(signatures);
                (
                    *from,
                    0,
                    calls::cancel_dispute(config, message, &client, &hub).abi_encode(),
                )
            }
            Self::Finalize => (FUNDER, 0, calls::finalize(config).abi_encode()),
        };
        (from, value, data.into())
    }
}

fn bytes(signatures: &Both) -> [Vec<u8>; 2] {
    signatures.map(|signature| {
        signature
            .map(|signature| signature.0.to_vec())
            .unwrap_or_default()
    })
}

fn fund_vault(config: &Config, amount: u128) -> I::fundVaultCall {
    I::fundVaultCall {
        hub: config.hub,
        token: config.token,
        amount: U256::from(amount),
    }
}

fn reserve(config: &Config, amount: u128) -> I::reserveCall {
    I::reserveCall {
        side: abi::HubSide {
            hub: config.hub,
            hubSigner: config.hub_signer,
            token: config.token,
            challengePeriodS: config.challenge_period_s,
        },
        items: vec![abi::ClientReserve {
            client: config.client,
            clientSigner: config.client_signer,
            salt: config.salt.0.into(),
            amount,
        }],
    }
}

/// Of an item, which channel it names.
pub(crate) fn config_of(config: &Config, item: &BatchItem) -> Config {
    let mut config = config.clone();
    if item.never_opened {
        config.salt.0[0] ^= 1;
    }
    config
}

fn withdraw_many(config: &Config, items: &[BatchItem]) -> Vec<u8> {
    let item = |item: &BatchItem| {
        let [client, hub] = item.signatures.map(|signature| signature.unwrap_or(UNSIGNED));
        calls::client_withdraw(&config_of(config, item), &item.message, Some(&client), Some(&hub))
    };
    let call = I::withdrawManyCall {
        side: calls::hub_side(config),
        items: items.iter().map(item).collect(),
    };
    call.abi_encode()
}

fn evidence(
    config: &Config,
    dispute: bool,
    items: &[Submission],
    resolutions: &[abi::Resolution],
) -> Vec<u8> {
    let submissions = items.iter().map(|item| {
        let mut submission = calls::submission(item.payer, &item.signed, item.opening.as_ref());
        let countersignature = item
            .accept
            .iter()
            .map(|(accept, signature)| abi::Countersignature {
                mayDispute: accept.may_dispute,
                deadline: accept.deadline.0,
                signature: signature.0.to_vec().into(),
            });
        submission.countersignature = countersignature.collect();
        submission
    });
    let (submissions, resolutions) = (submissions.collect(), resolutions.to_vec());
    if dispute {
        I::disputeCall {
            config: config.to_abi(),
            submissions,
            resolutions,
        }
        .abi_encode()
    } else {
        I::submitCall {
            config: config.to_abi(),
            submissions,
            resolutions,
        }
        .abi_encode()
    }
}
