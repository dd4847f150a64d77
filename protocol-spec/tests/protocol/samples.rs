//! One message of every kind, named; SPEC.md prints them.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{
    Address, Amount, CancelDispute, CapacityQuote, Digest, DirectionEvidence, Evidence, Login, Op, Package,
    Payee, PaymentId, Preimage, Receipt, Register, Reject, ReturnReason, Seq, Side, SignedAccept,
    UnixSeconds, VoucherSignature,
    batch::{Tree, batch_digest},
    message::*,
};

fn request(id: u64, call: Request) -> Message {
    Message::Request {
        id,
        call: Box::new(call),
    }
}
fn reply(id: u64, reply: Reply) -> Message {
    Message::Response {
        id: Some(id),
        result: Ok(Box::new(reply)),
    }
}
fn refused(id: Option<u64>, error: RpcError) -> Message {
    Message::Response {
        id,
        result: Err(error),
    }
}
fn note(body: Notification) -> Message {
    Message::Notification(Box::new(body))
}

fn frame(sent: &Sent) -> Frame {
    Frame {
        voucher: sent.verified.signed().clone(),
        ops: sent.ops.clone(),
    }
}

pub fn hub_info() -> HubInfo {
    HubInfo {
        server: "hub.example".into(),
        chain_id: 31_337,
        adjudicator: domain().adjudicator,
        hub: config().hub,
        hub_signer: config().hub_signer,
        hub_public_key: key(2).public().to_compressed().to_vec(),
        tokens: vec![config().token],
        challenge_period_s: 86_400,
        confirmations: 12,
        now: UnixSeconds(START),
    }
}

fn info(w: &World) -> ChannelInfo {
    let (client, hub) = (w.hub.received(), w.hub.sent());
    ChannelInfo {
        channel_id: w.hub.id(),
        config: config(),
        phase: "open".into(),
        routed: true,
        locks_ended: false,
        client_deposit: Amount(1000),
        hub_deposit: Amount(500),
        client_withdrawn: Amount::ZERO,
        hub_withdrawn: Amount::ZERO,
        client_seq: client.seq,
        client_paid: client.paid,
        hub_seq: hub.seq,
        hub_paid: hub.paid,
    }
}

/// The hub's frame of one commit, signed as a batch with one receipt.
fn batched(w: &mut World, ops: &[Op], receipt: &Receipt) -> (Frame, VoucherSignature) {
    let sent = w.send(Hub, ops);
    let voucher = sent.verified.voucher().clone();
    let tree = Tree::new(vec![voucher.digest(&domain()), receipt.digest(&domain())]);
    let root_signature = key(2).sign(&batch_digest(&domain(), &tree.root()));
    let signature = |index| VoucherSignature::Batch {
        root_signature,
        proof: tree.proof(index),
    };
    let signed = protocol_spec::SignedVoucher {
        voucher,
        signature: signature(0),
    };
    (
        Frame {
            voucher: signed,
            ops: ops.to_vec(),
        },
        signature(1),
    )
}

/// What a client hands to its watchtower after one payment of the hub.
pub fn package() -> Package {
    let mut w = World::new();
    let sent = w.send(Hub, &[credit(1, 40)]);
    let evidence = Evidence {
        format: Evidence::FORMAT.to_owned(),
        chain_id: domain().chain_id,
        adjudicator: domain().adjudicator,
        config: config(),
        side: Client,
        received: DirectionEvidence::received_by(&w.client),
        sent: DirectionEvidence::default(),
        deposits: (Amount(1000), Amount(500)),
        never_locked: false,
    };
    let submitter = Address::repeat_byte(0x55);
    let accept = w
        .client
        .plan_accept(submitter, false, UnixSeconds(START + 86_400));
    let accept = accept.unwrap().unwrap();
    assert_eq!(accept.voucher, sent.verified.digest());
    let signature = key(1).sign(&accept.digest(&domain()));
    Package::new(&evidence, SignedAccept { accept, signature })
}

