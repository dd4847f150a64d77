//! `finalize` for one channel or for many at one adjudicator.

use super::{evidence::CheckedEvidence, exit::SettleError, journal::Purpose, plan::Proof, send::Transaction};
use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolCall as _,
};
use protocol_spec::{abi::IAdjudicator, calls};

/// Channels in one transaction: each takes 60,000 to 120,000 gas, and one transaction at most 2^24.
pub(super) const CHANNELS_PER_TX_MAX: usize = 50;

/// The call that pays out these channels, which are of one adjudicator; a channel that is not final is skipped on chain,
/// unless it is the only one.
pub(super) fn finalize(
    channels: &[&CheckedEvidence],
    sender: Address,
) -> Result<(Transaction, Purpose), SettleError> {
    let empty = || SettleError::Internal("nothing to finalize".to_owned());
    let first = channels.first().ok_or_else(empty)?;
    let about = B256::from(first.id().0);
    let proof = Proof::named("Closed", about).ok_or_else(empty)?;
    let (calldata, purpose) = match channels {
        [only] => (
            calls::finalize(&only.raw().config).abi_encode(),
            Purpose {
                command: "finalize".to_owned(),
                channels: vec![only.id()],
                event: proof.name.to_owned(),
                about,
            },
        ),
        many => {
            let configs = many
                .iter()
                .map(|evidence| evidence.raw().config.to_abi())
                .collect();
            let ids = many.iter().map(|evidence| evidence.id()).collect();
            (
                IAdjudicator::finalizeManyCall { configs }.abi_encode(),
                Purpose::many("finalize", ids),
            )
        }
    };
    let call = Transaction {
        sender,
        to: first.raw().adjudicator,
        value: U256::ZERO,
        calldata: calldata.into(),
        proof,
    };
    Ok((call, purpose))
}
