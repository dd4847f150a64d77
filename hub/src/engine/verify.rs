//! Signature checks, off the ledger's thread. A call becomes a ledger input only with its signatures verified.

use super::port::Inbound;
use crate::ledger::{Input, Origin};
use protocol_spec::{
    Domain, PublicKey, Register, Reject, Side, limits,
    message::{ErrorCode, Frame, RegisterCall, Request, ResumeCall, RpcError},
};

/// What a verifier needs to know about this hub.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    pub(super) domain: Domain,
    pub(super) hub_key: PublicKey,
    pub(super) server: String,
}

/// A verified input, or the answer to a call that is not one.
#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times; a box per payment costs more"
)]
#[derive(Debug)]
pub(super) enum Verified {
    Input(Input),
    Refused(Origin, RpcError),
}

impl Verifier {
    pub(super) fn verify(&self, inbound: Inbound) -> Verified {
        match inbound {
            Inbound::Gone { session } => Verified::Input(Input::Gone(session)),
            Inbound::Call {
                session,
                key,
                id,
                call,
            } => {
                let origin = Origin {
                    session,
                    id,
                    signer: key.address(),
                };
                match self.call(origin, &key, call) {
                    Ok(input) => Verified::Input(input),
                    Err(error) => Verified::Refused(origin, error),
                }
            }
        }
    }

    fn call(&self, origin: Origin, key: &PublicKey, call: Request) -> Result<Input, RpcError> {
        Ok(match call {
            Request::Login(_) => Input::Login(origin),
            Request::Voucher(frame) => self.frame(origin, key, frame)?,
            Request::Register(call) => self.register(origin, call)?,
            Request::Resume(call) => self.resume(origin, key, call)?,
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
            Request::Info(_) | Request::Ping(_) => return Err(RpcError::of(ErrorCode::Internal)),
        })
    }

    fn frame(&self, origin: Origin, key: &PublicKey, frame: Frame) -> Result<Input, RpcError> {
        if frame.ops.len() > limits::OPS_PER_FRAME_MAX {
            let reject = Reject::OpsTooMany {
                max: limits::OPS_PER_FRAME_MAX,
                got: frame.ops.len(),
            };
            return Err(RpcError::from(&reject));
        }
        let voucher = check(frame.voucher.verify(&self.domain, key, false))?;
        Ok(Input::Frame {
            origin,
            voucher,
            ops: frame.ops,
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
        let verify = |shown: Option<protocol_spec::SignedVoucher>, key: &PublicKey, side: Side| {
            shown
                .map(|signed| check(signed.verify(&self.domain, key, side == Side::Hub)))
                .transpose()
        };
        let sent = verify(call.sent.clone(), key, Side::Client)?;
        let received = verify(call.received.clone(), &self.hub_key, Side::Hub)?;
        Ok(Input::Resume {
            origin,
            call,
            sent,
            received,
        })
    }
}

fn check<T>(result: Result<T, Reject>) -> Result<T, RpcError> {
    result.map_err(|reject| RpcError::from(&reject))
}
