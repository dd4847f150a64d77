//! The embedded chain as a transport of alloy: a `Provider` runs on it without a socket.

use super::EmbeddedChain;
use alloy::rpc::json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest};
use alloy::transports::{TransportError, TransportFut};
use std::task::{Context, Poll};
use tower::Service;

/// A tower service from JSON-RPC requests to responses; clones share one chain.
#[derive(Clone, Debug)]
pub struct EmbeddedTransport(EmbeddedChain);

impl EmbeddedTransport {
    pub(super) fn new(chain: EmbeddedChain) -> Self {
        Self(chain)
    }

    fn respond(&self, request: &SerializedRequest) -> Response {
        let answer = self.0.request(request.method(), request.params());
        let payload = match answer {
            Ok(result) => ResponsePayload::Success(result),
            Err(failure) => ResponsePayload::Failure(failure.payload()),
        };
        Response {
            id: request.id().clone(),
            payload,
        }
    }
}

impl Service<RequestPacket> for EmbeddedTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            Ok(match packet {
                RequestPacket::Single(request) => ResponsePacket::Single(this.respond(&request)),
                RequestPacket::Batch(requests) => {
                    ResponsePacket::Batch(requests.iter().map(|request| this.respond(request)).collect())
                }
            })
        })
    }
}
