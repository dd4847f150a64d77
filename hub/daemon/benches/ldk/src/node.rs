//! A node: LDK's channel manager with its signer and monitors.

use crate::{
    chain::{self, Chain, NETWORK},
    store::Nothing,
    ways::Ways,
};
use anyhow::{anyhow, bail};
use bitcoin::{Block, BlockHash, constants::genesis_block, secp256k1::PublicKey};
use lightning::{
    chain::{
        Filter, Listen,
        chainmonitor::{ChainMonitor, Persist},
        channelmonitor::ChannelMonitor,
    },
    events::{Event, EventsProvider},
    ln::{
        channelmanager::{ChainParameters, ChannelManager, ChannelManagerReadArgs},
        msgs::{BaseMessageHandler, ChannelMessageHandler, Init, MessageSendEvent},
    },
    sign::{InMemorySigner, KeysManager, NodeSigner, Recipient},
    util::{config::UserConfig, ser::ReadableArgs},
};
use std::{cell::RefCell, sync::Arc};

/// Where a node keeps its monitors.
pub type Keeper = Arc<dyn Persist<InMemorySigner> + Send + Sync>;
/// A monitor as it was written.
pub type Kept = (BlockHash, ChannelMonitor<InMemorySigner>);
/// A node's signer.
pub type Keys = Arc<KeysManager>;
type Monitors = ChainMonitor<
    InMemorySigner,
    Arc<dyn Filter + Send + Sync>,
    Arc<Chain>,
    Arc<Chain>,
    Arc<Chain>,
    Keeper,
    Keys,
>;
type Manager =
    ChannelManager<Arc<Monitors>, Arc<Chain>, Keys, Keys, Keys, Arc<Chain>, Arc<Ways>, Arc<Ways>, Arc<Chain>>;

/// HTLCs in flight that a node takes in one channel: the most that the protocol allows, for LDK's default is 50.
pub const HTLCS_MAX: u16 = 483;
/// The greatest channel, in satoshis: ten bitcoins, so that it lasts for any run.
pub const CHANNEL_SAT: u64 = 1_000_000_000;

/// One party.
pub struct Node {
    /// Its public key.
    pub id: PublicKey,
    /// LDK's state machine of its channels.
    pub manager: Manager,
    monitors: Arc<Monitors>,
}

/// What all nodes share.
#[derive(Clone, Default)]
pub struct Shared {
    /// The chain they see.
    pub chain: Arc<Chain>,
    /// The routes they take.
    pub ways: Arc<Ways>,
}

/// LDK's defaults but for limits that would hold it back, for fees, and for leave to forward into unannounced channels.
fn config() -> UserConfig {
    let mut config = UserConfig::default();
    config.channel_handshake_config.our_max_accepted_htlcs = HTLCS_MAX;
    config.channel_handshake_limits.max_funding_satoshis = CHANNEL_SAT;
    config.channel_config.forwarding_fee_base_msat = 0;
    config.accept_forwards_to_priv_channels = true;
    config
}

/// The keys of a seed. Keys of tests: they hold nothing.
pub fn keys(seed: u32) -> Keys {
    let mut bytes = [7; 32];
    for (byte, of_seed) in bytes.iter_mut().zip(seed.to_be_bytes()) {
        *byte = of_seed;
    }
    Arc::new(KeysManager::new(&bytes, u64::from(seed), seed, true))
}

fn id(keys: &Keys) -> anyhow::Result<PublicKey> {
    keys.get_node_id(Recipient::Node)
        .map_err(|()| anyhow!("no node id"))
}

fn monitors(keys: &Keys, keeper: Keeper, chain: &Arc<Chain>) -> Arc<Monitors> {
    let secret = keys.get_peer_storage_key();
    let chain = chain.clone();
    Arc::new(ChainMonitor::new(
        None,
        chain.clone(),
        chain.clone(),
        chain,
        keeper,
        keys.clone(),
        secret,
    ))
}

impl Node {
    /// A node without channels.
    pub fn new(keys: Keys, keeper: Keeper, shared: &Shared) -> anyhow::Result<Node> {
        let chain = &shared.chain;
        let monitors = monitors(&keys, keeper, chain);
        let manager = ChannelManager::new(
            chain.clone(),
            monitors.clone(),
            chain.clone(),
            shared.ways.clone(),
            shared.ways.clone(),
            chain.clone(),
            keys.clone(),
            keys.clone(),
            keys.clone(),
            config(),
            ChainParameters {
                network: NETWORK,
                best_block: chain::start(),
            },
            genesis_block(NETWORK).header.time,
        );
        Ok(Node {
            id: id(&keys)?,
            manager,
            monitors,
        })
    }

