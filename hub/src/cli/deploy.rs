//! `hub deploy`: the adjudicator, put on a chain that has none yet.

use super::{Failure, data, words};
use crate::{
    app::contracts,
    chain::{AlloyChain, Chain, ChainOptions},
    ops::SecretRef,
};
use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use anyhow::Context;
use futures::future::BoxFuture;

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
        run(&args, &key.to_bytes()).await.map_err(Failure::Running)?;
        Ok(())
    })
}

async fn run(args: &DeployArgs, key: &[u8; 32]) -> anyhow::Result<()> {
    let signer = PrivateKeySigner::from_bytes(&B256::from(*key)).context("--key")?;
    let sender = signer.address();
    let options = ChainOptions {
        signer: Some(signer),
        ..ChainOptions::default()
    };
    let chain = AlloyChain::connect(&args.rpc_url, options)
        .await
        .context("--rpc-url")?;
    let (chain_id, wei) = (chain.chain_id().await?, chain.balance(sender).await?);
    let bytes = contracts::adjudicator_code()?.len();
    words(&format!(
        "the adjudicator, {bytes} bytes of creation code, on chain {chain_id}; {sender} pays and holds {wei} wei"
    ));
    let tell = |text: &str| data(text).map_err(|failure| anyhow::anyhow!("{failure}"));
    if !args.broadcast {
        words("dry run: nothing was sent; add --broadcast");
        return tell(&format!("chain_id {chain_id}"));
    }
    let adjudicator = contracts::deploy_adjudicator(&chain).await?;
    words("next: set chain.adjudicator in hub.toml, name your [[tokens]], fund the owner and the vault");
    tell(&format!("chain_id {chain_id}\nadjudicator {adjudicator}"))
}
