//! A payer and a merchant who collude on a lock against the hub between them.

use crate::{
    court::{Case, act, closed, dispute, owner, pass, state, turned, until},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::{CHALLENGE_PERIOD_S, World},
};
use client_sdk::{ClientBuilder, Digest, Evidence, PayError, ReturnReason};
use hub::{chain::Chain, settle::Verb};
use protocol_spec::{
    abi,
    message::{LockCall, Message, Notification, Reply, Request, RpcError, binary},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

pub(crate) const AMOUNT: u128 = 100_000;
/// Paid to the merchant before.
pub(crate) const BEFORE: u128 = 1_000;
const LIFE: Duration = Duration::from_secs(4 * 3600);
/// How much earlier than the lock's expiry the hub must act.
pub(crate) const ACT_S: u64 = protocol_spec::limits::ACT_DEFAULT_S;
const LAG_S: u64 = protocol_spec::limits::LAG_DEFAULT_S;

/// Passes everything on, until it is muted: then what the client says is swallowed. And it puts words into both mouths.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    pub(crate) mute: Arc<AtomicBool>,
    forged: broadcast::Sender<Vec<u8>>,
    said: broadcast::Sender<Vec<u8>>,
    /// Answers to what was said.
    answers: broadcast::Sender<Result<Reply, RpcError>>,
}

