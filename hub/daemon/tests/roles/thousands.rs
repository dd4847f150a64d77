//! Thousands of locks that wait in one merchant's channel: told to a hub that lost touch, and collected from one that is gone.

use crate::{
    court::{Case, closed, give_bank, open_by_bank, pass, state},
    locks::{ACT_S, BEFORE, Line, signed, until_time},
    people::{DEPOSIT, ENDOWMENT, Person, wallet_key},
    process::Hub,
    world::{CHALLENGE_PERIOD_S, World},
};
use client_sdk::{
    Amount, Client, ClientBuilder, ClientEvent, Digest, LockOptions, LockedPaid, PayError, RedbStore,
    SignerKey,
};
use hub::chain::Chain;
use protocol_spec::{abi, limits};
use std::{
    io::Write as _,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Of one lock: all of them fit the merchant's part of a channel.
pub(crate) const AMOUNT: u128 = 100;
pub(crate) const LIFE: Duration = Duration::from_secs(4 * 3600);
const PATIENCE: Duration = Duration::from_secs(240);

/// So many locks of the hub whose preimages the merchant knows and the hub has not heard.
pub(crate) struct Queue {
    pub(crate) line: Line,
    pub(crate) merchant: Person,
    name: String,
    pub(crate) payers: Client,
    pub(crate) paying: Vec<JoinHandle<Result<LockedPaid, PayError>>>,
}

/// The hub forwards as many locks of one channel as the protocol lets it have.
pub(crate) fn let_many_wait(world: &World) {
    let mut config = std::fs::OpenOptions::new()
        .append(true)
        .open(&world.config)
        .unwrap();
    let most = limits::LOCKS_FROM_CLIENT_MAX;
    writeln!(config, "[locks]\nper_client_max = {most}\ntotal_max = 9000").unwrap();
}

impl Queue {
    pub(crate) async fn up(world: &World, name: &str, count: usize, defend: bool) -> Self {
        let line = Line::start(world.listen).await;
        let options = |builder: ClientBuilder| {
            let builder = builder.evidence_dir(&world.dir);
            builder.defend(defend).call_timeout(PATIENCE)
        };
        let merchant = Person::arrive_with(world, &format!("mia-{name}"), line.address, options).await;
        let key = SignerKey::from_bytes(&rand::random()).unwrap();
        world.endow(key.address(), 0).await;
        let payers = Client::builder(format!("ws://{}", world.listen))
            .signer(key.clone())
            .sender(wallet_key(&key))
            .store(RedbStore::open(world.dir.join(format!("payers-{name}.redb"))).unwrap())
            .rpc(world.rpc_url.as_str())
            .token(world.deployed.token)
            .chain_poll(Duration::from_millis(500))
            .defend(false)
            .connect()
            .await
            .unwrap();
        let channels = count.div_ceil(limits::LOCKS_FROM_CLIENT_MAX);
        give_bank(world, DEPOSIT * channels as u128).await;
        let mut from = Vec::new();
        for _ in 0..channels {
            from.push(open_by_bank(world, &payers).await.1);
        }
        // The hub, too, must have seen what it can spend in her channel.
        let to = merchant.channel.id();
        while from[0].pay(to, BEFORE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        let invoices = (0..count).map(|_| merchant.channel.invoice(AMOUNT, LIFE, Digest::ZERO));
        let invoices = futures::future::join_all(invoices).await;
        println!("{count} invoices made in {:.1?}", began.elapsed());
        line.mute.store(true, Ordering::Release);
        let began = Instant::now();
        let signer = merchant.key.address();
        let pays = invoices.into_iter().enumerate().map(|(nth, invoice)| {
            let channel = from[nth % channels].clone();
            // Without a question to the hub for each.
            let options = LockOptions {
                fee_max: Some(Amount(1)),
                ..LockOptions::default()
            };
            tokio::spawn(async move { channel.pay_locked(&invoice.unwrap(), signer, options).await })
        });
        let paying: Vec<_> = pays.collect();
        loop {
            let known = merchant
                .channel
                .evidence()
                .await
                .unwrap()
                .received
                .witnesses
                .len();
            if known == count {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{known} of {count} locks arrived");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("{count} locks wait in one channel after {:.1?}", began.elapsed());
        Self {
            line,
            merchant,
            name: name.to_owned(),
            payers,
            paying,
        }
    }

    /// The merchant's process ends and comes back, at `hub`.
    async fn restart(&mut self, world: &World, hub: std::net::SocketAddr, defend: bool) {
        let began = Instant::now();
        self.merchant.client.clone().shutdown().await;
        let ended = began.elapsed();
        let store = world.dir.join(format!("mia-{}.redb", self.name));
        let bytes = std::fs::metadata(&store).unwrap().len();
        let builder = Person::builder(world, &format!("mia-{}", self.name), hub, &self.merchant.key);
        self.merchant.client = builder.defend(defend).connect().await.unwrap();
        self.merchant.channel = self.merchant.client.channel(self.merchant.channel.id());
        println!(
            "her process ended in {ended:.1?} and was back after {:.1?}, with a store of {bytes} bytes",
            began.elapsed()
        );
    }
}

/// A merchant that comes back tells every preimage, in pages; the hub folds every lock, and every payer has its proof.
pub(crate) async fn told_after_a_resume(world: &World, count: usize, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let mut queue = Queue::up(world, "told", count, false).await;
    queue.restart(world, world.listen, false).await;
    let mut events = queue.merchant.client.events();
    let began = Instant::now();
    for paying in queue.paying.drain(..) {
        paying.await.unwrap().unwrap();
    }
    println!(
        "{count} preimages were told and passed on in {:.1?}",
        began.elapsed()
    );
    let fair = BEFORE + AMOUNT * count as u128;
    let began = Instant::now();
    while queue.merchant.channel.view().unwrap().balance.received.0 < fair {
        assert!(began.elapsed() < PATIENCE, "{:?}", queue.merchant.channel.view());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("... and all locks folded {:.1?} after that", began.elapsed());
    while let Ok(event) = events.try_recv() {
        assert!(
            !matches!(
                event,
                ClientEvent::Disconnected { .. } | ClientEvent::Refused { .. }
            ),
            "{event:?}"
        );
    }
    cases.push(Case {
        name: format!("{count} locks told after a resume: the merchant"),
        fair: signed(fair),
        got: signed(queue.merchant.channel.view().unwrap().balance.received.0),
    });
    queue.merchant.client.shutdown().await;
    queue.payers.shutdown().await;
    hub.stop();
}

/// The hub vanishes: the merchant's SDK collects every lock by itself, one batch after the other, also when its process is
/// restarted in between.
pub(crate) async fn collected_alone(world: &World, count: usize, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let mut queue = Queue::up(world, "alone-of-many", count, true).await;
    hub.kill();
    queue.paying.drain(..).for_each(|paying| paying.abort());
    let (id, key) = (queue.merchant.channel.id(), queue.merchant.key.clone());
    let evidence = queue.merchant.channel.evidence().await.unwrap();
    let expiry = evidence
        .received
        .locks
        .iter()
        .map(|lock| lock.expiry.0)
        .min()
        .unwrap();
    let from = world.bank.head().await.unwrap().number;
    until_time(world, expiry - ACT_S + 1).await;
    let (began, wanted) = (Instant::now(), AMOUNT * count as u128);
    let mut restarted = false;
    loop {
        let state = state(world, id).await;
        let counted = state.hubLocks.counted;
        if matches!(state.status, abi::Status::Disputed) && counted == wanted {
            break;
        }
        if !restarted && counted >= wanted / 2 {
            println!("{counted} of {wanted} counted after {:.1?}", began.elapsed());
            queue.restart(world, queue.line.address, true).await;
            restarted = true;
        }
        assert!(began.elapsed() < PATIENCE, "{counted} of {wanted} counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let blocks = world.bank.head().await.unwrap().number - from;
    println!(
        "{count} locks collected in {:.1?}, {blocks} blocks",
        began.elapsed()
    );
    pass(world, 2 * CHALLENGE_PERIOD_S + LIFE.as_secs()).await;
    closed(world, id).await;
    let got = world.tokens_of(key.address()).await - (ENDOWMENT - DEPOSIT);
    queue.merchant.client.shutdown().await;
    queue.payers.shutdown().await;
    cases.push(Case {
        name: format!("hub vanishes, merchant collects {count} locks alone"),
        fair: signed(DEPOSIT + BEFORE + wanted),
        got: signed(got),
    });
}