fn session(w: &World) -> Vec<(&'static str, Message)> {
    let protocol = SUBPROTOCOL_JSON.to_owned();
    let login = Login {
        server: "hub.example".into(),
        nonce: Digest([0x11; 32]),
        signer: key(1).address(),
        protocol,
    };
    let register = Register {
        channel_id: w.hub.id(),
        server: "hub.example".into(),
    };
    vec![
        (
            "challenge",
            note(Notification::Challenge(Challenge {
                nonce: Digest([0x11; 32]),
                hub: hub_info(),
            })),
        ),
        (
            "login",
            request(
                1,
                Request::Login(LoginCall {
                    signer: key(1).address(),
                    signature: key(1).sign(&login.digest(&domain())),
                }),
            ),
        ),
        (
            "login reply",
            reply(
                1,
                Reply::Login(LoginReply {
                    channels: vec![info(w)],
                }),
            ),
        ),
        (
            "register",
            request(
                2,
                Request::Register(RegisterCall {
                    config: config(),
                    owner_signature: Some(key(4).sign(&register.digest(&domain()))),
                }),
            ),
        ),
        ("register reply", reply(2, Reply::Channel(Box::new(info(w))))),
        ("info", request(3, Request::Info(Empty {}))),
        ("info reply", reply(3, Reply::Info(Box::new(hub_info())))),
        ("ping", request(4, Request::Ping(Empty {}))),
        ("ping reply", reply(4, Reply::Done(Empty {}))),
        (
            "channel",
            request(
                5,
                Request::Channel(ChannelCall {
                    channel_id: w.hub.id(),
                }),
            ),
        ),
        ("channel notification", note(Notification::Channel(info(w)))),
    ]
}

fn payments(w: &mut World) -> Vec<(&'static str, Message)> {
    let id = w.hub.id();
    let first = w.send(Client, &[pay(0xaa, 250, 2), pay(0xab, 5, 0)]);
    let receipt = Receipt {
        payment_id: PaymentId([0xcc; 16]),
        invoice: Digest::ZERO,
        payer: Digest([0xcc; 32]),
        payee_channel: id,
        payee_seq: Seq(1),
        amount: Amount(40),
        at: UnixSeconds(START),
    };
    let bounced = Op::Return(protocol_spec::Return {
        payment_id: PaymentId([0xab; 16]),
        amount: Amount(5),
        reason: ReturnReason::Expired,
    });
    let (answer, receipt_signature) = batched(w, &[give_back(0xaa, 2), bounced, credit(0xcc, 40)], &receipt);
    let sent = Some(first.verified.signed().clone());
    let received = Some(answer.voucher.clone());
    let cursor = Cursor {
        epoch: 1,
        position: 7,
    };
    let reveal = Reveal {
        channel_id: id,
        lock_id: 2,
        witness: Preimage([1; 32]).into(),
    };
    vec![
        (
            "resume",
            request(
                6,
                Request::Resume(Box::new(ResumeCall {
                    channel_id: id,
                    sent: sent.clone(),
                    received: received.clone(),
                    sent_locks: None,
                    received_locks: None,
                })),
            ),
        ),
        (
            "resume reply",
            reply(
                6,
                Reply::Resume(Box::new(ResumeReply {
                    channel: info(w),
                    received: sent,
                    sent: received,
                    received_locks: None,
                    sent_locks: None,
                })),
            ),
        ),
        (
            "quote",
            request(
                7,
                Request::Quote(QuoteCall {
                    channel_id: id,
                    payee: Payee::Account(Address::repeat_byte(0x99)),
                    amount: Amount(250),
                }),
            ),
        ),
        (
            "quote reply",
            reply(
                7,
                Reply::Quote(QuoteReply {
                    fee: Amount(2),
                    expires_at: UnixSeconds(START + 60),
                    would_bounce: Some(ReturnReason::UnknownPayee),
                    ready_at: None,
                }),
            ),
        ),
        ("voucher", request(8, Request::Voucher(frame(&first)))),
        ("voucher notification", note(Notification::Voucher(answer))),
        (
            "voucher reply",
            reply(
                8,
                Reply::Voucher(VoucherReply {
                    seq: Seq(1),
                    bounced: vec![Bounce {
                        payment_id: PaymentId([0xab; 16]),
                        reason: ReturnReason::Expired,
                        ready_at: None,
                    }],
                }),
            ),
        ),
        (
            "payment",
            request(
                9,
                Request::Payment(PaymentCall {
                    channel_id: id,
                    payment_id: PaymentId([0xaa; 16]),
                }),
            ),
        ),
        (
            "payment reply",
            reply(
                9,
                Reply::Payment(PaymentReply {
                    status: PaymentStatus::Accepted { seq: Seq(1) },
                }),
            ),
        ),
        (
            "payment reply, bounced",
            reply(
                9,
                Reply::Payment(PaymentReply {
                    status: PaymentStatus::Bounced {
                        seq: Seq(1),
                        reason: ReturnReason::Expired,
                    },
                }),
            ),
        ),
        (
            "payment reply, locked",
            reply(
                9,
                Reply::Payment(PaymentReply {
                    status: PaymentStatus::Locked {
                        lock_id: 1,
                        expiry: UnixSeconds(START + 7_200),
                    },
                }),
            ),
        ),
        (
            "payment reply, unknown",
            reply(
                9,
                Reply::Payment(PaymentReply {
                    status: PaymentStatus::Unknown {},
                }),
            ),
        ),
        (
            "subscribe",
            request(
                10,
                Request::Subscribe(SubscribeCall {
                    channel_id: id,
                    after: Some(Cursor {
                        epoch: 1,
                        position: 6,
                    }),
                }),
            ),
        ),
        (
            "subscribe reply",
            reply(
                10,
                Reply::Subscribe(SubscribeReply {
                    newest: cursor.clone(),
                }),
            ),
        ),
        (
            "event",
            note(Notification::Event(Event {
                cursor,
                receipt,
                signature: receipt_signature,
            })),
        ),
        (
            "unsubscribe",
            request(11, Request::Unsubscribe(ChannelCall { channel_id: id })),
        ),
        ("reveal", request(15, Request::Reveal(reveal.clone()))),
        ("reveal notification", note(Notification::Reveal(reveal))),
        (
            "consent",
            request(
                16,
                Request::Consent(LockCall {
                    channel_id: id,
                    lock_id: 3,
                }),
            ),
        ),
        (
            "consent notification",
            note(Notification::Consent(Consent {
                channel_id: id,
                lock_id: 3,
                reason: ReturnReason::PayeeOffline,
            })),
        ),
    ]
}