impl Line {
    pub(crate) async fn start(hub: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mute = Arc::new(AtomicBool::new(false));
        let muted = mute.clone();
        let (forged, _) = broadcast::channel(4);
        let (said, _) = broadcast::channel(4);
        let (answers, _) = broadcast::channel(4);
        let (forging, saying, answering) = (forged.clone(), said.clone(), answers.clone());
        tokio::spawn(async move {
            while let Ok((front, _)) = listener.accept().await {
                let Ok(back) = TcpStream::connect(hub).await else {
                    continue;
                };
                let (mut from_client, mut to_client) = front.into_split();
                let (mut from_hub, mut to_hub) = back.into_split();
                let (mut forged, answers) = (forging.subscribe(), answering.clone());
                tokio::spawn(async move {
                    let mut buffer = vec![0; 16 << 10];
                    let mut heard = Heard::default();
                    loop {
                        let bytes = tokio::select! {
                            read = from_hub.read(&mut buffer) => match read {
                                Ok(count @ 1..) => {
                                    for answer in heard.answers(&buffer[..count]) {
                                        // Nobody may wait for it.
                                        let _ = answers.send(answer);
                                    }
                                    buffer[..count].to_vec()
                                }
                                _ => return,
                            },
                            Ok(forged) = forged.recv() => forged,
                        };
                        if to_client.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
                let (mute, mut said) = (muted.clone(), saying.subscribe());
                tokio::spawn(async move {
                    let mut buffer = vec![0; 16 << 10];
                    loop {
                        let bytes = tokio::select! {
                            read = from_client.read(&mut buffer) => match read {
                                Ok(1..) if mute.load(Ordering::Acquire) => continue,
                                Ok(count @ 1..) => buffer[..count].to_vec(),
                                _ => return,
                            },
                            Ok(said) = said.recv() => said,
                        };
                        if to_hub.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            address,
            mute,
            forged,
            said,
            answers,
        }
    }

    /// A notification that the hub never sent. The line must be quiet, so that it comes between two messages.
    pub(crate) async fn forge(&self, notification: Notification) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let message = Message::Notification(Box::new(notification));
        self.forged.send(frame(&message, 0, &[])).unwrap();
    }

    /// A request that the client's SDK never made, on its session; also while the client is muted. Returns the answer.
    pub(crate) async fn say(&self, call: Request) -> Result<Reply, RpcError> {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut answers = self.answers.subscribe();
        let (id, call) = (SAID, Box::new(call));
        // Masked with nothing.
        let frame = frame(&Message::Request { id, call }, 0x80, &[0; 4]);
        self.said.send(frame).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), answers.recv()).await;
        answer.expect("the hub is silent").unwrap()
    }
}

/// The number of every request that is said; the SDK counts from one.
const SAID: u64 = 1 << 40;

/// What the hub has sent, cut into messages.
#[derive(Default)]
struct Heard {
    /// After the handshake.
    open: bool,
    rest: Vec<u8>,
}

impl Heard {
    /// Takes more bytes; the answers to what was said that end in them.
    fn answers(&mut self, bytes: &[u8]) -> Vec<Result<Reply, RpcError>> {
        self.rest.extend_from_slice(bytes);
        if !self.open
            && let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n")
        {
            self.rest.drain(..end + 4);
            self.open = true;
        }
        let mut answers = Vec::new();
        while self.open
            && let Some((opcode, payload)) = self.frame()
        {
            if opcode != 2 {
                continue;
            }
            if let Message::Response {
                id: Some(SAID),
                result,
            } = binary::decode(&payload).unwrap()
            {
                answers.push(result.map(|reply| *reply));
            }
        }
        answers
    }

    /// The next whole frame, which a server does not mask: opcode and payload.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let opcode = self.rest.first()? & 0x0f;
        let (head, length) = match self.rest.get(1)? {
            126 => (
                4,
                u64::from(u16::from_be_bytes(self.rest.get(2..4)?.try_into().unwrap())),
            ),
            127 => (10, u64::from_be_bytes(self.rest.get(2..10)?.try_into().unwrap())),
            short => (2, u64::from(*short)),
        };
        let end = head + usize::try_from(length).unwrap();
        let payload = self.rest.get(head..end)?.to_vec();
        self.rest.drain(..end);
        Some((opcode, payload))
    }
}

/// A WebSocket frame of a binary message.
fn frame(message: &Message, mask_bit: u8, mask: &[u8]) -> Vec<u8> {
    let message = binary::encode(message);
    let mut frame = vec![0x82, mask_bit | 126];
    frame.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(mask);
    frame.extend(message);
    frame
}

/// A lock of the hub that the merchant holds and can open, and that the hub has heard nothing of.
pub(crate) struct Plot {
    /// The merchant's, muted.
    line: Line,
    pub(crate) payer: Person,
    pub(crate) merchant: Person,
    /// The merchant's.
    pub(crate) evidence: Evidence,
    /// When the hub's lock in the merchant's channel expires.
    expiry: u64,
    pub(crate) paying: tokio::task::JoinHandle<Result<client_sdk::LockedPaid, PayError>>,
}

pub(crate) async fn plot(world: &World, name: &str) -> Plot {
    plot_with(world, name, |builder| builder).await
}

/// As [`plot`], the merchant with options of its own.
async fn plot_with(world: &World, name: &str, options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Plot {
    let line = Line::start(world.listen).await;
    let payer = Person::arrive(world, &format!("mallory-{name}"), world.listen).await;
    let merchant = Person::arrive_with(world, &format!("mia-{name}"), line.address, options).await;
    // The hub, too, must have seen what it can spend in her channel.
    payer.pay(&merchant, BEFORE).await;
    let invoice = merchant
        .channel
        .invoice(AMOUNT, LIFE, Digest::ZERO)
        .await
        .unwrap();
    line.mute.store(true, Ordering::Release);
    let (client, signer) = (payer.client.clone(), merchant.key.address());
    let paying = tokio::spawn(async move { client.pay_locked(&invoice, signer).await });
    let began = Instant::now();
    let evidence = loop {
        let evidence = merchant.channel.evidence().await.unwrap();
        if !evidence.received.witnesses.is_empty() {
            break evidence;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no lock arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    Plot {
        line,
        expiry: evidence.received.locks[0].expiry.0,
        payer,
        merchant,
        evidence,
        paying,
    }
}

/// The hub vanishes with a lock that the merchant can open, and nobody runs `settle`: its own SDK disputes in time, resolves,
/// finalizes, also when its process is restarted in between.
pub(crate) async fn collects_alone(world: &World, restart: bool, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let defends = |builder: ClientBuilder| builder.defend(true);
    let plot = plot_with(world, "alone", defends).await;
    plot.paying.abort();
    hub.kill();
    let (key, id) = (plot.merchant.key.clone(), plot.merchant.channel.id());
    let mut online = plot.merchant.client;
    if restart {
        online.shutdown().await;
        let builder = Person::builder(world, "mia-alone", plot.line.address, &key);
        online = defends(builder).connect().await.unwrap();
        assert!(online.unreachable().is_some(), "there is no hub");
    }
    until_time(world, plot.expiry - ACT_S + 1).await;
    until(world, id, "(the merchant:) collect in time", |state| {
        matches!(state.status, abi::Status::Disputed) && state.hubLocks.counted == AMOUNT
    })
    .await;
    pass(world, 2 * CHALLENGE_PERIOD_S + 1).await;
    closed(world, id).await;
    let got = world.tokens_of(key.address()).await - (ENDOWMENT - DEPOSIT);
    online.shutdown().await;
    plot.payer.client.shutdown().await;
    cases.push(Case {
        name: format!("hub vanishes, merchant (restarted: {restart}) collects a lock alone"),
        fair: signed(DEPOSIT + BEFORE + AMOUNT),
        got: signed(got),
    });
}

/// The hub disputes with nothing but the merchant's own voucher, which acknowledges the hub's newest: the chain then knows the
/// numbers of that one, and not its lock. The merchant's SDK must show it all the same.
pub(crate) async fn hidden_behind_an_acknowledgement(world: &World, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let plot = plot_with(world, "acknowledged", |builder| builder.defend(true)).await;
    plot.paying.abort();
    // It acknowledges while it is connected; the hub does not hear it.
    let began = Instant::now();
    let evidence = loop {
        let evidence = plot.merchant.channel.evidence().await.unwrap();
        let acknowledged = evidence.sent.voucher.as_ref().map(|own| own.voucher.ack_seq);
        let newest = evidence.received.voucher.as_ref().unwrap().voucher.seq;
        if acknowledged == Some(newest) {
            break evidence;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no acknowledgement");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    hub.kill();
    let (key, id) = (&plot.merchant.key, plot.merchant.channel.id());
    let seq = evidence.received.voucher.as_ref().unwrap().voucher.seq.0;
    dispute(world, &owner(world), &turned(&evidence), false).await;
    until(world, id, "(the merchant:) show its lock", |state| {
        state.hubSeq == seq && state.hubLocks.counted == AMOUNT
    })
    .await;
    until_time(world, plot.expiry).await;
    pass(world, 2 * CHALLENGE_PERIOD_S + 1).await;
    closed(world, id).await;
    let got = world.tokens_of(key.address()).await - (ENDOWMENT - DEPOSIT);
    plot.merchant.client.shutdown().await;
    plot.payer.client.shutdown().await;
    cases.push(Case {
        name: "hub shows the merchant's acknowledgement only, merchant shows the lock".to_owned(),
        fair: signed(DEPOSIT + BEFORE + AMOUNT),
        got: signed(got),
    });
}

pub(crate) async fn until_time(world: &World, time: u64) {
    let now = world.bank.head().await.unwrap().timestamp_s;
    pass(world, time.saturating_sub(now)).await;
}

pub(crate) fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap()
}

/// Tokens that are the hub's on chain, as long as `merchant` and `payer` are its only channels still open.
pub(crate) async fn worth(world: &World) -> i128 {
    signed(world.vault().await)
}

pub(crate) async fn collude(world: &World, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    only_on_chain(world, cases).await;
    too_late(world, cases).await;
    cancelled(world, cases).await;
    hub.stop();
}

/// The preimage is shown on chain only, and the payer has vanished: the hub must collect from the payer's channel.
async fn only_on_chain(world: &World, cases: &mut Vec<Case>) {
    let before = worth(world).await;
    let plot = plot(world, "chain").await;
    plot.paying.abort();
    let (payer, merchant) = (plot.payer, plot.merchant);
    payer.client.clone().shutdown().await;
    act(world, &merchant.key, &plot.evidence, Verb::Dispute).await;
    let counted = collected(world, &payer, &merchant, plot.expiry).await;
    let got = world.tokens_of(merchant.key.address()).await - (ENDOWMENT - DEPOSIT);
    cases.push(Case {
        name: "merchant shows the preimage on chain only: the merchant".to_owned(),
        fair: signed(DEPOSIT + BEFORE + AMOUNT),
        got: signed(got),
    });
    let paid = DEPOSIT + ENDOWMENT - DEPOSIT - world.tokens_of(payer.key.address()).await;
    cases.push(Case {
        name: "... and the payer has vanished: what the payer paid".to_owned(),
        fair: signed(BEFORE + 1 + counted),
        got: signed(paid),
    });
    // The reserves of both channels are back, and the fees are the hub's.
    cases.push(Case {
        name: "... the hub between them: fees".to_owned(),
        fair: signed(1 + counted - AMOUNT),
        got: worth(world).await - before,
    });
    merchant.client.shutdown().await;
}

/// The hub, whose own lock expires at `expiry`, collects from the payer's channel in time; then both channels are paid
/// out. Returns what was counted of the payer's lock.
pub(crate) async fn collected(world: &World, payer: &Person, merchant: &Person, expiry: u64) -> u128 {
    let payer_lock = expiry + protocol_spec::limits::DELTA_DEFAULT_S;
    until_time(world, payer_lock - ACT_S + 1).await;
    until(
        world,
        payer.channel.id(),
        "collect from the payer in time",
        |state| matches!(state.status, abi::Status::Disputed) && state.clientLocks.counted > 0,
    )
    .await;
    let counted = state(world, payer.channel.id()).await.clientLocks.counted;
    // R18: with locks it is final one challenge period after the window, so that a re-count fits.
    pass(world, 2 * CHALLENGE_PERIOD_S + 1).await;
    closed(world, payer.channel.id()).await;
    closed(world, merchant.channel.id()).await;
    counted
}

/// The merchant says nothing until the hub's lock has expired; then it tries the chain.
async fn too_late(world: &World, cases: &mut Vec<Case>) {
    let before = worth(world).await;
    let plot = plot(world, "late").await;
    let (payer, merchant) = (plot.payer, plot.merchant);
    merchant.client.clone().shutdown().await;
    until_time(world, plot.expiry + LAG_S + 1).await;
    match plot.paying.await.unwrap() {
        Err(PayError::Bounced { reason, .. }) => assert_eq!(reason, ReturnReason::Expired),
        other => panic!("the payer's money does not come back: {other:?}"),
    }
    act(world, &merchant.key, &plot.evidence, Verb::Dispute).await;
    pass(world, 2 * CHALLENGE_PERIOD_S + 1).await;
    closed(world, merchant.channel.id()).await;
    let got = world.tokens_of(merchant.key.address()).await - (ENDOWMENT - DEPOSIT);
    cases.push(Case {
        name: "merchant shows the preimage after the expiry: the merchant".to_owned(),
        fair: signed(DEPOSIT + BEFORE),
        got: signed(got),
    });
    leave(&payer).await;
    closed(world, payer.channel.id()).await;
    let paid = ENDOWMENT - world.tokens_of(payer.key.address()).await;
    cases.push(Case {
        name: "... the payer, whose money came back: what it paid".to_owned(),
        fair: signed(BEFORE + 1),
        got: signed(paid),
    });
    cases.push(Case {
        name: "... the hub between them: fees".to_owned(),
        fair: 1,
        got: worth(world).await - before,
    });
    payer.client.shutdown().await;
}

/// The merchant gives the lock up, acknowledges nothing that the hub signs then, and claims it on chain.
async fn cancelled(world: &World, cases: &mut Vec<Case>) {
    let before = worth(world).await;
    let plot = plot(world, "cancel").await;
    let (payer, merchant, paying) = (plot.payer, plot.merchant, plot.paying);
    let lock = LockCall {
        channel_id: merchant.channel.id(),
        lock_id: plot.evidence.received.locks[0].id,
    };
    plot.line.say(Request::Consent(lock)).await.unwrap();
    // R10: a consent alone kills nothing, so the payer's lock stays.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!paying.is_finished(), "the payer's lock was given up too early");
    act(world, &merchant.key, &plot.evidence, Verb::Dispute).await;
    let paid = paying.await.unwrap().unwrap();
    assert_eq!(plot.evidence.received.witnesses[0].1, paid.witness);
    pass(world, 2 * CHALLENGE_PERIOD_S + 1).await;
    closed(world, merchant.channel.id()).await;
    let got = world.tokens_of(merchant.key.address()).await - (ENDOWMENT - DEPOSIT);
    cases.push(Case {
        name: "merchant cancels, then claims on chain: the merchant".to_owned(),
        fair: signed(DEPOSIT + BEFORE + AMOUNT),
        got: signed(got),
    });
    let spent = payer.settled();
    leave(&payer).await;
    closed(world, payer.channel.id()).await;
    let fees = 1 + AMOUNT / 1000;
    cases.push(Case {
        name: "... the payer, who has the preimage: what is left".to_owned(),
        fair: signed(DEPOSIT - BEFORE - AMOUNT - fees),
        got: signed(spent),
    });
    cases.push(Case {
        name: "... the hub between them: fees".to_owned(),
        fair: signed(fees),
        got: worth(world).await - before,
    });
    merchant.client.shutdown().await;
    payer.client.shutdown().await;
}

/// Closes as soon as the hub has seen enough of the chain: after days that pass at once, its newest confirmed block is
/// that old for a moment (R6).
async fn leave(person: &Person) {
    let began = Instant::now();
    while let Err(error) = person.channel.close().await {
        assert!(began.elapsed() < Duration::from_secs(30), "no close: {error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
