//! Spend limits: on by default, so that a bug in the caller cannot sign everything away at once.

use crate::{LimitKind, PayError};
use protocol_spec::Amount;

/// A bound on money.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Base units of the token.
    Amount(Amount),
    /// Percent of the channel's confirmed deposit plus everything received.
    Percent(u8),
    /// No bound.
    Unlimited,
}

impl Limit {
    /// The bound for a channel whose deposit and receipts add up to `funds`.
    #[must_use]
    pub fn of(self, funds: Amount) -> Amount {
        match self {
            Self::Amount(amount) => amount,
            Self::Percent(percent) => {
                let hundredth = funds.0.checked_div(100).unwrap_or_default();
                let rest = funds.0.checked_rem(100).unwrap_or_default();
                let part = |of: u128| of.saturating_mul(u128::from(percent));
                let rest = part(rest).checked_div(100).unwrap_or_default();
                Amount(part(hundredth).saturating_add(rest))
            }
            Self::Unlimited => Amount(u128::MAX),
        }
    }
}

/// Spend limits of a client. Amounts include the fees granted.
///
/// The default is half of the channel's funds (confirmed deposit plus everything received) for one payment and for
/// everything in flight, and no bound on the total. Payments beyond the in-flight bound wait in the queue; a single
/// payment larger than it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpendLimit {
    /// One payment.
    pub per_payment: Limit,
    /// Signed and not acknowledged: what a hub that vanishes with the payments can cost.
    pub in_flight: Limit,
    /// Everything paid by this `Client` since `connect`; bounced payments are given back to it.
    pub total: Limit,
}

impl Default for SpendLimit {
    fn default() -> Self {
        Self {
            per_payment: Limit::Percent(50),
            in_flight: Limit::Percent(50),
            total: Limit::Unlimited,
        }
    }
}

impl SpendLimit {
    /// No limits at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            per_payment: Limit::Unlimited,
            in_flight: Limit::Unlimited,
            total: Limit::Unlimited,
        }
    }

    /// Checks one payment of `asked` (fee included) in a channel with `funds`, after `spent` in total.
    pub(crate) fn check(&self, asked: Amount, funds: Amount, spent: Amount) -> Result<(), PayError> {
        let bounds = [
            (LimitKind::PerPayment, self.per_payment, asked),
            (LimitKind::InFlight, self.in_flight, asked),
            (
                LimitKind::Total,
                self.total,
                Amount(spent.0.saturating_add(asked.0)),
            ),
        ];
        for (kind, bound, asked) in bounds {
            let limit = bound.of(funds);
            if asked > limit {
                return Err(PayError::SpendLimit { kind, limit, asked });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_exact_at_the_boundary() {
        assert_eq!(Limit::Percent(50).of(Amount(101)), Amount(50));
        assert_eq!(Limit::Percent(50).of(Amount(u128::MAX)), Amount(u128::MAX / 2));
        let limit = SpendLimit::default();
        assert!(limit.check(Amount(50), Amount(100), Amount(0)).is_ok());
        assert!(limit.check(Amount(51), Amount(100), Amount(0)).is_err());
    }
}