fn leaving(w: &World) -> Vec<(&'static str, Message)> {
    let deadline = UnixSeconds(START + 3600);
    let withdraw = w.client.plan_withdraw(Client, Amount(100), deadline).unwrap();
    let close = w.client.plan_close(deadline);
    let cancel = CancelDispute {
        channel_id: w.hub.id(),
        dispute_no: Seq(1),
        deadline,
    };
    let sign = |digest| key(1).sign(&digest);
    let countersigned = key(2).sign(&withdraw.digest(&domain()));
    let quote = CapacityQuote {
        channel_id: w.hub.id(),
        amount: Amount(500),
        fee: Amount(2),
        expires_at: UnixSeconds(START + 120),
        ready_in_s: 60,
        hold_s: 3600,
    };
    let mismatch = Reject::PaidMismatch {
        expected: Amount(257),
        got: Amount(250),
    };
    vec![
        (
            "withdraw",
            request(
                12,
                Request::Withdraw(WithdrawCall {
                    signature: sign(withdraw.digest(&domain())),
                    withdraw,
                }),
            ),
        ),
        (
            "capacity",
            request(
                17,
                Request::Capacity(CapacityCall {
                    channel_id: w.hub.id(),
                    amount: Amount(500),
                }),
            ),
        ),
        (
            "capacity reply",
            reply(
                17,
                Reply::Capacity(CapacityReply {
                    signature: key(2).sign(&quote.digest(&domain())),
                    quote,
                }),
            ),
        ),
        (
            "release notification",
            note(Notification::Release(Release {
                channel_id: w.hub.id(),
                total: Amount(200),
                deadline,
            })),
        ),
        (
            "countersigned",
            reply(
                12,
                Reply::Countersigned(Countersigned {
                    signature: countersigned,
                    hub_sends: true,
                }),
            ),
        ),
        (
            "prepare_close",
            request(
                18,
                Request::PrepareClose(PrepareCloseCall {
                    channel_id: w.hub.id(),
                    until: deadline,
                }),
            ),
        ),
        (
            "close",
            request(
                13,
                Request::Close(CloseCall {
                    signature: sign(close.digest(&domain())),
                    close,
                }),
            ),
        ),
        (
            "cancel_dispute",
            request(
                14,
                Request::CancelDispute(CancelDisputeCall {
                    signature: sign(cancel.digest(&domain())),
                    cancel,
                }),
            ),
        ),
        ("error of a rule", refused(Some(8), RpcError::from(&mismatch))),
        (
            "error of the session",
            refused(None, RpcError::of(ErrorCode::RateLimited).retry_after_ms(250)),
        ),
    ]
}

/// Operations that no sample message above carries.
pub fn lock_ops() -> Vec<(&'static str, Op)> {
    vec![
        ("lock_add", add(lock(1, 100, START + 7200))),
        ("lock_convert", convert(1)),
        ("lock_drop", drop_lock(1)),
    ]
}

pub fn messages() -> Vec<(&'static str, Message)> {
    let mut w = World::new();
    let mut all = session(&w);
    all.extend(payments(&mut w));
    all.extend(leaving(&w));
    all
}
