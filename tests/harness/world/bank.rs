//! The chain with the contracts on it, and who was given what before the world begins.

use super::clock::{BEGIN, Clock, key_bytes};
use alloy::{
    primitives::{B256, U256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use anyhow::Context as _;
use hub::{
    app::contracts::{Token, deploy_adjudicator, deploy_test_token, transact},
    chain::{
        AlloyChain, CallRequest, Chain, ChainOptions,
        embedded::{self, DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig},
    },
};
use protocol_spec::{Address, Amount, ChannelId, Domain, SignerKey, abi::ChannelState, abi::IAdjudicator, abi::Status};

/// Tokens each person is given, and what it deposits of them.
pub(super) const ENDOWMENT: u128 = 1_000_000;
pub(super) const DEPOSIT: u128 = 600_000;
/// Tokens in the hub's vault at the beginning.
pub(super) const VAULT: u128 = 100_000_000;
/// The flat part of the hub's fee, and the proportional part in millionths, rounded up.
pub(super) const FEE_FLAT: u128 = 1;
pub(super) const FEE_PPM: u32 = 2_000;
/// Wei for gas.
const GAS_MONEY: u128 = 1_000_000_000_000_000_000;

/// What the hub keeps of a payment, by its published tariff.
pub(super) fn fee(amount: Amount) -> Amount {
    Amount(FEE_FLAT + (amount.0 * u128::from(FEE_PPM)).div_ceil(1_000_000))
}

/// The chain from outside of all machines.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    pub(super) chain: EmbeddedChain,
    pub(super) adjudicator: Address,
    pub(super) token: Address,
    pub(super) hub_owner: SignerKey,
    port: AlloyChain,
}

impl Bank {
    pub(super) async fn open(seed: u64, clock: Clock) -> anyhow::Result<Self> {
        let chain = EmbeddedChain::new(EmbeddedConfig {
            seed: Some(seed),
            genesis_timestamp_s: Some(BEGIN.0),
            clock: embedded::Clock::new(move || clock.now().0),
            ..EmbeddedConfig::default()
        });
        let signer = PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[0].private_key)?;
        let port = port(&chain, signer).await?;
        let adjudicator = deploy_adjudicator(&port).await?;
        let token = deploy_test_token(&port).await?;
        let bank = Self {
            chain,
            adjudicator,
            token,
            hub_owner: SignerKey::from_bytes(&key_bytes(seed, "hub owner"))?,
            port,
        };
        bank.fund_vault().await?;
        Ok(bank)
    }

    async fn fund_vault(&self) -> anyhow::Result<()> {
        let (hub, amount) = (self.hub_owner.address(), U256::from(VAULT));
        self.endow(hub, VAULT).await?;
        let owner = port(&self.chain, wallet(&self.hub_owner)?).await?;
        let spender = self.adjudicator;
        let approve = Token::approveCall { spender, amount };
        transact(&owner, self.token, &approve, U256::ZERO).await?;
        let token = self.token;
        let fund = IAdjudicator::fundVaultCall { hub, token, amount };
        transact(&owner, self.adjudicator, &fund, U256::ZERO).await?;
        Ok(())
    }

    /// Tokens and gas money for somebody.
    pub(super) async fn endow(&self, to: Address, tokens: u128) -> anyhow::Result<()> {
        self.chain
            .fund(to, U256::from(GAS_MONEY))
            .map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
        let amount = U256::from(tokens);
        transact(&self.port, self.token, &Token::mintCall { to, amount }, U256::ZERO).await?;
        Ok(())
    }

    /// From here on a block comes every second, whatever is in it.
    pub(super) fn tick(&self) -> anyhow::Result<()> {
        let seconds = serde_json::value::to_raw_value(&[1])?;
        let started = self.chain.request("evm_setIntervalMining", Some(&seconds));
        started.map(drop).map_err(|failure| anyhow::anyhow!("{failure:?}"))
    }

    pub(super) async fn domain(&self) -> anyhow::Result<Domain> {
        Ok(Domain::new(self.port.chain_id().await?, self.adjudicator))
    }

    pub(super) async fn tokens_of(&self, account: Address) -> anyhow::Result<u128> {
        let balance = self.read(self.token, Token::balanceOfCall { account }).await?;
        u128::try_from(balance).context("a balance")
    }

    pub(super) async fn vault(&self) -> anyhow::Result<u128> {
        let vault = IAdjudicator::vaultCall {
            token: self.token,
            hub: self.hub_owner.address(),
        };
        let vault = self.read(self.adjudicator, vault).await?;
        u128::try_from(vault).context("the vault")
    }

    pub(super) async fn channel(&self, id: ChannelId) -> anyhow::Result<ChannelState> {
        let channel_id = id.0.into();
        let call = IAdjudicator::channelCall { channelId: channel_id };
        self.read(self.adjudicator, call).await
    }

    pub(super) async fn is_open(&self, id: ChannelId) -> anyhow::Result<bool> {
        Ok(matches!(self.channel(id).await?.status, Status::Open))
    }

    async fn read<C: SolCall>(&self, to: Address, call: C) -> anyhow::Result<C::Return> {
        let data = call.abi_encode().into();
        let request = CallRequest {
            to,
            data,
            ..CallRequest::default()
        };
        Ok(C::abi_decode_returns(&self.port.call(request).await?)?)
    }
}

/// A key as alloy signs transactions with it.
pub(super) fn wallet(key: &SignerKey) -> anyhow::Result<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes()))?)
}

async fn port(chain: &EmbeddedChain, signer: PrivateKeySigner) -> anyhow::Result<AlloyChain> {
    let options = ChainOptions {
        signer: Some(signer),
        ..ChainOptions::default()
    };
    Ok(AlloyChain::embedded(chain, options).await?)
}
