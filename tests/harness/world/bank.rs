//! The chain with the contracts on it, and who was given what before the world begins.

use super::clock::{BEGIN, Clock, key_bytes};
use alloy::{primitives::B256, signers::local::PrivateKeySigner, sol_types::SolCall};
use hub::{
    app::dev::{self, Deployed},
    chain::{
        AlloyChain, CallRequest, Chain, ChainOptions, TxRequest,
        embedded::{self, DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig},
    },
};
use protocol_spec::{
    Address, Amount, ChannelId, Domain, SignerKey,
    abi::{ChannelState, IAdjudicator, Status},
};

/// Tokens each person is given, and what it deposits of them.
pub(super) const ENDOWMENT: u128 = 1_000_000;
pub(super) const DEPOSIT: u128 = 600_000;
/// Tokens in the hub's vault at the beginning.
pub(super) const VAULT: u128 = 100_000_000;
/// The flat part of the hub's fee, and the proportional part in millionths, rounded up.
pub(super) const FEE_FLAT: u128 = 1;
pub(super) const FEE_PPM: u32 = 2_000;
/// Wei for gas.
const GAS_MONEY: u128 = 100_000_000_000_000_000_000;
/// What gas costs after a spike, wei: the chain falls back from there by an eighth with every block.
const SPIKE_WEI: u64 = 100 * embedded::BASE_FEE_MIN_WEI;

/// What the hub keeps of a payment, by its published tariff.
pub(super) fn fee(amount: Amount) -> Amount {
    Amount(FEE_FLAT + (amount.0 * u128::from(FEE_PPM)).div_ceil(1_000_000))
}

/// The chain from outside of all machines.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    pub(super) chain: EmbeddedChain,
    pub(super) deployed: Deployed,
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
        let options = ChainOptions {
            signer: Some(PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[0].private_key)?),
            ..ChainOptions::default()
        };
        let port = AlloyChain::embedded(&chain, options).await?;
        let deployed = dev::deploy(&port).await?;
        let hub_owner = SignerKey::from_bytes(&key_bytes(seed, "hub owner"))?;
        dev::fund_vault(&port, deployed, hub_owner.address(), VAULT).await?;
        let bank = Self {
            chain,
            deployed,
            hub_owner,
            port,
        };
        bank.endow(bank.hub_owner.address(), 0).await?;
        Ok(bank)
    }

    /// Tokens and gas money for somebody.
    pub(super) async fn endow(&self, to: Address, tokens: u128) -> anyhow::Result<()> {
        let sent = dev::endow(&self.port, self.deployed.token, to, GAS_MONEY, tokens).await?;
        dev::settled(&self.port, sent).await
    }

    /// Tokens of the bank's own, to be paid into channels by [`Bank::send`].
    pub(super) async fn approve(&self, tokens: u128) -> anyhow::Result<()> {
        dev::mint_and_approve(&self.port, self.deployed, tokens).await
    }

    /// From here on a block comes every second, whatever is in it.
    pub(super) fn tick(&self) -> anyhow::Result<()> {
        dev::mine_every_second(&self.chain)
    }

    /// Gas costs a hundred times as much.
    pub(super) fn spike(&self) -> anyhow::Result<()> {
        let fee = serde_json::value::to_raw_value(&[SPIKE_WEI])?;
        let set = self.chain.request("anvil_setNextBlockBaseFeePerGas", Some(&fee));
        set.map_err(|failure| anyhow::anyhow!("no spike: {failure:?}"))?;
        Ok(())
    }

    /// Number of the newest block.
    pub(super) fn height(&self) -> anyhow::Result<u64> {
        let height = self.chain.height();
        height.map_err(|failure| anyhow::anyhow!("no height: {failure:?}"))
    }

    /// The newest blocks are replaced by empty ones; their transactions are gone.
    pub(super) fn reorg(&self, depth: u64) -> anyhow::Result<()> {
        let reorg = self.chain.reorg(depth);
        reorg.map_err(|failure| anyhow::anyhow!("no reorg: {failure:?}"))
    }

    /// A call to the adjudicator by somebody who pays for everything; that it fails is no error.
    pub(super) async fn send(&self, call: &impl SolCall) -> anyhow::Result<()> {
        let request = TxRequest {
            to: Some(self.deployed.adjudicator),
            data: call.abi_encode().into(),
            ..TxRequest::default()
        };
        self.port.resync().await?;
        if let Ok(sent) = self.port.send(request).await {
            let _ = self.port.wait(sent.hash, 0).await;
        }
        Ok(())
    }

    pub(super) async fn domain(&self) -> anyhow::Result<Domain> {
        Ok(Domain::new(
            self.port.chain_id().await?,
            self.deployed.adjudicator,
        ))
    }

    pub(super) async fn tokens_of(&self, account: Address) -> anyhow::Result<u128> {
        dev::tokens_of(&self.port, self.deployed.token, account).await
    }

    pub(super) async fn vault(&self) -> anyhow::Result<u128> {
        dev::vault_of(&self.port, self.deployed, self.hub_owner.address()).await
    }

    pub(super) async fn channel(&self, id: ChannelId) -> anyhow::Result<ChannelState> {
        let channel_id = id.0.into();
        let call = IAdjudicator::channelCall {
            channelId: channel_id,
        };
        let request = CallRequest {
            to: self.deployed.adjudicator,
            data: call.abi_encode().into(),
            ..CallRequest::default()
        };
        let answer = self.port.call(request).await?;
        Ok(IAdjudicator::channelCall::abi_decode_returns(&answer)?)
    }

    pub(super) async fn is_open(&self, id: ChannelId) -> anyhow::Result<bool> {
        Ok(matches!(self.channel(id).await?.status, Status::Open))
    }
}

/// A key as alloy signs transactions with it.
pub(super) fn wallet(key: &SignerKey) -> anyhow::Result<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes()))?)
}
