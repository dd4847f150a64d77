//! What the handles see without asking: published after every turn that changed it.

use super::{Actor, entry::Entry, session::LinkState};
use crate::{Balance, ChannelView, ConnectError, Health, TowerView};
use protocol_spec::{Amount, ChannelId, Side, channel::Phase, message::HubInfo};
use std::{collections::BTreeMap, sync::Arc};

/// The client's state as of the last turn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct View {
    pub(crate) connected: bool,
    /// Why there is no connection; `None` while there is one, and before the first attempt has ended.
    pub(crate) unreachable: Option<ConnectError>,
    /// As it presented itself last; `None` before the task has begun.
    pub(crate) hub: Option<Arc<HubInfo>>,
    pub(crate) stopped: Option<String>,
    pub(crate) channels: BTreeMap<ChannelId, ChannelView>,
    pub(crate) towers: Vec<TowerView>,
}

impl Actor {
    pub(super) fn publish_view(&self) {
        let channels = self.entries.iter().map(|(id, entry)| (*id, entry.view()));
        let view = View {
            connected: matches!(self.link, LinkState::Up(_)),
            unreachable: self.unreachable.clone(),
            hub: Some(self.hub.info.clone()),
            stopped: None,
            channels: channels.collect(),
            towers: self.towers.views(),
        };
        self.publish.publish(view);
    }
}

impl Entry {
    fn view(&self) -> ChannelView {
        let channel = &self.channel;
        let quoting = self.quoting.values().flatten();
        let quoting = quoting.fold(0_u128, |sum, order| sum.saturating_add(order.cost().0));
        ChannelView {
            channel_id: channel.id(),
            config: channel.config().clone(),
            phase: match channel.phase() {
                Phase::Open if !self.confirmed => "opening",
                phase => phase.name(),
            },
            live: self.live(),
            health: self.fault.clone().map_or(Health::Good, Health::Frozen),
            balance: Balance {
                spendable: self.available(),
                settled: channel.settlement().0,
                in_flight: match self.closing {
                    Some(_) => Amount::ZERO,
                    None => self.in_flight,
                },
                queued: Amount(self.queued.0.saturating_add(quoting)),
                locked: channel.sent().locks.total(),
                incoming: channel.received().locks.total(),
                deposit: channel.funds().client_deposit,
                withdrawn: channel.withdrawn(Side::Client),
                received: channel.received().paid,
                paid: channel.sent().paid,
            },
            sent_seq: channel.sent().seq,
            received_seq: channel.received().seq,
            unacked: channel.unacked(),
            hub_deposit: channel.funds().hub_deposit,
            withdraw_pending: channel.withdrawn(Side::Client) > channel.funds().client_withdrawn,
            withdrawn_on_chain: channel.funds().client_withdrawn,
            locks_ended: self.locks_ended(),
        }
    }
}
