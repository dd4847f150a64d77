//! Payers and merchants with the real SDK. They live through every kill and write down what they see.

use super::{
    log::{Line, Log},
    world::{FEE_PPM, World},
};
use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use client_sdk::{
    Amount, ChannelHandle, Client, ClientEvent, Cursor, PayError, PayOptions, PaymentId, RedbStore, Row,
    SignerKey, Store, StoreError, Table, Write,
};
use protocol_spec::Address;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    task::{AbortHandle, JoinHandle},
};

pub(crate) const PAYERS: usize = 12;
pub(crate) const MERCHANTS: usize = 4;
/// Tokens everybody is given, and what is deposited of them.
pub(crate) const ENDOWMENT: u128 = 20_000_000_000;
pub(crate) const DEPOSIT: u128 = 15_000_000_000;
/// Granted on top of the fee, so that every payment's change has to come back.
const CHANGE: u128 = 7;
/// No outcome in this time: longer than any hub is away.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the hub takes of a payment.
pub(crate) fn fee_of(amount: u128) -> u128 {
    (amount * FEE_PPM).div_ceil(1_000_000)
}

pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) who: usize,
    pub(crate) address: Address,
    pub(crate) client: Client,
    pub(crate) channel: ChannelHandle,
    events: broadcast::Receiver<ClientEvent>,
    reader: Option<JoinHandle<()>>,
    /// Counts the kills: the stream begins anew after each.
    streams: watch::Sender<u64>,
}

/// The person's store on disk, and every credit that goes into it goes into the log.
struct Telling {
    inner: RedbStore,
    who: usize,
    log: Arc<Log>,
}

#[async_trait::async_trait]
impl Store for Telling {
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        let credits: Vec<Line> = batch.iter().filter_map(|write| credit(write, self.who)).collect();
        self.inner.commit(batch).await?;
        credits.iter().for_each(|line| self.log.write(line));
        Ok(())
    }
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key).await
    }
    async fn scan(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table).await
    }
}

/// Key: channel id, payment id, payer. Value: seq, amount, invoice, then the cursor of the event that showed it:
/// none when the credit comes out of a voucher. Little-endian.
fn credit(write: &Write, who: usize) -> Option<Line> {
    let value = write.value.as_ref().filter(|_| write.table == Table::Credits)?;
    if *value.get(56)? != 0 {
        return None;
    }
    Some(Line::Credit {
        id: PaymentId(write.key.get(32..48)?.try_into().ok()?),
        who,
        amount: u128::from_le_bytes(value.get(8..24)?.try_into().ok()?),
    })
}

impl Person {
    async fn arrive(world: &World, log: &Arc<Log>, who: usize) -> Self {
        let (role, number) = match who.checked_sub(PAYERS) {
            None => ("payer", who),
            Some(number) => ("merchant", number),
        };
        let name = format!("{role}-{number}");
        let key = SignerKey::from_bytes(&rand::random()).unwrap();
        world.endow(key.address(), ENDOWMENT).await;
        let store = Telling {
            inner: RedbStore::open(world.dir.join(format!("{name}.redb"))).unwrap(),
            who,
            log: log.clone(),
        };
        let client = Client::builder(format!("ws://{}", world.listen))
            .signer(key.clone())
            .sender(PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes())).unwrap())
            .store(store)
            .rpc(world.rpc_url.clone())
            .token(world.deployed.token)
            .chain_poll(Duration::from_millis(500))
            .reconnect(Duration::from_millis(10), Duration::from_millis(100))
            .pay_timeout(PATIENCE)
            .connect()
            .await
            .unwrap();
        let channel = client.open(DEPOSIT).await.unwrap();
        channel.wait_hub_deposit(1_u128).await.unwrap();
        Self {
            name,
            who,
            address: key.address(),
            events: client.events(),
            client,
            channel,
            reader: None,
            streams: watch::Sender::new(0),
        }
    }

    /// Reads the stream for good, anew from the last cursor after each kill.
    fn listen(&mut self, log: Arc<Log>) {
        let (channel, who) = (self.channel.clone(), self.who);
        let mut anew = self.streams.subscribe();
        self.reader = Some(tokio::spawn(async move {
            let mut cursor: Option<Cursor> = None;
            loop {
                let mut stream = channel.payments(cursor.clone());
                let end = loop {
                    tokio::select! {
                        payment = stream.next() => match payment {
                            Some(Ok(payment)) => {
                                assert!(payment.backed, "a receipt without a credit");
                                let id = payment.receipt.payment_id;
                                log.write(&Line::Event { id, who, amount: payment.receipt.amount.0 });
                                cursor = Some(payment.cursor);
                            }
                            Some(Err(error)) => {
                                let why = format!("the stream of person {who} failed: {error}");
                                log.write(&Line::Failed { id: PaymentId::ZERO, why });
                                break true;
                            }
                            None => break true,
                        },
                        changed = anew.changed() => break changed.is_err(),
                    }
                };
                if end {
                    return;
                }
            }
        }));
    }

    /// Waits until the connection is gone.
    async fn offline(&mut self) {
        while self.client.connected() {
            let event = self.events.recv().await;
            assert!(!matches!(event, Err(broadcast::error::RecvError::Closed)));
        }
    }

    /// Reads everything again from the beginning: `count` payments, and no more.
    async fn read_again(&mut self, log: &Log, count: usize) {
        self.reader.take().unwrap().abort();
        let mut stream = self.channel.payments(None);
        let mut got = 0;
        // More would come at once; there is no event for "no more".
        while let Ok(Some(payment)) = tokio::time::timeout(
            Duration::from_secs(if got < count { 60 } else { 1 }),
            stream.next(),
        )
        .await
        {
            let payment = payment.unwrap();
            log.write(&Line::Again {
                id: payment.receipt.payment_id,
                who: self.who,
                amount: payment.receipt.amount.0,
            });
            got += 1;
        }
    }
}

