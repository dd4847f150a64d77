//! What a transaction offers at first, and how it is raised while no block takes it. No I/O.
//!
//! A raise goes at least as far as nodes demand of a replacement, else to what the market asks; never above the
//! ceiling. The ceiling of a transaction with a deadline begins at its first offer and rises in a line to the most
//! that it may cost, reached when three quarters of the time are gone. It never falls, nor do the fees.

use super::super::error::ChainError;
use super::super::outlet::Prices;
use super::super::types::{Fees, TxRequest};
use super::prepare::Policy;

/// Least raise that nodes take a replacement for, in thousandths of the old fee (EIP-1559 pools: 10 % to 12.5 %).
const RAISED_PERMILLE: u128 = 1_125;
/// Without a limit the ceiling is this many times what the market asks: more would not be why it is stuck.
const UNLIMITED_TIMES: u128 = 4;
/// Whole time until the deadline, in thousandths.
const WHOLE_PERMILLE: u128 = 1_000;
/// From here on each raise doubles.
const LATE_PERMILLE: u128 = 500;

/// Most wei per gas that a transaction may offer; `None`: no limit was given.
pub(super) fn limit(request: &TxRequest, gas_limit: u64, policy: Policy) -> Option<u128> {
    let budget = by_budget(request, gas_limit);
    match (budget, policy.max_fee_per_gas) {
        (Some(budget), Some(most)) => Some(budget.min(most)),
        (one, other) => one.or(other),
    }
}

fn by_budget(request: &TxRequest, gas_limit: u64) -> Option<u128> {
    let budget = request.fee_budget_wei?;
    Some(budget.checked_div(u128::from(gas_limit)).unwrap_or(budget))
}

/// The first offer; `prices` are needed only for a request without fees.
fn first(request: &TxRequest, gas_limit: u64, prices: Option<Prices>, policy: Policy) -> Fees {
    let (wanted, limit) = match (request.fees, prices) {
        (Some(given), _) => (given, by_budget(request, gas_limit)),
        (None, Some(prices)) => (prices.fees(), limit(request, gas_limit, policy)),
        (None, None) => (Fees::default(), None),
    };
    let max_fee_per_gas = limit.map_or(wanted.max_fee_per_gas, |limit| wanted.max_fee_per_gas.min(limit));
    Fees {
        max_fee_per_gas,
        max_priority_fee_per_gas: wanted.max_priority_fee_per_gas.min(max_fee_per_gas),
    }
}

/// The same. Errors: `TooDear`, when the next block would not take it: it would only keep those behind it waiting.
pub(super) fn first_payable(
    request: &TxRequest,
    gas_limit: u64,
    prices: Option<Prices>,
    policy: Policy,
) -> Result<Fees, ChainError> {
    let fees = first(request, gas_limit, prices, policy);
    match prices.filter(|prices| fees.max_fee_per_gas < prices.base_fee) {
        None => Ok(fees),
        Some(Prices { base_fee, .. }) => Err(ChainError::TooDear {
            offer: fees.max_fee_per_gas,
            base_fee,
        }),
    }
}

/// What is offered now, and how far it may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) fees: Fees,
    /// The first `max_fee_per_gas`.
    pub(super) first: u128,
    /// The ceiling so far.
    pub(super) ceiling: u128,
    /// See [`limit`].
    pub(super) limit: Option<u128>,
    /// Chain time when it was first looked at.
    pub(super) since_s: u64,
    /// Chain time.
    pub(super) now_s: u64,
    /// Chain time by which it must be in a block.
    pub(super) deadline_s: Option<u64>,
}

impl Offer {
    /// The ceiling now; never below the one before.
    pub(super) fn ceiling_now(&self, prices: Prices) -> u128 {
        let market = prices.wanted().saturating_mul(UNLIMITED_TIMES);
        let top = self.limit.unwrap_or(market);
        let reached = match self.gone_permille() {
            None => top.min(market),
            Some(gone) => {
                let way = top.saturating_sub(self.first);
                let share = way.saturating_mul(gone).checked_div(WHOLE_PERMILLE).unwrap_or(0);
                self.first.saturating_add(share)
            }
        };
        let ceiling = self.ceiling.max(reached);
        self.limit.map_or(ceiling, |limit| ceiling.min(limit))
    }

    /// Fees for a replacement under the ceiling; `None` if it cannot be raised far enough to be of use.
    pub(super) fn raised(&self, prices: Prices, ceiling: u128) -> Option<Fees> {
        let old = self.fees;
        let late = self.gone_permille().is_some_and(|gone| gone >= LATE_PERMILLE);
        let least = raise(old.max_fee_per_gas);
        let step = if late {
            old.max_priority_fee_per_gas.saturating_mul(2)
        } else {
            0
        };
        let tip = raise(old.max_priority_fee_per_gas).max(step).max(prices.tip);
        let wanted = prices.base_fee.saturating_mul(2).saturating_add(tip);
        let max_fee_per_gas = least.max(wanted).min(ceiling);
        // Below the base fee no block takes it: better to keep the raise for when it helps.
        if max_fee_per_gas < least || max_fee_per_gas < prices.base_fee {
            return None;
        }
        Some(Fees {
            max_fee_per_gas,
            max_priority_fee_per_gas: tip.min(max_fee_per_gas),
        })
    }

    /// How much of the time to the deadline is gone, all of it at three quarters; `None` without a deadline.
    fn gone_permille(&self) -> Option<u128> {
        let deadline_s = self.deadline_s?;
        let whole = u128::from(deadline_s.saturating_sub(self.since_s)).saturating_mul(3);
        let gone = u128::from(self.now_s.saturating_sub(self.since_s)).saturating_mul(4);
        let permille = gone.saturating_mul(WHOLE_PERMILLE).checked_div(whole);
        Some(permille.unwrap_or(WHOLE_PERMILLE).min(WHOLE_PERMILLE))
    }
}

