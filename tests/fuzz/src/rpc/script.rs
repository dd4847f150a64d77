//! What the bytes make a chain port do.

use super::{
    bend::Bend,
    case::Case,
    follow::{CONFIRMATIONS, Follow},
    read,
    sends::{FEE_MAX, Sends},
    wire::Wire,
    world::{SENDER, World, key},
};
use crate::bytes::Bytes;
use alloy::{
    consensus::{SignableTransaction as _, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718 as _,
    hex,
    network::TxSignerSync as _,
    primitives::{TxKind, U256},
    providers::RootProvider,
    rpc::client::RpcClient,
};
use hub_chain::{AlloyChain, Chain, ChainError, ChainOptions, Endpoint, QuorumChain, QuorumOptions};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// How the bent node is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Alone,
    OneOfThree,
    Http,
}

const OPERATIONS: u8 = 22;
/// Those that neither send nor take time come first.
const READS: u8 = 12;

pub(super) struct Script {
    way: Way,
    pub(super) stage: Stage,
    pub(super) chain: Box<dyn Chain>,
    pub(super) follow: Follow,
    pub(super) sends: Sends,
    /// A confirmed block was replaced.
    deep_reorg: bool,
    lied: bool,
    /// Another process sent with our key.
    foreign: bool,
}

fn options() -> ChainOptions {
    ChainOptions {
        signer: Some(key(SENDER)),
        wait_timeout: Duration::from_secs(8),
        poll_interval: Duration::from_secs(1),
        max_fee_per_gas: Some(FEE_MAX),
        ..ChainOptions::default()
    }
}

/// Who asks whom.
pub(super) struct Stage {
    pub(super) world: Arc<World>,
    /// To the bent node.
    wire: Wire,
    /// There is no other node.
    alone: bool,
}

impl Stage {
    /// What the operation that is over may say.
    pub(super) fn check(&self, check: impl FnOnce(&Case<'_>)) {
        check(&Case {
            world: &self.world,
            told: &self.wire.told(),
            alone: self.alone,
        });
    }

    fn is_bent(&self) -> bool {
        self.wire.told().iter().any(|told| told.bent)
    }
}

impl Script {
    pub(super) async fn begin(
        world: Arc<World>,
        way: Way,
        (wire, client): (Wire, RpcClient),
        bytes: &mut Bytes<'_>,
    ) -> Self {
        wire.begin(Bend::some(bytes));
        let place = usize::from(bytes.below(3));
        let stage = Stage {
            world,
            wire,
            alone: way != Way::OneOfThree,
        };
        let world = &stage.world;
        let chain = match connect(world, way, &client, place).await {
            Ok(chain) => chain,
            Err(error) => {
                assert!(stage.alone && stage.is_bent(), "{error:?}");
                stage.check(|case| case.keeps_the_key(&error));
                stage.wire.begin(Vec::new());
                connect(world, way, &client, place).await.expect("an honest node")
            }
        };
        let chain_id = chain.chain_id().await;
        stage.check(|case| case.value("eth_chainId", &json!([]), chain_id.clone(), read::number));
        Self {
            follow: Follow::new(world),
            lied: stage.is_bent(),
            sends: Sends::new(chain_id.unwrap()),
            way,
            stage,
            chain,
            deep_reorg: false,
            foreign: false,
        }
    }

    pub(super) async fn step(&mut self, bytes: &mut Bytes<'_>) {
        let operation = bytes.below(OPERATIONS);
        self.stage.wire.begin(Bend::some(bytes));
        // As many for each, so that a changed operation does not shift what follows.
        let arguments: [u8; 3] = bytes.array();
        let bytes = &mut Bytes::new(&arguments);
        match operation {
            0..READS => self.read(operation, bytes).await,
            12..=15 => {
                if self.way != Way::Http {
                    self.send(operation, bytes).await;
                }
            }
            _ => self.change(operation, bytes).await,
        }
        self.sends.handed_over(&self.stage.wire.told());
        self.lied |= self.stage.is_bent();
        let trusted = !self.stage.alone || !self.lied;
        let alarmed = self.follow.alarmed();
        assert!(
            !(trusted && alarmed) || self.deep_reorg,
            "an alarm without a reason"
        );
    }

    /// When the node is honest again, nothing is lost.
    pub(super) async fn end(mut self) {
        self.stage.wire.begin(Vec::new());
        let outvoted = !self.stage.alone && !self.deep_reorg;
        let (world, chain) = (&self.stage.world, self.chain.as_ref());
        self.follow.ends_in_truth(world, chain, outvoted).await;
    }

