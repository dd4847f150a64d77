//! A hub that lies on the wire ([`super::wire`]), in both directions, while the client does everything that there is to do. Then the
//! hub is gone: the chain pays the client what its SDK said that it has.

use crate::{
    court::{Case, act, dispute, pass, purse, state},
    locks::signed,
    people::{ENDOWMENT, Person},
    process::Hub,
    wire::{Liar, Plan},
    world::{CHALLENGE_PERIOD_S, World},
};
use client_sdk::{Digest, Health};
use hub::settle::Verb;
use protocol_spec::{Evidence, abi};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

const LIFE: Duration = Duration::from_secs(4 * 3600);
const PATIENCE: Duration = Duration::from_secs(3);

/// How often what was said.
type Words = BTreeMap<String, u32>;

struct Victim {
    liar: Liar,
    shop: Person,
    person: Person,
    seed: u64,
}

/// What is said about it, if it does not take too long.
async fn heard<T, E: Display>(what: impl Future<Output = Result<T, E>>) -> String {
    match timeout(PATIENCE, what).await {
        Ok(Ok(_)) => "ok".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "late".to_owned(),
    }
}

impl Victim {
    async fn arrive(world: &World, number: u64, seed: u64) -> Self {
        let of_1000 = match number % 3 {
            0 => 30,
            1 => 100,
            _ => 250,
        };
        let plan = Plan {
            seed,
            of_1000,
            to_client: number % 4 != 3,
            to_hub: number % 2 == 1,
            changes: number % 5 != 4,
        };
        let liar = Liar::start(world.listen, plan).await;
        let shop = Person::arrive(world, &format!("shop-{number}"), world.listen).await;
        let person = Person::arrive(world, &format!("victim-{number}"), liar.address).await;
        shop.pay(&person, 1000).await;
        Self {
            liar,
            shop,
            person,
            seed,
        }
    }

    /// Does what there is to do, whatever comes of it. What was tried to be paid, with fees.
    async fn live(&self, until: Instant) -> (u128, Words) {
        self.liar.on.store(true, Ordering::Release);
        let mut dice = StdRng::seed_from_u64(self.seed);
        let (mut tried, mut words) = (0, Words::new());
        let mut hear = |word: String| {
            let word = word.chars().filter(|c| !c.is_ascii_digit()).take(110).collect();
            *words.entry(word).or_default() += 1;
        };
        while Instant::now() < until && !matches!(self.person.client.health(), Health::Frozen(_)) {
            let amount = dice.random_range(1..2_000_u128);
            let what = dice.random_range(0..20);
            if matches!(what, 0..=5 | 15 | 16) {
                tried += amount + amount / 500 + 2;
            }
            hear(self.act(what, amount).await);
        }
        if self.seed.is_multiple_of(3) {
            hear(heard(self.person.channel.close()).await);
        }
        (tried, words)
    }

    async fn act(&self, what: u32, amount: u128) -> String {
        let (person, shop) = (&self.person, &self.shop);
        let (client, channel) = (&person.client, &person.channel);
        match what {
            0..=5 => heard(client.pay(shop.key.address(), amount)).await,
            6..=11 => heard(shop.client.pay(person.key.address(), amount)).await,
            12 => heard(channel.withdraw(amount)).await,
            13 | 14 => match timeout(PATIENCE, channel.invoice(amount, LIFE, Digest::ZERO)).await {
                Ok(Ok(invoice)) => {
                    if amount.is_multiple_of(5) {
                        let _ = timeout(PATIENCE, channel.give_up(&invoice)).await;
                    }
                    heard(shop.client.pay_locked(&invoice, person.key.address())).await
                }
                _ => "no invoice".to_owned(),
            },
            15 | 16 => {
                let invoice = shop.channel.invoice(amount, LIFE, Digest::ZERO).await.unwrap();
                heard(client.pay_locked(&invoice, shop.key.address())).await
            }
            17 => {
                let asked = channel.request_capacity(1_000_000_000_000_u128 + amount);
                match timeout(PATIENCE, asked).await {
                    Ok(Ok(offer)) => heard(channel.accept_capacity(&offer)).await,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "late".to_owned(),
                }
            }
            18 => heard(channel.deposit(1_u128)).await,
            _ => {
                sleep(Duration::from_millis(200)).await;
                "rested".to_owned()
            }
        }
    }

    /// The hub is gone: takes what it has to the chain.
    async fn leave(self, world: &World, (tried, words): (u128, Words)) -> Leaving {
        let Self {
            liar, shop, person, ..
        } = self;
        let (lies, health) = (liar.done.load(Ordering::Relaxed), person.client.health());
        println!("{lies} lies; {health:?}; {words:?}");
        let evidence = timeout(Duration::from_secs(10), person.channel.evidence());
        let evidence = evidence.await.expect("the SDK lives").unwrap();
        let balance = person.channel.view().unwrap().balance;
        let most = balance.settled.0 + balance.withdrawn.0 + tried + balance.locked.0;
        assert!(
            most + 2_000 >= balance.deposit.0 + 1000,
            "{balance:?}, tried {tried}"
        );
        person.client.clone().shutdown().await;
        shop.client.shutdown().await;
        let status = state(world, person.channel.id()).await.status;
        let open = matches!(status, abi::Status::Open | abi::Status::Disputed);
        if matches!(status, abi::Status::Open) {
            dispute(world, &person.key, &evidence, false).await;
        }
        // What left the channel before is in the purse already.
        let (fair, before) = match open {
            true => (balance.settled.0, purse(world, &person).await),
            false => (
                balance.settled.0 + balance.withdrawn.0,
                ENDOWMENT - balance.deposit.0,
            ),
        };
        Leaving {
            person,
            evidence,
            open,
            fair,
            before,
        }
    }
}

struct Leaving {
    person: Person,
    evidence: Evidence,
    open: bool,
    fair: u128,
    before: u128,
}

/// So many `victims` live through `seconds` with a lying hub each.
pub(crate) async fn is_no_loss(world: &World, seed: u64, victims: u64, seconds: u64, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let mut all = Vec::new();
    for number in 0..victims {
        all.push(Victim::arrive(world, number, seed + number).await);
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let lived = futures::future::join_all(all.iter().map(|victim| victim.live(until))).await;
    hub.must_run();
    hub.kill();
    let mut leaving = Vec::new();
    for (victim, lived) in all.into_iter().zip(lived) {
        leaving.push(victim.leave(world, lived).await);
    }
    pass(world, 2 * CHALLENGE_PERIOD_S + LIFE.as_secs()).await;
    for (number, one) in leaving.into_iter().enumerate() {
        if one.open {
            act(world, &one.person.key, &one.evidence, Verb::Finalize).await;
        }
        let (fair, got) = (one.fair, purse(world, &one.person).await - one.before);
        println!("victim {number}: fair {fair}, got {got}, open: {}", one.open);
        cases.push(Case {
            name: format!("victim {number} of seed {seed}: shortfall"),
            fair: 0,
            got: (signed(fair) - signed(got)).max(0),
        });
    }
}
