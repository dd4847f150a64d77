//! One connection of the mini-hub.
#![allow(clippy::too_many_lines, reason = "a script, read from top to bottom")]

use super::{Cut, Hub, Refuse, Silence, State};
use client_sdk::{Amount, ChannelId, Cursor};
use futures::{SinkExt, StreamExt};
use protocol_spec::{
    CapacityQuote, Credit, Login, Op, Receipt, Reject, Return, ReturnReason, Seq, SignedVoucher,
    VerifiedVoucher,
    channel::{Accepted, ShownLocks},
    message::*,
};
use std::{collections::HashMap, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc::{self, UnboundedSender},
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        self,
        handshake::server::{Request as Http, Response as HttpResponse},
    },
};

pub async fn serve(hub: Arc<Hub>, socket: impl AsyncRead + AsyncWrite + Unpin) {
    let mut protocol = String::new();
    #[allow(clippy::result_large_err)]
    let callback = |request: &Http, mut response: HttpResponse| {
        let asked = request.headers()["sec-websocket-protocol"].clone();
        protocol = asked.to_str().unwrap().to_owned();
        response.headers_mut().insert("sec-websocket-protocol", asked);
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(socket, callback).await else {
        return;
    };
    let json = protocol == SUBPROTOCOL_JSON;
    let encode = move |message: &Message| {
        if json {
            tungstenite::Message::text(json::encode(message))
        } else {
            tungstenite::Message::binary(binary::encode(message))
        }
    };
    let nonce = hub.next_nonce();
    let challenge = Notification::Challenge(Challenge {
        nonce,
        hub: hub.info(),
    });
    if socket
        .send(encode(&Message::Notification(Box::new(challenge))))
        .await
        .is_err()
    {
        return;
    }
    let (push, mut pushed) = mpsc::unbounded_channel();
    loop {
        let frame = tokio::select! {
            // What was sent before a request came goes out before its answer.
            biased;
            Some(note) = pushed.recv() => {
                let note = Message::Notification(Box::new(note));
                let _ = socket.send(encode(&note)).await;
                continue;
            }
            frame = socket.next() => frame,
        };
        let message = match frame {
            Some(Ok(tungstenite::Message::Text(text))) => json::decode(&text).unwrap(),
            Some(Ok(tungstenite::Message::Binary(bytes))) => binary::decode(&bytes).unwrap(),
            Some(Ok(_)) => continue,
            _ => return,
        };
        let Message::Request { id, call } = message else {
            panic!("not a request")
        };
        let (count, cut) = {
            let mut state = hub.state();
            state.requests += 1;
            (state.requests, state.cut)
        };
        if cut == Cut::BeforeRequest(count) {
            return;
        }
        if let Request::Login(login) = call.as_ref() {
            check_login(&hub, login, nonce, &protocol);
        }
        let kind = match call.as_ref() {
            Request::Register(_) => Some(Silence::Register),
            Request::Resume(_) => Some(Silence::Resume),
            Request::Voucher(_) => Some(Silence::Voucher),
            Request::Quote(_) => Some(Silence::Quote),
            Request::Withdraw(_) => Some(Silence::Withdraw),
            _ => None,
        };
        if matches!(call.as_ref(), Request::Close(_) | Request::Withdraw(_)) {
            let bytes = protocol_spec::message::binary::encode(&Message::Request {
                id: 0,
                call: call.clone(),
            });
            hub.state().cooperative.push(bytes);
        }
        let login = matches!(call.as_ref(), Request::Login(_));
        let refuse = match call.as_ref() {
            Request::Register(_) => Some(Refuse::Register),
            Request::Resume(_) => Some(Refuse::Resume),
            Request::Voucher(_) => Some(Refuse::Voucher),
            Request::Close(_) => Some(Refuse::Close),
            Request::Withdraw(_) => Some(Refuse::Withdraw),
            Request::Reveal(_) => Some(Refuse::RevealAsLate),
            Request::Subscribe(_) => Some(Refuse::Subscribe),
            _ => None,
        };
        let script = hub.state().refuse;
        let for_good = matches!(
            (refuse, script),
            (Some(Refuse::Withdraw), Some(Refuse::WithdrawForGood))
                | (Some(Refuse::Subscribe), Some(Refuse::SubscribeForGood))
        );
        let refused = for_good || (refuse.is_some() && script == refuse);
        let out = if refused {
            hub.state().refused_at.push(tokio::time::Instant::now());
            let retry_after_ms = hub.state().retry_after_ms;
            let scripted = |code| {
                let mut error = RpcError::because(code, "refused by the script".to_owned());
                error.data.retry_after_ms = retry_after_ms;
                error
            };
            let now = hub.clock().now;
            let error = match refuse {
                Some(Refuse::RevealAsLate) => RpcError::from(&Reject::PreimageTooLate { expiry: now, now }),
                Some(Refuse::Subscribe) if for_good => scripted(ErrorCode::CursorTooOld),
                _ if for_good => scripted(ErrorCode::InvalidParams),
                _ => scripted(ErrorCode::Busy),
            };
            vec![Message::Response {
                id: Some(id),
                result: Err(error),
            }]
        } else {
            handle(&hub, &push, id, *call)
        };
        if cut == Cut::AfterRequest(count) {
            return;
        }
        let silent = {
            let mut state = hub.state();
            let silent = kind.is_some() && state.silence == kind;
            if silent {
                state.silence = None;
            }
            silent || state.mute
        };
        if hub.state().flood {
            let info = hub.state().channels.keys().next().copied().unwrap();
            let note = Message::Notification(Box::new(Notification::Channel(info_of(&hub, &info))));
            while socket.send(encode(&note)).await.is_ok() {}
            return;
        }
        if silent {
            continue;
        }
        for message in out {
            if socket.send(encode(&message)).await.is_err() {
                return;
            }
        }
        if login && hub.state().hang_up {
            return;
        }
    }
}

fn check_login(hub: &Hub, login: &LoginCall, nonce: client_sdk::Digest, protocol: &str) {
    let statement = Login {
        server: "mini".to_owned(),
        nonce,
        signer: login.signer,
        protocol: protocol.to_owned(),
    };
    let key = login.signature.recover(&statement.digest(&hub.domain)).unwrap();
    assert_eq!(key.address(), login.signer);
}

fn handle(hub: &Hub, push: &UnboundedSender<Notification>, id: u64, call: Request) -> Vec<Message> {
    let mut notes = Vec::new();
    let mut before = Vec::new();
    let result = match call {
        Request::Login(_) => {
            hub.state().logins += 1;
            Ok(Reply::Login(LoginReply { channels: Vec::new() }))
        }
        Request::Reveal(reveal) => {
            let mut state = hub.state();
            state.revealed.push(reveal.lock_id);
            state.reveals.push(reveal);
            Ok(Reply::Done(Empty {}))
        }
        Request::Consent(call) => {
            hub.state().consented.push(call.lock_id);
            Ok(Reply::Done(Empty {}))
        }
        Request::Register(call) => {
            hub.state().owners.push(call.owner_signature);
            Ok(Reply::Channel(Box::new(info_of(
                hub,
                &call.config.id(&hub.domain),
            ))))
        }
        Request::Channel(call) => Ok(Reply::Channel(Box::new(info_of(hub, &call.channel_id)))),
        Request::Resume(call) => {
            let mut state = hub.state();
            state.push = Some(push.clone());
            if state.spoil.is_some() {
                let wrong = hub.issue_credit(&mut state, &call.channel_id, 1).1;
                before.push(Notification::Voucher(wrong));
            }
            if let Some([sent, unsent]) = state.credits_at_resume.take() {
                let frame = hub.issue_credit(&mut state, &call.channel_id, sent).1;
                before.push(Notification::Voucher(frame));
                hub.issue_credit(&mut state, &call.channel_id, unsent);
            }
            drop(state);
            resync(hub, &call).map(|()| Reply::Resume(Box::new(resume(hub, &call, &mut notes))))
        }
        // What an earlier connection had still under way comes too late.
        Request::Voucher(_) if !hub.resumed_last(push) => Err(RpcError::of(ErrorCode::NotResumed)),
        Request::Voucher(frame) => voucher(hub, frame, &mut notes),
        Request::Quote(_) => Ok(Reply::Quote(QuoteReply {
            fee: Amount(2),
            expires_at: hub.clock().now.after(60),
            would_bounce: None,
            ready_at: None,
        })),
        Request::Payment(_) => Ok(Reply::Payment(PaymentReply {
            status: PaymentStatus::Unknown {},
        })),
        Request::Subscribe(call) => Ok(Reply::Subscribe(subscribe(hub, &call, &mut notes))),
        Request::Withdraw(call) => {
            let mut state = hub.state();
            let (on_chain, hub_sends) = (state.on_chain, !state.leaves_lying);
            let channel = &mut state.channels.get_mut(&call.withdraw.channel_id).unwrap().channel;
            match channel.sign_withdraw(&call.withdraw, hub.clock()) {
                Ok(()) => {
                    if !on_chain {
                        channel.withdraw_confirmed(call.withdraw.side, call.withdraw.total);
                    }
                    let signature = hub.key.sign(&call.withdraw.digest(&hub.domain));
                    drop(state);
                    notes.push(Notification::Channel(info_of(hub, &call.withdraw.channel_id)));
                    Ok(Reply::Countersigned(Countersigned { signature, hub_sends }))
                }
                Err(reject) => Err(RpcError::from(&reject)),
            }
        }
        Request::PrepareClose(call) => {
            let mut state = hub.state();
            state.prepared.push(call.until);
            if let Some(amount) = state.late_credit.take() {
                let frame = hub.issue_credit(&mut state, &call.channel_id, amount).1;
                notes.push(Notification::Voucher(frame));
            }
            let wrong = state.wrong_numbers;
            drop(state);
            let mut info = info_of(hub, &call.channel_id);
            info.hub_seq.0 += u64::from(wrong);
            Ok(Reply::Channel(Box::new(info)))
        }
        Request::Close(call) => {
            let mut state = hub.state();
            let hub_sends = !state.leaves_lying;
            let channel = &mut state.channels.get_mut(&call.close.channel_id).unwrap().channel;
            match channel.sign_close(&call.close, hub.clock()) {
                Ok(()) => {
                    channel
                        .enter(&protocol_spec::channel::Event::ClosedOnChain)
                        .unwrap();
                    let signature = hub.key.sign(&call.close.digest(&hub.domain));
                    drop(state);
                    notes.push(Notification::Channel(info_of(hub, &call.close.channel_id)));
                    Ok(Reply::Countersigned(Countersigned { signature, hub_sends }))
                }
                Err(reject) => Err(RpcError::from(&reject)),
            }
        }
        Request::Capacity(call) => {
            let quote = CapacityQuote {
                channel_id: call.channel_id,
                amount: call.amount,
                fee: super::CAPACITY_FEE,
                expires_at: hub.clock().now.after(120),
                ready_in_s: 5,
                hold_s: super::CAPACITY_HOLD_S,
            };
            let forged = call.amount == super::FORGED_CAPACITY;
            let signer = if forged { super::key(8) } else { hub.key.clone() };
            let signature = signer.sign(&quote.digest(&hub.domain));
            Ok(Reply::Capacity(CapacityReply { quote, signature }))
        }
        _ => Ok(Reply::Done(Empty {})),
    };
    let after: Vec<Notification> = match &result {
        Ok(Reply::Voucher(_)) | Err(_) => Vec::new(),
        _ => std::mem::take(&mut notes),
    };
    let note = |note| Message::Notification(Box::new(note));
    let response = Message::Response {
        id: Some(id),
        result: result.map(Box::new),
    };
    before
        .into_iter()
        .chain(notes)
        .map(note)
        .chain([response])
        .chain(after.into_iter().map(note))
        .collect()
}

fn info_of(hub: &Hub, id: &ChannelId) -> ChannelInfo {
    let state = hub.state();
    let channel = &state.channels[id].channel;
    ChannelInfo {
        channel_id: *id,
        config: channel.config().clone(),
        phase: channel.phase().name().to_owned(),
        routed: true,
        locks_ended: state.rolled_back,
        client_deposit: channel.funds().client_deposit,
        hub_deposit: channel.funds().hub_deposit,
        client_withdrawn: channel.funds().client_withdrawn,
        hub_withdrawn: channel.funds().hub_withdrawn,
        client_seq: channel.received().seq,
        client_paid: channel.received().paid,
        hub_seq: channel.sent().seq,
        hub_paid: channel.sent().paid,
    }
}

fn resume(hub: &Hub, call: &ResumeCall, notes: &mut Vec<Notification>) -> ResumeReply {
    let channel = info_of(hub, &call.channel_id);
    let state = hub.state();
    let entry = &state.channels[&call.channel_id];
    let have = call
        .received
        .as_ref()
        .map_or(Seq::NONE, |voucher| voucher.voucher.seq);
    let missing = entry
        .frames
        .iter()
        .filter(|frame| frame.voucher.voucher.seq > have);
    let mut missing: Vec<Frame> = missing.cloned().collect();
    if state.in_one
        && let Some(newest) = missing.pop()
    {
        let all = missing.drain(..).flat_map(|frame| frame.ops);
        missing = vec![Frame {
            ops: all.chain(newest.ops).collect(),
            voucher: newest.voucher,
        }];
    }
    notes.extend(missing.into_iter().map(Notification::Voucher));
    let (own, theirs) = (entry.channel.sent(), entry.channel.received());
    let shown = call.sent.as_ref().map_or(Seq::NONE, |sent| sent.voucher.seq);
    let (received_locks, sent_locks) = match shown < theirs.seq && !state.hides_locks {
        true => shown_locks(&theirs.locks, &own.locks),
        false => (None, None),
    };
    ResumeReply {
        channel,
        received: entry.received.clone(),
        sent: entry.frames.last().map(|frame| frame.voucher.clone()),
        received_locks,
        sent_locks,
    }
}

/// A hub that has forgotten what it signed adopts what the client shows.
fn resync(hub: &Hub, call: &ResumeCall) -> Result<(), RpcError> {
    let mut state = hub.state();
    let rolled_back = state.rolled_back;
    let entry = state.channels.get_mut(&call.channel_id).unwrap();
    let Some(own) = call
        .received
        .clone()
        .filter(|own| rolled_back && own.voucher.seq > entry.channel.sent().seq)
    else {
        return Ok(());
    };
    let needed = own.voucher.ack_seq;
    let sent = call.sent.clone().filter(|sent| sent.voucher.seq == needed);
    if needed > entry.channel.received().seq && sent.is_none() {
        return Err(RpcError::of(ErrorCode::RolledBack));
    }
    let theirs = sent.clone().map(|sent| client_voucher(hub, sent));
    let shown = own.clone().verify(&hub.domain, &hub.key.public(), true).unwrap();
    let locks = ShownLocks {
        own: call.received_locks.as_deref(),
        theirs: call.sent_locks.as_deref(),
    };
    entry
        .channel
        .adopt(&shown, theirs.as_ref(), locks)
        .map_err(|reject| RpcError::from(&reject))?;
    entry.received = sent;
    entry.frames = vec![Frame {
        voucher: own,
        ops: Vec::new(),
    }];
    Ok(())
}

fn client_voucher(hub: &Hub, signed: SignedVoucher) -> VerifiedVoucher {
    let protocol_spec::VoucherSignature::Direct(signature) = &signed.signature else {
        panic!("a client signs directly");
    };
    let key = signature.recover(&signed.voucher.digest(&hub.domain)).unwrap();
    signed.verify(&hub.domain, &key, false).unwrap()
}

fn voucher(hub: &Hub, frame: Frame, notes: &mut Vec<Notification>) -> Result<Reply, RpcError> {
    let mut state = hub.state();
    let id = frame.voucher.voucher.channel_id;
    state.vouchers.push(frame.voucher.clone());
    let signer = state.channels[&id].channel.config().client_signer;
    let verified = client_voucher(hub, frame.voucher.clone());
    assert_eq!(verified.signer(), signer);
    let early = state.early_return.take();
    if let (Some(amount), Some(Op::Pay(payment))) = (early, frame.ops.first()) {
        let returned = Op::Return(Return {
            payment_id: payment.payment_id,
            amount,
            reason: ReturnReason::UnknownPayee,
        });
        notes.push(Notification::Voucher(hub.issue(&mut state, &id, &[returned])));
    }
    let entry = state.channels.get_mut(&id).unwrap();
    match entry.channel.accept(&verified, &frame.ops, hub.clock()) {
        Err(reject) => return Err(RpcError::from(&reject)),
        Ok(Accepted::Duplicate) => {}
        Ok(Accepted::New) => {
            entry.received = Some(frame.voucher.clone());
            let answers = Hub::answers(&mut state, &frame.ops);
            if early.is_none() && frame.ops.iter().any(|op| matches!(op, Op::Pay(_))) {
                let answer = hub.issue(&mut state, &id, &answers);
                notes.push(Notification::Voucher(answer));
            }
        }
    }
    Ok(Reply::Voucher(VoucherReply {
        seq: state.lie.take().unwrap_or(frame.voucher.voucher.seq),
        bounced: Vec::new(),
    }))
}

pub fn events(hub: &Hub, state: &State, id: &ChannelId) -> Vec<Event> {
    let (mut events, mut locks) = (Vec::new(), HashMap::new());
    for frame in &state.channels[id].frames {
        for op in &frame.ops {
            let (payment_id, invoice, payer, amount) = match op {
                Op::Credit(credit) => (credit.payment_id, credit.invoice, credit.payer, credit.amount),
                Op::LockAdd {
                    lock,
                    payment_id,
                    invoice,
                    ..
                } => {
                    // Each rests on another payer's.
                    let payer = ChannelId([lock.id as u8; 32]);
                    let payer = Credit::payer_of(&payer, payment_id);
                    locks.insert(lock.id, (*payment_id, *invoice, payer, lock.amount));
                    continue;
                }
                Op::LockConvert { id, .. } => locks[id],
                _ => continue,
            };
            let receipt = Receipt {
                payment_id,
                invoice,
                payer,
                payee_channel: *id,
                payee_seq: frame.voucher.voucher.seq,
                amount,
                at: hub.clock().now,
            };
            let signature = hub.sign(receipt.digest(&hub.domain));
            let position = u64::try_from(events.len()).unwrap() + 1;
            events.push(Event {
                cursor: Cursor { epoch: 1, position },
                receipt,
                signature,
            });
        }
    }
    if state.replay {
        let mut again = events.last().unwrap().clone();
        again.cursor.position += 1;
        events.push(again);
    }
    events
}

fn subscribe(hub: &Hub, call: &SubscribeCall, notes: &mut Vec<Notification>) -> SubscribeReply {
    let state = hub.state();
    let after = call.after.as_ref().map_or(0, |cursor| cursor.position);
    let events = hub.events(&state, &call.channel_id);
    let newest = events.last().map_or(0, |event| event.cursor.position);
    let missing = events.into_iter().filter(|event| event.cursor.position > after);
    notes.extend(missing.map(Notification::Event));
    SubscribeReply {
        newest: Cursor {
            epoch: 1,
            position: newest,
        },
    }
}
