//! Several endpoints, some of which are down, behind, or lie.

mod down;
mod lies;
mod proxy;
mod sending;
mod stuck;

use crate::contract::{self, topic};
use crate::node::{BOB, Node, options};
use alloy::primitives::{Address, B256, U256};
use hub_chain::embedded::{EmbeddedChain, EmbeddedConfig};
use hub_chain::{
    AlloyChain, Chain as _, ChainError, ChainOptions, EndpointStatus, LogQuery, QuorumChain, QuorumOptions,
    TxRequest,
};
pub(crate) use proxy::{Fault, Proxy};
use std::time::Duration;

/// A rest that ends by itself within a test, and is long enough to be seen.
const REST: Duration = Duration::from_millis(1_500);
/// Only one who hangs is given up: a busy machine is no reason.
const PATIENCE: Duration = Duration::from_secs(15);

/// The smallest transaction.
fn coin() -> TxRequest {
    TxRequest {
        to: Some(BOB),
        value: U256::from(1),
        ..TxRequest::default()
    }
}

pub(crate) fn quorum(agree: usize) -> QuorumOptions {
    QuorumOptions {
        rest_min: REST,
        rest_max: REST * 2,
        patience: PATIENCE,
        ..QuorumOptions::agree(agree)
    }
}

pub(crate) fn impatient() -> ChainOptions {
    ChainOptions {
        request_timeout: Duration::from_secs(30),
        ..options()
    }
}

/// One chain, `direct` to it, and three doors to it that can misbehave; two of them must agree.
pub(crate) struct World {
    pub(crate) direct: AlloyChain,
    pub(crate) doors: Vec<Proxy>,
    pub(crate) chain: QuorumChain,
    pub(crate) contract: Address,
    _node: Option<Node>,
}

impl World {
    /// Three doors to an embedded chain, two of which must agree.
    pub(crate) async fn new() -> Self {
        Self::with(3, quorum(2)).await
    }

    pub(crate) async fn with(count: usize, quorum: QuorumOptions) -> Self {
        let embedded = EmbeddedChain::new(EmbeddedConfig::default());
        let direct = AlloyChain::embedded(&embedded, options()).await.unwrap();
        Self::before(direct, None, count, quorum).await
    }

    /// The same before a real anvil.
    pub(crate) async fn anvil() -> Option<Self> {
        let node = Node::anvil().await?;
        let direct = node.chain.clone();
        Some(Self::before(direct, Some(node), 3, quorum(2)).await)
    }

    async fn before(direct: AlloyChain, node: Option<Node>, count: usize, quorum: QuorumOptions) -> Self {
        let sent = direct
            .send(TxRequest {
                data: contract::CREATION,
                ..TxRequest::default()
            })
            .await
            .unwrap();
        let receipt = direct.wait(sent.hash, 0).await.unwrap();
        let contract = receipt.contract_address.unwrap();
        let mut doors = Vec::new();
        for _ in 0..count {
            doors.push(Proxy::before(direct.provider().clone()).await);
        }
        let chain = connect(&doors, quorum).await.unwrap();
        Self {
            direct,
            doors,
            chain,
            contract,
            _node: node,
        }
    }

    /// Emits a log in a block of its own.
    pub(crate) async fn log(&self, value: u64) {
        let sent = self
            .direct
            .send(contract::log(self.contract, value))
            .await
            .unwrap();
        assert!(self.direct.wait(sent.hash, 0).await.unwrap().success);
    }

    /// The words of all logs up to a block, as the quorum says.
    pub(crate) async fn words(&self, to: u64) -> Result<Vec<B256>, ChainError> {
        let query = LogQuery {
            address: self.contract,
            from: 0,
            to,
        };
        let logs = self.chain.logs(query).await?;
        Ok(logs.iter().map(|log| log.topics[1]).collect())
    }

    pub(crate) async fn height(&self) -> u64 {
        self.direct.head().await.unwrap().number
    }

    pub(crate) fn status(&self, door: usize) -> EndpointStatus {
        self.chain.status()[door].clone()
    }

    /// Looks at the chain until the endpoint is up again.
    pub(crate) async fn heals(&self, door: usize) {
        self.doors[door].set(Fault::None);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while !self.status(door).up {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", self.status(door));
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.chain.head().await.unwrap();
        }
    }
}

pub(crate) async fn connect(doors: &[Proxy], quorum: QuorumOptions) -> Result<QuorumChain, ChainError> {
    let endpoints = doors.iter().enumerate();
    let endpoints = endpoints.map(|(index, door)| door.endpoint(index + 1)).collect();
    QuorumChain::connect(endpoints, impatient(), quorum).await
}

pub(crate) fn topics(values: impl IntoIterator<Item = u64>) -> Vec<B256> {
    values.into_iter().map(topic).collect()
}
