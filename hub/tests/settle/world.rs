//! A chain with adjudicator, token and one funded channel: 1000 by the client, 500 by the hub.

use crate::{
    anvil::Anvil,
    cli::{Output, settle, write},
    vouchers::{CLIENT, HUB, Parties, key},
};
use alloy::{
    consensus::Transaction as _,
    eips::eip2718::Encodable2718 as _,
    network::{EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _},
    primitives::{Address, Bytes, U256, hex},
    providers::{DynProvider, Provider as _, RootProvider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol,
    sol_types::{SolCall, SolValue as _},
};
use protocol_spec::{
    DirectionEvidence, Evidence, Side, SignerKey,
    abi::{ClientReserve, HubSide, IAdjudicator},
    calls,
};

sol! {
    interface Erc20 {
        function mint(address to, uint256 amount) external;
        function approve(address spender, uint256 amount) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
    }
}

pub(crate) const CLIENT_DEPOSIT: u128 = 1000;
pub(crate) const HUB_RESERVE: u128 = 500;
/// What the hub's vault holds beside the reserve.
pub(crate) const VAULT_REST: u128 = 50;

pub(crate) struct World {
    pub(crate) provider: DynProvider,
    pub(crate) url: String,
    pub(crate) parties: Parties,
    pub(crate) dir: tempfile::TempDir,
    _anvil: Option<Anvil>,
}

pub(crate) fn local(key: &SignerKey) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(key.to_bytes().as_slice()).unwrap()
}

fn bytecode(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../protocol-spec/contracts/artifacts/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap()
}

impl World {
    /// A token channel on anvil; `None` when those tests are skipped.
    pub(crate) async fn on_anvil() -> Option<Self> {
        let anvil = Anvil::start()?;
        let provider = RootProvider::new_http(anvil.url.parse().unwrap()).erased();
        Some(Self::build(provider, anvil.url.clone(), Some(anvil), false).await)
    }

    /// The same with the native coin.
    pub(crate) async fn native_on_anvil() -> Option<Self> {
        let anvil = Anvil::start()?;
        let provider = RootProvider::new_http(anvil.url.parse().unwrap()).erased();
        Some(Self::build(provider, anvil.url.clone(), Some(anvil), true).await)
    }

    pub(crate) async fn build(
        provider: DynProvider,
        url: String,
        anvil: Option<Anvil>,
        native: bool,
    ) -> Self {
        let chain_id = provider.get_chain_id().await.unwrap();
        let mut world = Self {
            provider,
            url,
            parties: Parties::new(chain_id, Address::ZERO, Address::ZERO),
            dir: tempfile::tempdir().unwrap(),
            _anvil: anvil,
        };
        for seed in [
            CLIENT,
            HUB,
            crate::vouchers::CLIENT_SIGNER,
            crate::vouchers::STRANGER,
        ] {
            world.fund(key(seed).address()).await;
        }
        let adjudicator = world.deploy(bytecode("Adjudicator")).await;
        let token = match native {
            true => Address::ZERO,
            false => {
                let arguments =
                    ("Test Dollar".to_owned(), "TUSD".to_owned(), U256::from(2)).abi_encode_params();
                world.deploy([bytecode("TestToken"), arguments].concat()).await
            }
        };
        world.parties = Parties::new(chain_id, adjudicator, token);
        world.open(native).await;
        world
    }

    async fn open(&self, native: bool) {
        let Parties { config, domain } = &self.parties;
        let to = domain.adjudicator;
        let value = |amount: u128| if native { amount } else { 0 };
        for (seed, amount) in [(CLIENT, CLIENT_DEPOSIT), (HUB, HUB_RESERVE + VAULT_REST)] {
            if native {
                continue;
            }
            let (account, amount) = (key(seed).address(), U256::from(amount));
            self.call(seed, config.token, 0, &Erc20::mintCall { to: account, amount })
                .await;
            self.call(seed, config.token, 0, &Erc20::approveCall { spender: to, amount })
                .await;
        }
        self.call(
            CLIENT,
            to,
            value(CLIENT_DEPOSIT),
            &calls::open(config, CLIENT_DEPOSIT),
        )
        .await;
        let vault = HUB_RESERVE + VAULT_REST;
        let fund = IAdjudicator::fundVaultCall {
            hub: config.hub,
            token: config.token,
            amount: U256::from(vault),
        };
        self.call(HUB, to, value(vault), &fund).await;
        let abi = config.to_abi();
        let reserve = IAdjudicator::reserveCall {
            side: HubSide {
                hub: config.hub,
                hubSigner: config.hub_signer,
                token: config.token,
                challengePeriodS: abi.challengePeriodS,
            },
            items: vec![ClientReserve {
                client: abi.client,
                clientSigner: abi.clientSigner,
                salt: abi.salt,
                amount: HUB_RESERVE,
            }],
        };
        self.call(HUB, to, 0, &reserve).await;
    }

