//! Seal: signs what is durable and fills the outboxes. One signature per batch over a Merkle root.

use super::{Outbox, SessionId, journal::Sealable};
use crate::ledger::{Countersign, Output};
use dashmap::DashMap;
use protocol_spec::{
    Digest, Domain, GuardError, SignedVoucher, SignerKey, SigningGuard, VoucherSignature,
    batch::{Tree, batch_digest},
    limits,
    message::{Countersigned, Event, Frame, Message, Notification, Reply},
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc;

/// Leaves under one signature: proofs stay within the depth the contract accepts.
const LEAVES_MAX: usize = 1 << limits::PROOF_DEPTH_MAX;

/// The hub's signer. The only place that holds the key.
pub(super) struct Seal {
    pub(super) key: SignerKey,
    pub(super) domain: Domain,
    pub(super) guard: SigningGuard,
    pub(super) outboxes: Arc<DashMap<SessionId, Outbox>>,
}

/// Messages of one batch, by session, in order.
type Mail = HashMap<SessionId, Vec<Message>>;

impl Seal {
    /// Runs until the journal is done. Errors: the guard refused to sign a second digest for one seq: stop the process.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Sealable>) -> Result<(), GuardError> {
        while let Some(batch) = batches.recv().await {
            // `durable` proves that the record is on disk; without one nothing in the batch is new.
            drop(batch.durable);
            let mail = self.seal(batch.outputs)?;
            self.deliver(mail);
        }
        Ok(())
    }

    fn seal(&mut self, outputs: Vec<Output>) -> Result<Mail, GuardError> {
        let mut signatures = self.sign_leaves(&outputs)?.into_iter();
        let mut mail = Mail::new();
        for output in outputs {
            let (session, message) = match output {
                Output::Frame(out) => {
                    let Some(session) = out.session else { continue };
                    let Some(signature) = signatures.next() else {
                        continue;
                    };
                    let voucher = SignedVoucher {
                        voucher: out.voucher,
                        signature,
                    };
                    let frame = Frame {
                        voucher,
                        ops: out.ops,
                    };
                    (
                        session,
                        Message::Notification(Box::new(Notification::Voucher(frame))),
                    )
                }
                Output::Event(out) => {
                    let Some(signature) = signatures.next() else {
                        continue;
                    };
                    let event = Event {
                        cursor: out.cursor,
                        receipt: out.receipt,
                        signature,
                    };
                    (
                        out.session,
                        Message::Notification(Box::new(Notification::Event(event))),
                    )
                }
                Output::Reply(origin, result) => (
                    origin.session,
                    Message::Response {
                        id: Some(origin.id),
                        result,
                    },
                ),
                Output::Resumed(origin, mut reply, newest) => {
                    if let Some((voucher, digest)) = newest {
                        let signature = VoucherSignature::Direct(self.key.sign(&digest));
                        reply.sent = Some(SignedVoucher { voucher, signature });
                    }
                    let result = Ok(Box::new(Reply::Resume(*reply)));
                    (
                        origin.session,
                        Message::Response {
                            id: Some(origin.id),
                            result,
                        },
                    )
                }
                Output::Countersign(origin, what) => {
                    let digest = match &what {
                        Countersign::Withdraw(message) => message.digest(&self.domain),
                        Countersign::Close(message) => message.digest(&self.domain),
                        Countersign::Cancel(message) => message.digest(&self.domain),
                    };
                    let reply = Reply::Countersigned(Countersigned {
                        signature: self.key.sign(&digest),
                    });
                    (
                        origin.session,
                        Message::Response {
                            id: Some(origin.id),
                            result: Ok(Box::new(reply)),
                        },
                    )
                }
                Output::Channel(session, info) => (
                    session,
                    Message::Notification(Box::new(Notification::Channel(*info))),
                ),
                Output::Drop(session) => {
                    self.outboxes.remove(&session);
                    continue;
                }
            };
            mail.entry(session).or_default().push(message);
        }
        Ok(mail)
    }

    /// Signatures of all vouchers that somebody waits for and of all receipts, in the order of the outputs.
    fn sign_leaves(&mut self, outputs: &[Output]) -> Result<Vec<VoucherSignature>, GuardError> {
        let mut leaves = Vec::new();
        for output in outputs {
            match output {
                Output::Frame(out) => {
                    // A voucher sent again was permitted when it was issued; an older one than the newest may be.
                    if !out.again {
                        self.guard
                            .permit(out.voucher.channel_id, out.voucher.seq, out.digest)?;
                    }
                    if out.session.is_some() {
                        leaves.push(out.digest);
                    }
                }
                Output::Event(out) => leaves.push(out.receipt.digest(&self.domain)),
                _ => {}
            }
        }
        Ok(leaves
            .chunks(LEAVES_MAX)
            .flat_map(|chunk| self.sign_tree(chunk))
            .collect())
    }

    fn sign_tree(&self, leaves: &[Digest]) -> Vec<VoucherSignature> {
        if let [leaf] = leaves {
            return vec![VoucherSignature::Direct(self.key.sign(leaf))];
        }
        let tree = Tree::new(leaves.to_vec());
        let root_signature = self.key.sign(&batch_digest(&self.domain, &tree.root()));
        let signature = |index| VoucherSignature::Batch {
            root_signature,
            proof: tree.proof(index),
        };
        (0..leaves.len()).map(signature).collect()
    }

    /// A session that does not read loses its outbox, which ends its connection; nothing here ever waits for it.
    fn deliver(&self, mail: Mail) {
        for (session, messages) in mail {
            let sent = self
                .outboxes
                .get(&session)
                .map(|outbox| outbox.try_send(messages));
            if matches!(sent, Some(Err(_))) {
                tracing::warn!(session = session.0, "outbox full: connection dropped");
                self.outboxes.remove(&session);
            }
        }
    }
}
