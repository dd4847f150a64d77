//! Seal: signs what is durable and fills the outboxes. One signature per batch over a Merkle root.

use super::{Outbox, SessionId, journal::Sealable};
use crate::{
    digests,
    ledger::{Adopted, Check, Countersign, Origin, Output},
};
use dashmap::DashMap;
use protocol_spec::{
    ChannelId, Digest, Domain, GuardError, SignedVoucher, SignerKey, SigningGuard, VoucherSignature,
    batch::batch_digest,
    limits,
    message::{CapacityReply, Countersigned, Event, Frame, Message, Notification, Reply},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::mpsc;

/// Leaves under one signature: proofs stay within the depth the contract accepts.
const LEAVES_MAX: usize = 1 << limits::PROOF_DEPTH_MAX;

/// The hub's signer. The only place that holds the key.
pub(super) struct Seal {
    pub(super) key: SignerKey,
    pub(super) domain: Domain,
    pub(super) guard: SigningGuard,
    pub(super) outboxes: Arc<DashMap<SessionId, Outbox>>,
    /// As long as the ledger's list of open questions: never full.
    pub(super) checks: mpsc::Sender<Check>,
}

/// Messages of one batch, by session, in order. Sessions are woken in their order too: a replay does the same.
type Mail = BTreeMap<SessionId, Vec<Message>>;

impl Seal {
    /// Runs until the journal is done. Errors: the guard refused to sign a second digest for one seq: stop the process.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Sealable>) -> Result<(), GuardError> {
        while let Some(batch) = batches.recv().await {
            // The token proves that the record is on disk; without a record nothing in the batch is new.
            if let Some(durable) = &batch.durable {
                metrics::counter!("hub_durable_record").absolute(durable.number());
            }
            let mail = self.seal(batch.outputs)?;
            self.deliver(mail);
        }
        Ok(())
    }

    fn seal(&mut self, outputs: Vec<Output>) -> Result<Mail, GuardError> {
        let mut signatures = self.sign_leaves(&outputs)?.into_iter();
        let mut mail = Mail::new();
        for output in outputs {
            if let Some((session, message)) = self.message(output, &mut signatures) {
                mail.entry(session).or_default().push(message);
            }
        }
        Ok(mail)
    }

    /// The message an output becomes, if somebody waits for it. `signatures` are those of `sign_leaves`.
    fn message(
        &self,
        output: Output,
        signatures: &mut impl Iterator<Item = VoucherSignature>,
    ) -> Option<(SessionId, Message)> {
        let notify = |session, body| Some((session, Message::Notification(Box::new(body))));
        match output {
            Output::Frame(out) => {
                let session = out.session?;
                let voucher = SignedVoucher {
                    voucher: out.voucher,
                    signature: signatures.next()?,
                };
                notify(
                    session,
                    Notification::Voucher(Frame {
                        voucher,
                        ops: out.ops,
                    }),
                )
            }
            Output::Event(out) => {
                let (cursor, receipt, signature) = (out.cursor, out.receipt, signatures.next()?);
                notify(
                    out.session,
                    Notification::Event(Event {
                        cursor,
                        receipt,
                        signature,
                    }),
                )
            }
            Output::Tell(session, body) => notify(session, *body),
            Output::Reply(origin, result) => Some((
                origin.session,
                Message::Response {
                    id: Some(origin.id),
                    result,
                },
            )),
            Output::Resumed(origin, mut reply, newest) => {
                reply.sent = newest.map(|(voucher, digest)| {
                    let signature = VoucherSignature::Direct(self.key.sign(&digest));
                    SignedVoucher { voucher, signature }
                });
                Some(answer(origin, Reply::Resume(*reply)))
            }
            Output::Quoted(origin, quote) => {
                let signature = self.key.sign(&quote.digest(&self.domain));
                let quote = *quote;
                Some(answer(
                    origin,
                    Reply::Capacity(CapacityReply { quote, signature }),
                ))
            }
            Output::Countersign(origin, what) => {
                let signature = self.key.sign(&self.cooperative_digest(&what));
                Some(answer(origin, Reply::Countersigned(Countersigned { signature })))
            }
            told @ (Output::RolledBack(_) | Output::Released(..)) => {
                tell_operator(&told);
                None
            }
            Output::Drop(session) => {
                self.outboxes.remove(&session);
                None
            }
            Output::Check(check) => {
                // Nobody asks the chain any more: the process ends.
                let _ = self.checks.try_send(check);
                None
            }
        }
    }

    fn cooperative_digest(&self, what: &Countersign) -> Digest {
        match what {
            Countersign::Withdraw(message) => message.digest(&self.domain),
            Countersign::Close(message) => message.digest(&self.domain),
            Countersign::Cancel(message) => message.digest(&self.domain),
        }
    }

    /// Signatures of all vouchers that somebody waits for and of all receipts, in the order of the outputs.
    fn sign_leaves(&mut self, outputs: &[Output]) -> Result<Vec<VoucherSignature>, GuardError> {
        let receipts = outputs.iter().filter_map(|output| match output {
            Output::Event(out) => Some(out.receipt.encoded()),
            _ => None,
        });
        let receipts = digests::of_structs(&self.domain, &receipts.collect::<Vec<_>>());
        let mut receipts = receipts.into_iter();
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
                Output::Event(_) => leaves.extend(receipts.next()),
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
        let tree = digests::tree(leaves.to_vec());
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

fn answer(origin: Origin, reply: Reply) -> (SessionId, Message) {
    (
        origin.session,
        Message::Response {
            id: Some(origin.id),
            result: Ok(Box::new(reply)),
        },
    )
}

/// What is for the log.
fn tell_operator(output: &Output) {
    match output {
        Output::RolledBack(times) => tell_rolled_back(*times),
        Output::Released(channel, adopted) => tell_released(*channel, adopted),
        _ => {}
    }
}

fn tell_rolled_back(times: u64) {
    tracing::error!(
        times,
        "the database is older than what the hub signed: all channels are in doubt until their clients re-sync; \
         when it is not the first time, find out why"
    );
}

fn tell_released(channel: ChannelId, adopted: &Adopted) {
    let (paid, received) = (adopted.paid, adopted.received);
    metrics::counter!("hub_released_channels_total").increment(1);
    tracing::warn!(
        %channel, %paid, %received,
        "a channel in doubt is released; what was paid and received in the part that was lost is adopted"
    );
}
