//! Signature checks, off the ledger's thread. A call becomes a ledger input only with its signatures verified.

use super::port::{Inbound, Signer};
use crate::{
    digests,
    ledger::{Input, Origin, Resumption},
};
use hub_verify::{Counts, Engine, Item, Verdict};
use protocol_spec::{
    Digest, Domain, EncodedStruct, PublicKey, Register, Reject, Side, SignedVoucher, VerifiedVoucher,
    VoucherSignature, limits,
    message::{ErrorCode, Frame, RegisterCall, Request, ResumeCall, RpcError},
};
use std::sync::Arc;

/// What a verifier needs to know about this hub.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    pub(super) domain: Domain,
    pub(super) hub_key: PublicKey,
    pub(super) server: String,
}

/// One worker's checks.
pub(super) struct Verifier {
    hub: Hub,
    engine: Box<dyn Engine>,
    verdicts: Vec<Verdict>,
    counters: Counters,
}

/// Counters of the hot path, looked up once.
struct Counters {
    batches: metrics::Counter,
    verified: metrics::Counter,
    refused: metrics::Counter,
    table_hits: metrics::Counter,
    rechecked: metrics::Counter,
}

/// A verified input, or the answer to a call that is not one. In a box each: they are moved from queue to queue.
#[derive(Debug)]
pub(super) enum Verified {
    Input(Box<Input>),
    Refused(Box<(Origin, RpcError)>),
}

impl Verified {
    fn input(input: Input) -> Self {
        Self::Input(Box::new(input))
    }

    fn refused(origin: Origin, error: RpcError) -> Self {
        Self::Refused(Box::new((origin, error)))
    }
}

/// A call on its way: a voucher waits for the engine, everything else is decided.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are vouchers, and each is moved once"
)]
enum Staged {
    Voucher {
        origin: Origin,
        signer: Arc<Signer>,
        frame: Frame,
    },
    Done(Verified),
}

impl Verifier {
    pub(super) fn new(hub: Hub, engine: Box<dyn Engine>) -> Self {
        Self {
            hub,
            engine,
            verdicts: Vec::new(),
            counters: Counters {
                batches: metrics::counter!("hub_signature_batches_total"),
                verified: metrics::counter!("hub_signatures_verified_total"),
                refused: metrics::counter!("hub_signatures_refused_total"),
                table_hits: metrics::counter!("hub_signature_table_hits_total"),
                rechecked: metrics::counter!("hub_signatures_rechecked_total"),
            },
        }
    }

    /// Takes all calls of `batch`; the answers come in their order.
    pub(super) fn verify(&mut self, batch: &mut Vec<Inbound>) -> Vec<Verified> {
        let staged: Vec<Staged> = batch.drain(..).map(|inbound| self.stage(inbound)).collect();
        let encoded: Vec<EncodedStruct> = staged.iter().filter_map(Staged::encoded).collect();
        let digests = digests::of_structs(&self.hub.domain, &encoded);
        let vouchers = staged.iter().filter_map(Staged::voucher);
        let items = vouchers
            .zip(&digests)
            .map(|((signer, frame), digest)| item(signer, frame, digest));
        let items: Vec<Item<'_>> = items.collect();
        self.verdicts.clear();
        self.verdicts.resize(items.len(), Verdict::Invalid);
        let before = self.engine.counts();
        self.engine.verify(&items, &mut self.verdicts);
        self.count(items.len() as u64, before);
        let mut verdicts = self.verdicts.iter().zip(&digests);
        let done = staged.into_iter().map(|staged| match staged {
            Staged::Done(verified) => verified,
            Staged::Voucher {
                origin,
                signer,
                frame,
            } => {
                let valid = verdicts.next().filter(|(verdict, _)| **verdict == Verdict::Valid);
                let Frame { voucher, ops } = frame;
                match self
                    .hub
                    .voucher(&signer, valid.map(|(_, digest)| *digest), voucher)
                {
                    Ok(voucher) => Verified::input(Input::Frame { origin, voucher, ops }),
                    Err(reject) => {
                        self.counters.refused.increment(1);
                        Verified::refused(origin, RpcError::from(&reject))
                    }
                }
            }
        });
        done.collect()
    }

    fn count(&self, signatures: u64, before: Counts) {
        let after = self.engine.counts();
        self.counters.batches.increment(u64::from(signatures > 0));
        self.counters.verified.increment(signatures);
        let rechecked = after.rechecked.saturating_sub(before.rechecked);
        self.counters.rechecked.increment(rechecked);
        let hits = after.with_tables.saturating_sub(before.with_tables);
        self.counters.table_hits.increment(hits);
    }

    fn stage(&self, inbound: Inbound) -> Staged {
        let (session, signer, id, call) = match inbound {
            Inbound::Gone { session } => return Staged::Done(Verified::input(Input::Gone(session))),
            Inbound::Call {
                session,
                key,
                id,
                call,
            } => (session, key, id, call),
        };
        let origin = Origin {
            session,
            id,
            signer: signer.address(),
        };
        let call = match *call {
            Request::Voucher(frame) => match check(bounded(&frame)) {
                Ok(()) => {
                    return Staged::Voucher {
                        origin,
                        signer,
                        frame,
                    };
                }
                Err(error) => return Staged::Done(Verified::refused(origin, error)),
            },
            call => call,
        };
        Staged::Done(match self.hub.call(origin, signer.public(), call) {
            Ok(input) => Verified::input(input),
            Err(error) => Verified::refused(origin, error),
        })
    }
}

