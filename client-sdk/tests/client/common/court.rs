//! The mini-hub and a client on a real adjudicator: the embedded chain, in virtual time.

use super::{
    Hub, builder, key,
    simulated::{SimulatedNetwork, URL, Wire, ports_to},
};
use alloy::{
    network::{EthereumWallet, TransactionBuilder},
    primitives::U256,
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use client_sdk::{
    Address, ChannelHandle, ChannelId, ClientBuilder, Config, Ports, SignedInvoice, SignerKey, Store,
    UnixSeconds,
};
use hub_chain::embedded::{self, EmbeddedChain, EmbeddedConfig};
use protocol_spec::{
    Domain, Lock,
    abi::{self, ChannelState, IAdjudicator},
    calls,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const ADJUDICATOR: &str = include_str!("../../../../protocol-spec/contracts/artifacts/Adjudicator.json");
const BEGIN: u64 = 1_800_000_000;
const COIN: u128 = 1_000_000_000_000_000_000;

/// The client is paid out to an account of its own: what is there is what the channel paid.
pub const PURSE: Address = Address::repeat_byte(0xbe);
/// Deposit of either side.
pub const DEPOSIT: u128 = 1_000_000;

pub struct Court {
    pub chain: EmbeddedChain,
    pub hub: Arc<Hub>,
    pub network: Arc<SimulatedNetwork>,
    pub config: Config,
    ports: Ports,
    skipped: Arc<AtomicU64>,
}

impl Court {
    /// A channel between `key(1)` and the hub, open and paid into by both. A block comes every second.
    pub async fn open() -> Self {
        let (began, skipped) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let read = skipped.clone();
        let time = move || BEGIN + began.elapsed().as_secs() + read.load(Ordering::SeqCst);
        let of_chain = time.clone();
        let chain = EmbeddedChain::new(EmbeddedConfig {
            seed: Some(1),
            genesis_timestamp_s: Some(BEGIN),
            clock: embedded::Clock::new(of_chain),
            ..EmbeddedConfig::default()
        });
        let artifact: serde_json::Value = serde_json::from_str(ADJUDICATOR).unwrap();
        let code = hex::decode(&artifact["bytecode"].as_str().unwrap()[2..]).unwrap();
        let adjudicator = chain.deploy(&code, &[]).unwrap();
        let clock: Arc<dyn Fn() -> UnixSeconds + Send + Sync> = Arc::new(move || UnixSeconds(time()));
        let domain = Domain::new(chain.chain_id().unwrap(), adjudicator);
        let hub = Hub::of(URL.to_owned(), clock.clone(), key(9).address(), domain);
        let (network, ports) = ports_to(&hub, 1, clock);
        let config = Config {
            client: PURSE,
            ..hub.config(&key(1))
        };
        hub.add_channel_of(config.clone());
        hub.state().on_chain = true;
        let court = Self {
            chain,
            hub,
            network,
            config,
            ports,
            skipped,
        };
        for party in [1, 9] {
            court
                .chain
                .fund(key(party).address(), U256::from(100 * COIN))
                .unwrap();
        }
        court.pay_in().await;
        let every = serde_json::value::to_raw_value(&[1]).unwrap();
        court
            .chain
            .request("evm_setIntervalMining", Some(&every))
            .unwrap();
        court
    }

    async fn pay_in(&self) {
        self.send(&key(1), &calls::open(&self.config, DEPOSIT), DEPOSIT)
            .await;
        let (hub, token, amount) = (self.config.hub, self.config.token, U256::from(DEPOSIT));
        let call = IAdjudicator::fundVaultCall { hub, token, amount };
        self.send(&key(9), &call, DEPOSIT).await;
        let item = abi::ClientReserve {
            client: self.config.client,
            clientSigner: self.config.client_signer,
            salt: self.config.salt.0.into(),
            amount: DEPOSIT,
        };
        let (side, items) = (calls::hub_side(&self.config), vec![item]);
        self.send(&key(9), &IAdjudicator::reserveCall { side, items }, 0)
            .await;
    }

    pub fn id(&self) -> ChannelId {
        self.config.id(&self.hub.domain)
    }

    /// The client, with this chain as its endpoint.
    pub fn client(&self, store: impl Store) -> ClientBuilder {
        self.client_of(store).provider(self.chain.provider())
    }

    /// Without an endpoint yet.
    pub fn client_of(&self, store: impl Store) -> ClientBuilder {
        builder(&self.hub, key(1), store)
            .ports(self.ports.clone())
            .chain_poll(Duration::from_secs(1))
    }

    /// Sends a call to the adjudicator, and waits for its block.
    pub async fn send(&self, from: &SignerKey, call: &impl SolCall, value: u128) {
        let key = PrivateKeySigner::from_slice(from.to_bytes().as_slice()).unwrap();
        let provider = ProviderBuilder::new()
            .wallet(EthereumWallet::from(key))
            .connect_client(self.chain.rpc_client());
        let request = TransactionRequest::default()
            .with_to(self.hub.domain.adjudicator)
            .with_input(call.abi_encode())
            .with_value(U256::from(value));
        let sent = provider.send_transaction(request).await.unwrap();
        self.chain.mine(1).unwrap();
        let receipt = provider.get_transaction_receipt(*sent.tx_hash()).await.unwrap();
        assert!(receipt.unwrap().status(), "it reverted");
    }

    /// The hub disputes and shows nothing.
    pub async fn dispute(&self) {
        let call = IAdjudicator::disputeCall {
            config: self.config.to_abi(),
            submissions: Vec::new(),
            resolutions: Vec::new(),
        };
        self.send(&key(9), &call, 0).await;
    }

    /// All clocks jump ahead, and a block is made.
    pub async fn pass(&self, seconds: u64) {
        self.skipped.fetch_add(seconds, Ordering::SeqCst);
        self.chain.mine(1).unwrap();
        sleep(Duration::from_secs(5)).await;
    }

    pub async fn state(&self) -> ChannelState {
        let call = IAdjudicator::channelCall {
            channelId: self.id().0.into(),
        };
        let request = TransactionRequest::default()
            .with_to(self.hub.domain.adjudicator)
            .with_input(call.abi_encode());
        let answer = self.chain.provider().call(request).await.unwrap();
        IAdjudicator::channelCall::abi_decode_returns(&answer).unwrap()
    }

    /// Waits until the chain shows it; two minutes at most.
    pub async fn until(&self, what: &str, seen: impl Fn(&ChannelState) -> bool) {
        for _ in 0..120 {
            if seen(&self.state().await) {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        panic!("not seen on chain: {what}");
    }

    /// What the channel has paid to the client.
    pub async fn paid_out(&self) -> u128 {
        let balance = self.chain.provider().get_balance(PURSE).await.unwrap();
        balance.to()
    }

    /// The hub locks for an invoice; the client is told.
    pub fn lock(&self, invoice: &SignedInvoice, life_s: u64) -> Lock {
        let expiry = self.hub.clock().now.after(life_s);
        let amount = invoice.invoice.amount;
        self.hub.lock(&self.id(), amount, invoice, expiry)
    }

    /// The hub's machine is gone: no connection is left, and none can be made.
    pub async fn hub_goes(&self, channel: &ChannelHandle) {
        *self.network.wire.lock().unwrap() = Wire::Refused;
        self.hub.cut_next();
        // Whatever is asked is the last thing that is asked.
        let _ = channel.quote(ChannelId([9; 32]), 1_u128).await;
    }

    pub fn hub_returns(&self) {
        *self.network.wire.lock().unwrap() = Wire::Good;
    }
}
