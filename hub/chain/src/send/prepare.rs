//! From a request to a transaction that lacks only its nonce.

use super::super::error::ChainError;
use super::super::outlet::Outlet;
use super::super::types::{Fees, TxRequest};
use super::fees;
use alloy::primitives::{Address, TxKind};
use alloy::rpc::types::TransactionRequest;

/// Hard limit of one transaction's gas (EIP-7825).
const GAS_LIMIT_MAX: u64 = 1 << 24;

/// What the queue may do by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Most wei per gas of fees that the queue chooses.
    pub(super) max_fee_per_gas: Option<u128>,
    /// Blocks without the transaction after which it counts as stuck.
    pub(super) stuck_after_blocks: u64,
}

/// A transaction that lacks only its nonce.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) to: TxKind,
    pub(super) request: TxRequest,
    pub(super) gas_limit: u64,
    pub(super) fees: Fees,
}

/// Fills in gas and fees.
pub(super) async fn prepare(
    outlet: &dyn Outlet,
    from: Address,
    policy: Policy,
    request: TxRequest,
) -> Result<Ready, ChainError> {
    let to = request.to.map_or(TxKind::Create, TxKind::Call);
    let prices = async {
        match request.fees {
            Some(_) => Ok(None),
            None => outlet.prices().await.map(Some),
        }
    };
    let (gas_limit, prices) = tokio::try_join!(gas_limit(outlet, from, to, &request), prices)?;
    let fees = fees::first_payable(&request, gas_limit, prices, policy)?;
    Ok(Ready {
        to,
        request,
        gas_limit,
        fees,
    })
}

async fn gas_limit(
    outlet: &dyn Outlet,
    from: Address,
    to: TxKind,
    request: &TxRequest,
) -> Result<u64, ChainError> {
    if let Some(given) = request.gas_limit {
        return Ok(given);
    }
    let call = TransactionRequest {
        from: Some(from),
        to: Some(to),
        value: Some(request.value),
        input: request.data.clone().into(),
        ..TransactionRequest::default()
    };
    let estimate = outlet.estimate_gas(call).await?;
    let fifth = estimate.checked_div(5).unwrap_or(0);
    Ok(estimate.saturating_add(fifth).min(GAS_LIMIT_MAX.max(estimate)))
}