    /// A node as it was written: its manager, and its monitors with their updates.
    pub fn read(keys: Keys, mut manager: &[u8], kept: &[Kept], shared: &Shared) -> anyhow::Result<Node> {
        let chain = &shared.chain;
        let monitors = monitors(&keys, Arc::new(Nothing), chain);
        let arguments = ChannelManagerReadArgs::new(
            keys.clone(),
            keys.clone(),
            keys.clone(),
            chain.clone(),
            monitors.clone(),
            chain.clone(),
            shared.ways.clone(),
            shared.ways.clone(),
            chain.clone(),
            config(),
            kept.iter().map(|(_, monitor)| monitor).collect(),
        );
        match <(BlockHash, Manager)>::read(&mut manager, arguments) {
            Ok((_, manager)) => Ok(Node {
                id: id(&keys)?,
                manager,
                monitors,
            }),
            Err(why) => bail!("the manager cannot be read: {why:?}"),
        }
    }

    /// Says that a connection with `other` is there; `inbound` if the other one made it.
    pub fn connect(&self, other: &Node, inbound: bool) -> anyhow::Result<()> {
        let features = other.manager.provided_init_features(self.id);
        let init = Init {
            features,
            networks: None,
            remote_network_address: None,
        };
        if self.manager.peer_connected(other.id, &init, inbound).is_err() {
            bail!("{} refuses {}", self.id, other.id);
        }
        Ok(())
    }

    /// A block is there.
    pub fn mined(&self, height: u32, block: &Block) {
        self.monitors.block_connected(block, height);
        self.manager.block_connected(block, height);
    }

    /// Takes what is to be told to the user of the node.
    pub fn events(&self) -> Vec<Event> {
        let events = RefCell::new(Vec::new());
        self.manager.process_pending_events(&|event| {
            events.borrow_mut().push(event);
            Ok(())
        });
        events.into_inner()
    }

    /// Goes on with HTLCs that are locked in: forwards them, or shows them to the payee.
    pub fn forward(&self) {
        if self.manager.needs_pending_htlc_processing() {
            self.manager.process_pending_htlc_forwards();
        }
    }

    /// Hands over a message. Errors: the peer complains, or says what no payment needs.
    pub fn handle(&self, from: PublicKey, event: &MessageSendEvent) -> anyhow::Result<()> {
        let manager = &self.manager;
        match event {
            MessageSendEvent::SendOpenChannel { msg, .. } => manager.handle_open_channel(from, msg),
            MessageSendEvent::SendAcceptChannel { msg, .. } => manager.handle_accept_channel(from, msg),
            MessageSendEvent::SendFundingCreated { msg, .. } => manager.handle_funding_created(from, msg),
            MessageSendEvent::SendFundingSigned { msg, .. } => manager.handle_funding_signed(from, msg),
            MessageSendEvent::SendChannelReady { msg, .. } => manager.handle_channel_ready(from, msg),
            MessageSendEvent::SendChannelUpdate { msg, .. } => manager.handle_channel_update(from, msg),
            MessageSendEvent::SendRevokeAndACK { msg, .. } => manager.handle_revoke_and_ack(from, msg),
            MessageSendEvent::UpdateHTLCs { updates, .. } => {
                if !updates.update_fail_htlcs.is_empty() || !updates.update_fail_malformed_htlcs.is_empty() {
                    bail!("{from} fails a payment: {updates:?}");
                }
                for add in &updates.update_add_htlcs {
                    manager.handle_update_add_htlc(from, add);
                }
                for fulfill in &updates.update_fulfill_htlcs {
                    manager.handle_update_fulfill_htlc(from, fulfill.clone());
                }
                for signed in &updates.commitment_signed {
                    manager.handle_commitment_signed(from, signed);
                }
            }
            other => bail!("{from} says {other:?}"),
        }
        Ok(())
    }
}

/// To whom a message goes. Errors: it goes to nobody in particular.
pub fn receiver(event: &MessageSendEvent) -> anyhow::Result<PublicKey> {
    Ok(match event {
        MessageSendEvent::SendOpenChannel { node_id, .. }
        | MessageSendEvent::SendAcceptChannel { node_id, .. }
        | MessageSendEvent::SendFundingCreated { node_id, .. }
        | MessageSendEvent::SendFundingSigned { node_id, .. }
        | MessageSendEvent::SendChannelReady { node_id, .. }
        | MessageSendEvent::SendChannelUpdate { node_id, .. }
        | MessageSendEvent::SendRevokeAndACK { node_id, .. }
        | MessageSendEvent::UpdateHTLCs { node_id, .. } => *node_id,
        other => bail!("the hub says {other:?}"),
    })
}
