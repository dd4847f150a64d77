//! Channels that share a transaction.

use super::task::{Part, Planned};
use crate::settle::{
    CheckedEvidence, Plan, Proof, SettleError,
    journal::Purpose,
    send::Transaction,
    sweep::{self, CHANNELS_PER_TX_MAX},
};
use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolCall as _,
};
use protocol_spec::{UnixSeconds, abi::IAdjudicator, calls};
use std::collections::BTreeMap;

/// One channel in a transaction.
pub(super) struct Item {
    /// Its row.
    pub(super) at: usize,
    pub(super) evidence: CheckedEvidence,
    pub(super) planned: Planned,
}

/// Channels of one transaction. Never empty.
pub(super) struct Group(pub(super) Vec<Item>);

/// What the channels of one call have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    call: u8,
    adjudicator: Address,
    sender: Address,
    /// Of the channels of one hub: hub, its signer, token, challenge period. Of claims: the call.
    hub: Option<(Address, Address, Address, u64)>,
    claim: Bytes,
}

fn common(item: &Item) -> Option<Common> {
    let config = &item.evidence.raw().config;
    let plan = &item.planned.plan;
    let hub = (
        config.hub,
        config.hub_signer,
        config.token,
        config.challenge_period_s,
    );
    let (call, hub, claim) = match &item.planned.part {
        Part::Alone => return None,
        Part::Claim => (0, None, plan.calldata.clone()),
        Part::Finalize => (1, None, Bytes::new()),
        Part::Voucher(_) => (2, Some(hub), Bytes::new()),
        Part::Close(_) => (3, Some(hub), Bytes::new()),
        Part::Withdraw(_) => (4, Some(hub), Bytes::new()),
    };
    Some(Common {
        call,
        adjudicator: item.evidence.raw().adjudicator,
        sender: plan.sender,
        hub,
        claim,
    })
}

/// Puts together what can share a call; the others one by one, in their order.
pub(super) fn groups(items: Vec<Item>) -> Vec<Group> {
    let (mut alone, mut together) = (Vec::new(), BTreeMap::<Common, Vec<Item>>::new());
    for item in items {
        match common(&item) {
            None => alone.push(Group(vec![item])),
            Some(common) => together.entry(common).or_default().push(item),
        }
    }
    for items in together.into_values() {
        let mut items = items.into_iter();
        while let Some(first) = items.as_slice().first() {
            let room = match first.planned.part {
                Part::Claim => usize::MAX,
                _ => CHANNELS_PER_TX_MAX,
            };
            alone.push(Group(items.by_ref().take(room).collect()));
        }
    }
    alone
}

impl Group {
    pub(super) fn rows(&self) -> Vec<usize> {
        self.0.iter().map(|item| item.at).collect()
    }

    /// Whether it leaves locks for another transaction.
    pub(super) fn leaves_locks(&self) -> bool {
        self.0.iter().any(|item| item.planned.plan.more)
    }

    pub(super) fn sender(&self) -> Address {
        self.0
            .first()
            .map_or(Address::ZERO, |item| item.planned.plan.sender)
    }

    /// Until when the adjudicator takes all of it, and from when on that counts.
    pub(super) fn deadline(&self) -> (Option<UnixSeconds>, UnixSeconds) {
        let plans = || self.0.iter().map(|item| &item.planned.plan);
        let at = plans().map(|plan| plan.at).max();
        (
            plans().filter_map(|plan| plan.deadline).min(),
            at.unwrap_or(UnixSeconds(0)),
        )
    }

    /// Two halves, when it can be done with less at once.
    pub(super) fn halves(mut self) -> Result<[Self; 2], Self> {
        match self.0.first().map(|item| &item.planned.part) {
            Some(Part::Claim) | None => Err(self),
            Some(_) if self.0.len() < 2 => Err(self),
            Some(_) => {
                let second = self.0.split_off(self.0.len().div_ceil(2));
                Ok([self, Self(second)])
            }
        }
    }

    /// The event that proves it for one of its channels.
    pub(super) fn proof(item: &Item) -> Proof {
        item.planned.plan.proof
    }

    /// The transaction, and what the journal says of it.
    pub(super) fn call(&self) -> Result<(Transaction, Purpose), SettleError> {
        let empty = || SettleError::Internal("a group without channels".to_owned());
        let first = self.0.first().ok_or_else(empty)?;
        let (plan, id) = (&first.planned.plan, first.evidence.id());
        let channels = || self.0.iter().map(|item| item.evidence.id()).collect::<Vec<_>>();
        if self.0.len() == 1 {
            return Ok((plan.transaction(), Purpose::of(plan, id)));
        }
        let side = calls::hub_side(&first.evidence.raw().config);
        let calldata = match &first.planned.part {
            Part::Alone => return Err(SettleError::Internal("one call for one channel".to_owned())),
            Part::Claim => {
                let purpose = Purpose {
                    channels: channels(),
                    ..Purpose::of(plan, id)
                };
                return Ok((plan.transaction(), purpose));
            }
            Part::Finalize => {
                let all: Vec<_> = self.0.iter().map(|item| &item.evidence).collect();
                return sweep::finalize(&all, plan.sender);
            }
            Part::Voucher(_) => {
                let items = self.each(|part| match part {
                    Part::Voucher(item) => Some(item.clone()),
                    _ => None,
                });
                IAdjudicator::submitManyCall { side, items }.abi_encode()
            }
            Part::Close(_) => {
                let items = self.each(|part| match part {
                    Part::Close(item) => Some(item.clone()),
                    _ => None,
                });
                IAdjudicator::closeManyCall { side, items }.abi_encode()
            }
            Part::Withdraw(_) => {
                let items = self.each(|part| match part {
                    Part::Withdraw(item) => Some(item.clone()),
                    _ => None,
                });
                IAdjudicator::withdrawManyCall { side, items }.abi_encode()
            }
        };
        Ok((
            transaction(plan, calldata),
            Purpose::many(plan.command, channels()),
        ))
    }

    fn each<T>(&self, of: impl Fn(&Part) -> Option<T>) -> Vec<T> {
        self.0.iter().filter_map(|item| of(&item.planned.part)).collect()
    }
}

fn transaction(plan: &Plan, calldata: Vec<u8>) -> Transaction {
    Transaction {
        sender: plan.sender,
        to: plan.to,
        value: U256::ZERO,
        calldata: calldata.into(),
        proof: plan.proof,
    }
}
