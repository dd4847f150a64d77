//! A development chain with everything on it that a hub needs: for `hub serve` without a node, the demo, the examples
//! and the tests. What works on a node, too, is a function of a [`Chain`] port.

use super::contracts::{self, Token, transact};
use crate::chain::{
    AlloyChain, CallRequest, Chain, ChainError, ChainOptions, TxRequest,
    embedded::{DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig, ServedChain},
};
use alloy::{
    primitives::{B256, U256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use anyhow::Context;
use protocol_spec::{Address, abi::IAdjudicator};
use std::{net::SocketAddr, time::Duration};

/// A port of any kind: for tests and programs that need no certain one.
pub const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The embedded chain, reachable by HTTP. It lives as long as this value.
#[derive(Debug)]
pub struct DevChain {
    /// The chain itself: time travel, mining.
    pub chain: EmbeddedChain,
    /// Its HTTP door on loopback.
    pub door: ServedChain,
    /// Sends from the first development account, which pays for everything.
    pub bank: AlloyChain,
}

/// The contracts on a development chain.
#[derive(Clone, Copy, Debug)]
pub struct Deployed {
    /// The adjudicator.
    pub adjudicator: Address,
    /// A token that anybody may mint.
    pub token: Address,
}

impl DevChain {
    /// A new chain at `wanted`, or at a free port when that is taken. Every transaction makes its block at once.
    pub async fn start(wanted: SocketAddr) -> anyhow::Result<Self> {
        let chain = EmbeddedChain::new(EmbeddedConfig::default());
        let door = match chain.serve(wanted).await {
            Ok(door) => door,
            Err(_) => chain.serve(SocketAddr::new(wanted.ip(), 0)).await?,
        };
        let options = ChainOptions {
            signer: Some(PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[0].private_key)?),
            poll_interval: Duration::from_millis(20),
            ..ChainOptions::default()
        };
        let bank = AlloyChain::embedded(&chain, options).await?;
        Ok(Self { chain, door, bank })
    }
}

/// From now on a block every second, as on a real chain: confirmations come without transactions.
pub fn mine_every_second(chain: &EmbeddedChain) -> anyhow::Result<()> {
    let every = serde_json::value::to_raw_value(&[1])?;
    let asked = chain.request("evm_setIntervalMining", Some(&every));
    asked.map_err(|failure| anyhow::anyhow!("the embedded chain does not mine: {failure:?}"))?;
    Ok(())
}

/// Puts adjudicator and test token on a chain.
pub async fn deploy(bank: &dyn Chain) -> Result<Deployed, ChainError> {
    Ok(Deployed {
        adjudicator: contracts::deploy_adjudicator(bank).await?,
        token: contracts::deploy_test_token(bank).await?,
    })
}

/// Mints `amount` of a test token to the port's account and pays it into the vault of `hub`.
pub async fn fund_vault(
    bank: &dyn Chain,
    Deployed { adjudicator, token }: Deployed,
    hub: Address,
    amount: u128,
) -> anyhow::Result<()> {
    mint_and_approve(bank, Deployed { adjudicator, token }, amount).await?;
    let amount = U256::from(amount);
    let fund = IAdjudicator::fundVaultCall { hub, token, amount };
    transact(bank, adjudicator, &fund, U256::ZERO).await?;
    Ok(())
}

/// Mints `amount` of a test token to the port's account, for the adjudicator to take.
pub async fn mint_and_approve(
    bank: &dyn Chain,
    Deployed { adjudicator, token }: Deployed,
    amount: u128,
) -> anyhow::Result<()> {
    let (to, amount) = (bank.sender().context("no funding key")?, U256::from(amount));
    transact(bank, token, &Token::mintCall { to, amount }, U256::ZERO).await?;
    let spender = adjudicator;
    transact(bank, token, &Token::approveCall { spender, amount }, U256::ZERO).await?;
    Ok(())
}

/// Sends `wei` for gas and mints `tokens` for an account. Returns the last transaction: waiting for it waits for both.
pub async fn endow(
    bank: &dyn Chain,
    token: Address,
    account: Address,
    wei: u128,
    tokens: u128,
) -> Result<B256, ChainError> {
    let coins = TxRequest {
        to: Some(account),
        value: U256::from(wei),
        ..TxRequest::default()
    };
    let sent = bank.send(coins).await?;
    if tokens == 0 {
        return Ok(sent.hash);
    }
    let mint = Token::mintCall {
        to: account,
        amount: U256::from(tokens),
    };
    let mint = TxRequest {
        to: Some(token),
        data: mint.abi_encode().into(),
        ..TxRequest::default()
    };
    Ok(bank.send(mint).await?.hash)
}

/// Waits until a transaction is in a block. Errors: it reverted.
pub async fn settled(bank: &dyn Chain, hash: B256) -> anyhow::Result<()> {
    let receipt = bank.wait(hash, 0).await?;
    anyhow::ensure!(receipt.success, "transaction {hash} reverted");
    Ok(())
}

/// Tokens of an account.
pub async fn tokens_of(chain: &dyn Chain, token: Address, account: Address) -> anyhow::Result<u128> {
    amount(chain, token, &Token::balanceOfCall { account }).await
}

/// Tokens in a hub's vault, without what is reserved for channels.
pub async fn vault_of(chain: &dyn Chain, deployed: Deployed, hub: Address) -> anyhow::Result<u128> {
    let token = deployed.token;
    amount(
        chain,
        deployed.adjudicator,
        &IAdjudicator::vaultCall { token, hub },
    )
    .await
}

async fn amount(chain: &dyn Chain, to: Address, call: &impl SolCall) -> anyhow::Result<u128> {
    let request = CallRequest {
        to,
        data: call.abi_encode().into(),
        ..CallRequest::default()
    };
    let word = chain.call(request).await?;
    u128::try_from(U256::from_be_slice(&word)).context("an amount beyond 128 bits")
}
