//! `hub vault`: look at the hub's money on chain, pay into its vault, take out of it.

use super::{Failure, data, words};
use crate::{
    app::contracts::Token,
    ops::{Config, ConfigError},
    settle::{Cost, Mined, Node, Proof, SettleError, TokenInfo, Transaction, show_amount, table, token_info},
};
use alloy::{
    eips::BlockId,
    network::EthereumWallet,
    primitives::{B256, U256},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use anyhow::anyhow;
use futures::future::BoxFuture;
use protocol_spec::{Address, Amount, Domain, abi::IAdjudicator};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
  hub vault show                                  what vault and owner hold of each token
  hub vault deposit --amount 1000000              a dry run: checked, simulated, priced; nothing is sent
  hub vault deposit --amount 1000000 --broadcast  approves exactly that, then pays it in
  hub vault withdraw --amount 500 --to 0x... --broadcast

The configuration names node, adjudicator and the owner's key, which sends. Amounts are token base units.
The vault is what new channels and top-ups are paid from; it can be filled and emptied while the hub runs. Both send from the
owner's account then: when they do so in the same moment, one of two transactions takes the other's place. The hub sends its
own again; what this command sent is then in no block, which it says after 15 minutes: look at the vault, and run it again.";

/// Arguments of `hub vault`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct VaultArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: VaultCommand,
}

/// What can be done with the vault.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum VaultCommand {
    /// Show what vault and owner hold of each token.
    Show(ShowArgs),
    /// Pay from the owner's account into the vault.
    Deposit(MoveArgs),
    /// Take from the vault what is not in channels.
    Withdraw(WithdrawArgs),
}

/// `show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// The configuration `hub init` wrote.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
}

/// `deposit`.
#[derive(Clone, Debug, clap::Args)]
pub struct MoveArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened option has its own")]
    pub show: ShowArgs,
    /// How much, in token base units.
    #[arg(long, value_name = "UNITS", value_parser = some_units)]
    pub amount: Amount,
    /// The token, zero address for the native coin; the configured one when there is only one.
    #[arg(long, value_name = "ADDRESS")]
    pub token: Option<Address>,
    /// Send it. Without this nothing leaves.
    #[arg(long)]
    pub broadcast: bool,
}

/// `withdraw`.
#[derive(Clone, Debug, clap::Args)]
pub struct WithdrawArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub what: MoveArgs,
    /// Where to; the owner's account when absent.
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<Address>,
}

fn some_units(text: &str) -> Result<Amount, String> {
    match text.parse() {
        Ok(Amount(0)) => Err("nothing would move".to_owned()),
        Ok(amount) => Ok(amount),
        Err(_) => Err("expected base units, decimal digits only".to_owned()),
    }
}

/// Runs `hub vault`.
pub fn vault(args: VaultArgs) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        match args.command {
            VaultCommand::Show(args) => Vault::open(&args.config).await?.show().await,
            VaultCommand::Deposit(args) => {
                let (vault, token) = opened(&args).await?;
                let steps = vault.deposit(token, args.amount).await?;
                vault.carry_out("deposit", &args, token, None, steps).await
            }
            VaultCommand::Withdraw(WithdrawArgs { what, to }) => {
                let (vault, token) = opened(&what).await?;
                let to = to.unwrap_or(vault.hub);
                let step = vault.withdrawal(token, what.amount, to).await?;
                vault
                    .carry_out("withdraw", &what, token, Some(to), vec![step])
                    .await
            }
        }
    })
}

async fn opened(args: &MoveArgs) -> Result<(Vault, Address), Failure> {
    let vault = Vault::open(&args.show.config).await?;
    let token = vault.token(args.token)?;
    Ok((vault, token))
}

fn failed(error: SettleError) -> Failure {
    Failure::Running(error.into())
}

fn refused(problem: &str) -> Failure {
    Failure::Config(ConfigError {
        problems: vec![problem.to_owned()],
    })
}

/// One transaction and its name.
struct Step {
    name: &'static str,
    call: Transaction,
}

/// The hub's account at its adjudicator.
struct Vault {
    config: Config,
    node: Node,
    chain_id: u64,
    adjudicator: Address,
    hub: Address,
    wallet: EthereumWallet,
}

