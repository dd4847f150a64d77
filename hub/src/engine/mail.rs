//! What goes to sessions. Vouchers and receipts stay where the ledger made them until they are written to a socket.

use crate::ledger::{EventOut, Issue};
use protocol_spec::{
    Signature, SignedVoucher, VoucherSignature,
    batch::Tree,
    message::{Event, Frame, Message, Notification, Reply, binary},
};
use std::sync::Arc;

/// One message to one session.
#[derive(Clone, Debug)]
pub enum Mail {
    /// Nothing in it is under a batch's signature.
    Message(Message),
    /// A voucher of the hub.
    Voucher(Arc<Issue>, Leaf),
    /// A receipt.
    Event(Box<EventOut>, Leaf),
}

/// The hub's signature over some digests.
#[derive(Debug)]
pub(super) struct Signed {
    /// Over the one digest, or over the root of the tree.
    pub(super) signature: Signature,
    /// Of all digests.
    pub(super) tree: Tree,
}

/// One digest under a signature.
#[derive(Clone, Debug)]
pub struct Leaf {
    batch: Arc<Signed>,
    index: usize,
}

impl Leaf {
    pub(super) fn new(batch: Arc<Signed>, index: usize) -> Self {
        Self { batch, index }
    }

    fn signature(&self) -> VoucherSignature {
        match self.batch.tree.proof(self.index) {
            alone if alone.is_empty() => VoucherSignature::Direct(self.batch.signature),
            proof => VoucherSignature::Batch {
                root_signature: self.batch.signature,
                proof,
            },
        }
    }
}

impl Mail {
    /// True for an answer to a call.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Message(Message::Response { .. }))
    }

    /// What it takes in memory until it is written, bytes, roughly.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Message(message) => MAIL_BYTES.saturating_add(rest(message)),
            Self::Voucher(issue, _) => issue
                .ops
                .len()
                .saturating_mul(PART_BYTES)
                .saturating_add(MAIL_BYTES),
            Self::Event(..) => MAIL_BYTES,
        }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message {
        match self {
            Self::Message(message) => message.clone(),
            Self::Voucher(issue, leaf) => {
                let voucher = SignedVoucher {
                    voucher: issue.voucher.clone(),
                    signature: leaf.signature(),
                };
                let ops = issue.ops.clone();
                Message::Notification(Box::new(Notification::Voucher(Frame { voucher, ops })))
            }
            Self::Event(out, leaf) => {
                let event = Event {
                    cursor: out.cursor.clone(),
                    receipt: out.receipt.clone(),
                    signature: leaf.signature(),
                };
                Message::Notification(Box::new(Notification::Event(event)))
            }
        }
    }

    /// Appends the message's Borsh encoding to `bytes`.
    pub fn borsh(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Message(message) => binary::encode_into(bytes, message),
            Self::Voucher(issue, leaf) => {
                let (batch, siblings) = (&leaf.batch, leaf.batch.tree.siblings(leaf.index));
                binary::encode_voucher(bytes, &issue.voucher, &batch.signature, siblings, &issue.ops);
            }
            Self::Event(..) => binary::encode_into(bytes, &self.message()),
        }
    }
}

/// A message with nothing that repeats in it, and one of these.
const MAIL_BYTES: usize = 400;
const PART_BYTES: usize = 128;

/// What repeats in an answer.
fn rest(message: &Message) -> usize {
    let Message::Response {
        result: Ok(reply), ..
    } = message
    else {
        return 0;
    };
    match reply.as_ref() {
        Reply::Login(login) => login.channels.len().saturating_mul(MAIL_BYTES),
        Reply::Resume(resumed) => {
            let locks = [&resumed.received_locks, &resumed.sent_locks]
                .into_iter()
                .flatten();
            let locks: usize = locks.map(Vec::len).sum();
            locks.saturating_mul(PART_BYTES).saturating_add(MAIL_BYTES)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::samples::{receipt, voucher};
    use crate::engine::SessionId;
    use protocol_spec::{
        Amount, Credit, Digest, Op, PaymentId,
        message::{Cursor, Message},
    };

    fn issue(number: u8) -> Arc<Issue> {
        let credit = Op::Credit(Credit {
            payment_id: PaymentId([number; 16]),
            payer: Digest([number; 32]),
            amount: Amount(u128::from(number) << 50),
            invoice: Digest([7; 32]),
        });
        let convert = Op::LockConvert {
            id: 7,
            witness: vec![number; usize::from(number)],
        };
        Arc::new(Issue {
            voucher: voucher(number),
            digest: Digest([number; 32]),
            ops: [credit, convert]
                .into_iter()
                .take(usize::from(number % 3))
                .collect(),
        })
    }

    fn event(number: u8) -> Box<EventOut> {
        Box::new(EventOut {
            session: SessionId(1),
            cursor: Cursor {
                epoch: 5,
                position: u64::from(number),
            },
            receipt: receipt(number),
        })
    }

    /// Whoever reads cannot tell which way it was written.
    #[test]
    fn parts_are_written_as_the_message_is() {
        for count in 1..20_u8 {
            let leaves: Vec<Digest> = (0..count).map(|number| Digest([number; 32])).collect();
            let batch = Arc::new(Signed {
                signature: Signature([count; 65]),
                tree: Tree::new(leaves.clone()),
            });
            for number in 0..count {
                let leaf = Leaf::new(Arc::clone(&batch), usize::from(number));
                assert_eq!(
                    matches!(leaf.signature(), VoucherSignature::Direct(_)),
                    count == 1,
                    "alone it needs no proof"
                );
                for mail in [
                    Mail::Voucher(issue(number), leaf.clone()),
                    Mail::Event(event(number), leaf.clone()),
                ] {
                    assert!(!mail.is_answer());
                    let mut bytes = b"before".to_vec();
                    mail.borsh(&mut bytes);
                    let bytes = bytes.strip_prefix(b"before").unwrap();
                    let message: Message = binary::decode(bytes).unwrap();
                    assert_eq!(message, mail.message());
                    assert_eq!(binary::encode(&message), bytes);
                }
            }
        }
    }
}
