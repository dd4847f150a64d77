//! `hub accept-loss`: channels in doubt whose clients never come back.

use super::{Failure, data, words};
use crate::{
    app::FORMAT_VERSION,
    engine,
    execution::Execution,
    ledger::{Doubt, Input, Ledger},
    now::Now,
    ops::Config,
    settle::table,
    store::{JournalRecord, RedbStore, ShardId, Store},
};
use anyhow::anyhow;
use futures::future::BoxFuture;
use protocol_spec::{Address, Amount, ChannelId, Domain};
use std::{collections::BTreeMap, path::PathBuf};

const EXAMPLES: &str = "\
  hub accept-loss --all                    a dry run: which channels are in doubt, and the most that each can cost
  hub accept-loss --channel 0x... --yes    take what the database knows of this one for the truth
  hub accept-loss --all --yes

A channel is in doubt when the database is older than what the hub signed: after `hub restore`, or after a client showed
a voucher that the hub does not know. It is released when its client comes back. Accepting the loss releases it without:
the hub signs on from what it knows. If the client holds newer vouchers, it can use them: they are worth at most the
hub's whole share of the channel, which is what `most` shows. A client that does come back with such vouchers finds its
channel in doubt again.

The hub must be stopped. Exit codes: 0 done, also when there is nothing to do; 3 configuration or key refused;
7 refused, nothing was changed: no such channel in doubt, or the database cannot be opened.";

/// Arguments of `hub accept-loss`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AcceptLossArgs {
    /// This channel; may be given several times.
    #[arg(
        long = "channel",
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub channels: Vec<ChannelId>,
    /// All that are in doubt.
    #[arg(long)]
    pub all: bool,
    /// Do it. Without this nothing is changed.
    #[arg(long)]
    pub yes: bool,
    /// The configuration of the hub.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
}

/// Runs it.
pub fn accept_loss(args: AcceptLossArgs) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let config = Config::load(&args.config)?;
        let owner = config.keys.owner.load().map_err(|error| Failure::Key {
            name: "keys.owner",
            error,
        })?;
        let opened = RedbStore::open_as_is(config.data_dir.join("store"), FORMAT_VERSION);
        let (store, identity) = opened.map_err(|error| Failure::Refused(error.into()))?;
        let domain = Domain::new(identity.chain_id, identity.adjudicator.into());
        let mut ledger = Ledger::new(domain, owner.address(), identity.hub_signer.into());
        let shard = ShardId(0);
        let failed = |error: anyhow::Error| Failure::Refused(error);
        let loaded = store.load(shard).await.map_err(|error| failed(error.into()))?;
        let (upto, execution) = (loaded.upto, Execution::Threads);
        let restored = engine::restore(&mut ledger, &store, shard, upto, execution).await;
        restored.map_err(|error| failed(error.into()))?;
        let chosen = choose(&ledger, &args)?;
        data(&show(&chosen))?;
        if chosen.is_empty() || !args.yes {
            let text = match chosen.is_empty() {
                true => "no channel is in doubt",
                false => "a dry run: nothing was changed; say --yes to accept these losses",
            };
            words(text);
            return Ok(());
        }
        let channels = chosen.iter().map(|doubt| doubt.channel).collect();
        let loaded = store.acquire(shard).await.map_err(|error| failed(error.into()))?;
        let commit = ledger.commit(vec![Input::AcceptLoss(channels)], Now::wall().get());
        let (number, bytes) = commit
            .record
            .ok_or_else(|| failed(anyhow!("nothing came of it")))?;
        let written = store
            .append(shard, loaded.epoch, JournalRecord { number, bytes })
            .await;
        let _durable = written.map_err(|error| Failure::Running(error.into()))?;
        store
            .close()
            .await
            .map_err(|error| Failure::Running(error.into()))?;
        words(&format!(
            "{} channels go on from what the database knows",
            chosen.len()
        ));
        Ok(())
    })
}

/// The channels meant. Errors: one is not in doubt.
fn choose(ledger: &Ledger, args: &AcceptLossArgs) -> Result<Vec<Doubt>, Failure> {
    let doubts: BTreeMap<ChannelId, Doubt> = ledger.doubts().map(|doubt| (doubt.channel, doubt)).collect();
    if args.all {
        return Ok(doubts.into_values().collect());
    }
    let one = |id: &ChannelId| {
        let doubt = doubts.get(id).cloned();
        doubt.ok_or_else(|| Failure::Refused(anyhow!("channel {id} is not in doubt")))
    };
    args.channels.iter().map(one).collect()
}

fn show(chosen: &[Doubt]) -> String {
    let mut sums: BTreeMap<Address, u128> = BTreeMap::new();
    let mut rows = Vec::new();
    for doubt in chosen {
        let sum = sums.entry(doubt.config.token).or_default();
        *sum = sum.saturating_add(doubt.loss_max.0);
        rows.push(vec![
            doubt.channel.to_string(),
            doubt.config.client.to_string(),
            doubt.hub_seq.to_string(),
            doubt.client_seq.to_string(),
            doubt.config.token.to_string(),
            doubt.loss_max.to_string(),
        ]);
    }
    for (token, sum) in sums {
        let empty = String::new;
        rows.push(vec![
            "in all".to_owned(),
            empty(),
            empty(),
            empty(),
            token.to_string(),
            Amount(sum).to_string(),
        ]);
    }
    let mut table = table(&["channel", "client", "hub seq", "client seq", "token", "most"]);
    table.add_rows(rows);
    table.to_string()
}
