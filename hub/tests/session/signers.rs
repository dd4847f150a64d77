//! Several signers on one connection, before the real engine.

use crate::{
    client::{self, Client as Signer, domain},
    support::{NOW, clients, clock, opening, options},
    world::{Client, Heard},
};
use hub::{
    engine::{Running, start},
    ledger::Input,
    ops::Shutdown,
    session::{self, Drained, Settings},
    store::MemoryStore,
};
use protocol_spec::{
    Payee, Register,
    message::{
        ChannelCall, ErrorCode, Frame, Message, Notification, RegisterCall, Reply, Request, RpcError,
        SUBPROTOCOL_BORSH, SUBPROTOCOL_JSON, VoucherReply,
    },
};
use std::{net::SocketAddr, sync::Arc};
use tokio::task::JoinHandle;

const DEPOSIT: u128 = 1_000_000;

struct Hub {
    address: SocketAddr,
    running: Running,
    shutdown: Shutdown,
    server: JoinHandle<Drained>,
}

impl Hub {
    /// On loopback, with the channels of `signers` opened.
    async fn start(store: &MemoryStore, signers: &[Signer]) -> Self {
        let running = start(options(Arc::new(store.reopen()))).await.unwrap();
        let opened = Input::Chain(opening(signers, DEPOSIT));
        assert!(running.control.tell(opened).await);
        let listener = session::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let server = session::serve_tcp(
            listener,
            running.engine.clone(),
            Settings::default(),
            shutdown.clone(),
        );
        Self {
            address,
            running,
            shutdown,
            server: tokio::spawn(server),
        }
    }

    async fn stop(self) {
        self.shutdown.trigger();
        self.server.await.unwrap();
        drop((self.running.engine, self.running.control));
        self.running.fatal.await.unwrap().unwrap();
    }

    async fn connect(&self) -> Gateway {
        self.connect_over(SUBPROTOCOL_JSON).await
    }

    async fn connect_over(&self, protocol: &'static str) -> Gateway {
        let client = Client::connect(self.address, protocol).await.unwrap();
        Gateway(client)
    }

    /// A connection that acts for all `signers`, their channels registered and resumed.
    async fn gateway(&self, signers: &mut [Signer]) -> Gateway {
        let mut gateway = self.connect().await;
        for signer in signers.iter() {
            gateway.0.log_in(&signer.key).await.unwrap();
        }
        for place in 0..signers.len() {
            gateway.register(signers, place).await.unwrap();
            gateway.resume(signers, place).await.unwrap();
        }
        gateway
    }
}

/// One connection for many signers.
struct Gateway(Client);

impl Gateway {
    /// The answer to a call; vouchers on the way go to the signers whose they are.
    async fn call(&mut self, signers: &mut [Signer], call: Request) -> Result<Reply, RpcError> {
        let sent = self.0.send(call).await;
        loop {
            match self.hear(signers).await {
                Some((id, result)) => {
                    assert_eq!(id, Some(sent));
                    return result;
                }
                None => continue,
            }
        }
    }

    async fn hear(&mut self, signers: &mut [Signer]) -> Option<(Option<u64>, Result<Reply, RpcError>)> {
        match self.0.hear().await {
            Heard::Message(Message::Response { id, result }) => Some((id, result.map(|reply| *reply))),
            Heard::Message(Message::Notification(told)) => {
                if let Notification::Voucher(frame) = *told {
                    let whose = frame.voucher.voucher.channel_id;
                    let signer = signers.iter_mut().find(|signer| signer.channel.id() == whose);
                    signer.unwrap().take(&frame, clock()).unwrap();
                }
                None
            }
            other => panic!("{other:?}"),
        }
    }

    async fn register(&mut self, signers: &mut [Signer], place: usize) -> Result<Reply, RpcError> {
        let call = register_call(&signers[place]);
        self.call(signers, call).await
    }

    async fn resume(&mut self, signers: &mut [Signer], place: usize) -> Result<(), RpcError> {
        let call = Request::Resume(Box::new(signers[place].resume_call()));
        let Reply::Resume(reply) = self.call(signers, call).await? else {
            panic!("no resume reply")
        };
        signers[place].accepted_up_to(reply.channel.client_seq);
        Ok(())
    }

    /// The signer at `from` pays 10 to the one at `to`; both are connected here.
    async fn pay(&mut self, signers: &mut [Signer], from: usize, to: usize) {
        let frame = payment(signers, from, to);
        let before = signers[to].credits.len();
        let reply = self.call(signers, Request::Voucher(frame)).await.unwrap();
        assert!(matches!(reply, Reply::Voucher(VoucherReply { bounced, .. }) if bounced.is_empty()));
        while signers[to].credits.len() == before {
            assert!(self.hear(signers).await.is_none());
        }
    }
}

fn register_call(signer: &Signer) -> Request {
    let channel_id = signer.channel.id();
    let server = "hub.test".to_owned();
    let register = Register { channel_id, server };
    Request::Register(RegisterCall {
        config: signer.channel.config().clone(),
        owner_signature: Some(signer.key.sign(&register.digest(&domain()))),
    })
}

fn payment(signers: &mut [Signer], from: usize, to: usize) -> Frame {
    let payee = Payee::Account(signers[to].account());
    let op = signers[from].pay(payee, 10, 1, NOW.after(60));
    signers[from].frame(vec![op], clock()).unwrap()
}