    async fn send(&mut self, operation: u8, bytes: &mut Bytes<'_>) {
        let which = bytes.byte();
        let request = self.sends.ask(&self.stage.world, bytes);
        let hash = self.hash(which.wrapping_neg());
        let (stage, chain) = (&self.stage, self.chain.as_ref());
        match operation {
            12 => {
                let got = chain.send(request.clone()).await;
                let trusted = !stage.alone || !(self.lied || stage.is_bent());
                if trusted && let Err(error) = &got {
                    let excused = is_reason(error, self.foreign);
                    assert!(excused, "{request:?} is not sent: {error:?}");
                }
                stage.check(|case| self.sends.sent(case, &request, got));
            }
            13 => {
                let confirmations = u64::from(which % 3);
                let got = chain.wait(hash, confirmations).await;
                stage.check(|case| self.sends.waited(case, confirmations, got));
            }
            14 => {
                let got = chain.tend().await;
                assert!(got.is_ok() || (stage.alone && stage.is_bent()), "{got:?}");
            }
            _ => {
                let got = chain.nonces().await;
                stage.check(|case| self.sends.nonces(case, got));
            }
        }
    }

    /// The truth, or the time, goes on.
    async fn change(&mut self, operation: u8, bytes: &mut Bytes<'_>) {
        let value = bytes.byte();
        let chain = &self.stage.world.chain;
        match operation {
            16 => chain.mine(u64::from(value % 5)).unwrap(),
            17 => {
                let depth = u64::from(value % 4);
                self.deep_reorg |= depth > CONFIRMATIONS;
                chain.reorg(depth).unwrap();
            }
            18 => chain.set_automine(value & 1 == 0).unwrap(),
            19 => match self.sends.sent.last() {
                Some(hash) if value & 1 == 0 => {
                    self.stage.world.ask("anvil_dropTransaction", &json!([hash]));
                }
                _ => self.foreign(u64::from(value >> 1)),
            },
            20 => {
                let wei = u64::from(value) << 30;
                self.stage
                    .world
                    .ask("anvil_setNextBlockBaseFeePerGas", &json!([wei]));
            }
            _ if self.way != Way::Http => {
                sleep(Duration::from_secs(u64::from(value))).await;
                assert_eq!(self.chain.resync().await, Ok(()));
            }
            _ => {}
        }
    }

    /// An empty transaction of another process with the same key, which may be refused.
    fn foreign(&mut self, ahead: u64) {
        self.foreign = true;
        let address = key(SENDER).address();
        let next = self
            .stage
            .world
            .ask("eth_getTransactionCount", &json!([address, "pending"]));
        let mut tx = TxEip1559 {
            chain_id: self.stage.world.chain.chain_id().unwrap(),
            nonce: read::number(&next).unwrap() + ahead % 3,
            gas_limit: 21_000,
            max_fee_per_gas: FEE_MAX,
            max_priority_fee_per_gas: u128::from(ahead),
            to: TxKind::Call(address),
            value: U256::ZERO,
            access_list: Default::default(),
            input: Default::default(),
        };
        let signature = key(SENDER).sign_transaction_sync(&mut tx).unwrap();
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        let raw = hex::encode_prefixed(envelope.encoded_2718());
        let _ = self.stage.world.request("eth_sendRawTransaction", &json!([raw]));
    }
}

/// Why an honest node does not take a transaction.
fn is_reason(error: &ChainError, foreign: bool) -> bool {
    match error {
        ChainError::Reverted { .. } | ChainError::TooDear { .. } => true,
        // One key is of one process.
        ChainError::Rejected { .. } => foreign,
        _ => false,
    }
}

async fn connect(
    world: &Arc<World>,
    way: Way,
    client: &RpcClient,
    place: usize,
) -> Result<Box<dyn Chain>, ChainError> {
    if way != Way::OneOfThree {
        let provider = RootProvider::new(client.clone());
        return Ok(Box::new(AlloyChain::with_provider(provider, options()).await?));
    }
    let endpoint = |number: usize| {
        let honest = || Wire::new(world.clone(), false).client();
        let client = if number == place { client.clone() } else { honest() };
        Endpoint::provider(format!("rpc {number}"), RootProvider::new(client))
    };
    let endpoints = (0..3).map(endpoint).collect();
    let chain = QuorumChain::connect(endpoints, options(), QuorumOptions::majority(3)).await?;
    Ok(Box::new(chain))
}
