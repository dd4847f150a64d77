//! Raising a defence, on the embedded chain, whose mempool has a real one's rules; in virtual time.

use super::{
    super::{ChainParams, fees::OVER_MARKET_MAX},
    *,
};
use crate::Rpc;
use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718 as _,
    network::Ethereum,
    primitives::U64,
    providers::{
        DynProvider, PendingTransactionBuilder, ProviderCall, RootProvider, RpcWithBlock,
        utils::Eip1559Estimation,
    },
    rpc::types::{BlockNumberOrTag, Transaction},
    signers::local::PrivateKeySigner,
    transports::{TransportErrorKind, TransportResult},
};
use hub_chain::embedded::{DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig};
use serde_json::{Value, json};
use std::sync::Arc;

/// A chain that makes a block only when asked for one, and the client's access to it.
struct World {
    chain: EmbeddedChain,
    access: Arc<ChainAccess>,
}

/// A node that is wrong about the sender's nonce.
struct Wrong {
    inner: DynProvider,
    nonce: u64,
}

impl Provider for Wrong {
    fn root(&self) -> &RootProvider<Ethereum> {
        self.inner.root()
    }

    fn get_transaction_count(&self, _: Address) -> RpcWithBlock<Address, U64, u64> {
        let nonce = self.nonce;
        RpcWithBlock::new_provider(move |_| ProviderCall::BoxedFuture(Box::pin(async move { Ok(nonce) })))
    }
}

type Sent = TransportResult<PendingTransactionBuilder<Ethereum>>;

/// A node that takes no transaction which pays less than the base fee, as many do; or none at all, and names no fee worth the name.
struct Priced {
    inner: DynProvider,
    lies: bool,
}

impl Provider for Priced {
    fn root(&self) -> &RootProvider<Ethereum> {
        self.inner.root()
    }

    fn estimate_eip1559_fees_with<'life0, 'async_trait>(
        &'life0 self,
        estimator: Eip1559Estimator,
    ) -> BoxFuture<'async_trait, TransportResult<Eip1559Estimation>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            match self.lies {
                true => Ok(node_rpc::market_fees(1, &[])),
                false => self.inner.estimate_eip1559_fees_with(estimator).await,
            }
        })
    }

    fn send_raw_transaction<'life0, 'life1, 'async_trait>(
        &'life0 self,
        encoded_tx: &'life1 [u8],
    ) -> BoxFuture<'async_trait, Sent>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let signed = TxEnvelope::decode_2718(&mut &*encoded_tx).unwrap();
            let block = self.inner.get_block_by_number(BlockNumberOrTag::Latest).await?;
            let base_fee = block.unwrap().header.base_fee_per_gas.unwrap();
            match self.lies || signed.max_fee_per_gas() < u128::from(base_fee) {
                true => Err(TransportErrorKind::custom_str("less than the base fee")),
                false => self.inner.send_raw_transaction(encoded_tx).await,
            }
        })
    }
}

impl World {
    async fn new() -> Self {
        Self::with(|honest| vec![honest()]).await
    }

    async fn with(nodes: impl Fn(&dyn Fn() -> DynProvider) -> Vec<DynProvider>) -> Self {
        let config = EmbeddedConfig {
            automine: false,
            ..EmbeddedConfig::deterministic(1)
        };
        let chain = EmbeddedChain::new(config);
        let params = ChainParams {
            rpcs: nodes(&|| chain.provider())
                .into_iter()
                .map(Rpc::Provider)
                .collect(),
            agree: None,
            sender: Some(PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[0].private_key).unwrap()),
            chain_id: chain.chain_id().unwrap(),
            adjudicator: Address::repeat_byte(7),
            confirmations: 1,
            poll: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
        };
        let access = Arc::new(ChainAccess::connect(params).await.unwrap());
        Self { chain, access }
    }

    fn defend(&self, use_for: Duration) -> tokio::task::JoinHandle<Result<B256, ChainError>> {
        let access = self.access.clone();
        tokio::spawn(async move { access.defend(vec![1, 2, 3], Some(use_for), DEFENCE, || ()).await })
    }

    async fn ask(&self, method: &'static str, params: Value) {
        let provider = self.chain.provider();
        let _ = provider
            .raw_request::<_, Value>(method.into(), params)
            .await
            .unwrap();
    }

    /// Transactions of a block.
    async fn transactions(&self, of: BlockNumberOrTag) -> Vec<Transaction<TxEnvelope>> {
        let block = self.chain.provider().get_block_by_number(of).full().await;
        block.unwrap().unwrap().transactions.into_transactions_vec()
    }

    /// What waits for a block: nonce and most per gas.
    async fn waiting(&self) -> Vec<(u64, u128)> {
        let all = self.transactions(BlockNumberOrTag::Pending).await;
        all.iter()
            .map(|one| (one.nonce(), one.max_fee_per_gas()))
            .collect()
    }
}

