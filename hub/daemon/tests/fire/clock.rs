//! The time of day jumps.

use super::{
    orders::{Order, Orders},
    persons::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    range::{Range, obedient},
    world::World,
};
use client_sdk::{ChannelError, Digest, LockedPaid, PayError, ReturnReason, SignedInvoice, SignerKey};
use hub::app::contracts;
use protocol_spec::Address;
use std::{path::Path, time::Duration};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;
const JUMPS: [(&str, i64); 5] = [
    ("an hour ahead", HOUR_S),
    ("an hour behind", -HOUR_S),
    ("a day ahead", DAY_S),
    ("a day behind", -DAY_S),
    ("40 days ahead", 40 * DAY_S),
];

/// D3: ahead, behind, and right again. Behind, the chain's time counts and payments go on; an hour ahead they come back,
/// because they have expired; further ahead the hub's view of the chain is too old to accept anything (R6).
pub(crate) async fn jumps(range: &mut Range) -> String {
    let seconds = range.size(1, 20);
    let mut seen = Vec::new();
    for (name, jump) in JUMPS {
        range.orders.set(Order::ClockS, jump);
        // What was under way gets its answer.
        sleep(Duration::from_secs(1)).await;
        let before = range.log.counts().acked;
        sleep(Duration::from_secs(seconds as u64)).await;
        let acked = range.log.counts().acked - before;
        assert_eq!(acked > 0, jump < 0, "{name}: {acked} acknowledged");
        seen.push(format!("{name} for {seconds} s: {acked} acknowledged"));
        range.hub.must_run();
    }
    range.orders.set(Order::ClockS, 0);
    seen.join(", ")
}

const AMOUNT: u128 = 1_000;
const FEE: u128 = 1;
const LIFE: Duration = Duration::from_secs(4 * 3600);

/// Two people who lock payments at an escrow.
struct Pair {
    payer: Person,
    merchant: Person,
    escrow: Address,
    arbiter: SignerKey,
}

/// A locked payment on its way.
struct Locked {
    invoice: SignedInvoice,
    deal: [u8; 32],
    paying: JoinHandle<Result<LockedPaid, PayError>>,
}

impl Pair {
    async fn lock(&self, deal: [u8; 32]) -> Locked {
        let condition = contracts::escrow_condition(self.escrow, self.arbiter.address(), deal);
        let invoice = self
            .merchant
            .channel
            .invoice_on(AMOUNT, LIFE, Digest::ZERO, condition);
        let invoice = invoice.await.unwrap();
        let (client, asked) = (self.payer.client.clone(), invoice.clone());
        let signer = self.merchant.key.address();
        Locked {
            invoice,
            deal,
            paying: tokio::spawn(async move { client.pay_locked(&asked, signer).await }),
        }
    }

    /// Waits until the merchant holds it. Errors: why it came back.
    async fn held(&self, locked: &mut Locked) -> Result<(), ReturnReason> {
        tokio::select! {
            held = self.merchant.channel.held(&locked.invoice) => drop(held.unwrap()),
            paid = &mut locked.paying => match paid.unwrap() {
                Err(PayError::Bounced { reason, .. }) => return Err(reason),
                other => panic!("a lock that nobody held: {other:?}"),
            },
        }
        Ok(())
    }

    /// Releases it. Errors: the hub does not listen now, and is told later.
    async fn release(&self, world: &World, locked: &Locked) -> Result<(), ChannelError> {
        let witness = contracts::release(&world.bank, self.escrow, &self.arbiter, locked.deal).await;
        let released = self
            .merchant
            .channel
            .release(&locked.invoice, witness.unwrap())
            .await;
        released.map(drop)
    }

    /// Releases it at a hub that accepts nothing. Whether the merchant knows that by now, or still waits for the hub's
    /// answer, depends on whether anything of its own was refused before.
    async fn release_unheard(&self, world: &World, locked: &Locked) {
        let witness = contracts::release(&world.bank, self.escrow, &self.arbiter, locked.deal).await;
        let released = self.merchant.channel.release(&locked.invoice, witness.unwrap());
        let released = timeout(Duration::from_secs(1), released).await;
        assert!(
            matches!(released, Err(_) | Ok(Err(ChannelError::Offline))),
            "{released:?}"
        );
    }