impl Vault {
    async fn open(path: &Path) -> Result<Self, Failure> {
        let config = Config::load(path)?;
        let adjudicator = config.chain.adjudicator.filter(|_| !config.is_embedded());
        let adjudicator = adjudicator.ok_or_else(|| {
            refused("chain.rpc_url: is \"embedded\"; `hub serve` fills the vault on that chain by itself")
        })?;
        let owner = config.keys.owner.load().map_err(|error| Failure::Key {
            name: "keys.owner",
            error,
        })?;
        let owner = PrivateKeySigner::from_bytes(&B256::from(*owner.to_bytes()))
            .map_err(|error| Failure::Running(error.into()))?;
        let node = Node::connect(&config.chain.rpc_url).await.map_err(failed)?;
        let chain_id = node.chain_id().await.map_err(failed)?;
        let domain = Domain::new(chain_id, adjudicator);
        node.check(&domain).await.map_err(failed)?;
        Ok(Self {
            config,
            node,
            chain_id,
            adjudicator,
            hub: owner.address(),
            wallet: EthereumWallet::from(owner),
        })
    }

    /// The token meant. One that is not configured is taken, too: it may have been, and money may be left.
    fn token(&self, named: Option<Address>) -> Result<Address, Failure> {
        match (named, self.config.tokens.as_slice()) {
            (Some(token), _) => Ok(token),
            (None, [only]) => Ok(only.address),
            (None, _) => Err(refused(
                "tokens: there is not exactly one; name it with --token ADDRESS",
            )),
        }
    }

    async fn read<C: SolCall<Return = U256>>(&self, to: Address, call: C) -> Result<Amount, Failure> {
        let word = self
            .node
            .read(to, &call, BlockId::latest())
            .await
            .map_err(failed)?;
        // What does not fit is more than any channel can hold.
        Ok(Amount(word.saturating_to()))
    }

    async fn held(&self, token: Address) -> Result<Amount, Failure> {
        let hub = self.hub;
        self.read(self.adjudicator, IAdjudicator::vaultCall { token, hub })
            .await
    }

    async fn owned(&self, token: Address) -> Result<Amount, Failure> {
        if token == Address::ZERO {
            let coins = self.node.coins(self.hub).await.map_err(failed)?;
            return Ok(Amount(coins.saturating_to()));
        }
        let account = self.hub;
        self.read(token, Token::balanceOfCall { account }).await
    }

    async fn info(&self, token: Address) -> Result<TokenInfo, Failure> {
        token_info(&self.node, token, BlockId::latest())
            .await
            .map_err(failed)
    }

    async fn show(&self) -> Result<(), Failure> {
        let mut rows = table(&[
            "token",
            "in the vault",
            "new channels it can fund",
            "owner's account",
        ]);
        for token in &self.config.tokens {
            let (held, owned) = (self.held(token.address).await?, self.owned(token.address).await?);
            let info = self.info(token.address).await?;
            let channels = held.0.checked_div(token.reserve.initial.0);
            rows.add_row([
                format!("{} {}", token.address, info.symbol),
                show_amount(&info, held),
                channels.map_or_else(|| "any".to_owned(), |number| number.to_string()),
                show_amount(&info, owned),
            ]);
        }
        let coins = self.node.coins(self.hub).await.map_err(failed)?;
        let head = self.node.head().await.map_err(failed)?;
        words(&format!(
            "vault of {} at adjudicator {}, chain {}, block {}; {coins} wei for gas",
            self.hub, self.adjudicator, self.chain_id, head.number
        ));
        data(&rows.to_string())
    }