const DEFENCE: Urgency = Urgency::Defence { gas_most: 100_000 };

/// So late in each minute.
const LATE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_defence_that_no_block_takes_offers_more_in_its_own_place_until_one_does() {
    let world = World::new().await;
    let defence = world.defend(Duration::from_secs(3600));
    sleep(LATE).await;
    let mut offered = Vec::new();
    for _ in 0..3 {
        let waiting = world.waiting().await;
        assert_eq!(waiting.len(), 1, "one at a time: {waiting:?}");
        assert_eq!(waiting[0].0, 0, "the same nonce");
        offered.push(waiting[0].1);
        sleep(RAISE_AFTER).await;
    }
    for pair in offered.windows(2) {
        assert!(pair[1] >= pair[0] + pair[0] / 8, "{offered:?}");
    }
    world.ask("evm_mine", json!([])).await;
    let hash = defence.await.unwrap().unwrap();
    let mined = world.transactions(BlockNumberOrTag::Latest).await;
    assert_eq!(mined.len(), 1);
    assert_eq!(*mined[0].inner.tx_hash(), hash, "the one that was mined is told");
    assert_eq!(mined[0].input().as_ref(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn it_follows_the_market_at_once_and_is_bounded_by_eight_times_of_it() {
    let world = World::new().await;
    let defence = world.defend(Duration::from_secs(3600));
    sleep(LATE).await;
    let first = world.waiting().await[0].1;
    // A block in which nobody pays less, and the next one asks for nearly as much.
    let spike = first * 100;
    world
        .ask("anvil_setNextBlockBaseFeePerGas", json!([format!("{spike:#x}")]))
        .await;
    world.ask("evm_mine", json!([])).await;
    world
        .ask("anvil_setNextBlockBaseFeePerGas", json!([format!("{spike:#x}")]))
        .await;
    sleep(RAISE_AFTER).await;
    let raised = world.waiting().await[0].1;
    assert!(raised > spike, "not an eighth more, but enough: {raised}");
    // For the rest of the hour no block comes.
    let error = defence.await.unwrap().unwrap_err();
    assert!(matches!(error, ChainError::Timeout(_)), "{error}");
    let most = world.waiting().await[0].1;
    let now = world.chain.provider().estimate_eip1559_fees().await.unwrap();
    assert!(
        most > raised && most <= now.max_fee_per_gas * OVER_MARKET_MAX,
        "{most}"
    );
}

/// A node that stands still names a nonce that was used, one that lies any other. Each of these cost a client everything.
#[tokio::test(start_paused = true)]
async fn one_node_that_is_wrong_about_the_nonce_keeps_no_defence_from_a_block() {
    for nonce in [0, 1000] {
        for (at, honest) in [(0, 2), (1, 2), (2, 2), (0, 1), (1, 1)] {
            let world = World::with(|node| {
                let mut nodes: Vec<_> = (0..honest).map(|_| node()).collect();
                let wrong = Wrong { inner: node(), nonce };
                nodes.insert(at, wrong.erased());
                nodes
            })
            .await;
            // Something was sent with the key before.
            let before = world.defend(Duration::from_secs(600));
            sleep(LATE).await;
            world.ask("evm_mine", json!([])).await;
            before.await.unwrap().unwrap();
            let defence = world.defend(Duration::from_secs(600));
            sleep(LATE).await;
            let waiting = world.waiting().await;
            assert!(
                waiting.iter().any(|(nonce, _)| *nonce == 1),
                "{nonce} at {at} of {honest}: {waiting:?}"
            );
            world.ask("evm_mine", json!([])).await;
            defence.await.unwrap().unwrap();
        }
    }
}

/// Of two one names next to nothing, which the other refuses: every attempt began there again.
#[tokio::test(start_paused = true)]
async fn a_defence_that_is_refused_because_one_of_two_named_too_little_offers_more_at_once() {
    let world = World::with(|node| {
        let node = |lies| {
            let inner = node();
            Priced { inner, lies }.erased()
        };
        vec![node(true), node(false)]
    })
    .await;
    let defence = world.defend(Duration::from_secs(600));
    sleep(LATE).await;
    assert_eq!(world.waiting().await.len(), 1);
    world.ask("evm_mine", json!([])).await;
    defence.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_defence_that_waits_says_so() {
    let world = World::new().await;
    let heard = std::sync::atomic::AtomicU32::new(0);
    let waits = || {
        heard.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    };
    let ended = world
        .access
        .defend(vec![1], Some(RAISE_AFTER * 3), DEFENCE, waits)
        .await;
    assert!(matches!(ended, Err(ChainError::Timeout(_))), "{ended:?}");
    assert_eq!(heard.into_inner(), 3);
}

/// Runtime code of a token with one allowance, which `approve` changes only from zero or to zero, as USDT does.
const STRICT: &str = "0x60003560e01c63dd62ed3e1460305760005415602435151760\
                      1f57600080fd5b60243560005560016000526020\
                      6000f35b60005460005260206000f3";

#[tokio::test(start_paused = true)]
async fn an_allowance_is_changed_by_way_of_zero_and_only_when_it_is_too_small() {
    let world = World::new().await;
    let token = Address::repeat_byte(0x70);
    world.ask("anvil_setCode", json!([token, STRICT])).await;
    for (amount, blocks) in [(5, 1), (4, 0), (8, 2)] {
        let access = world.access.clone();
        let approving = tokio::spawn(async move { access.approve(token, U256::from(amount)).await });
        for _ in 0..blocks {
            sleep(LATE).await;
            assert_eq!(world.waiting().await.len(), 1, "{amount}");
            world.ask("evm_mine", json!([])).await;
        }
        approving.await.unwrap().unwrap();
    }
}

fn answer(nonce: u64, gas: u64, fee: u128) -> Answer {
    (Ok(nonce), Ok(Fees { max: fee, tip: fee }), Estimate::Gas(gas))
}

fn reverts(nonce: u64, fee: u128) -> Answer {
    let estimate = Estimate::Reverts("reverted".to_owned());
    (Ok(nonce), Ok(Fees { max: fee, tip: fee }), estimate)
}

fn down() -> Answer {
    let failed = || ChainError::Rpc("down".to_owned());
    (Err(failed()), Err(failed()), Estimate::Failed(failed()))
}

#[test]
fn terms_are_those_in_the_middle() {
    let quotes = Quotes::of([answer(7, 50, 10), answer(900, 1, 1_000_000), answer(7, 60, 12)]);
    let nonces = vec![7, 900];
    assert_eq!(
        quotes.terms(3, Urgency::CanWait).unwrap(),
        Terms { nonces, gas: 50 }
    );
    assert!(Quotes::of([]).terms(1, DEFENCE).is_err());
}

/// Of two the larger counts, as of three when one is behind: an account that cannot pay for it could not defend itself.
#[test]
fn who_names_too_much_gas_keeps_no_defence_away() {
    for other in [down(), reverts(7, 10)] {
        let quotes = Quotes::of([answer(7, 60_000, 10), answer(7, GAS_MAX, 10), other]);
        assert_eq!(quotes.terms(3, DEFENCE).unwrap().gas, 100_000);
        let quotes = Quotes::of([answer(7, 60_000, 10), answer(7, 1, 10)]);
        assert_eq!(quotes.terms(2, DEFENCE).unwrap().gas, 60_000);
    }
}

/// The one that says it works decided gas and fee alone, and emptied the account of a channel that nobody disputed.
#[test]
fn what_most_say_does_nothing_is_not_sent_and_fees_are_named_by_all() {
    for urgency in [DEFENCE, Urgency::CanWait] {
        let lie = || answer(7, 26_500, 1_000_000);
        assert!(
            Quotes::of([lie(), reverts(7, 10), reverts(7, 10)])
                .terms(3, urgency)
                .is_err()
        );
        let told = Quotes::of([lie(), answer(7, 50, 10), reverts(7, 10)]);
        assert!(told.terms(3, urgency).is_ok());
        assert_eq!(
            told.fees.len(),
            3,
            "who does not estimate names its fee all the same"
        );
        let divided = Quotes::of([lie(), reverts(7, 10)]).terms(2, urgency);
        assert_eq!(divided.is_ok(), urgency == DEFENCE);
        let alone = Quotes::of([answer(7, 50, 10), down(), down()]).terms(3, urgency);
        assert_eq!(alone.is_ok(), urgency == DEFENCE);
        let half = Quotes::of([answer(7, 50, 10), down()]).terms(2, urgency);
        assert!(half.is_ok(), "of two one may be down");
    }
}
