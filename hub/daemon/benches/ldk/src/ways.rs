//! Routes: payer, hub, payee. A map in place of a search through a graph.

use bitcoin::secp256k1::{PublicKey, Secp256k1, Signing, Verification};
use lightning::{
    blinded_path::{
        message::{BlindedMessagePath, MessageContext, MessageForwardNode},
        payment::{BlindedPaymentPath, ReceiveTlvs},
    },
    ln::channel_state::ChannelDetails,
    onion_message::messenger::{Destination, MessageRouter, OnionMessagePath},
    routing::router::{InFlightHtlcs, Path, Payee, Route, RouteHop, RouteParameters, Router},
    sign::ReceiveAuthKey,
    types::features::{ChannelFeatures, NodeFeatures},
};
use parking_lot::RwLock;
use std::collections::HashMap;

/// Blocks between the expiries of a hub's two legs: what LDK's nodes ask by default.
const HUB_DELTA: u32 = 72;
/// Blocks that a payee has: above the least that LDK's nodes accept.
pub const PAYEE_DELTA: u32 = 70;

/// Where the hub reaches whom.
#[derive(Default)]
pub struct Ways {
    channels: RwLock<HashMap<PublicKey, u64>>,
}

impl Ways {
    /// The hub's channel with a client, by its short id.
    pub fn insert(&self, client: PublicKey, channel: u64) {
        self.channels.write().insert(client, channel);
    }
}

impl Router for Ways {
    fn find_route(
        &self,
        _: &PublicKey,
        parameters: &RouteParameters,
        first_hops: Option<&[&ChannelDetails]>,
        _: InFlightHtlcs,
    ) -> Result<Route, &'static str> {
        let own = first_hops
            .and_then(|hops| hops.first())
            .ok_or("no channel with the hub")?;
        let Payee::Clear { node_id: payee, .. } = parameters.payment_params.payee else {
            return Err("a blinded payee");
        };
        let channel = *self
            .channels
            .read()
            .get(&payee)
            .ok_or("the hub has no channel with the payee")?;
        let hop = |pubkey, short_channel_id, fee_msat, cltv_expiry_delta| RouteHop {
            pubkey,
            node_features: NodeFeatures::empty(),
            short_channel_id,
            channel_features: ChannelFeatures::empty(),
            fee_msat,
            cltv_expiry_delta,
            maybe_announced_channel: false,
        };
        let first = own.get_outbound_payment_scid().ok_or("the channel is not open")?;
        let hops = vec![
            hop(own.counterparty.node_id, first, 0, HUB_DELTA),
            hop(payee, channel, parameters.final_value_msat, PAYEE_DELTA),
        ];
        let paths = vec![Path {
            hops,
            blinded_tail: None,
        }];
        Ok(Route {
            paths,
            route_params: Some(parameters.clone()),
        })
    }

    fn create_blinded_payment_paths<T: Signing + Verification>(
        &self,
        _: PublicKey,
        _: Vec<ChannelDetails>,
        _: ReceiveTlvs,
        _: Option<u64>,
        _: &Secp256k1<T>,
    ) -> Result<Vec<BlindedPaymentPath>, ()> {
        Err(())
    }
}

/// No messages but those of channels: nobody asks for an offer here.
impl MessageRouter for Ways {
    fn find_path(&self, _: PublicKey, _: Vec<PublicKey>, _: Destination) -> Result<OnionMessagePath, ()> {
        Err(())
    }

    fn create_blinded_paths<T: Signing + Verification>(
        &self,
        _: PublicKey,
        _: ReceiveAuthKey,
        _: MessageContext,
        _: Vec<MessageForwardNode>,
        _: &Secp256k1<T>,
    ) -> Result<Vec<BlindedMessagePath>, ()> {
        Err(())
    }
}
