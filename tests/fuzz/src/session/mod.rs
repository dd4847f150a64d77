//! Whole sessions: bytes decide what several clients and a liar do on a connection to the real session server and engine.
//!
//! Two clients that the bytes cannot touch must be able to pay afterwards, whatever came before, and the hub must not have
//! paid out more than it took (O4). What the hub says must be its protocol, and no seq may be signed twice (O1).

mod calls;
#[allow(dead_code, reason = "shared with the tests of the hub, which use other parts")]
#[path = "../../../../hub/tests/support/client.rs"]
mod client;
mod hub;
mod line;
mod script;
#[allow(dead_code, reason = "shared with the tests of the hub, which use other parts")]
#[path = "../../../../hub/tests/support/engine.rs"]
mod support;

use crate::{bytes::Bytes, panics};
use client::{Client, domain};
use hub::Hub;
use line::Line;
use protocol_spec::{
    Payee, Register,
    message::{ChannelCall, Message, Notification, RegisterCall, Reply, Request, VoucherReply},
};
use script::Script;
use std::time::Duration;
use tokio::{runtime::Builder, time::sleep};

const DEPOSIT: u128 = 1_000_000;
/// Clients that the bytes move.
const MOVED: usize = 3;
/// All, with the two that nothing can touch.
const ALL: usize = MOVED + 2;
/// Longer than any pause the hub asks for.
const PAUSE: Duration = Duration::from_secs(150);

pub(crate) fn run(bytes: &[u8]) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    panics::none_in(|| runtime.block_on(session(Bytes::new(bytes))));
}

async fn session(mut bytes: Bytes<'_>) {
    let clients = support::clients(ALL as u64, DEPOSIT);
    let mut hub = Hub::start(&clients, DEPOSIT).await;
    if bytes.byte() & 1 == 1 {
        line::knock(&mut hub, bytes.rest()).await;
    }
    let mut script = Script::begin(&mut hub, clients, &mut bytes).await;
    while !bytes.is_empty() {
        script.step(&mut hub, &mut bytes).await;
    }
    sleep(PAUSE).await;
    let mut clients = script.end();
    untouched_clients_pay(&mut hub, &mut clients).await;
}

fn register(client: &Client) -> Request {
    let channel_id = client.channel.id();
    let register = Register {
        channel_id,
        server: "hub.test".to_owned(),
    };
    Request::Register(RegisterCall {
        config: client.channel.config().clone(),
        owner_signature: Some(client.key.sign(&register.digest(&domain()))),
    })
}

/// One pays the other, and what the hub says of all channels adds up.
async fn untouched_clients_pay(hub: &mut Hub, clients: &mut [Client]) {
    let mut line = Line::open(hub, true).await;
    hub.settle().await;
    line.hear();
    for client in clients.iter() {
        let login = line.login(&client.key).unwrap();
        ask(hub, &mut line, Request::Login(login)).await;
        ask(hub, &mut line, register(client)).await;
    }
    for client in &mut clients[MOVED..] {
        let resume = Request::Resume(Box::new(client.resume_call()));
        ask(hub, &mut line, resume).await;
    }
    let payee = Payee::Account(clients[ALL - 1].account());
    let op = clients[MOVED].pay(payee, 10, 1, support::NOW.after(60));
    let frame = clients[MOVED].frame(vec![op], support::clock()).unwrap();
    line.call(Request::Voucher(frame)).await;
    hub.settle().await;
    let heard = line.hear();
    assert!(
        heard.iter().any(
            |message| matches!(message, Message::Response { result: Ok(reply), .. }
            if matches!(&**reply, Reply::Voucher(VoucherReply { bounced, .. }) if bounced.is_empty()))
        ),
        "an honest payment is refused: {heard:?}"
    );
    for message in &heard {
        if let Message::Notification(told) = message
            && let Notification::Voucher(frame) = &**told
        {
            let whose = clients
                .iter_mut()
                .find(|client| client.channel.id() == frame.voucher.voucher.channel_id);
            whose.unwrap().take(frame, support::clock()).unwrap();
        }
    }
    assert_eq!(
        clients[ALL - 1].credits.len(),
        1,
        "O8: an honest payee is not paid"
    );
    let (mut taken, mut given) = (0, 0);
    for client in clients.iter() {
        let channel_id = client.channel.id();
        let Reply::Channel(info) = ask(hub, &mut line, Request::Channel(ChannelCall { channel_id })).await
        else {
            panic!("no channel")
        };
        // A lock that the voucher the hub has still holds is owed all the same, told or not: it is part of the voucher.
        taken += info.client_paid.0 + client.locked_at(info.client_seq);
        given += info.hub_paid.0;
    }
    assert!(given <= taken, "O4: the hub took {taken} and gave {given}");
}

/// The answer to a call that must succeed.
async fn ask(hub: &Hub, line: &mut Line, call: Request) -> Reply {
    let id = line.call(call).await;
    hub.settle().await;
    for message in line.hear() {
        match message {
            Message::Response { id: of, result } if of == Some(id) => {
                return *result.unwrap_or_else(|error| panic!("O8: refused: {error:?}"));
            }
            _ => {}
        }
    }
    panic!("O8: no answer")
}
