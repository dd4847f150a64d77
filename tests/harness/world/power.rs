//! A machine's power: when it goes, disk, network and chain access go at the same instant.

use super::network::{Network, Party};
use alloy::{
    providers::RootProvider,
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket},
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use hub::{
    chain::embedded::{EmbeddedChain, EmbeddedTransport},
    store::sim::{Fault, SimDisk},
};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::watch;
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

    /// The machine's disk.
    pub(super) fn disk(&self) -> &SimDisk {
        &self.disk
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

    /// Waits until it was cut. Cancel safe.
    pub(super) async fn gone(&self) {
        let mut on = self.on.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = on.wait_for(|on| !*on).await;
    }

    /// The chain as this machine reaches it.
    pub(super) fn provider(&self, chain: &EmbeddedChain) -> RootProvider {
        let transport = Switched {
            inner: chain.transport(),
            power: self.clone(),
        };
        RootProvider::new(RpcClient::new(transport, true))
    }
}

/// Answers take this long.
const LATENCY: Duration = Duration::from_millis(3);

#[derive(Clone, Debug)]
struct Switched {
    inner: EmbeddedTransport,
    power: Power,
}

impl Service<RequestPacket> for Switched {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            tokio::time::sleep(LATENCY).await;
            if !this.power.is_on() {
                return Err(TransportErrorKind::custom_str("the power is off"));
            }
            this.inner.call(packet).await
        })
    }
}
