//! Whether every payment came once, and every balance is what the payments made it.

use crate::{client::Worker, hub::Hub, node::Node};
use anyhow::{Context, ensure};
use lightning::ln::types::ChannelId;
use std::collections::HashMap;

/// What a node may spend in each of its channels, in thousandths of a satoshi.
type Balances = HashMap<ChannelId, u64>;

/// Balances of everybody, before anything was paid.
pub struct Before {
    hub: Balances,
    clients: Vec<Vec<Balances>>,
}

fn balances(node: &Node) -> anyhow::Result<Balances> {
    let of = |channel: lightning::ln::channel_state::ChannelDetails| {
        ensure!(channel.is_channel_ready, "a channel is not open: {channel:?}");
        let idle = channel.pending_inbound_htlcs.is_empty() && channel.pending_outbound_htlcs.is_empty();
        ensure!(idle, "payments are in flight: {channel:?}");
        Ok((channel.channel_id, channel.outbound_capacity_msat))
    };
    node.manager.list_channels().into_iter().map(of).collect()
}

impl Before {
    /// The balances now. Errors: a channel is not open, or something is in flight.
    pub fn now(hub: &Hub, workers: &[Worker]) -> anyhow::Result<Before> {
        let of = |worker: &Worker| {
            worker
                .clients
                .iter()
                .map(|client| balances(&client.node))
                .collect()
        };
        Ok(Before {
            hub: balances(&hub.node)?,
            clients: workers.iter().map(of).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Compares with the balances before. Errors: what does not add up.
    pub fn compare(&self, hub: &Hub, workers: &[Worker]) -> anyhow::Result<()> {
        let now = Before::now(hub, workers)?;
        let clients = self.clients.iter().flatten().zip(now.clients.iter().flatten());
        for ((before, after), client) in clients.zip(workers.iter().flat_map(|worker| &worker.clients)) {
            ensure!(
                before.len() == 1 && after.len() == 1,
                "a client without its channel"
            );
            for (channel, before) in before {
                let own = change(*before, after.get(channel))?;
                let paid = i128::from(client.done_msat);
                let expected = if client.payees.is_some() { -paid } else { paid };
                ensure!(own == expected, "{channel}: changed by {own}, paid {expected}");
                let before = self.hub.get(channel).context("the hub has no such channel")?;
                let of_hub = change(*before, now.hub.get(channel))?;
                ensure!(
                    of_hub == -own,
                    "{channel}: {own} for the client, {of_hub} for the hub"
                );
            }
        }
        ensure!(now.hub.len() == self.hub.len(), "the hub's channels changed");
        once(hub, workers)
    }
}

/// What the hub's files have is what the hub has. Errors: they have another balance, or lack a channel.
pub fn same(hub: &Node, kept: &Node) -> anyhow::Result<()> {
    ensure!(
        balances(hub)? == balances(kept)?,
        "the hub's files have other balances"
    );
    Ok(())
}

fn change(before: u64, after: Option<&u64>) -> anyhow::Result<i128> {
    let after = after.context("a channel is gone")?;
    Ok(i128::from(*after) - i128::from(before))
}

/// Every payment that its payer has a preimage for was claimed once, and forwarded once.
fn once(hub: &Hub, workers: &[Worker]) -> anyhow::Result<()> {
    let (mut sent, mut claimed) = ((Vec::new(), 0u64), (Vec::new(), 0u64));
    for client in workers.iter().flat_map(|worker| &worker.clients) {
        let (hashes, msat) = if client.payees.is_some() {
            &mut sent
        } else {
            &mut claimed
        };
        hashes.extend(client.done.iter().map(|hash| hash.0));
        *msat = msat
            .checked_add(client.done_msat)
            .context("more money than there is")?;
    }
    for (hashes, _) in [&mut sent, &mut claimed] {
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        ensure!(hashes.len() == count, "a payment came twice");
    }
    ensure!(!sent.0.is_empty(), "nothing was paid");
    ensure!(
        sent == claimed,
        "{} sent, {} claimed, or others",
        sent.0.len(),
        claimed.0.len()
    );
    let forwarded = *hub.forwarded.lock();
    ensure!(
        forwarded.count == sent.0.len() as u64,
        "{} forwarded, {} sent",
        forwarded.count,
        sent.0.len()
    );
    ensure!(
        forwarded.msat == sent.1,
        "{} msat forwarded, {} sent",
        forwarded.msat,
        sent.1
    );
    Ok(())
}
