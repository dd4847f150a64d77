//! Seal: signs what is durable and fills the outboxes. One signature per batch over a Merkle root.

use super::{Leaf, Mail, Outboxes, SessionId, journal::Sealable, mail::Signed};
use crate::{
    digests,
    ledger::{Adopted, Check, Countersign, Origin, Output},
};
use protocol_spec::{
    ChannelId, Digest, Domain, GuardError, SignedVoucher, SignerKey, SigningGuard, VoucherSignature,
    batch::batch_digest,
    limits,
    message::{CapacityReply, Countersigned, Message, Reply, RpcError},
};
use std::sync::Arc;
use tokio::{sync::mpsc, time::Instant};

/// Leaves under one signature: proofs stay within the depth the contract accepts.
const LEAVES_MAX: usize = 1 << limits::PROOF_DEPTH_MAX;

/// The hub's signer. The only place that holds the key.
pub(super) struct Seal {
    pub(super) key: SignerKey,
    pub(super) domain: Domain,
    pub(super) guard: SigningGuard,
    pub(super) outboxes: Outboxes,
    /// As long as the ledger's list of open questions: never full.
    pub(super) checks: mpsc::Sender<Check>,
}

/// The messages of one batch in their order, each until it is delivered, and whose each of them is.
#[derive(Default)]
struct Post {
    mails: Vec<Option<Mail>>,
    addresses: Vec<(SessionId, usize)>,
}

impl Seal {
    /// Runs until the journal is done. Errors: the guard refused to sign a second digest for one seq: stop the process.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Sealable>) -> Result<(), GuardError> {
        while let Some(batch) = batches.recv().await {
            // The token proves that the record is on disk; without a record nothing in the batch is new.
            if let Some(durable) = &batch.durable {
                metrics::counter!("hub_durable_record").absolute(durable.number());
            }
            let post = self.seal(batch.outputs)?;
            self.deliver(post);
        }
        Ok(())
    }

    fn seal(&mut self, outputs: Vec<Output>) -> Result<Post, GuardError> {
        let mut leaves = self.sign_leaves(&outputs)?.into_iter();
        let mut post = Post::default();
        post.mails.reserve(outputs.len());
        post.addresses.reserve(outputs.len());
        for output in outputs {
            if let Some((session, mail)) = self.mail(output, &mut leaves) {
                post.addresses.push((session, post.mails.len()));
                post.mails.push(Some(mail));
            }
        }
        Ok(post)
    }

    /// What an output becomes, if somebody waits for it. `leaves` are those of `sign_leaves`.
    fn mail(&self, output: Output, leaves: &mut impl Iterator<Item = Leaf>) -> Option<(SessionId, Mail)> {
        let (session, message) = match output {
            Output::Frame(out) => return Some((out.session?, Mail::Voucher(out.issue, leaves.next()?))),
            Output::Event(out) => return Some((out.session, Mail::Event(out, leaves.next()?))),
            Output::Tell(session, body) => (session, Message::Notification(body)),
            Output::Reply(origin, result) => respond(origin, result),
            Output::Resumed(origin, mut reply, newest) => {
                reply.sent = newest.map(|(voucher, digest)| {
                    let signature = VoucherSignature::Direct(self.key.sign(&digest));
                    SignedVoucher { voucher, signature }
                });
                answer(origin, Reply::Resume(reply))
            }
            Output::Quoted(origin, quote) => {
                let signature = self.key.sign(&quote.digest(&self.domain));
                let quote = *quote;
                answer(origin, Reply::Capacity(CapacityReply { quote, signature }))
            }
            Output::Countersign(origin, what, hub_sends) => {
                let signature = self.key.sign(&self.cooperative_digest(&what));
                let signed = Countersigned { signature, hub_sends };
                answer(origin, Reply::Countersigned(signed))
            }
            told @ (Output::RolledBack(_) | Output::Released(..)) => {
                tell_operator(&told);
                return None;
            }
            Output::Drop(session) => {
                self.outboxes.remove(session);
                return None;
            }
            Output::Check(check) => {
                // Nobody asks the chain any more: the process ends.
                let _ = self.checks.try_send(check);
                return None;
            }
        };
        Some((session, Mail::Message(message)))
    }

    fn cooperative_digest(&self, what: &Countersign) -> Digest {
        match what {
            Countersign::Withdraw(message) => message.digest(&self.domain),
            Countersign::Close(message) => message.digest(&self.domain),
            Countersign::Cancel(message) => message.digest(&self.domain),
        }
    }

    /// Signs all vouchers that somebody waits for and all receipts, in the order of the outputs.
    fn sign_leaves(&mut self, outputs: &[Output]) -> Result<Vec<Leaf>, GuardError> {
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
                        let voucher = &out.issue.voucher;
                        self.guard
                            .permit(voucher.channel_id, voucher.seq, out.issue.digest)?;
                    }
                    if out.session.is_some() {
                        leaves.push(out.issue.digest);
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

    fn sign_tree(&self, leaves: &[Digest]) -> impl Iterator<Item = Leaf> {
        let tree = digests::tree(leaves.to_vec());
        let signature = match leaves {
            [alone] => self.key.sign(alone),
            _ => self.key.sign(&batch_digest(&self.domain, &tree.root())),
        };
        let batch = Arc::new(Signed { signature, tree });
        (0..leaves.len()).map(move |index| Leaf::new(Arc::clone(&batch), index))
    }

    /// Sessions in their order, which a replay wakes in the same one. Sorted are the addresses: messages are many times larger.
    fn deliver(&self, mut post: Post) {
        post.addresses.sort_unstable();
        let now = Instant::now();
        for own in post.addresses.chunk_by(|(one, _), (next, _)| one == next) {
            let mut batch = Vec::with_capacity(own.len());
            let mails = own
                .iter()
                .filter_map(|(_, place)| post.mails.get_mut(*place)?.take());
            batch.extend(mails);
            if let Some((session, _)) = own.first() {
                self.outboxes.send_at(*session, batch, now);
            }
        }
    }
}

fn answer(origin: Origin, reply: Reply) -> (SessionId, Message) {
    respond(origin, Ok(Box::new(reply)))
}

fn respond(origin: Origin, result: Result<Box<Reply>, RpcError>) -> (SessionId, Message) {
    let id = Some(origin.id);
    (origin.session, Message::Response { id, result })
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