    /// The client paid 500 and then received `paid` by voucher `seq`.
    pub(crate) fn received(&self, seq: u64, paid: u128) -> Evidence {
        let p = &self.parties;
        p.evidence(
            Side::Client,
            p.paid(Side::Hub, (seq, paid), (1, 500)),
            p.paid(Side::Client, (1, 500), (0, 0)),
        )
    }

    /// The hub starts a dispute with the client's first voucher, which acknowledges nothing.
    pub(crate) async fn stale_dispute(&self) {
        let p = &self.parties;
        let stale = p.paid(Side::Client, (1, 500), (0, 0));
        let dispute = calls::dispute(&p.config, Side::Client, &stale);
        self.call(HUB, p.domain.adjudicator, 0, &dispute).await;
    }

    /// The hub starts a dispute of that channel and shows nothing.
    pub(crate) async fn empty_dispute(&self, p: &Parties) {
        let nothing = calls::dispute(&p.config, Side::Client, &DirectionEvidence::default());
        self.call(HUB, p.domain.adjudicator, 0, &nothing).await;
    }

    pub(crate) async fn fund(&self, account: Address) {
        self.set_coins(account, U256::from(10_u128.pow(20))).await;
    }

    pub(crate) async fn empty(&self, account: Address) {
        self.set_coins(account, U256::ZERO).await;
    }

    async fn set_coins(&self, account: Address, wei: U256) {
        // Anvil's name for it; the embedded chain knows it too.
        let _: () = self
            .provider
            .raw_request("anvil_setBalance".into(), (account, wei))
            .await
            .unwrap();
    }

    async fn deploy(&self, code: Vec<u8>) -> Address {
        let request = TransactionRequest::default().with_deploy_code(code);
        self.send(CLIENT, request).await.contract_address.unwrap()
    }

    /// A transaction that must succeed.
    pub(crate) async fn call<C: SolCall>(
        &self,
        seed: u8,
        to: Address,
        value: u128,
        call: &C,
    ) -> TransactionReceipt {
        let request = TransactionRequest::default()
            .with_to(to)
            .with_value(U256::from(value))
            .with_input(call.abi_encode());
        self.send(seed, request).await
    }

