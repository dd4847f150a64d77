//! A day of simulated traffic with and without the liquidity manager: refusals, transactions, gas.
//!
//! The real ledger with real vouchers, the real manager, and a chain that takes a minute to mine and three to confirm.
//! `LIQUIDITY_DAY=1000 cargo test --release --workspace --features tests/canary --lib liquidity_day -- --nocapture`
//! is the whole of it; without the variable a few merchants have their day. `LIQUIDITY_SEED` chooses another day.

mod chain;
mod people;

use self::{
    chain::{SimChain, gas_price_gwei},
    people::{DAY_MINUTES, Traffic},
};
use super::{
    client::{Client, TOKEN},
    world::{World, policy},
};
use crate::{
    ledger::{Capacity, Input, Policy, Reserve, Tariff, Vault},
    liquidity::{LiquidityPolicy, Situation, gas, plan},
};
use protocol_spec::{Amount, Op, Payee, ReturnReason, UnixSeconds};
use std::{collections::BTreeMap, fmt::Write as _};

/// What the hub starts with, per merchant.
const VAULT_PER_MERCHANT: u128 = 400_000;
/// What a merchant's channel gets at first when nobody looks after it.
const FIXED: u128 = 200_000;
const PAYERS: usize = 10;
/// Channels in one transaction, as the driver has it.
const BATCH_MAX: usize = 100;
const GWEI: u128 = 1_000_000_000;
/// What the hub expects a refill to take: mined in one minute, confirmed in three.
const READY_S: u64 = 240;
const OFFER_REST_MINUTES: u64 = 30;

/// One way to run the hub.
struct Way {
    name: &'static str,
    reserve: Reserve,
    policy: LiquidityPolicy,
}

fn ways() -> [Way; 3] {
    let reserve = |initial, low, target, high, volume_percent| Reserve {
        initial: Amount(initial),
        low: Amount(low),
        target: Amount(target),
        high: Amount(high),
        volume_percent,
        volume_max: Amount(20_000_000),
        kept: Amount::ZERO,
    };
    let at_any_price = LiquidityPolicy {
        gas_price_max_wei: None,
        release: false,
    };
    [
        Way {
            name: "fixed reserve",
            reserve: reserve(FIXED, 0, 0, 0, 0),
            policy: at_any_price,
        },
        Way {
            name: "top-ups, one level for all, at any gas price",
            reserve: reserve(50_000, 12_500, 50_000, 0, 0),
            policy: at_any_price,
        },
        Way {
            name: "manager",
            reserve: reserve(50_000, 12_500, 50_000, 100_000, 50),
            policy: LiquidityPolicy {
                gas_price_max_wei: Some(30 * GWEI),
                release: true,
            },
        },
    ]
}

/// What came of a day.
#[derive(Default, Debug)]
struct Outcome {
    payments: u64,
    volume: u128,
    refused: u64,
    refused_volume: u128,
    refused_by_hour: Vec<u64>,
    hints: u64,
    hints_true: u64,
    refills: u64,
    releases: u64,
    transactions: u64,
    gas: u64,
    /// Of those, with releases.
    release_transactions: u64,
    release_gas: u64,
    /// Gas times its price, gwei.
    cost_gwei: u128,
    /// Smallest the vault ever was.
    vault_low: u128,
    vault_end: u128,
}

struct Day {
    world: World,
    chain: SimChain,
    traffic: Traffic,
    way: Way,
    /// Asked for a release, at which minute.
    asked: BTreeMap<usize, u64>,
    /// Payments to be tried again: by minute, payer, payee, amount.
    again: BTreeMap<u64, Vec<(usize, usize, u128)>>,
    outcome: Outcome,
    minute: u64,
}

impl Day {
    fn new(way: Way, merchants: usize, seed: u64) -> Self {
        let tariff = Tariff {
            fee_flat: Amount::ZERO,
            fee_ppm: 0,
            reserve: way.reserve.clone(),
            capacity: Capacity::default(),
            ..policy().tokens.remove(0)
        };
        let policy = Policy {
            tokens: vec![tariff],
            ..policy()
        };
        let mut world = World::with(policy, 0, 0);
        for number in 0..PAYERS + merchants {
            let index = world.add(Client::new(number as u64, TOKEN), 0);
            let deposit = if index < PAYERS { 1 << 60 } else { 0 };
            world.fund(index, deposit, 0);
        }
        Self {
            world,
            chain: SimChain::new(VAULT_PER_MERCHANT * merchants as u128),
            traffic: Traffic::new(merchants, seed),
            way,
            asked: BTreeMap::new(),
            again: BTreeMap::new(),
            outcome: Outcome {
                refused_by_hour: vec![0; 24],
                vault_low: u128::MAX,
                ..Outcome::default()
            },
            minute: 0,
        }
    }

