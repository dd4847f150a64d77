//! Calls that bytes choose, and bytes that are changed.

use super::{
    client::{Client, domain},
    register, support,
};
use crate::bytes::Bytes;
use protocol_spec::{
    Amount, CancelDispute, Payee, PaymentId, Preimage, Seq, Side, UnixSeconds, Witness,
    message::{
        CancelDisputeCall, CapacityCall, ChannelCall, CloseCall, Cursor, Empty, LockCall, LoginCall,
        PaymentCall, PrepareCloseCall, QuoteCall, Request, Reveal, SubscribeCall, WithdrawCall,
    },
};

/// Longest piece of bytes that is sent as it is.
const PIECE_MAX: usize = 512;

/// A call of `client`, made as the bytes say, or nothing but a ping.
pub(super) fn call(
    client: &Client,
    payee: Payee,
    login: Option<LoginCall>,
    bytes: &mut Bytes<'_>,
) -> Request {
    let channel_id = client.channel.id();
    let number = u64::from(bytes.byte());
    let amount = Amount(u128::from(bytes.byte()));
    let deadline = support::NOW.after(number);
    match bytes.below(17) {
        0 => Request::Ping(Empty {}),
        1 => Request::Info(Empty {}),
        2 => Request::Quote(QuoteCall {
            channel_id,
            payee,
            amount,
        }),
        3 => Request::Payment(PaymentCall {
            channel_id,
            payment_id: PaymentId([bytes.byte(); 16]),
        }),
        4 => Request::Subscribe(SubscribeCall {
            channel_id,
            after: None,
        }),
        5 => Request::Subscribe(SubscribeCall {
            channel_id,
            after: Some(Cursor {
                epoch: u64::from(bytes.byte()),
                position: number,
            }),
        }),
        6 => Request::Unsubscribe(ChannelCall { channel_id }),
        7 => Request::Channel(ChannelCall { channel_id }),
        8 => Request::Capacity(CapacityCall { channel_id, amount }),
        9 => Request::PrepareClose(PrepareCloseCall {
            channel_id,
            until: deadline,
        }),
        10 => Request::Consent(LockCall {
            channel_id,
            lock_id: number,
        }),
        11 => Request::Reveal(Reveal {
            channel_id,
            lock_id: number,
            witness: Witness::from(Preimage([bytes.byte(); 32])),
        }),
        12 => Request::Resume(Box::new(client.resume_call())),
        13 => login.map_or(Request::Ping(Empty {}), Request::Login),
        14 => register(client),
        15 => signed_end(client, deadline, amount, bytes.byte()),
        _ => match client.unaccepted.last() {
            Some(frame) => Request::Voucher(frame.clone()),
            None => Request::Ping(Empty {}),
        },
    }
}

/// A withdrawal, a close or the end of a dispute, as the client's channel would name it.
fn signed_end(client: &Client, deadline: UnixSeconds, amount: Amount, kind: u8) -> Request {
    let channel = &client.channel;
    let close = channel.plan_close(deadline);
    match kind % 3 {
        0 => match channel.plan_withdraw(Side::Client, amount, deadline) {
            Ok(withdraw) => {
                let signature = client.key.sign(&withdraw.digest(&domain()));
                Request::Withdraw(WithdrawCall { withdraw, signature })
            }
            Err(_) => Request::Ping(Empty {}),
        },
        1 => {
            let signature = client.key.sign(&close.digest(&domain()));
            Request::Close(CloseCall { close, signature })
        }
        _ => {
            let cancel = CancelDispute {
                channel_id: channel.id(),
                dispute_no: Seq(u64::from(kind >> 2)),
                deadline,
            };
            let signature = client.key.sign(&cancel.digest(&domain()));
            Request::CancelDispute(CancelDisputeCall { cancel, signature })
        }
    }
}

/// As many bytes as the next two say.
pub(super) fn piece(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let length = usize::from(u16::from_le_bytes(bytes.array())) % PIECE_MAX;
    bytes.take(length).to_vec()
}

/// Changes one to four of `encoded`, or cuts it.
pub(super) fn bend(encoded: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let kind = bytes.byte();
    for _ in 0..=(kind & 3) {
        let at = usize::from(u16::from_le_bytes(bytes.array()));
        let value = bytes.byte();
        let length = encoded.len();
        if let Some(byte) = encoded.get_mut(at % length.max(1)) {
            *byte = if kind & 4 == 0 { *byte ^ value } else { value };
        }
    }
    if kind & 0xf8 == 0xf8 {
        let keep = usize::from(u16::from_le_bytes(bytes.array())) % (encoded.len() + 1);
        encoded.truncate(keep);
    }
}
