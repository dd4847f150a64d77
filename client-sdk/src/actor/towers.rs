//! What the watchtowers get: ordered after each turn's commit, so that only stored vouchers are countersigned.

use super::{Actor, entry::Entry, pay::later};
use crate::{
    ClientEvent, ConnectError, Tower, TowerChannel, TowerFault, TowerView,
    options::Options,
    signer::CheckedSigner,
    task::OwnedTask,
    tower::{Order, Orders, Report, Worker},
};
use protocol_spec::{Accept, ChannelId, Digest, Domain, UnixSeconds, channel::Phase};
use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Orders of one channel come no faster, however many vouchers it accepts.
const ORDER_EVERY: Duration = Duration::from_millis(100);
const REPORTS: usize = 64;

/// One tower as this task sees it.
struct Post {
    tower: Tower,
    orders: watch::Sender<Orders>,
    /// What was ordered last, by channel.
    ordered: BTreeMap<ChannelId, Accept>,
    /// What came of it.
    channels: BTreeMap<ChannelId, TowerChannel>,
    /// Orders that are not reported on yet.
    open: BTreeMap<ChannelId, Accept>,
    _task: OwnedTask<()>,
}

/// All towers.
pub(super) struct Towers {
    posts: Vec<Post>,
    reports: mpsc::Receiver<Report>,
}

impl Towers {
    /// Starts one task per tower.
    pub(super) fn start(
        options: &Options,
        signer: &CheckedSigner,
        domain: Domain,
    ) -> Result<Self, ConnectError> {
        let (sender, reports) = mpsc::channel(REPORTS);
        let mut posts = Vec::new();
        for (index, tower) in options.towers.iter().enumerate() {
            let (orders, ordered) = watch::channel(Orders::new());
            let worker = Worker {
                tower: index,
                outlet: tower.outlet(options.ports.network.clone())?,
                every: tower.every,
                signer: signer.clone(),
                domain,
                ports: options.ports.clone(),
                orders: ordered,
                reports: sender.clone(),
            };
            posts.push(Post {
                tower: tower.clone(),
                orders,
                ordered: BTreeMap::new(),
                channels: BTreeMap::new(),
                open: BTreeMap::new(),
                _task: OwnedTask::spawn(worker.run()),
            });
        }
        Ok(Self { posts, reports })
    }

    /// Adds what was reported to `reports`.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, reports: &mut Vec<Report>) {
        // Ready and empty for ever when there is no tower.
        while let Poll::Ready(Some(report)) = self.reports.poll_recv(context) {
            reports.push(report);
            if reports.len() >= REPORTS {
                break;
            }
        }
    }

    pub(super) fn views(&self) -> Vec<TowerView> {
        let view = |post: &Post| TowerView {
            place: post.tower.place(),
            submitter: post.tower.submitter,
            channels: post.channels.clone(),
        };
        self.posts.iter().map(view).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Everything ordered was handed over, or was tried and failed.
    pub(super) fn idle(&self) -> bool {
        self.posts.iter().all(|post| post.open.is_empty())
    }

    /// True when a package of `id` is past half of its life.
    fn ageing(&self, id: &ChannelId, now: UnixSeconds) -> bool {
        let old = |post: &Post| {
            let accept = post.ordered.get(id);
            accept.is_some_and(|accept| post.tower.half_spent(accept.deadline, now))
        };
        self.posts.iter().any(old)
    }

    fn forget(&mut self, id: &ChannelId) {
        for post in &mut self.posts {
            post.orders.send_if_modified(|orders| orders.remove(id).is_some());
            post.ordered.remove(id);
            post.open.remove(id);
        }
    }
}

impl Tower {
    fn deadline(&self, now: UnixSeconds) -> UnixSeconds {
        now.after(self.life.as_secs())
    }

    fn half_spent(&self, deadline: UnixSeconds, now: UnixSeconds) -> bool {
        now.after(self.life.as_secs().div_ceil(2)) >= deadline
    }
}

impl Post {
    /// Orders `accept` unless the same was ordered and is fresh.
    fn order(
        &mut self,
        id: ChannelId,
        accept: Accept,
        order: impl FnOnce(Accept) -> Order,
        now: UnixSeconds,
    ) {
        let before = self.ordered.get(&id);
        let same = before.is_some_and(|before| {
            before.voucher == accept.voucher && !self.tower.half_spent(before.deadline, now)
        });
        if same {
            return;
        }
        self.ordered.insert(id, accept.clone());
        self.open.insert(id, accept.clone());
        let order = Arc::new(order(accept));
        self.orders.send_modify(|orders| drop(orders.insert(id, order)));
    }
}

