//! After kill -9: has the hub everything that it acknowledged, once, to the last unit?

use super::{channels, lane::Lane, shared::Stage};
use crate::stage::{child::Hub, world::World};
use protocol_spec::message::ResumeReply;

/// Channels on a connection of the comparison.
const EACH: usize = 64;

/// What the comparison found.
pub(super) struct Kept {
    /// Channels compared.
    pub(super) channels: usize,
    /// What is not as it was acknowledged.
    pub(super) lost: Vec<String>,
}

/// Compares every channel with what its client signed and heard.
pub(super) async fn kept(hub: &Hub, world: &World, lanes: Vec<Lane>, stage: &Stage) -> anyhow::Result<Kept> {
    let channels = lanes.len();
    let connections = channels.div_ceil(EACH);
    let mut lost = Vec::new();
    for (mut wire, lanes) in channels::connect(hub, world, lanes, connections, &stage.nonces).await? {
        let resumed = wire.resume(&lanes).await?;
        anyhow::ensure!(
            resumed.len() == lanes.len(),
            "the hub resumed fewer channels than asked"
        );
        lost.extend(
            lanes
                .iter()
                .zip(&resumed)
                .filter_map(|(lane, reply)| difference(lane, reply)),
        );
    }
    Ok(Kept { channels, lost })
}

fn difference(lane: &Lane, reply: &ResumeReply) -> Option<String> {
    let received = reply.received.as_ref().map(|signed| signed.voucher.seq);
    let has = (received.unwrap_or_default(), reply.channel.client_paid);
    let (acknowledged, heard) = (lane.paid(), lane.heard.1);
    if has != acknowledged {
        return Some(format!(
            "channel {}: acknowledged voucher {} of {} in all, the hub has {} of {}",
            lane.id, acknowledged.0, acknowledged.1, has.0, has.1
        ));
    }
    // Every credit had come, and none was counted twice: the client's sum is the hub's.
    (reply.channel.hub_paid != heard).then(|| {
        format!(
            "channel {}: the hub has paid {}, its client heard of {heard}",
            lane.id, reply.channel.hub_paid
        )
    })
}