fn channel_call(signer: &Signer) -> Request {
    Request::Channel(ChannelCall {
        channel_id: signer.channel.id(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_signers_pay_and_are_paid_on_one_connection() {
    let mut signers = clients(2, DEPOSIT);
    let hub = Hub::start(&MemoryStore::new(), &signers).await;
    let mut gateway = hub.gateway(&mut signers).await;
    for _ in 0..5 {
        gateway.pay(&mut signers, 0, 1).await;
        gateway.pay(&mut signers, 1, 0).await;
    }
    assert_eq!(signers[0].credits.len() + signers[1].credits.len(), 10);
    // What the second one signs does not count in the first one's channel.
    let mut forged = payment(&mut signers, 0, 1);
    let digest = forged.voucher.voucher.digest(&domain());
    forged.voucher.signature = protocol_spec::VoucherSignature::Direct(signers[1].key.sign(&digest));
    let error = gateway.call(&mut signers, Request::Voucher(forged)).await;
    assert_eq!(error.unwrap_err().data.name, "SignatureInvalid");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_a_signer_that_is_not_logged_in_is_refused() {
    let mut signers = clients(3, DEPOSIT);
    let hub = Hub::start(&MemoryStore::new(), &signers).await;
    let mut gateway = hub.gateway(&mut signers[..2]).await;
    let third = register_call(&signers[2]);
    for call in [channel_call(&signers[2]), third] {
        let error = gateway.call(&mut signers, call).await.unwrap_err();
        assert!(error.is(ErrorCode::NotYourChannel), "{error}");
        assert!(error.message.contains("log"), "it says what to do: {error}");
    }
    let error = gateway.resume(&mut signers, 2).await.unwrap_err();
    assert!(error.is(ErrorCode::NotYourChannel), "{error}");
    // Once its signer has logged in it is served, and the others still are.
    let Ok(Reply::Login(reply)) = gateway.0.log_in(&signers[2].key).await else {
        panic!("no login reply")
    };
    assert_eq!(reply.channels[0].channel_id, signers[2].channel.id());
    gateway.register(&mut signers, 2).await.unwrap();
    gateway.resume(&mut signers, 2).await.unwrap();
    gateway.pay(&mut signers, 2, 0).await;
    gateway.pay(&mut signers, 0, 2).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_opened_after_the_login_is_learnt_from_register() {
    let mut signers = clients(3, DEPOSIT);
    let hub = Hub::start(&MemoryStore::new(), &signers[..2]).await;
    let mut gateway = hub.connect_over(SUBPROTOCOL_BORSH).await;
    for signer in &signers {
        gateway.0.log_in(&signer.key).await.unwrap();
    }
    let early = gateway.register(&mut signers, 2).await.unwrap_err();
    assert!(early.is(ErrorCode::NotConfirmed), "{early}");
    let mut block = opening(&signers[2..], DEPOSIT);
    block.position.number = 2;
    hub.running.control.tell(Input::Chain(block)).await;
    let unknown = gateway.resume(&mut signers, 2).await.unwrap_err();
    assert!(unknown.is(ErrorCode::NotYourChannel), "{unknown}");
    gateway.register(&mut signers, 2).await.unwrap();
    gateway.resume(&mut signers, 2).await.unwrap();
    let call = channel_call(&signers[2]);
    assert!(gateway.call(&mut signers, call).await.is_ok());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_replayed_elsewhere_is_refused_and_the_victim_notices_nothing() {
    let mut signers = clients(2, DEPOSIT);
    let hub = Hub::start(&MemoryStore::new(), &signers).await;
    let mut gateway = hub.gateway(&mut signers).await;
    let captured = gateway.0.login_call(&signers[1].key);
    let mut thief = hub.connect().await;
    thief.0.log_in(&client::key(77)).await.unwrap();
    let login = Request::Login(captured.clone());
    let error = thief.call(&mut signers, login.clone()).await.unwrap_err();
    assert!(error.is(ErrorCode::LoginFailed), "{error}");
    let call = channel_call(&signers[1]);
    assert!(thief.call(&mut signers, call).await.is_err());
    // The same one again on its own connection is answered as before.
    assert!(matches!(
        gateway.call(&mut signers, login).await,
        Ok(Reply::Login(reply)) if reply.channels.len() == 1
    ));
    gateway.pay(&mut signers, 0, 1).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_one_channel_of_a_gateway_does_not_cut_off_the_others() {
    let mut signers = clients(3, DEPOSIT);
    let hub = Hub::start(&MemoryStore::new(), &signers).await;
    let mut gateway = hub.gateway(&mut signers).await;
    gateway.pay(&mut signers, 0, 1).await;
    let mut other = hub.connect().await;
    other.0.log_in(&signers[0].key).await.unwrap();
    other.resume(&mut signers, 0).await.unwrap();
    // The gateway has lost this channel, and only this one.
    let frame = payment(&mut signers, 0, 1);
    let error = gateway.call(&mut signers, Request::Voucher(frame.clone())).await;
    let error = error.unwrap_err();
    assert!(error.is(ErrorCode::NotResumed), "{error}");
    assert!(error.message.contains("another connection"), "{error}");
    gateway.pay(&mut signers, 1, 2).await;
    gateway.pay(&mut signers, 2, 1).await;
    // It takes the channel back: the other connection has one signer and is dropped, as ever.
    gateway.resume(&mut signers, 0).await.unwrap();
    assert_eq!(other.0.closed().await, 1013);
    gateway.call(&mut signers, Request::Voucher(frame)).await.unwrap();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_comes_back_after_a_restart_and_goes_on() {
    let mut signers = clients(2, DEPOSIT);
    let store = MemoryStore::new();
    for _ in 0..3 {
        let hub = Hub::start(&store, &signers).await;
        let mut gateway = hub.gateway(&mut signers).await;
        gateway.pay(&mut signers, 0, 1).await;
        gateway.pay(&mut signers, 1, 0).await;
        hub.stop().await;
        assert_eq!(gateway.0.closed().await, 1001);
    }
    assert_eq!(signers[0].credits.len(), 3);
    assert_eq!(signers[1].credits.len(), 3);
}
