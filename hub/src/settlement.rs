//! When what can wait is settled on chain: the operator's policy, as pure decisions.

use protocol_spec::{Address, Amount, UnixSeconds};
use std::collections::BTreeMap;

/// A voucher worth so many times what the policy asks for is shown whatever gas costs.
const CHECKPOINT_URGENT_TIMES: u128 = 4;

/// `[settlement]`. The default sends everything at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettlementPolicy {
    /// Closes of one batch that are enough to send it, while gas is not too expensive.
    pub min_batch: usize,
    /// No close waits longer, seconds.
    pub max_wait_s: u64,
    /// While gas costs more than this, wei, batches wait for their other reasons; none: it never matters.
    pub gas_price_max_wei: Option<u128>,
    /// Per token: what may come home to the hub by gathered closes before they are sent.
    pub value_at_risk: BTreeMap<Address, Amount>,
    /// Per token: a client's payments beyond what the chain knows that make the hub show the newest voucher.
    pub checkpoint_above: BTreeMap<Address, Amount>,
}

impl Default for SettlementPolicy {
    fn default() -> Self {
        Self {
            min_batch: 1,
            max_wait_s: 300,
            gas_price_max_wei: None,
            value_at_risk: BTreeMap::new(),
            checkpoint_above: BTreeMap::new(),
        }
    }
}

/// One gathered close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// What comes home to the hub.
    pub value: Amount,
    /// Not mined after this chain time.
    pub deadline: UnixSeconds,
    /// Since it was signed, seconds.
    pub waited_s: u64,
}

/// The closes that would go together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Their token.
    pub token: Address,
    /// Each of them.
    pub items: Vec<Item>,
    /// Chain time.
    pub now: UnixSeconds,
    /// Worst time to get it mined, seconds.
    pub act_s: u64,
    /// What gas costs; none: not known, or no matter.
    pub gas_price_wei: Option<u128>,
}

/// Why a batch goes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A deadline, less the time to get it mined.
    Deadline,
    /// One has waited long enough.
    Waited,
    /// Too much money hangs on it.
    Value,
    /// Enough have gathered, and gas is not too expensive.
    Enough,
}

impl Reason {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Deadline => "a deadline is near",
            Self::Waited => "it has waited long enough",
            Self::Value => "too much money hangs on it",
            Self::Enough => "enough have gathered, and gas is not too expensive",
        }
    }
}

impl SettlementPolicy {
    /// Why the batch goes now; none: it waits.
    #[must_use]
    pub fn due(&self, batch: &Batch) -> Option<Reason> {
        let late = |item: &Item| batch.now.after(batch.act_s) >= item.deadline;
        let waited = |item: &Item| item.waited_s >= self.max_wait_s;
        let sum = batch
            .items
            .iter()
            .fold(0_u128, |sum, item| sum.saturating_add(item.value.0));
        let most = self.value_at_risk.get(&batch.token);
        match () {
            () if batch.items.is_empty() => None,
            () if batch.items.iter().any(late) => Some(Reason::Deadline),
            () if batch.items.iter().any(waited) => Some(Reason::Waited),
            () if most.is_some_and(|most| sum >= most.0) => Some(Reason::Value),
            () if batch.items.len() >= self.min_batch && !self.gas_is_high(batch.gas_price_wei) => {
                Some(Reason::Enough)
            }
            () => None,
        }
    }

    /// True when a voucher worth `value` more than the chain knows is shown now.
    #[must_use]
    pub fn checkpoint_due(&self, token: Address, value: Amount, gas_price_wei: Option<u128>) -> bool {
        let Some(above) = self.checkpoint_above.get(&token) else {
            return false;
        };
        let urgent = above.0.saturating_mul(CHECKPOINT_URGENT_TIMES);
        value > *above && (!self.gas_is_high(gas_price_wei) || value.0 > urgent)
    }

    fn gas_is_high(&self, price_wei: Option<u128>) -> bool {
        matches!((price_wei, self.gas_price_max_wei), (Some(price), Some(most)) if price > most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Address = Address::repeat_byte(7);
    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn batch(count: usize, waited_s: u64) -> Batch {
        let item = Item {
            value: Amount(100),
            deadline: NOW.after(10_000),
            waited_s,
        };
        Batch {
            token: TOKEN,
            items: vec![item; count],
            now: NOW,
            act_s: 1_800,
            gas_price_wei: Some(50),
        }
    }

    fn policy() -> SettlementPolicy {
        SettlementPolicy {
            min_batch: 5,
            max_wait_s: 600,
            gas_price_max_wei: Some(50),
            value_at_risk: [(TOKEN, Amount(1_000))].into(),
            checkpoint_above: [(TOKEN, Amount(500))].into(),
        }
    }

    #[test]
    fn by_default_a_close_goes_at_once_and_nothing_is_never_sent() {
        assert_eq!(
            SettlementPolicy::default().due(&batch(1, 0)),
            Some(Reason::Enough)
        );
        assert_eq!(SettlementPolicy::default().due(&batch(0, 0)), None);
    }

    #[test]
    fn each_reason_has_its_border() {
        let policy = policy();
        assert_eq!(policy.due(&batch(4, 0)), None);
        assert_eq!(policy.due(&batch(5, 0)), Some(Reason::Enough));
        assert_eq!(policy.due(&batch(1, 599)), None);
        assert_eq!(policy.due(&batch(1, 600)), Some(Reason::Waited));
        let dear = |count| Batch {
            gas_price_wei: Some(51),
            ..batch(count, 0)
        };
        assert_eq!(policy.due(&dear(9)), None, "gas above the ceiling");
        assert_eq!(policy.due(&dear(10)), Some(Reason::Value), "10 x 100 at risk");
        let other = Batch {
            token: Address::ZERO,
            ..dear(10)
        };
        assert_eq!(policy.due(&other), None, "values are per token");
        let unknown = Batch {
            gas_price_wei: None,
            ..batch(5, 0)
        };
        assert_eq!(policy.due(&unknown), Some(Reason::Enough));
    }

    #[test]
    fn no_close_waits_past_its_deadline_less_act() {
        let policy = SettlementPolicy {
            max_wait_s: u64::MAX,
            ..policy()
        };
        for (left_s, due) in [
            (1_801, None),
            (1_800, Some(Reason::Deadline)),
            (0, Some(Reason::Deadline)),
        ] {
            let mut one = batch(1, 0);
            one.items[0].deadline = NOW.after(left_s);
            assert_eq!(policy.due(&one), due, "{left_s} s left");
        }
    }

    #[test]
    fn a_checkpoint_goes_above_its_value_and_waits_for_gas_up_to_four_times_that() {
        let policy = policy();
        let due = |value, price| policy.checkpoint_due(TOKEN, Amount(value), Some(price));
        assert!(!due(500, 50) && due(501, 50), "the border");
        assert!(!due(2_000, 51) && due(2_001, 51), "dear gas");
        assert!(
            !policy.checkpoint_due(Address::ZERO, Amount(u128::MAX), None),
            "not asked for in this token"
        );
    }
}