/// Everybody.
pub(crate) struct People {
    pub(crate) all: Vec<Person>,
    lanes: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl People {
    /// Channels are opened and streams read; nobody pays yet.
    pub(crate) async fn arrive(world: &World, log: &Arc<Log>) -> Self {
        let arriving = (0..PAYERS + MERCHANTS).map(|who| Person::arrive(world, log, who));
        let mut all = futures::future::join_all(arriving).await;
        for person in &mut all {
            person.listen(log.clone());
        }
        Self {
            all,
            lanes: Vec::new(),
            stop: Arc::default(),
        }
    }

    /// Everybody pays: payers pay merchants, merchants pay payers back.
    /// A payer has so many payments under way, a merchant one; each waits for `pause` before the next.
    pub(crate) fn pay(&mut self, log: &Arc<Log>, lanes_of_payer: usize, pause: Duration) {
        let (payers, merchants) = (0..PAYERS, PAYERS..PAYERS + MERCHANTS);
        let addresses: Vec<Address> = self.all.iter().map(|person| person.address).collect();
        for person in &self.all {
            let (payees, lanes) = match merchants.contains(&person.who) {
                false => (merchants.clone(), lanes_of_payer),
                true => (payers.clone(), 1),
            };
            let payees: Vec<(usize, Address)> = payees.map(|who| (who, addresses[who])).collect();
            for _ in 0..lanes {
                let lane = Lane {
                    client: person.client.clone(),
                    who: person.who,
                    payees: payees.clone(),
                    log: log.clone(),
                    stop: self.stop.clone(),
                    pause,
                };
                self.lanes.push(tokio::spawn(lane.run()));
            }
        }
    }

    /// After a kill: waits until everybody has noticed, and has taken in what had still come.
    pub(crate) async fn offline(&mut self) {
        for person in &mut self.all {
            person.offline().await;
            person.streams.send_modify(|kills| *kills += 1);
        }
    }

    /// Ends paying: every payment gets its outcome in this time, or has none in the log.
    pub(crate) async fn rest(&mut self, longest: Duration) {
        self.stop.store(true, Ordering::Release);
        let lanes = std::mem::take(&mut self.lanes);
        let abort: Vec<AbortHandle> = lanes.iter().map(JoinHandle::abort_handle).collect();
        if tokio::time::timeout(longest, futures::future::join_all(lanes))
            .await
            .is_err()
        {
            abort.iter().for_each(AbortHandle::abort);
        }
    }

    /// Everybody reads its stream again from the beginning.
    pub(crate) async fn read_again(&mut self, log: &Log, received: &[usize]) {
        let reading = self.all.iter_mut().map(|person| {
            let count = received[person.who];
            person.read_again(log, count)
        });
        futures::future::join_all(reading).await;
    }

    pub(crate) async fn close(&self) {
        let closing = self.all.iter().map(|person| async {
            let closed = person.channel.close().await;
            closed.unwrap_or_else(|error| panic!("{} closes: {error}", person.name));
        });
        futures::future::join_all(closing).await;
    }

    pub(crate) async fn shutdown(self) {
        for person in self.all {
            person.client.shutdown().await;
        }
    }
}

struct Lane {
    client: Client,
    who: usize,
    payees: Vec<(usize, Address)>,
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    pause: Duration,
}

impl Lane {
    /// Pays somebody again and again.
    async fn run(self) {
        while !self.stop.load(Ordering::Acquire) {
            let (payee, address) = self.payees[rand::random_range(0..self.payees.len())];
            let (id, amount) = (PaymentId(rand::random()), rand::random_range(1..=65_536));
            self.log.write(&Line::Sent {
                id,
                payer: self.who,
                payee,
                amount,
            });
            let options = PayOptions {
                payment_id: Some(id),
                fee_max: Some(Amount(fee_of(amount) + CHANGE)),
                ..PayOptions::default()
            };
            let line = match self.client.pay_with(address, amount, options).await {
                Ok(paid) => Line::Acked { id, fee: paid.fee.0 },
                Err(PayError::Bounced { .. }) => Line::Bounced { id },
                Err(PayError::NotSent { .. }) => Line::NotSent { id },
                Err(error) => {
                    let why = error.to_string();
                    self.log.write(&Line::Failed { id, why });
                    return;
                }
            };
            self.log.write(&line);
            tokio::time::sleep(self.pause).await;
        }
    }
}
