//! Several signers on one connection: time, bounds, and whose key a call is verified against.

use super::{
    calls::{self, challenge},
    codec::Encoding,
    connection::{Counters, Shared},
    gate::Gate,
    http::Names,
    limits::{self, SessionLimits},
    login::{Budget, login_digest, tests::info},
    outgoing::End,
    state::State,
};
use crate::{
    engine::{Engine, Inbound, Outboxes, SessionId},
    now::Now,
    ops::Shutdown,
};
use protocol_spec::{
    Address, Amount, ChannelId, Config, Digest, Domain, Seq, SignerKey,
    message::{
        Challenge, ChannelCall, ChannelInfo, ErrorCode, LoginCall, LoginReply, Message, Notification,
        RegisterCall, Reply, Request, RpcError,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// One connection without a socket, before an engine that only listens.
struct Desk {
    shared: Shared,
    state: State,
    calls: mpsc::Receiver<Inbound>,
    challenge: Challenge,
    now: Instant,
}

fn key(number: usize) -> SignerKey {
    let mut bytes = [9; 32];
    bytes[24..].copy_from_slice(&(number as u64).to_be_bytes());
    SignerKey::from_bytes(&bytes).unwrap()
}

fn config(signer: &SignerKey) -> Config {
    Config {
        client: signer.address(),
        client_signer: signer.address(),
        hub: info().hub,
        hub_signer: info().hub_signer,
        token: Address::ZERO,
        challenge_period_s: 86_400,
        salt: Digest::ZERO,
    }
}

fn channel(signer: &SignerKey) -> ChannelInfo {
    let config = config(signer);
    ChannelInfo {
        channel_id: config.id(&Domain::new(info().chain_id, info().adjudicator)),
        config,
        phase: "open".to_owned(),
        routed: false,
        locks_ended: false,
        client_deposit: Amount::ZERO,
        hub_deposit: Amount::ZERO,
        client_withdrawn: Amount::ZERO,
        hub_withdrawn: Amount::ZERO,
        client_seq: Seq(0),
        client_paid: Amount::ZERO,
        hub_seq: Seq(0),
        hub_paid: Amount::ZERO,
    }
}

impl Desk {
    fn open() -> Self {
        let now = Instant::now();
        let gate = Gate::new(SessionLimits::DEFAULT);
        let admission = gate.knock([127, 0, 0, 1].into()).admit().unwrap();
        let (inbound, calls) = mpsc::channel(8);
        let engine = Engine {
            inbound,
            outboxes: Outboxes::default(),
            info: Arc::new(info()),
        };
        let shared = Shared {
            engine,
            limits: SessionLimits::DEFAULT,
            names: Names {
                hosts: vec![],
                origins: vec![],
            },
            gate,
            offenders: super::offenders::Offenders::default(),
            budget: Budget::new(now),
            shutdown: Shutdown::new(),
            next_id: 1.into(),
            counters: Counters::new(),
            now: Now::default(),
        };
        let mut state = State::new(SessionId(1), Encoding::Json, admission, now);
        let first = challenge(&shared, &mut state, now);
        Self {
            shared,
            state,
            calls,
            challenge: nonce(&first).unwrap(),
            now,
        }
    }

    /// What the connection answers at once, and what it hands on, of which the signer is told.
    fn ask(&mut self, call: Request) -> (Vec<Message>, Option<Address>) {
        let message = Message::Request {
            id: 1,
            call: Box::new(call),
        };
        let done: Result<(), End> = calls::handle(&self.shared, &mut self.state, message, self.now);
        done.unwrap();
        self.state.in_flight = 0;
        let signer = match self.calls.try_recv() {
            Ok(Inbound::Call { key, .. }) => Some(key.address()),
            _ => None,
        };
        (std::mem::take(&mut self.state.replies), signer)
    }

    fn login_call(&self, key: &SignerKey) -> LoginCall {
        let protocol = self.state.encoding.name();
        let digest = login_digest(&info(), self.challenge.nonce, key.address(), protocol);
        LoginCall {
            signer: key.address(),
            signature: key.sign(&digest),
        }
    }

    fn log_in(&mut self, key: &SignerKey) -> Result<(), RpcError> {
        let call = self.login_call(key);
        self.try_log_in(call)
    }

    fn try_log_in(&mut self, call: LoginCall) -> Result<(), RpcError> {
        let asked = call.signer;
        let (replies, signer) = self.ask(Request::Login(call));
        if let Some(challenge) = replies.iter().find_map(nonce) {
            self.challenge = challenge;
        }
        match replies.into_iter().next() {
            Some(Message::Response {
                result: Err(error), ..
            }) => Err(error),
            _ => {
                assert_eq!(signer, Some(asked), "the engine hears of it");
                Ok(())
            }
        }
    }

    /// The ledger's answer to a login, as it passes through.
    fn tell(&mut self, channels: Vec<ChannelInfo>) {
        let result = Ok(Box::new(Reply::Login(LoginReply { channels })));
        let id = Some(1);
        self.state.signers.learn(&Message::Response { id, result });
    }

    /// By whose key a question about the channel is verified.
    fn whose(&mut self, id: ChannelId) -> Result<Address, RpcError> {
        let call = Request::Channel(ChannelCall { channel_id: id });
        self.whose_is(call)
    }

    fn whose_is(&mut self, call: Request) -> Result<Address, RpcError> {
        match self.ask(call) {
            (_, Some(signer)) => Ok(signer),
            (replies, None) => match replies.into_iter().next() {
                Some(Message::Response {
                    result: Err(error), ..
                }) => Err(error),
                other => panic!("neither answered nor handed on: {other:?}"),
            },
        }
    }
}

fn nonce(message: &Message) -> Option<Challenge> {
    match message {
        Message::Notification(told) => match told.as_ref() {
            Notification::Challenge(challenge) => Some(challenge.clone()),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn a_call_is_verified_against_the_key_of_its_channels_signer() {
    let mut desk = Desk::open();
    let [first, second, third] = [1, 2, 3].map(key);
    let [one, two, three] = [&first, &second, &third].map(channel);
    let unasked = desk.whose(one.channel_id).unwrap_err();
    assert!(unasked.is(ErrorCode::NotLoggedIn));
    desk.log_in(&first).unwrap();
    desk.tell(vec![one.clone()]);
    assert_eq!(desk.whose(one.channel_id), Ok(first.address()));
    let only = desk.whose(three.channel_id);
    assert_eq!(only, Ok(first.address()), "with one signer the ledger decides");
    desk.log_in(&second).unwrap();
    desk.tell(vec![two.clone(), three.clone()]);
    assert_eq!(desk.whose(one.channel_id), Ok(first.address()));
    assert_eq!(desk.whose(two.channel_id), Ok(second.address()));
    let foreign = desk.whose(three.channel_id).unwrap_err();
    assert!(foreign.is(ErrorCode::NotYourChannel), "{foreign}");
    let register = |signer: &SignerKey| {
        Request::Register(RegisterCall {
            config: config(signer),
            owner_signature: None,
        })
    };
    assert_eq!(desk.whose_is(register(&second)), Ok(second.address()));
    let foreign = desk.whose_is(register(&third)).unwrap_err();
    assert!(foreign.is(ErrorCode::NotYourChannel), "{foreign}");
}

/// F6: strangers open channels for the signers of a gateway, as many as it has places for.
#[test]
fn channels_that_strangers_opened_take_no_place_from_one_that_is_registered() {
    let mut desk = Desk::open();
    let [first, second] = [1, 2].map(key);
    desk.log_in(&first).unwrap();
    desk.log_in(&second).unwrap();
    let strange = |number: usize| {
        let mut id = [0xee; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        ChannelInfo {
            channel_id: ChannelId(id),
            ..channel(&first)
        }
    };
    desk.tell((0..limits::CHANNELS_KNOWN_MAX).map(strange).collect());
    let own = channel(&second);
    desk.tell(vec![own.clone()]);
    let error = desk.whose(own.channel_id).unwrap_err();
    assert!(error.message.contains("register it"), "{error}");
    desk.state.signers.learn(&Message::Response {
        id: Some(1),
        result: Ok(Box::new(Reply::Channel(Box::new(own.clone())))),
    });
    assert_eq!(desk.whose(own.channel_id), Ok(second.address()));
}

#[test]
fn an_expired_challenge_is_replaced_and_costs_a_logged_in_connection_nothing() {
    let mut desk = Desk::open();
    let [first, second, third] = [1, 2, 3].map(key);
    desk.log_in(&first).unwrap();
    desk.now += limits::NONCE_LIFE;
    desk.log_in(&second).unwrap();
    // As often as it happens: it is nobody's fault.
    for _ in 0..10 {
        desk.now += limits::NONCE_LIFE + Duration::from_millis(1);
        let old = desk.challenge.nonce;
        let error = desk.log_in(&third).unwrap_err();
        assert!(error.is(ErrorCode::LoginFailed), "{error}");
        assert!(error.message.contains("sign the new one"), "{error}");
        assert_ne!(desk.challenge.nonce, old, "a new challenge follows");
        assert!(desk.state.signers.get(&third.address()).is_none());
    }
    // Who is logged in needs no challenge.
    desk.log_in(&first).unwrap();
    desk.log_in(&third).unwrap();
    for signer in [&first, &second, &third] {
        assert!(desk.state.signers.get(&signer.address()).is_some());
    }
}

#[test]
fn a_further_login_that_fails_costs_only_itself_and_not_too_many_are_checked() {
    let mut desk = Desk::open();
    let [first, second] = [1, 2].map(key);
    desk.log_in(&first).unwrap();
    let good = desk.login_call(&second);
    let stolen = LoginCall {
        signer: second.address(),
        ..desk.login_call(&first)
    };
    let nonce = desk.challenge.nonce;
    for _ in 0..limits::LOGIN_FAILURES_MAX {
        let error = desk.try_log_in(stolen.clone()).unwrap_err();
        assert!(error.is(ErrorCode::LoginFailed), "{error}");
    }
    for call in [stolen, good.clone()] {
        let error = desk.try_log_in(call).unwrap_err();
        assert!(
            error.is(ErrorCode::Busy) && error.data.retry_after_ms.is_some(),
            "{error}"
        );
    }
    assert_eq!(
        desk.challenge.nonce, nonce,
        "other logins under way have signed it"
    );
    desk.now += Duration::from_secs(1);
    desk.try_log_in(good).unwrap();
}

#[test]
fn logins_that_repeat_are_answered_and_bounded() {
    let mut desk = Desk::open();
    let first = key(1);
    desk.log_in(&first).unwrap();
    for _ in 0..limits::LOGIN_FAILURES_MAX {
        desk.log_in(&first).unwrap();
    }
    assert!(desk.log_in(&first).unwrap_err().is(ErrorCode::Busy));
}

#[test]
fn a_connection_takes_so_many_signers_and_no_more() {
    let mut desk = Desk::open();
    for number in 1..=limits::SIGNERS_MAX {
        desk.log_in(&key(number)).unwrap();
    }
    let one_more = key(limits::SIGNERS_MAX + 1);
    let error = desk.log_in(&one_more).unwrap_err();
    assert!(error.is(ErrorCode::LoginFailed), "{error}");
    assert_eq!(error.data.expected, Some(limits::SIGNERS_MAX.to_string()));
    for number in [1, 2, limits::SIGNERS_MAX] {
        let (signer, known) = (key(number), channel(&key(number)));
        desk.tell(vec![known.clone()]);
        assert_eq!(desk.whose(known.channel_id), Ok(signer.address()));
    }
}