    fn step(
        &self,
        name: &'static str,
        to: Address,
        call: &impl SolCall,
        event: (B256, &'static str),
    ) -> Step {
        let proof = Proof {
            event: event.0,
            about: self.hub.into_word(),
            name: event.1,
        };
        Step {
            name,
            call: Transaction {
                sender: self.hub,
                to,
                value: U256::ZERO,
                calldata: call.abi_encode().into(),
                proof,
            },
        }
    }

    fn approval(&self, name: &'static str, token: Address, amount: U256) -> Step {
        let spender = self.adjudicator;
        let event = (Token::Approval::SIGNATURE_HASH, "Approval");
        self.step(name, token, &Token::approveCall { spender, amount }, event)
    }

    /// Approves if needed, then pays in.
    async fn deposit(&self, token: Address, amount: Amount) -> Result<Vec<Step>, Failure> {
        let owned = self.owned(token).await?;
        if owned < amount {
            return Err(Failure::Refused(anyhow!(
                "the owner {} holds {owned}, less than {amount}",
                self.hub
            )));
        }
        let (hub, units) = (self.hub, U256::from(amount.0));
        let fund = IAdjudicator::fundVaultCall {
            hub,
            token,
            amount: units,
        };
        let event = (IAdjudicator::VaultFunded::SIGNATURE_HASH, "VaultFunded");
        let mut fund = self.step("fundVault", self.adjudicator, &fund, event);
        if token == Address::ZERO {
            fund.call.value = units;
            return Ok(vec![fund]);
        }
        let (owner, spender) = (self.hub, self.adjudicator);
        let allowed = self.read(token, Token::allowanceCall { owner, spender }).await?;
        let mut steps = Vec::new();
        if allowed < amount {
            if !allowed.is_zero() {
                // Some tokens refuse to change an allowance that is not zero.
                steps.push(self.approval("approve nothing", token, U256::ZERO));
            }
            steps.push(self.approval("approve", token, units));
        }
        steps.push(fund);
        Ok(steps)
    }

    async fn withdrawal(&self, token: Address, amount: Amount, to: Address) -> Result<Step, Failure> {
        if [self.adjudicator, token, Address::ZERO].contains(&to) {
            return Err(refused(&format!(
                "--to: {to} is the adjudicator, the token or nobody; money sent there is gone"
            )));
        }
        let held = self.held(token).await?;
        if held < amount {
            return Err(Failure::Refused(anyhow!(
                "the vault holds {held}, less than {amount}; what is in channels comes back as they close"
            )));
        }
        let call = IAdjudicator::withdrawVaultCall {
            token,
            amount: U256::from(amount.0),
            to,
        };
        let event = (IAdjudicator::VaultWithdrawn::SIGNATURE_HASH, "VaultWithdrawn");
        Ok(self.step("withdrawVault", self.adjudicator, &call, event))
    }

    /// Simulates, and sends one after the other if asked to.
    async fn carry_out(
        &self,
        what: &str,
        args: &MoveArgs,
        token: Address,
        to: Option<Address>,
        steps: Vec<Step>,
    ) -> Result<(), Failure> {
        let info = self.info(token).await?;
        let mut rows = table(&[]);
        let result = match args.broadcast {
            true => "done",
            false => "dry run: nothing was sent; add --broadcast",
        };
        rows.add_row([what, result]);
        rows.add_row(["token", &format!("{token} {}", info.symbol)]);
        if let Some(to) = to {
            rows.add_row(["to", &to.to_string()]);
        }
        rows.add_row(["amount", &show_amount(&info, args.amount)]);
        rows.add_row(["vault before", &show_amount(&info, self.held(token).await?)]);
        for (number, step) in steps.iter().enumerate() {
            let text = match (args.broadcast, number) {
                (true, _) => self.send(step).await?,
                (false, 0) => priced(&self.node.simulate(&step.call).await.map_err(failed)?),
                // It reverts until the step before is mined.
                (false, _) => "simulated once the step before it is on chain".to_owned(),
            };
            rows.add_row([step.name, &text]);
        }
        if args.broadcast {
            rows.add_row(["vault now", &show_amount(&info, self.held(token).await?)]);
        }
        data(&rows.to_string())
    }

    async fn send(&self, step: &Step) -> Result<String, Failure> {
        let send = async {
            let cost = self.node.simulate(&step.call).await?;
            let hash = self.node.broadcast(&step.call, &cost, &self.wallet).await?;
            words(&format!("sent {}: {hash}", step.name));
            self.node.wait(&step.call, hash, 1).await
        };
        send.await.map(|mined| done(&mined)).map_err(not_done)
    }
}

/// Nobody knows yet what became of one that is in no block.
fn not_done(error: SettleError) -> Failure {
    match error {
        SettleError::NotIncluded(text) => Failure::Running(anyhow!(
            "not included in time: {text}. Or a hub that runs with this owner sent something in its place: `hub vault show` \
             before you run this again"
        )),
        error => failed(error),
    }
}

fn priced(cost: &Cost) -> String {
    format!(
        "about {} gas, at most {} wei; the sender holds {} wei",
        cost.gas_estimate,
        cost.wei_max(),
        cost.balance
    )
}

fn done(mined: &Mined) -> String {
    let Mined {
        hash,
        block,
        gas_used,
        wei,
        ..
    } = mined;
    format!("{hash} in block {block}, {gas_used} gas, {wei} wei paid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_block_is_looked_for_before_it_is_sent_again() {
        let late = not_done(SettleError::NotIncluded("0x12".to_owned()));
        let text = late.to_string();
        assert!(
            text.contains("0x12") && text.contains("`hub vault show` before"),
            "{text}"
        );
        assert_eq!(late.code(), 1);
    }
}