    fn run(mut self) -> Outcome {
        for minute in 0..DAY_MINUTES {
            self.minute = minute;
            self.world.now = self.world.now.after(60);
            self.chain.minute(&mut self.world, minute);
            self.manage();
            self.pay();
            if minute % 60 == 59 {
                self.acknowledge();
            }
            self.outcome.vault_low = self.outcome.vault_low.min(self.chain.vault);
        }
        self.outcome.vault_end = self.chain.vault;
        self.outcome
    }

    /// What the driver does at each look.
    fn manage(&mut self) {
        let (reserves, price) = (self.world.ledger.reserves(), gas_price_gwei(self.minute) * GWEI);
        let index = |world: &World, id| {
            world
                .clients
                .iter()
                .position(|one| one.channel.id() == id)
                .unwrap()
        };
        let mut needs = reserves.needs;
        needs.retain(|need| !self.chain.is_on_its_way(index(&self.world, need.channel)));
        let mut surpluses = reserves.surpluses;
        surpluses.retain(|surplus| {
            let asked = self.asked.get(&index(&self.world, surplus.channel));
            asked.is_none_or(|at| self.minute >= at + OFFER_REST_MINUTES)
        });
        let available = Amount(self.chain.vault - self.chain.on_the_way());
        let situation = Situation {
            needs,
            surpluses,
            available: [(TOKEN, available)].into(),
            kept: reserves.kept,
            owed: reserves.owed,
            gas_price_wei: Some(price),
            wallet_short: false,
        };
        let plan = plan(situation, self.way.policy);
        let refills: Vec<(usize, u128)> = plan
            .refills
            .iter()
            .map(|refill| (index(&self.world, refill.need.channel), refill.need.amount.0))
            .collect();
        let put_off = plan.put_off().get(&TOKEN).copied().unwrap_or_default();
        let spoken_for: u128 = refills.iter().map(|(_, amount)| amount).sum::<u128>() + put_off.0;
        let vault = Vault {
            token: TOKEN,
            available: available.saturating_minus(Amount(spoken_for)),
            ready_in_s: Some(READY_S),
            new_channels: true,
        };
        self.world.commit(vec![Input::Vault(vault)]);
        self.outcome.refills += refills.len() as u64;
        for chunk in refills.chunks(BATCH_MAX) {
            self.sent(gas::reserves(chunk.len()));
            self.chain.send_reserves(self.minute, chunk);
        }
        let mut agreed = 0;
        for surplus in plan.releases {
            let client = index(&self.world, surplus.channel);
            self.asked.insert(client, self.minute);
            if self.chain.release(&mut self.world, client, self.minute) {
                self.asked.remove(&client);
                agreed += 1;
            }
        }
        self.outcome.releases += agreed as u64;
        // Their clients sign at once, so they wait together for the next look.
        while agreed > 0 {
            let together = agreed.min(BATCH_MAX);
            agreed -= together;
            self.sent(gas::releases(together));
            self.outcome.release_transactions += 1;
            self.outcome.release_gas += gas::releases(together);
        }
    }

    fn sent(&mut self, gas: u64) {
        self.outcome.transactions += 1;
        self.outcome.gas += gas;
        self.outcome.cost_gwei += u128::from(gas) * gas_price_gwei(self.minute);
    }

    /// The minute's payments, and those whose hint has come.
    fn pay(&mut self) {
        let retries = self.again.remove(&self.minute).unwrap_or_default();
        let fresh = self.traffic.minute(self.minute);
        let mut frames: BTreeMap<usize, Vec<(Op, u128, usize, bool)>> = BTreeMap::new();
        let all = retries
            .iter()
            .map(|one| (*one, true))
            .chain(fresh.iter().map(|one| (*one, false)));
        for ((payer, merchant, amount), retry) in all {
            let payee = Payee::Channel(self.world.id(merchant));
            let expires = self.world.now.after(60);
            let op = self.world.clients[payer].pay(payee, amount, 0, expires);
            frames
                .entry(payer)
                .or_default()
                .push((op, amount, merchant, retry));
        }
        for (payer, payments) in frames {
            for part in payments.chunks(protocol_spec::limits::OPS_PER_FRAME_MAX) {
                let ops = part.iter().map(|(op, ..)| op.clone()).collect();
                let origin = self.world.send(payer, ops);
                let bounced = self.world.voucher_reply(origin).bounced.clone();
                let bounces: BTreeMap<_, _> = bounced
                    .iter()
                    .map(|bounce| (bounce.payment_id, (bounce.reason, bounce.ready_at)))
                    .collect();
                for (op, amount, merchant, retry) in part {
                    let Op::Pay(payment) = op else { unreachable!() };
                    let bounce = bounces.get(&payment.payment_id).copied();
                    self.note(payer, *merchant, *amount, *retry, bounce);
                }
            }
        }
    }

