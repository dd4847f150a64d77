//! `hub deploy`: the adjudicator, put on a chain that has none yet.

use super::{Failure, data, words};
use crate::{
    app::contracts,
    chain::{AlloyChain, Chain, ChainOptions},
    ops::SecretRef,
};
use alloy::{
    primitives::{Address, B256, U256},
    signers::local::PrivateKeySigner,
};
use anyhow::Context;
use futures::future::BoxFuture;

/// Gas of the deployment, a little rounded up.
const DEPLOY_GAS: u64 = 4_800_000;

const EXAMPLES: &str = "\
  hub deploy --rpc-url URL --key file:myhub/keys/owner.key              a dry run: who would pay, and how much it holds
  hub deploy --rpc-url URL --key file:myhub/keys/owner.key --broadcast  about 4.7 million gas

One adjudicator serves any number of hubs, and nobody owns it. If there is one on the chain already, use it: check that
its code is the one in protocol-spec/contracts/artifacts. stdout: one `name value` pair per line.";

/// Arguments of `hub deploy`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct DeployArgs {
    /// The node: http, https, ws or wss.
    #[arg(long, value_name = "URL")]
    pub rpc_url: String,
    /// Whose account pays: "file:PATH" or "env:NAME".
    #[arg(long, value_name = "REFERENCE")]
    pub key: SecretRef,
    /// Send it. Without this nothing leaves.
    #[arg(long)]
    pub broadcast: bool,
}

/// Runs `hub deploy`.
pub fn deploy(args: DeployArgs) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let key = args
            .key
            .load()
            .map_err(|error| Failure::Key { name: "--key", error })?;
        let (chain, sender) = connect(&args, &key.to_bytes()).await.map_err(Failure::Running)?;
        let chain_id = chain
            .chain_id()
            .await
            .map_err(|error| Failure::Running(error.into()))?;
        let purse = purse(&chain, sender).await.map_err(Failure::Running)?;
        let bytes = contracts::adjudicator_code()
            .map_err(|error| Failure::Running(error.into()))?
            .len();
        words(&format!(
            "the adjudicator, {bytes} bytes of creation code, on chain {chain_id}; {sender} pays and holds {} wei",
            purse.holds
        ));
        // Said before anything is tried: the node's own words name neither account nor sum.
        let short = purse.short(chain_id, sender);
        match (args.broadcast, short) {
            (true, Some(short)) => Err(Failure::Refused(anyhow::anyhow!(short))),
            (true, None) => run(&chain, chain_id).await.map_err(Failure::Running),
            (false, short) => {
                short.iter().for_each(|short| words(short));
                words("dry run: nothing was sent; add --broadcast");
                data(&format!("chain_id {chain_id}"))
            }
        }
    })
}

/// What the paying account holds, and what the deployment takes at today's price, wei.
struct Purse {
    holds: U256,
    takes: U256,
}

impl Purse {
    /// What to do when it does not suffice.
    fn short(&self, chain_id: u64, sender: Address) -> Option<String> {
        (self.holds < self.takes).then(|| {
            format!(
                "{sender}, the account of --key, holds {} wei on chain {chain_id} and the deployment takes about {} wei \
                 ({DEPLOY_GAS} gas at today's price): send coins to it, at least {} wei, and run the same again",
                self.holds,
                self.takes,
                self.takes.saturating_sub(self.holds)
            )
        })
    }
}

async fn purse(chain: &AlloyChain, sender: Address) -> anyhow::Result<Purse> {
    let price = U256::from(chain.gas_price().await?);
    Ok(Purse {
        holds: chain.balance(sender).await?,
        takes: price.saturating_mul(U256::from(DEPLOY_GAS)),
    })
}

async fn connect(args: &DeployArgs, key: &[u8; 32]) -> anyhow::Result<(AlloyChain, Address)> {
    let signer = PrivateKeySigner::from_bytes(&B256::from(*key)).context("--key")?;
    let sender = signer.address();
    let options = ChainOptions {
        signer: Some(signer),
        ..ChainOptions::default()
    };
    let chain = AlloyChain::connect(&args.rpc_url, options)
        .await
        .context("--rpc-url")?;
    Ok((chain, sender))
}

async fn run(chain: &AlloyChain, chain_id: u64) -> anyhow::Result<()> {
    let tell = |text: &str| data(text).map_err(|failure| anyhow::anyhow!("{failure}"));
    let adjudicator = contracts::deploy_adjudicator(chain).await?;
    words("next: set chain.adjudicator in hub.toml, name your [[tokens]], fund the owner and the vault");
    tell(&format!("chain_id {chain_id}\nadjudicator {adjudicator}"))
}
