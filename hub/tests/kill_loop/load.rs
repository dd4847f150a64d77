//! The clients: they live through every kill, and write down what was acknowledged to them.

use super::{client::Client, support::NOW, support::clock, wire};
use protocol_spec::{
    Address, Credit, Digest, Op, Payee, PaymentId,
    message::{Frame, Message, Notification, RegisterCall, Reply, Request},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
    time::timeout,
};

const WINDOW: usize = 4;
const PAYMENTS_PER_FRAME: usize = 4;
const SILENCE: Duration = Duration::from_secs(20);

/// Written only by clients, only in this process.
#[derive(Debug, Default)]
pub(crate) struct AckLog {
    sent: BTreeMap<PaymentId, (Digest, u128)>,
    acked: BTreeSet<PaymentId>,
}

impl AckLog {
    pub(crate) fn acked(&self) -> usize {
        self.acked.len()
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// (acknowledged and not credited, credited twice, neither credited nor returned), from what clients accepted.
    pub(crate) fn judge(&self, clients: &[Client]) -> (usize, usize, usize) {
        let mut credits: BTreeMap<Digest, usize> = BTreeMap::new();
        for credit in clients.iter().flat_map(|client| &client.credits) {
            *credits.entry(credit.payer).or_default() += 1;
        }
        let mut returned: BTreeMap<PaymentId, u128> = BTreeMap::new();
        for back in clients.iter().flat_map(|client| &client.returns) {
            *returned.entry(back.payment_id).or_default() += back.amount.0;
        }
        let (mut lost, mut doubled, mut open) = (0, 0, 0);
        for (id, (payer, whole)) in &self.sent {
            let times = credits.remove(payer).unwrap_or(0);
            let back = returned.get(id).copied().unwrap_or(0);
            lost += usize::from(self.acked.contains(id) && times == 0);
            // The tariff takes 1 of the fee of 2: a delivered payment's change is exactly 1.
            doubled += usize::from(times > 1 || (times == 1 && back != 1) || back > *whole);
            open += usize::from(times == 0 && back != *whole);
        }
        // A credit nobody paid for is money out of nothing.
        (lost, doubled + credits.len(), open)
    }
}

struct Connection {
    writer: OwnedWriteHalf,
    messages: mpsc::Receiver<Message>,
    next_id: u64,
}

impl Connection {
    async fn open(dir: &Path, client: &Client) -> std::io::Result<Self> {
        let socket = UnixStream::connect(dir.join("hub.sock")).await?;
        let (mut reader, mut writer) = socket.into_split();
        writer.write_all(&client.key.public().to_compressed()).await?;
        let (sender, messages) = mpsc::channel(1024);
        tokio::spawn(async move {
            while let Ok(message) = wire::read(&mut reader).await {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            writer,
            messages,
            next_id: 0,
        })
    }

    async fn send(&mut self, call: Request) -> std::io::Result<u64> {
        self.next_id += 1;
        let (id, call) = (self.next_id, Box::new(call));
        wire::write(&mut self.writer, &[Message::Request { id, call }]).await?;
        Ok(id)
    }

    async fn next(&mut self) -> Option<Message> {
        timeout(SILENCE, self.messages.recv())
            .await
            .expect("the hub is silent")
    }
}

/// One client until its connection breaks. `pays`: whom; a client that pays nobody acknowledges what it gets.
pub(crate) async fn run_client(
    mut client: Client,
    dir: PathBuf,
    pays: Option<Vec<Address>>,
    log: Arc<Mutex<AckLog>>,
    stop: Arc<AtomicBool>,
) -> Client {
    let go_on = || !stop.load(Ordering::Acquire);
    let _broken = session(&mut client, &dir, pays.as_deref(), &log, &go_on).await;
    client
}

/// Resumes, sends again what the hub does not have, then pays while `go_on`. `None` when the connection broke.
async fn session(
    client: &mut Client,
    dir: &Path,
    pays: Option<&[Address]>,
    log: &Mutex<AckLog>,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Option<()> {
    let mut connection = Connection::open(dir, client).await.ok()?;
    join(client, &mut connection, log).await?;
    let mut in_flight: BTreeMap<u64, Frame> = BTreeMap::new();
    for frame in client.unaccepted.clone() {
        let id = connection.send(Request::Voucher(frame.clone())).await.ok()?;
        in_flight.insert(id, frame);
    }
    loop {
        while let Some(payees) = pays.filter(|_| go_on() && in_flight.len() < WINDOW) {
            let frame = payment_frame(client, payees, log);
            let id = connection.send(Request::Voucher(frame.clone())).await.ok()?;
            in_flight.insert(id, frame);
        }
        if !go_on() && in_flight.is_empty() {
            return Some(());
        }
        match connection.next().await? {
            Message::Response { id, result } => {
                let Ok(Reply::Voucher(reply)) = result.map(|reply| *reply) else {
                    panic!("a valid frame was refused")
                };
                let frame = in_flight.remove(&id.unwrap()).unwrap();
                client.accepted_up_to(reply.seq);
                acknowledge(
                    log,
                    &frame,
                    &reply.bounced.iter().map(|bounce| bounce.payment_id).collect(),
                );
            }
            Message::Notification(notification) => {
                let Notification::Voucher(frame) = *notification else {
                    continue;
                };
                let news = client
                    .take(&frame, clock())
                    .expect("a client accepts every hub frame");
                if pays.is_none() && news == protocol_spec::channel::Accepted::New {
                    let frame = client.frame(vec![], clock()).unwrap();
                    let id = connection.send(Request::Voucher(frame.clone())).await.ok()?;
                    in_flight.insert(id, frame);
                }
            }
            Message::Request { .. } => unreachable!(),
        }
    }
}

fn payment_frame(client: &mut Client, payees: &[Address], log: &Mutex<AckLog>) -> Frame {
    let ops: Vec<Op> = (0..PAYMENTS_PER_FRAME)
        .map(|n| client.pay(Payee::Account(payees[n % payees.len()]), 100, 2, NOW.after(3600)))
        .collect();
    let id = client.channel.id();
    let mut log = log.lock().unwrap();
    for op in &ops {
        let Op::Pay(payment) = op else { unreachable!() };
        let payer = Credit::payer_of(&id, &payment.payment_id);
        log.sent.insert(payment.payment_id, (payer, 102));
    }
    client.frame(ops, clock()).unwrap()
}

fn acknowledge(log: &Mutex<AckLog>, frame: &Frame, bounced: &BTreeSet<PaymentId>) {
    let mut log = log.lock().unwrap();
    for op in &frame.ops {
        if let Op::Pay(payment) = op
            && !bounced.contains(&payment.payment_id)
        {
            log.acked.insert(payment.payment_id);
        }
    }
}

/// Registers and resumes; frames that the hub has without having answered them count as acknowledged by its reply.
async fn join(client: &mut Client, connection: &mut Connection, log: &Mutex<AckLog>) -> Option<()> {
    let config = client.channel.config().clone();
    let register = protocol_spec::Register {
        channel_id: client.channel.id(),
        server: "hub.test".to_owned(),
    };
    let owner_signature = Some(client.key.sign(&register.digest(&super::client::domain())));
    let call = RegisterCall {
        config,
        owner_signature,
    };
    connection.send(Request::Register(call)).await.ok()?;
    let Message::Response { result: Ok(_), .. } = connection.next().await? else {
        panic!("not registered")
    };
    connection
        .send(Request::Resume(client.resume_call()))
        .await
        .ok()?;
    loop {
        match connection.next().await? {
            Message::Response { result, .. } => {
                let Ok(Reply::Resume(reply)) = result.map(|reply| *reply) else {
                    panic!("not resumed")
                };
                let seq = reply.channel.client_seq;
                let has = |frame: &&Frame| frame.voucher.voucher.seq <= seq;
                for frame in client.unaccepted.iter().filter(has) {
                    // Bounces of these arrive as returns; fees of this test are covered, so there are none.
                    acknowledge(log, frame, &BTreeSet::new());
                }
                client.accepted_up_to(seq);
                return Some(());
            }
            Message::Notification(_) => {}
            Message::Request { .. } => unreachable!(),
        }
    }
}

/// After the last restart: everybody resumes, nothing new is paid, and all that was accepted arrives.
pub(crate) async fn drain(clients: Vec<Client>, dir: &Path, log: Arc<Mutex<AckLog>>) -> Vec<Client> {
    let mut done = Vec::new();
    let mut payees = Vec::new();
    for (index, mut client) in clients.into_iter().enumerate() {
        if index < super::PAYERS {
            session(&mut client, dir, Some(&[]), &log, &|| false)
                .await
                .expect("no kill now");
            done.push(client);
        } else {
            payees.push(client);
        }
    }
    let expected = log.lock().unwrap().sent();
    let others: usize = done.iter().map(|client| client.credits.len()).sum();
    let began = Instant::now();
    while payees.iter().map(|client| client.credits.len()).sum::<usize>() + others < expected
        && began.elapsed() < Duration::from_secs(20)
    {
        for client in &mut payees {
            let until = Instant::now() + Duration::from_millis(200);
            let go_on = || Instant::now() < until;
            drop(timeout(Duration::from_secs(1), session(client, dir, None, &log, &go_on)).await);
        }
    }
    done.extend(payees);
    done
}