/// Whether the next block could take it at these fees.
pub(super) fn is_payable(fees: Fees, prices: Prices) -> bool {
    fees.max_fee_per_gas >= prices.base_fee.saturating_add(fees.max_priority_fee_per_gas)
}

fn raise(old: u128) -> u128 {
    let raised = old.saturating_mul(RAISED_PERMILLE).div_ceil(WHOLE_PERMILLE);
    raised.max(old.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GWEI: u128 = 1_000_000_000;
    const DAY_S: u64 = 86_400;

    fn gwei(amount: u128) -> u128 {
        amount.saturating_mul(GWEI)
    }

    fn fees(max: u128, tip: u128) -> Fees {
        Fees {
            max_fee_per_gas: gwei(max),
            max_priority_fee_per_gas: gwei(tip),
        }
    }

    fn prices(base_fee: u128, tip: u128) -> Prices {
        Prices {
            base_fee: gwei(base_fee),
            tip: gwei(tip),
        }
    }

    fn offer(limit: Option<u128>, deadline_s: Option<u64>) -> Offer {
        Offer {
            fees: fees(20, 1),
            first: 20 * GWEI,
            ceiling: 20 * GWEI,
            limit: limit.map(gwei),
            since_s: 1_000,
            now_s: 1_000,
            deadline_s,
        }
    }

    fn policy(max_fee_per_gas: Option<u128>) -> Policy {
        Policy {
            max_fee_per_gas,
            stuck_after_blocks: 3,
        }
    }

    #[test]
    fn the_first_offer_keeps_to_every_limit() {
        let offered = |given, budget, most: Option<u128>| {
            let request = TxRequest {
                fees: given,
                fee_budget_wei: budget,
                ..TxRequest::default()
            };
            first(
                &request,
                100_000,
                Some(prices(10, 2)),
                policy(most.map(|most| most * GWEI)),
            )
        };
        assert_eq!(offered(None, None, None), fees(22, 2));
        assert_eq!(offered(None, None, Some(15)), fees(15, 2));
        assert_eq!(offered(None, Some(1_200_000 * GWEI), Some(15)), fees(12, 2));
        assert_eq!(offered(None, Some(100_000 * GWEI), None), fees(1, 1));
        assert_eq!(
            offered(Some(fees(50, 5)), None, Some(15)),
            fees(50, 5),
            "given fees are meant"
        );
        assert_eq!(
            offered(Some(fees(50, 5)), Some(1_200_000 * GWEI), None),
            fees(12, 5)
        );
    }

    #[test]
    fn a_raise_is_one_that_nodes_take() {
        let offer = offer(None, None);
        let prices = prices(1, 1);
        let raised = offer.raised(prices, u128::MAX).unwrap();
        assert_eq!(raised.max_fee_per_gas, 22_500_000_000);
        assert_eq!(raised.max_priority_fee_per_gas, 1_125_000_000);
        assert_eq!(offer.raised(prices, 22_500_000_000), Some(raised));
        assert_eq!(
            offer.raised(prices, 22_499_999_999),
            None,
            "less than 12.5 % is refused"
        );
        assert_eq!(raise(0), 1);
        assert_eq!(raise(7), 8);
    }

    #[test]
    fn without_a_deadline_it_follows_the_market_up_to_the_limit() {
        let spike = prices(1_000, 3);
        let free = offer(None, None);
        assert_eq!(free.raised(spike, free.ceiling_now(spike)), Some(fees(2_003, 3)));
        let bound = offer(Some(1_500), None);
        assert_eq!(
            bound.raised(spike, bound.ceiling_now(spike)),
            Some(fees(1_500, 3))
        );
        let poor = offer(Some(900), None);
        assert_eq!(
            poor.raised(spike, poor.ceiling_now(spike)),
            None,
            "no block takes it below the base fee"
        );
    }

    #[test]
    fn the_ceiling_rises_to_the_limit_before_the_deadline_and_never_falls() {
        let mut offer = offer(Some(1_020), Some(1_000 + DAY_S));
        let calm = prices(1, 1);
        let mut before = 0;
        for (hours, expected) in [
            (0, 20),
            (9, 520),
            (18, 1_020),
            (23, 1_020),
            (24, 1_020),
            (48, 1_020),
        ] {
            offer.now_s = 1_000 + hours * 3_600;
            let ceiling = offer.ceiling_now(calm);
            assert_eq!(ceiling, expected * GWEI, "{hours} h");
            assert!(ceiling >= before);
            (before, offer.ceiling) = (ceiling, ceiling);
        }
        offer.now_s = 1_000;
        assert_eq!(
            offer.ceiling_now(calm),
            1_020 * GWEI,
            "time that goes back (a reorg) does not lower it"
        );
    }

    #[test]
    fn far_from_the_deadline_a_spike_is_waited_out_and_near_it_is_paid() {
        let spike = prices(300, 1);
        let mut offer = offer(Some(1_020), Some(1_000 + DAY_S));
        offer.now_s = 1_000 + 2 * 3_600;
        assert_eq!(offer.raised(spike, offer.ceiling_now(spike)), None);
        offer.now_s = 1_000 + 20 * 3_600;
        let paid = offer.raised(spike, offer.ceiling_now(spike)).unwrap();
        assert_eq!(paid, fees(602, 2), "and tips are doubled when it is late");
        offer.deadline_s = Some(999);
        assert_eq!(
            offer.ceiling_now(spike),
            1_020 * GWEI,
            "a deadline that is over: all at once"
        );
    }
}
