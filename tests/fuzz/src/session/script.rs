//! What the bytes make the clients do.

use super::{
    MOVED,
    calls::{self, bend, piece},
    client::Client,
    hub::Hub,
    line::{Answer, Line},
    register, support,
};
use crate::bytes::Bytes;
use protocol_spec::{
    Op, Opened, Payee, Preimage, Witness,
    message::{Frame, Message, Notification, Reply, Request, Reveal},
};
use std::{collections::BTreeMap, time::Duration};
use tokio_tungstenite::tungstenite::{
    Message as WsMessage,
    protocol::{
        CloseFrame,
        frame::{
            Frame as WsFrame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

pub(super) struct Script {
    line: Line,
    clients: Vec<Client>,
    /// Clients whose key signed, or on whose connection was sent, what an honest client would not: nothing is expected
    /// of their channels, but that no seq is signed twice.
    liars: [bool; MOVED],
    logged_in: [bool; MOVED],
    /// Resumed on this connection, and whether its answer has come.
    resumed: [bool; MOVED],
    resumes: BTreeMap<u64, usize>,
    secrets: u8,
}

impl Script {
    pub(super) async fn begin(hub: &mut Hub, clients: Vec<Client>, bytes: &mut Bytes<'_>) -> Self {
        let line = Line::open(hub, bytes.byte() & 1 == 1).await;
        let mut script = Self {
            line,
            clients,
            liars: [false; MOVED],
            logged_in: [false; MOVED],
            resumed: [false; MOVED],
            resumes: BTreeMap::new(),
            secrets: 0,
        };
        script.hear(hub).await;
        script
    }

    pub(super) fn end(self) -> Vec<Client> {
        self.clients
    }

    pub(super) async fn step(&mut self, hub: &mut Hub, bytes: &mut Bytes<'_>) {
        if self.line.ended {
            self.dial(hub, bytes).await;
        }
        let which = bytes.below(20);
        let who = usize::from(bytes.below(MOVED as u8));
        match which {
            0 => self.log_in(who).await,
            1 => {
                let call = register(&self.clients[who]);
                self.line.call(call).await;
            }
            2 => self.resume(who).await,
            3..=5 => self.pay(who, bytes).await,
            6 => self.lock(who, bytes).await,
            7 => self.reveal(who).await,
            8 => {
                let ops = self.clients[who].fold();
                self.frame(who, ops).await;
            }
            9 => self.frame(who, Vec::new()).await,
            10 => self.lie(who, bytes).await,
            11 => {
                let call = self.template(who, bytes);
                self.suspect(&call);
                self.line.call(call).await;
            }
            12 | 13 => self.bend(who, bytes).await,
            14 => {
                let piece = piece(bytes);
                if let Some(Message::Request { call, .. }) = self.line.read(&piece) {
                    self.suspect(&call);
                }
                self.line.odd(piece).await;
            }
            15 => {
                self.suspect_all();
                let piece = piece(bytes);
                self.line.raw(&piece).await;
            }
            16 => self.control(bytes).await,
            17 => tokio::time::sleep(Duration::from_millis(100) * u32::from(bytes.byte())).await,
            18 => self.dial(hub, bytes).await,
            // Several at once: nobody settles in between.
            _ => return,
        }
        self.hear(hub).await;
    }

    async fn dial(&mut self, hub: &mut Hub, bytes: &mut Bytes<'_>) {
        self.line = Line::open(hub, bytes.byte() & 1 == 1).await;
        self.logged_in = [false; MOVED];
        self.resumed = [false; MOVED];
        self.resumes.clear();
        self.hear(hub).await;
    }

    async fn log_in(&mut self, who: usize) {
        if let Some(login) = self.line.login(&self.clients[who].key) {
            self.logged_in[who] = true;
            self.line.call(Request::Login(login)).await;
        }
    }

    async fn resume(&mut self, who: usize) {
        let call = self.clients[who].resume_call();
        let id = self.line.call(Request::Resume(Box::new(call))).await;
        self.resumes.insert(id, who);
    }

    async fn frame(&mut self, who: usize, ops: Vec<Op>) {
        if let Ok(frame) = self.clients[who].frame(ops, support::clock()) {
            self.line.call(Request::Voucher(frame)).await;
        }
    }

    async fn pay(&mut self, who: usize, bytes: &mut Bytes<'_>) {
        let payee = self.payee(bytes);
        let (amount, fee_max) = (u128::from(bytes.word() >> 40), u128::from(bytes.below(4)));
        let op = self.clients[who].pay(payee, amount, fee_max, support::NOW.after(60));
        self.frame(who, vec![op]).await;
    }

    fn payee(&self, bytes: &mut Bytes<'_>) -> Payee {
        let to = usize::from(bytes.below(MOVED as u8));
        match bytes.byte() & 1 {
            0 => Payee::Account(self.clients[to].account()),
            _ => Payee::Channel(self.clients[to].channel.id()),
        }
    }

    async fn lock(&mut self, who: usize, bytes: &mut Bytes<'_>) {
        let payee = self.payee(bytes);
        self.secrets = self.secrets.wrapping_add(1);
        let secret = Preimage([self.secrets; 32]);
        let amount = u128::from(bytes.byte());
        let expiry = support::NOW.after(60 * u64::from(u16::from_le_bytes(bytes.array())));
        let op = self.clients[who].lock(payee, amount, 1, expiry, secret);
        self.frame(who, vec![op]).await;
    }

    /// The payee knows every secret so far.
    async fn reveal(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let Some((lock, _)) = client.locks.last().cloned() else {
            return;
        };
        for number in 1..=self.secrets {
            let witness = Witness::from(Preimage([number; 32]));
            let Some(opened) = Opened::by_hash(lock.condition(), witness.clone()) else {
                continue;
            };
            if client
                .channel
                .learn_witness(lock.id, &opened, support::clock())
                .is_ok()
            {
                let call = Reveal {
                    channel_id: client.channel.id(),
                    lock_id: lock.id,
                    witness,
                };
                self.line.call(Request::Reveal(call)).await;
                return;
            }
        }
    }

    /// A frame whose bytes were changed before it was signed.
    async fn lie(&mut self, who: usize, bytes: &mut Bytes<'_>) {
        self.liars[who] = true;
        let payee = self.payee(bytes);
        let client = &mut self.clients[who];
        let op = client.pay(payee, 5, 1, support::NOW.after(60));
        let Ok(frame) = client.frame(vec![op], support::clock()) else {
            return;
        };
        let mut encoded = borsh::to_vec(&(&frame.voucher.voucher, &frame.ops)).unwrap();
        bend(&mut encoded, bytes);
        let Ok((voucher, ops)) = borsh::from_slice(&encoded) else {
            return;
        };
        let voucher = client.sign(voucher);
        self.line.call(Request::Voucher(Frame { voucher, ops })).await;
    }

    /// A message whose bytes were changed after it was signed.
    async fn bend(&mut self, who: usize, bytes: &mut Bytes<'_>) {
        let call = self.template(who, bytes);
        let (_, mut encoded) = self.line.request(call);
        bend(&mut encoded, bytes);
        if let Some(Message::Request { call, .. }) = self.line.read(&encoded) {
            self.suspect(&call);
        }
        self.line.odd(encoded).await;
    }

    /// Whoever has logged in here may have done what the channel objects do not know of.
    fn suspect(&mut self, call: &Request) {
        match call {
            Request::Ping(_) | Request::Info(_) | Request::Quote(_) | Request::Payment(_) => {}
            Request::Channel(_) | Request::Subscribe(_) | Request::Unsubscribe(_) | Request::Login(_) => {}
            _ => self.suspect_all(),
        }
    }

    fn suspect_all(&mut self) {
        for (liar, logged_in) in self.liars.iter_mut().zip(self.logged_in) {
            *liar |= logged_in;
        }
    }

    fn template(&self, who: usize, bytes: &mut Bytes<'_>) -> Request {
        let (client, payee) = (&self.clients[who], self.payee(bytes));
        calls::call(client, payee, self.line.login(&client.key), bytes)
    }

    async fn control(&mut self, bytes: &mut Bytes<'_>) {
        let kind = bytes.below(8);
        let piece = piece(bytes);
        let short = piece[..piece.len().min(125)].to_vec();
        match kind {
            0 => self.line.frame(WsMessage::Ping(short.into())).await,
            1 => self.line.frame(WsMessage::Pong(short.into())).await,
            2 => {
                let close = CloseFrame {
                    code: CloseCode::from(u16::from(bytes.byte()) << 4),
                    reason: "".into(),
                };
                self.line.frame(WsMessage::Close(Some(close))).await;
            }
            3 => self.line.frame(WsMessage::Close(None)).await,
            4 => self.line.frame(WsMessage::binary(piece)).await,
            5 => {
                self.line
                    .frame(WsMessage::text(String::from_utf8_lossy(&piece).into_owned()))
                    .await
            }
            kind => {
                self.suspect_all();
                let opcode = [Data::Continue, Data::Text, Data::Binary][usize::from(bytes.below(3))];
                let frame = WsFrame::message(piece, OpCode::Data(opcode), kind == 6);
                self.line.fragment(WsMessage::Frame(frame)).await;
            }
        }
    }

    /// Takes what came, and what comes because of what it made the clients send.
    async fn hear(&mut self, hub: &Hub) {
        loop {
            hub.settle().await;
            let heard = self.line.hear();
            if heard.is_empty() {
                break;
            }
            for message in heard {
                match message {
                    Message::Response { id, result } => self.answered((id, result.map(|reply| *reply))).await,
                    Message::Notification(told) => self.told(&told),
                    Message::Request { .. } => {}
                }
            }
        }
        self.line.must_be_answered();
    }

    async fn answered(&mut self, (id, result): Answer) {
        let resumed = id.and_then(|id| self.resumes.remove(&id));
        if let (Some(who), Ok(Reply::Resume(reply))) = (resumed, result) {
            self.resumed[who] = true;
            self.clients[who].accepted_up_to(reply.channel.client_seq);
            for frame in self.clients[who].unaccepted.clone() {
                self.line.call(Request::Voucher(frame)).await;
            }
        }
    }

    fn told(&mut self, told: &Notification) {
        if let Notification::Voucher(frame) = told {
            let id = frame.voucher.voucher.channel_id;
            let who = self.clients.iter().position(|client| client.channel.id() == id);
            let who = who.expect("the hub's voucher of a channel that is not here");
            let taken = self.clients[who].take(frame, support::clock());
            if who >= MOVED || !self.liars[who] {
                taken.expect("an honest client refuses the hub's voucher");
            }
        }
        for client in &mut self.clients {
            client.told(told, support::clock());
        }
    }
}