    async fn send(&self, seed: u8, request: TransactionRequest) -> TransactionReceipt {
        let signer = local(&key(seed));
        let from = signer.address();
        let nonce = self.provider.get_transaction_count(from).await.unwrap();
        let request = request
            .with_from(from)
            .with_nonce(nonce)
            .with_chain_id(self.parties.domain.chain_id)
            .with_gas_limit(12_000_000)
            .with_max_fee_per_gas(10_u128.pow(10))
            .with_max_priority_fee_per_gas(1);
        let signed = request.build(&EthereumWallet::from(signer)).await.unwrap();
        assert!(signed.gas_limit() > 0);
        let pending = self
            .provider
            .send_raw_transaction(&signed.encoded_2718())
            .await
            .unwrap();
        let hash = *pending.tx_hash();
        for _ in 0..2000 {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await.unwrap() {
                assert!(receipt.status(), "a set-up transaction reverted");
                return receipt;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("a set-up transaction was not mined");
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        let _: serde_json::Value = self
            .provider
            .raw_request("evm_increaseTime".into(), (seconds,))
            .await
            .unwrap();
        let _: serde_json::Value = self.provider.raw_request("evm_mine".into(), ()).await.unwrap();
    }

    pub(crate) async fn now(&self) -> u64 {
        let block = self
            .provider
            .get_block_by_number(alloy::eips::BlockNumberOrTag::Latest)
            .await
            .unwrap();
        block.unwrap().header.timestamp
    }

    pub(crate) async fn block(&self) -> u64 {
        self.provider.get_block_number().await.unwrap()
    }

    async fn view<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let request = TransactionRequest::default()
            .with_to(to)
            .with_input(call.abi_encode());
        let answer: Bytes = self.provider.call(request).await.unwrap();
        C::abi_decode_returns(&answer).unwrap()
    }

    pub(crate) async fn balance(&self, account: Address) -> u128 {
        let token = self.parties.config.token;
        let balance = self.view(token, Erc20::balanceOfCall { account }).await;
        balance.to()
    }

    pub(crate) async fn coins(&self, account: Address) -> u128 {
        self.provider.get_balance(account).await.unwrap().to()
    }

    pub(crate) async fn set_code(&self, account: Address, code: &str) {
        let _: serde_json::Value = self
            .provider
            .raw_request("anvil_setCode".into(), (account, code))
            .await
            .unwrap();
    }

    pub(crate) async fn vault(&self) -> u128 {
        let (token, hub) = (self.parties.config.token, self.parties.config.hub);
        let amount = self
            .view(
                self.parties.domain.adjudicator,
                IAdjudicator::vaultCall { token, hub },
            )
            .await;
        amount.to()
    }

    pub(crate) fn file(&self, evidence: &Evidence) -> String {
        let json = serde_json::to_string_pretty(evidence).unwrap();
        write(self.dir.path(), "evidence.json", &json)
            .display()
            .to_string()
    }

    /// Any JSON file of the test.
    pub(crate) fn named(&self, name: &str, value: &impl serde::Serialize) -> String {
        let json = serde_json::to_string_pretty(value).unwrap();
        write(self.dir.path(), name, &json).display().to_string()
    }

    /// A subdirectory for packages or evidence.
    pub(crate) fn subdirectory(&self, name: &str) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// `settle export` with the client's signer, for `submitter`.
    pub(crate) fn export(
        &self,
        evidence: &Evidence,
        submitter: u8,
        out: &std::path::Path,
        args: &[&str],
    ) -> Output {
        self.export_as(crate::vouchers::CLIENT_SIGNER, evidence, submitter, out, args)
    }

    /// The same with the signer of either side.
    pub(crate) fn export_as(
        &self,
        signer: u8,
        evidence: &Evidence,
        submitter: u8,
        out: &std::path::Path,
        args: &[&str],
    ) -> Output {
        let file = self.named("to-export.json", evidence);
        let signer = self.key_file(signer);
        let (submitter, out) = (key(submitter).address().to_string(), out.display().to_string());
        let base = [
            "export",
            "--evidence",
            &file,
            "--key-file",
            &signer,
            "--submitter",
            &submitter,
            "--out",
            &out,
        ];
        settle(&[&base, args].concat())
    }

    /// `settle watch --broadcast --once --ndjson` over `dir`.
    pub(crate) fn watch_once(&self, dir: &std::path::Path, seed: u8, args: &[&str]) -> Output {
        let (dir, key) = (dir.display().to_string(), self.key_file(seed));
        let base = [
            "watch",
            "--dir",
            &dir,
            "--rpc-url",
            &self.url,
            "--key-file",
            &key,
            "--broadcast",
            "--once",
            "--ndjson",
        ];
        settle(&[&base, args].concat())
    }

    /// Whether transactions are mined at once.
    pub(crate) async fn automine(&self, on: bool) {
        let _: serde_json::Value = self
            .provider
            .raw_request("evm_setAutomine".into(), (on,))
            .await
            .unwrap();
    }

    pub(crate) async fn block_gas_limit(&self, gas: u64) {
        let gas = U256::from(gas);
        let _: serde_json::Value = self
            .provider
            .raw_request("evm_setBlockGasLimit".into(), (gas,))
            .await
            .unwrap();
    }

    pub(crate) async fn mine(&self) {
        let _: serde_json::Value = self.provider.raw_request("evm_mine".into(), ()).await.unwrap();
    }

    pub(crate) async fn nonce(&self, account: Address) -> u64 {
        self.provider.get_transaction_count(account).await.unwrap()
    }

    /// With the transactions that wait in the node's pool.
    pub(crate) async fn pending_nonce(&self, account: Address) -> u64 {
        let count = self.provider.get_transaction_count(account).pending();
        count.await.unwrap()
    }

    pub(crate) fn key_file(&self, seed: u8) -> String {
        let text = hex::encode(key(seed).to_bytes());
        write(self.dir.path(), &format!("{seed:x}.key"), &text)
            .display()
            .to_string()
    }

    /// `settle VERB --evidence FILE --rpc-url URL ARGS`.
    pub(crate) fn settle(&self, verb: &str, evidence: &str, args: &[&str]) -> Output {
        let base = [verb, "--evidence", evidence, "--rpc-url", &self.url];
        settle(&[&base, args].concat())
    }

    /// The same, sent with the key of `seed` and waited for.
    pub(crate) fn send_as(&self, seed: u8, verb: &str, evidence: &str, args: &[&str]) -> Output {
        let key = self.key_file(seed);
        self.settle(
            verb,
            evidence,
            &[&["--key-file", &key, "--broadcast", "--wait"], args].concat(),
        )
    }
}