impl Staged {
    fn voucher(&self) -> Option<(&Signer, &Frame)> {
        match self {
            Self::Voucher { signer, frame, .. } => Some((signer, frame)),
            Self::Done(_) => None,
        }
    }

    fn encoded(&self) -> Option<EncodedStruct> {
        self.voucher().map(|(_, frame)| frame.voucher.voucher.encoded())
    }
}

fn item<'a>(signer: &'a Signer, frame: &'a Frame, digest: &'a Digest) -> Item<'a> {
    Item {
        key: signer.key(),
        digest: &digest.0,
        signature: match &frame.voucher.signature {
            VoucherSignature::Direct(signature) => hub_verify::Signature::Recoverable(&signature.0),
            // `bounded` let none of these through.
            VoucherSignature::Batch { root_signature, .. } => {
                hub_verify::Signature::Recoverable(&root_signature.0)
            }
        },
    }
}

/// What is refused before any hashing.
fn bounded(frame: &Frame) -> Result<(), Reject> {
    if frame.ops.len() > limits::OPS_PER_FRAME_MAX {
        return Err(Reject::OpsTooMany {
            max: limits::OPS_PER_FRAME_MAX,
            got: frame.ops.len(),
        });
    }
    frame.voucher.voucher.check_range()?;
    match &frame.voucher.signature {
        VoucherSignature::Direct(_) => Ok(()),
        VoucherSignature::Batch { .. } => Err(Reject::BatchNotAllowed),
    }
}

impl Hub {
    /// `valid`: the digest, if the engine found the signature over it valid. What it does not accept the reference has
    /// refused already.
    fn voucher(
        &self,
        signer: &Signer,
        valid: Option<Digest>,
        signed: SignedVoucher,
    ) -> Result<VerifiedVoucher, Reject> {
        match valid {
            Some(digest) => VerifiedVoucher::checked(signed, digest, signer.address()),
            None => {
                signed.voucher.check_range()?;
                match &signed.signature {
                    VoucherSignature::Direct(signature) => signature.check_form()?,
                    VoucherSignature::Batch { .. } => return Err(Reject::BatchNotAllowed),
                }
                Err(Reject::SignatureInvalid)
            }
        }
    }

    fn call(&self, origin: Origin, key: &PublicKey, call: Request) -> Result<Input, RpcError> {
        Ok(match call {
            Request::Login(_) => Input::Login(origin),
            Request::Register(call) => self.register(origin, call)?,
            Request::Resume(call) => self.resume(origin, key, *call)?,
            Request::Quote(call) => Input::Quote(origin, call),
            Request::Payment(call) => Input::Payment(origin, call),
            Request::Channel(call) => Input::Channel(origin, call.channel_id),
            Request::Subscribe(call) => Input::Subscribe(origin, call),
            Request::Unsubscribe(call) => Input::Unsubscribe(origin, call.channel_id),
            Request::Withdraw(call) => {
                check(key.verify(&call.withdraw.digest(&self.domain), &call.signature))?;
                Input::Withdraw(origin, call)
            }
            Request::Close(call) => {
                check(key.verify(&call.close.digest(&self.domain), &call.signature))?;
                Input::Close(origin, call)
            }
            Request::CancelDispute(call) => {
                check(key.verify(&call.cancel.digest(&self.domain), &call.signature))?;
                Input::CancelDispute(origin, call)
            }
            Request::Reveal(call) => Input::Reveal(origin, call),
            Request::Consent(call) => Input::Consent(origin, call),
            Request::Capacity(call) => Input::Capacity(origin, call),
            Request::PrepareClose(call) => Input::PrepareClose(origin, call),
            Request::Voucher(_) | Request::Info(_) | Request::Ping(_) => {
                return Err(RpcError::of(ErrorCode::Internal));
            }
        })
    }

    /// The owner's consent, if it is given, is by the client's account itself.
    fn register(&self, origin: Origin, call: RegisterCall) -> Result<Input, RpcError> {
        check(call.config.check())?;
        if let Some(signature) = &call.owner_signature {
            let register = Register {
                channel_id: call.config.id(&self.domain),
                server: self.server.clone(),
            };
            let owner = check(signature.recover(&register.digest(&self.domain)))?;
            if owner.address() != call.config.client {
                return Err(RpcError::from(&Reject::WrongSigner).with(call.config.client, owner.address()));
            }
        }
        Ok(Input::Register(origin, call))
    }

    fn resume(&self, origin: Origin, key: &PublicKey, call: ResumeCall) -> Result<Input, RpcError> {
        let verify = |shown: Option<SignedVoucher>, key: &PublicKey, side: Side| {
            shown
                .map(|signed| check(signed.verify(&self.domain, key, side == Side::Hub)))
                .transpose()
        };
        let sent = verify(call.sent.clone(), key, Side::Client)?;
        let received = verify(call.received.clone(), &self.hub_key, Side::Hub)?;
        let resumption = Resumption { call, sent, received };
        Ok(Input::Resume(origin, Box::new(resumption)))
    }
}

fn check<T>(result: Result<T, Reject>) -> Result<T, RpcError> {
    result.map_err(|reject| RpcError::from(&reject))
}
