//! A machine's power: when it goes, disk, network and chain access go at the same instant.

use super::{
    behind::Behind,
    faults::Rpc,
    network::{Network, Party},
};
use alloy::{
    providers::RootProvider,
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use hub::{
    chain::embedded::EmbeddedChain,
    store::sim::{Fault, SimDisk},
};
use serde_json::value::RawValue;
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};
use tower::Service;

/// One incarnation of one machine.
#[derive(Clone, Debug)]
pub(super) struct Power {
    party: Party,
    disk: SimDisk,
    network: Network,
    on: watch::Sender<bool>,
}

impl Power {
    pub(super) fn on(party: Party, disk: SimDisk, network: Network) -> Self {
        Self {
            party,
            disk,
            network,
            on: watch::Sender::new(true),
        }
    }

    /// True until the power was cut, or the disk's went.
    pub(super) fn is_on(&self) -> bool {
        *self.on.borrow() && !self.disk.is_dead()
    }

    /// Everything stops at this instant.
    pub(super) fn off(&self) {
        self.on.send_replace(false);
        let next = self.disk.counters().operations + 1;
        self.disk.inject(Fault::PowerCut(next));
        self.network.unplug(self.party);
    }

    /// Waits until it was cut. A disk that takes the power with it tells nobody, and a machine that happens to have nothing to
    /// write would sit there as if nothing had happened: somebody looks. Cancel safe.
    pub(super) async fn gone(&self) {
        let mut on = self.on.subscribe();
        while self.is_on() {
            // The sender lives in `self`, so waiting cannot fail.
            let _ = timeout(LOOK, on.wait_for(|on| !*on)).await;
        }
    }

    /// The chain as this machine reaches it.
    pub(super) fn provider(&self, chain: &EmbeddedChain) -> RootProvider {
        self.node(chain, false)
    }

    /// One of several nodes; one that lies hides what happened and makes up what is.
    pub(super) fn node(&self, chain: &EmbeddedChain, lies: bool) -> RootProvider {
        let transport = Switched {
            behind: Behind::new(chain.clone()),
            power: self.clone(),
            lies,
        };
        RootProvider::new(RpcClient::new(transport, true))
    }
}

/// How often somebody looks whether the disk still has power.
const LOOK: Duration = Duration::from_millis(100);
/// Answers take this long.
const LATENCY: Duration = Duration::from_millis(3);

#[derive(Clone, Debug)]
struct Switched {
    behind: Behind,
    power: Power,
    lies: bool,
}

impl Service<RequestPacket> for Switched {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let Power { party, network, .. } = &this.power;
            let does = network.plan(|plan| plan.rpc(*party));
            let late = match does {
                Rpc::Late(by) => by,
                _ => Duration::ZERO,
            };
            tokio::time::sleep(LATENCY + late).await;
            if !this.power.is_on() {
                return Err(TransportErrorKind::custom_str("the power is off"));
            }
            if does == Rpc::Refuses {
                return Err(TransportErrorKind::custom_str("the node is down"));
            }
            match does {
                Rpc::Lags(by) => this.behind.stand_still(by),
                _ if network.plan(|plan| plan.is_over()) => this.behind.catch_up(),
                _ => {}
            }
            let asked = packet.as_single().map(|request| request.method().to_owned());
            let answer = this.behind.call(packet).await;
            let answer = match this.lies {
                true => answer.map(|answer| lie(answer, asked.as_deref())),
                false => answer,
            };
            match does {
                Rpc::Loses => Err(TransportErrorKind::custom_str("the connection broke")),
                _ => answer,
            }
        })
    }
}

/// No logs, no receipts, and zero for everything that is asked of a contract.
fn lie(mut answer: ResponsePacket, asked: Option<&str>) -> ResponsePacket {
    let ResponsePacket::Single(response) = &mut answer else {
        return answer;
    };
    let ResponsePayload::Success(payload) = &mut response.payload else {
        return answer;
    };
    let said = match asked {
        Some("eth_getLogs") => Some("[]".to_owned()),
        Some("eth_getTransactionReceipt") => Some("null".to_owned()),
        Some("eth_call") => {
            let zeros = |digit: char| if digit.is_ascii_hexdigit() { '0' } else { digit };
            Some(payload.get().chars().map(zeros).collect())
        }
        _ => None,
    };
    if let Some(said) = said.and_then(|said| RawValue::from_string(said).ok()) {
        *payload = said;
    }
    answer
}
