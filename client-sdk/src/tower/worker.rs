//! The task of one watchtower: signs and hands over what the client's task orders, at a bounded rate, and reports.

use super::{Handed, Outlet, TowerFault};
use crate::{Ports, SignerError, actor::Retries, signer::CheckedSigner};
use protocol_spec::{Accept, ChannelId, Domain, Evidence, Package, Seq, SignedAccept};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// Between two packages of different channels.
const GAP: Duration = Duration::from_millis(20);
/// Between attempts.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A hand-over that takes longer has failed.
const HAND_MAX: Duration = Duration::from_secs(15);

/// A package to be made. The newest of a channel replaces the one before.
pub(crate) struct Order {
    /// To be signed; planned by R28.
    pub(crate) accept: Accept,
    pub(crate) evidence: Arc<Evidence>,
}

impl Order {
    pub(crate) fn seq(&self) -> Seq {
        let voucher = self.evidence.received.voucher.as_ref();
        voucher.map_or(Seq::NONE, |signed| signed.voucher.seq)
    }
}

/// What is ordered, by channel.
pub(crate) type Orders = BTreeMap<ChannelId, Arc<Order>>;

/// What came of an order.
pub(crate) struct Report {
    /// Index of the tower.
    pub(crate) tower: usize,
    pub(crate) channel_id: ChannelId,
    pub(crate) accept: Accept,
    pub(crate) result: Result<Handed, TowerFault>,
}

/// One tower's task.
pub(crate) struct Worker {
    pub(crate) tower: usize,
    pub(crate) outlet: Outlet,
    pub(crate) every: Duration,
    pub(crate) signer: CheckedSigner,
    pub(crate) domain: Domain,
    pub(crate) ports: Ports,
    pub(crate) orders: watch::Receiver<Orders>,
    pub(crate) reports: mpsc::Sender<Report>,
}

/// One channel's turn.
struct Slot {
    done: Option<Accept>,
    /// What was signed last: handed over again it is not signed again, because a signature may cost a press of a button.
    signed: Option<SignedAccept>,
    /// Not before.
    next: Instant,
    retries: Retries,
}

impl Worker {
    /// Works until the client's task ends.
    pub(crate) async fn run(mut self) {
        let mut slots = BTreeMap::new();
        loop {
            let orders = self.orders.borrow_and_update().clone();
            let due = next(&mut slots, &orders);
            let now = Instant::now();
            match due {
                Some((at, id, order)) if at <= now => {
                    let result = self.hand(&mut slots, id, &order).await;
                    self.settle(&mut slots, id, &order, result.is_ok());
                    let report = Report {
                        tower: self.tower,
                        channel_id: id,
                        accept: order.accept.clone(),
                        result,
                    };
                    if self.reports.send(report).await.is_err() {
                        return;
                    }
                    sleep(GAP).await;
                }
                Some((at, ..)) => {
                    tokio::select! {
                        biased;
                        changed = self.orders.changed() => if changed.is_err() { return },
                        () = sleep_until(at) => {}
                    }
                }
                None => {
                    if self.orders.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn settle(&self, slots: &mut BTreeMap<ChannelId, Slot>, id: ChannelId, order: &Order, done: bool) {
        let Some(slot) = slots.get_mut(&id) else {
            return;
        };
        let wait = match done {
            true => {
                slot.done = Some(order.accept.clone());
                slot.retries.succeeded();
                self.every
            }
            false => slot.retries.failed(&self.ports, RETRY_MIN, RETRY_MAX),
        };
        let now = Instant::now();
        slot.next = now.checked_add(wait).unwrap_or(now);
    }

    async fn hand(
        &mut self,
        slots: &mut BTreeMap<ChannelId, Slot>,
        id: ChannelId,
        order: &Order,
    ) -> Result<Handed, TowerFault> {
        let handed = match self.countersign(slots, id, order).await {
            Err(error) => Err(error.to_string()),
            Ok(signed) => {
                let package = Package::new(&order.evidence, signed);
                let handed = timeout(HAND_MAX, self.outlet.hand(package)).await;
                handed.unwrap_or_else(|_| Err("no answer in time".to_owned()))
            }
        };
        let (seq, at) = (order.seq(), self.ports.now());
        match handed {
            Ok(()) => Ok(Handed {
                seq,
                at,
                deadline: order.accept.deadline,
            }),
            Err(why) => Err(TowerFault { seq, at, why }),
        }
    }

    /// Signs what is ordered, unless that was done at an attempt before.
    async fn countersign(
        &mut self,
        slots: &mut BTreeMap<ChannelId, Slot>,
        id: ChannelId,
        order: &Order,
    ) -> Result<SignedAccept, SignerError> {
        let before = slots.get(&id).and_then(|slot| slot.signed.as_ref());
        if let Some(signed) = before.filter(|signed| signed.accept == order.accept) {
            return Ok(signed.clone());
        }
        let accept = order.accept.clone();
        let signature = self.signer.sign(&accept.digest(&self.domain)).await?;
        let signed = SignedAccept { accept, signature };
        if let Some(slot) = slots.get_mut(&id) {
            slot.signed = Some(signed.clone());
        }
        Ok(signed)
    }
}

/// The order whose turn it is or will be first. Who waits longest is first.
fn next(slots: &mut BTreeMap<ChannelId, Slot>, orders: &Orders) -> Option<(Instant, ChannelId, Arc<Order>)> {
    slots.retain(|id, _| orders.contains_key(id));
    let mut first: Option<(Instant, ChannelId, Arc<Order>)> = None;
    for (id, order) in orders {
        let slot = slots.entry(*id).or_insert_with(|| Slot {
            done: None,
            signed: None,
            next: Instant::now(),
            retries: Retries::default(),
        });
        let waits = slot.done.as_ref() != Some(&order.accept);
        if waits && first.as_ref().is_none_or(|(at, ..)| slot.next < *at) {
            first = Some((slot.next, *id, order.clone()));
        }
    }
    first
}
