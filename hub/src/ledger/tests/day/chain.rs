//! The chain of the simulated day: what is sent is mined in the next minute and counts three minutes later.

use super::super::{liquidity::asked_by, world::World};
use crate::ledger::{ChainFact, Input, Output};
use protocol_spec::{Amount, Side, Signature, message::WithdrawCall};

const MINED_AFTER: u64 = 1;
const CONFIRMED_AFTER: u64 = 3;
/// One client in ten agrees to no release.
const STUBBORN: usize = 10;

/// Gas is cheap at night and dear in the evening: 8 to 60 gwei, with a ripple.
pub(super) fn gas_price_gwei(minute: u64) -> u128 {
    const HOURS: [u128; 24] = [
        14, 11, 9, 8, 8, 9, 12, 16, 20, 24, 26, 25, 27, 30, 38, 47, 54, 60, 55, 46, 36, 28, 22, 17,
    ];
    HOURS[(minute / 60 % 24) as usize] + u128::from(minute % 7)
}

enum Sent {
    Reserves(Vec<(usize, u128)>),
    Release(usize, Amount, u128),
}

pub(super) struct SimChain {
    pub(super) vault: u128,
    /// Sent at which minute.
    sent: Vec<(u64, Sent)>,
    mined: Vec<(u64, Sent)>,
}

impl SimChain {
    pub(super) fn new(vault: u128) -> Self {
        Self {
            vault,
            sent: Vec::new(),
            mined: Vec::new(),
        }
    }

    /// A minute passes: blocks are mined, and an older one is confirmed.
    pub(super) fn minute(&mut self, world: &mut World, minute: u64) {
        for (at, sent) in std::mem::take(&mut self.sent) {
            if at + MINED_AFTER > minute {
                self.sent.push((at, sent));
                continue;
            }
            match &sent {
                Sent::Reserves(items) => {
                    let sum: u128 = items.iter().map(|(_, amount)| amount).sum();
                    assert!(
                        sum <= self.vault,
                        "the batch reverts: the vault was promised twice"
                    );
                    self.vault -= sum;
                }
                Sent::Release(_, _, amount) => self.vault += amount,
            }
            self.mined.push((at, sent));
        }
        let mut facts = Vec::new();
        for (at, sent) in std::mem::take(&mut self.mined) {
            match sent {
                sent if at + CONFIRMED_AFTER > minute => self.mined.push((at, sent)),
                Sent::Reserves(items) => {
                    for (client, amount) in items {
                        facts.extend(world.fund_facts(client, 0, amount));
                    }
                }
                Sent::Release(client, total, _) => {
                    let channel = &mut world.clients[client].channel;
                    channel.withdraw_confirmed(Side::Hub, total);
                    facts.push(ChainFact::Withdrawn {
                        channel: channel.id(),
                        side: Side::Hub,
                        total,
                    });
                }
            }
        }
        world.block(facts);
    }

    pub(super) fn send_reserves(&mut self, minute: u64, items: &[(usize, u128)]) {
        self.sent.push((minute, Sent::Reserves(items.to_vec())));
    }

    pub(super) fn is_on_its_way(&self, client: usize) -> bool {
        let all = self.sent.iter().chain(&self.mined);
        all.into_iter().any(|(_, sent)| match sent {
            Sent::Reserves(items) => items.iter().any(|(one, _)| *one == client),
            Sent::Release(..) => false,
        })
    }

    /// What leaves the vault with the next blocks.
    pub(super) fn on_the_way(&self) -> u128 {
        let leaving = self.sent.iter().map(|(_, sent)| match sent {
            Sent::Reserves(items) => items.iter().map(|(_, amount)| amount).sum(),
            Sent::Release(..) => 0,
        });
        leaving.sum()
    }

    /// Asks the client; true when it agreed and the transaction was sent.
    pub(super) fn release(&mut self, world: &mut World, client: usize, minute: u64) -> bool {
        let channel = world.id(client);
        let before = world.clients[client].channel.withdrawn(Side::Hub);
        let told = world.commit(vec![Input::Offer(channel)]);
        let Some(release) = told.iter().find_map(asked_by) else {
            return false;
        };
        if client % STUBBORN == STUBBORN - 1 {
            return false;
        }
        let (clock, amount) = (world.clock(), release.total.saturating_minus(before));
        let own = &mut world.clients[client].channel;
        let withdraw = own.plan_withdraw(Side::Hub, amount, release.deadline).unwrap();
        own.sign_withdraw(&withdraw, clock).unwrap();
        let origin = world.fresh_origin(client);
        let call = WithdrawCall {
            withdraw,
            signature: Signature([1; 65]),
        };
        let signed = world.commit(vec![Input::Withdraw(origin, call)]);
        let countersigned = signed
            .iter()
            .any(|output| matches!(output, Output::Countersign(..)));
        assert!(countersigned, "a release that the client signed is refused");
        self.sent
            .push((minute, Sent::Release(client, release.total, amount.0)));
        true
    }
}