/// Whether an accepted voucher may be countersigned now.
enum Leave {
    Yes,
    /// Looked at again later.
    NotYet,
    No(&'static str),
}

impl Entry {
    /// R28 forbids it while a marked lock is unconverted. Marks come into being in disputes only, and they may be there before this
    /// client has seen them: in a channel that was ever disputed, vouchers with locks are not handed over.
    fn leave(&self) -> Leave {
        if self.channel.received().commitment() == Digest::ZERO {
            return Leave::Yes;
        }
        match self.ever_disputed {
            Some(false) => Leave::Yes,
            Some(true) => Leave::No(
                "R28: the channel was disputed, and the voucher has locks; the next one without locks is handed over",
            ),
            None => Leave::NotYet,
        }
    }
}

impl Actor {
    /// Orders packages of what was accepted. Runs after the turn's commit.
    pub(super) fn order_packages(&mut self) {
        if self.towers.is_empty() {
            return;
        }
        let (clock, now) = (self.clock(), tokio::time::Instant::now());
        for (id, entry) in &mut self.entries {
            if *entry.channel.phase() == Phase::Closed {
                entry.package_due = false;
                self.towers.forget(id);
                continue;
            }
            if !entry.package_due || entry.package_next.is_some_and(|next| now < next) {
                continue;
            }
            entry.package_next = Some(later(ORDER_EVERY));
            let refusal = match entry.leave() {
                Leave::NotYet => continue,
                Leave::Yes => None,
                Leave::No(why) => Some(why.to_owned()),
            };
            entry.package_due = false;
            let evidence = Arc::new(crate::evidence::of(&entry.channel, &self.hub.domain, None));
            for post in &mut self.towers.posts {
                let deadline = post.tower.deadline(clock.now);
                let planned = match &refusal {
                    Some(why) => Err(why.clone()),
                    None => {
                        let (submitter, may_dispute) = (post.tower.submitter, post.tower.may_dispute);
                        let planned = entry.channel.plan_accept(submitter, may_dispute, deadline);
                        planned.map_err(|reject| reject.to_string())
                    }
                };
                let order = |accept| Order {
                    accept,
                    evidence: evidence.clone(),
                };
                match planned {
                    Ok(Some(accept)) => post.order(*id, accept, order, clock.now),
                    Ok(None) => {}
                    Err(why) => {
                        let (seq, at) = (entry.channel.received().seq, clock.now);
                        post.channels.entry(*id).or_default().fault = Some(TowerFault { seq, at, why });
                    }
                }
            }
        }
    }

    /// Renews what is past half of its life.
    pub(super) fn renew_packages(&mut self) {
        let now = self.clock().now;
        for (id, entry) in &mut self.entries {
            entry.package_due |= self.towers.ageing(id, now);
        }
    }

    /// What came of an order.
    pub(super) fn package_handed(&mut self, report: Report) {
        let Report {
            tower,
            channel_id,
            accept,
            result,
        } = report;
        let Some(post) = self.towers.posts.get_mut(tower) else {
            return;
        };
        if post.open.get(&channel_id) == Some(&accept) {
            post.open.remove(&channel_id);
        }
        let channel = post.channels.entry(channel_id).or_default();
        let why = match result {
            Ok(handed) => {
                channel.handed = Some(handed);
                channel.fault = None;
                return;
            }
            Err(fault) => {
                let before = channel.fault.replace(fault.clone());
                if before.is_some_and(|before| before.why == fault.why) {
                    return;
                }
                fault.why
            }
        };
        let place = post.tower.place();
        tracing::warn!(channel = %channel_id, tower = place, why, "no package handed over; tried again");
        self.emit(ClientEvent::TowerFailed {
            place,
            channel_id,
            why,
        });
    }

    /// Nothing waits to be handed over, but for what was tried and failed.
    pub(super) fn towers_idle(&self) -> bool {
        self.towers.is_empty()
            || (self.towers.idle() && self.entries.values().all(|entry| !entry.package_due))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    /// Whoever resolved locks in a dispute that was cancelled has marks, which a tower's newer voucher would uncount.
    #[test]
    fn r28_a_voucher_with_locks_is_countersigned_only_where_there_was_no_dispute() {
        let mut entry = samples::with_first_voucher(&[samples::lock_of(10)]);
        assert!(
            matches!(entry.leave(), Leave::NotYet),
            "the chain was not asked yet"
        );
        entry.ever_disputed = Some(false);
        assert!(matches!(entry.leave(), Leave::Yes));
        entry.ever_disputed = Some(true);
        assert!(matches!(entry.leave(), Leave::No(_)));
    }
}