    fn note(
        &mut self,
        payer: usize,
        merchant: usize,
        amount: u128,
        retry: bool,
        bounce: Option<(ReturnReason, Option<UnixSeconds>)>,
    ) {
        let outcome = &mut self.outcome;
        if retry {
            outcome.hints_true += u64::from(bounce.is_none());
            return;
        }
        outcome.payments += 1;
        outcome.volume += amount;
        let Some((reason, ready_at)) = bounce else { return };
        assert_eq!(reason, ReturnReason::InsufficientReserve);
        outcome.refused += 1;
        outcome.refused_volume += amount;
        outcome.refused_by_hour[(self.minute / 60 % 24) as usize] += 1;
        if let Some(ready_at) = ready_at {
            let wait = (ready_at.0 - self.world.now.0).div_ceil(60);
            // What would be tried again after the end of the day tells nothing.
            if self.minute + wait < DAY_MINUTES {
                outcome.hints += 1;
                let again = self.again.entry(self.minute + wait).or_default();
                again.push((payer, merchant, amount));
            }
        }
    }

    /// Merchants acknowledge what they hold.
    fn acknowledge(&mut self) {
        for client in PAYERS..self.world.clients.len() {
            if self.world.clients[client].channel.must_ack() {
                self.world.send(client, Vec::new());
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

fn table(merchants: usize, days: &[(&str, Outcome)]) -> String {
    let mut text = format!("{merchants} merchants, one day\n");
    let mut row = |name: &str, cells: Vec<String>| {
        let _ = writeln!(text, "| {name:<41} | {} |", cells.join(" | "));
    };
    let cells = |cell: &dyn Fn(&Outcome) -> String| days.iter().map(|(_, day)| cell(day)).collect::<Vec<_>>();
    row("", days.iter().map(|(name, _)| (*name).to_owned()).collect());
    row("---", vec!["---:".to_owned(); days.len()]);
    row("payments", cells(&|day| day.payments.to_string()));
    row(
        "refused for want of reserve",
        cells(&|day| day.refused.to_string()),
    );
    row(
        "refused, per mille",
        cells(&|day| (day.refused * 1000 / day.payments.max(1)).to_string()),
    );
    row(
        "refused, per mille of the value",
        cells(&|day| (day.refused_volume * 1000 / day.volume.max(1)).to_string()),
    );
    row(
        "hints given, and true",
        cells(&|day| format!("{}, {}", day.hints, day.hints_true)),
    );
    row(
        "refills, releases",
        cells(&|day| format!("{}, {}", day.refills, day.releases)),
    );
    row("transactions", cells(&|day| day.transactions.to_string()));
    row("gas", cells(&|day| day.gas.to_string()));
    row(
        "of these with releases: transactions, gas",
        cells(&|day| format!("{}, {}", day.release_transactions, day.release_gas)),
    );
    row(
        "mean gas price, gwei",
        cells(&|day| (day.cost_gwei / u128::from(day.gas.max(1))).to_string()),
    );
    row(
        "vault at its lowest, per mille",
        cells(&|day| share(day.vault_low, merchants)),
    );
    row(
        "vault at the end, per mille",
        cells(&|day| share(day.vault_end, merchants)),
    );
    text.push_str("refused, hour by hour\n");
    for (name, day) in days {
        let most = day.refused_by_hour.iter().max().copied().unwrap_or(0).max(1);
        let bar = |count: &u64| {
            ['.', '1', '2', '3', '4', '5', '6', '7', '8', '9'][((count * 9).div_ceil(most)) as usize]
        };
        let bars: String = day.refused_by_hour.iter().map(bar).collect();
        let _ = writeln!(text, "{bars}  9 = {most}  {name}");
    }
    text
}

fn share(amount: u128, merchants: usize) -> String {
    (amount * 1000 / (VAULT_PER_MERCHANT * merchants as u128)).to_string()
}

#[test]
fn liquidity_day_with_and_without_the_manager() {
    let merchants = number("LIQUIDITY_DAY").unwrap_or(25) as usize;
    let seed = number("LIQUIDITY_SEED").unwrap_or(1);
    println!("seed {seed}");
    let run = |way: Way| (way.name, Day::new(way, merchants, seed).run());
    let days: Vec<(&str, Outcome)> = ways().into_iter().map(run).collect();
    println!("{}", table(merchants, &days));
    let [fixed, _, manager] = days.as_slice() else {
        unreachable!()
    };
    assert_eq!(fixed.1.payments, manager.1.payments, "the same day");
    assert!(fixed.1.refused > 0, "a day that asks for nothing shows nothing");
    assert!(
        manager.1.refused * 2 < fixed.1.refused,
        "the manager is of no use"
    );
    let missed = manager.1.hints - manager.1.hints_true;
    assert!(
        missed * 10 <= manager.1.hints,
        "{missed} of {} hints were not true",
        manager.1.hints
    );
}