    /// The merchant is paid, and the payer has its proof.
    async fn paid(&self, world: &World, locked: Locked) {
        let received = self.merchant.channel.accept(&locked.invoice).await.unwrap();
        assert_eq!(received.amount.0, AMOUNT);
        let witness = contracts::release(&world.bank, self.escrow, &self.arbiter, locked.deal).await;
        let paid = locked.paying.await.unwrap().unwrap();
        assert_eq!(paid.witness, witness.unwrap(), "the payer's proof");
    }

    /// Locks in the payer's channel and in the merchant's.
    async fn locks(&self) -> (usize, usize) {
        let sent = self.payer.channel.evidence().await.unwrap().sent;
        let received = self.merchant.channel.evidence().await.unwrap().received;
        (sent.locks.len(), received.locks.len())
    }
}

/// D3: locks that are held when the hub's clock jumps, far beyond their expiry, too, are neither given back nor disputed;
/// they are paid when they are released, at the latest when the clock is right again. Of new ones it takes only those whose
/// times it can tell.
pub(crate) async fn locks_outlast_jumps(dir: &Path) {
    let world = World::embedded(dir).await;
    let escrow = contracts::deploy_arbiter_escrow(&world.bank).await.unwrap();
    let config = std::fs::read_to_string(&world.config).unwrap();
    let config = format!("{config}[locks]\nresolvers = [\"{escrow}\"]\n");
    std::fs::write(&world.config, config).unwrap();
    let orders = Orders::new(dir);
    let mut hub = Hub::spawn_with(&world, obedient(&orders));
    hub.ready();
    let pair = Pair {
        payer: Person::arrive(&world, "payer", world.listen).await,
        merchant: Person::arrive(&world, "merchant", world.listen).await,
        escrow,
        arbiter: SignerKey::from_bytes(&rand::random()).unwrap(),
    };
    pair.payer.pay(&pair.merchant, AMOUNT).await;
    let mut paid = 1;
    for (number, (name, jump)) in (1..).zip(JUMPS) {
        let mut before = pair.lock([number; 32]).await;
        pair.held(&mut before).await.unwrap();
        orders.set(Order::ClockS, jump);
        // The hub looks at its locks with every block, each second.
        sleep(Duration::from_secs(2)).await;
        assert_eq!(pair.locks().await, (1, 1), "{name}");
        println!("{name}: held, and locking another one");
        let mut meanwhile = pair.lock([100 + number; 32]).await;
        let mut taken = Ok(());
        if jump < DAY_S {
            taken = pair.held(&mut meanwhile).await;
            pair.release(&world, &before).await.unwrap();
            // R22: its view of the chain is older than lag.
            let expected = if jump > 0 {
                Err(ReturnReason::Unavailable)
            } else {
                Ok(())
            };
            assert_eq!(taken, expected, "{name}");
            orders.set(Order::ClockS, 0);
        } else {
            // R6: it accepts nothing.
            let held = timeout(Duration::from_secs(1), pair.held(&mut meanwhile)).await;
            assert!(held.is_err(), "{name}: {held:?}");
            pair.release_unheard(&world, &before).await;
            orders.set(Order::ClockS, 0);
            println!("{name}: the clock is right again");
            pair.held(&mut meanwhile).await.unwrap();
        }
        println!("{name}: released, and waiting for the money");
        pair.paid(&world, before).await;
        paid += 1;
        if taken.is_ok() {
            pair.release(&world, &meanwhile).await.unwrap();
            pair.paid(&world, meanwhile).await;
            paid += 1;
        }
        println!("{name}: {paid} paid, and waiting for the locks to go");
        while pair.locks().await != (0, 0) {
            sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(pair.payer.settled(), DEPOSIT - paid * (AMOUNT + FEE));
    assert_eq!(pair.merchant.settled(), DEPOSIT + paid * AMOUNT);
    for person in [&pair.payer, &pair.merchant] {
        // Refused after a dispute.
        person.channel.close().await.unwrap();
    }
    for (person, worth) in [
        (&pair.payer, ENDOWMENT - paid * (AMOUNT + FEE)),
        (&pair.merchant, ENDOWMENT + paid * AMOUNT),
    ] {
        assert_eq!(world.tokens_of(person.key.address()).await, worth);
    }
    println!(
        "D3 {paid} payments of two people, most of them locked while the clock jumped; nothing is missing on chain"
    );
    hub.stop();
}
