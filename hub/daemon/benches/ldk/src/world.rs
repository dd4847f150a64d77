//! A hub and its clients with open channels.

use crate::{
    chain::{Chain, blocks},
    client::{Client, Worker, settle},
    hub::Hub,
    load::Load,
    node::{CHANNEL_SAT, Keeper, Keys, Node, Shared, keys},
    store::{Files, Nothing},
};
use anyhow::{Context, anyhow, ensure};
use lightning::util::persist::{
    CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE, KVStoreSync, MonitorUpdatingPersister,
};
use std::{
    collections::HashMap,
    sync::{Arc, mpsc::channel},
};

/// The seed of the hub's keys; clients have those above.
const HUB: u32 = 0;
/// Updates of a monitor that are kept beside it before it is written as a whole, as in LDK Node.
const UPDATES_MAX: u64 = 100;
/// Confirmations after which LDK's nodes take a channel as open by default.
const CONFIRMATIONS: u32 = 6;
/// Tenths of a channel that its client has at first.
const PAYER_TENTHS: u64 = 9;
const PAYEE_TENTHS: u64 = 1;

/// How many of each.
#[derive(Clone, Copy)]
pub struct Size {
    /// Payers, each with a channel.
    pub payers: usize,
    /// Payees, each with a channel.
    pub payees: usize,
    /// Threads that play them.
    pub workers: usize,
}

/// A hub and its clients.
pub struct World {
    /// The hub.
    pub hub: Hub,
    /// The clients.
    pub workers: Vec<Worker>,
    shared: Shared,
}

impl World {
    /// Opens a channel for everybody. The hub keeps its node in `store`.
    pub fn open(size: Size, store: Option<Arc<Files>>, load: &Load) -> anyhow::Result<World> {
        let shared = Shared::default();
        let keeper: Keeper = match &store {
            None => Arc::new(Nothing),
            Some(store) => Arc::new(updating(store.clone(), &shared.chain)),
        };
        let hub_node = Node::new(keys(HUB), keeper, &shared)?;
        let payees = nodes(HUB, size.payees, &shared)?;
        let ids: Arc<[_]> = payees.iter().map(|node| node.id).collect();
        let payers = nodes(u32::try_from(size.payees)?, size.payers, &shared)?;
        let payees = payees.into_iter().map(|node| Client::new(node, None));
        let payers = payers
            .into_iter()
            .map(|node| Client::new(node, Some(ids.clone())));
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..size.workers).map(|_| channel()).unzip();
        let mut workers: Vec<_> = inboxes.into_iter().map(Worker::new).collect();
        let mut places = HashMap::new();
        for (number, client) in payees.chain(payers).enumerate() {
            let at = number % size.workers;
            let worker = workers.get_mut(at).context("no worker")?;
            places.insert(client.node.id, (at, worker.clients.len()));
            worker.clients.push(client);
        }
        let mut world = World {
            hub: Hub::new(hub_node, store, places, senders),
            workers,
            shared,
        };
        world.open_channels(load)?;
        Ok(world)
    }

    fn open_channels(&mut self, load: &Load) -> anyhow::Result<()> {
        let hub = &self.hub;
        for client in self.workers.iter().flat_map(|worker| &worker.clients) {
            let tenths = if client.payees.is_some() {
                PAYER_TENTHS
            } else {
                PAYEE_TENTHS
            };
            let msat = CHANNEL_SAT.saturating_mul(100).saturating_mul(tenths);
            hub.node.connect(&client.node, false)?;
            client.node.connect(&hub.node, true)?;
            hub.node
                .manager
                .create_channel(client.node.id, CHANNEL_SAT, msat, 0, None, None)
                .map_err(|why| anyhow!("no channel: {why:?}"))?;
        }
        settle(&mut self.workers, hub, load)?;
        for (height, block) in blocks(std::mem::take(&mut *hub.funding.lock()), CONFIRMATIONS) {
            hub.node.mined(height, &block);
            for client in self.workers.iter().flat_map(|worker| &worker.clients) {
                client.node.mined(height, &block);
            }
        }
        settle(&mut self.workers, hub, load)?;
        for channel in hub.node.manager.list_usable_channels() {
            let number = channel.short_channel_id.context("a channel without a number")?;
            self.shared.ways.insert(channel.counterparty.node_id, number);
        }
        Ok(())
    }

    /// Lets everything come to rest. Errors: somebody closed a channel on the chain.
    pub fn rest(&mut self, load: &Load) -> anyhow::Result<()> {
        settle(&mut self.workers, &self.hub, load)?;
        let channels: usize = self.workers.iter().map(|worker| worker.clients.len()).sum();
        let broadcast = self.shared.chain.broadcast();
        ensure!(
            broadcast == channels,
            "{broadcast} transactions for {channels} channels"
        );
        Ok(())
    }
}

/// Nodes of clients, with the seeds after `last`.
fn nodes(last: u32, count: usize, shared: &Shared) -> anyhow::Result<Vec<Node>> {
    let seeds = (last..).skip(1).take(count);
    seeds
        .map(|seed| Node::new(keys(seed), Arc::new(Nothing), shared))
        .collect()
}

type Updating = MonitorUpdatingPersister<Arc<Files>, Arc<Chain>, Keys, Keys, Arc<Chain>, Arc<Chain>>;

/// What writes the hub's monitors to files, and reads them.
fn updating(store: Arc<Files>, chain: &Arc<Chain>) -> Updating {
    let chain = chain.clone();
    let (keys, same) = (keys(HUB), keys(HUB));
    MonitorUpdatingPersister::new(
        store,
        chain.clone(),
        UPDATES_MAX,
        keys,
        same,
        chain.clone(),
        chain,
    )
}

/// The hub's node as its files have it.
pub fn kept(store: &Arc<Files>) -> anyhow::Result<Node> {
    let shared = Shared::default();
    let monitors = updating(store.clone(), &shared.chain).read_all_channel_monitors_with_updates()?;
    let manager = store.read(
        CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
        CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE,
        CHANNEL_MANAGER_PERSISTENCE_KEY,
    )?;
    Node::read(keys(HUB), &manager, &monitors, &shared)
}
