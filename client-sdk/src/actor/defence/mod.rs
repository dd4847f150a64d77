//! What R21 asks of who is online, by this client's own transactions: while a channel is disputed its newest voucher is shown,
//! its locks are resolved, and in the end it is finalized. A dispute is started when a lock that this client can open expires
//! soon and the hub has not converted it.
//!
//! What is to be done follows from the chain and the store at every reading, so nothing of it needs to be remembered: after
//! a restart, a reorg or a failure the same question has the same answer.

mod fewer;
mod rest;
mod step;

pub(super) use step::Progress;

use super::{Actor, pay::later};
use crate::{
    ChainError, ClientEvent, Defence,
    chain::{ChainAccess, Seen, Urgency},
    task::OwnedTask,
};
use protocol_spec::{ChannelId, Config};
use std::{collections::BTreeMap, time::Duration};
use step::{Sighting, Step};
use tokio::{sync::mpsc, time::Instant};

/// Between two attempts at the same.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// So many failures to finalize are told: with locks a dispute is final some time after its window (R18).
const NOT_FINALIZED_MAX: u32 = 5;
const DONE: usize = 64;

/// Transactions under way and their ends.
pub(super) struct Defences {
    chain: Option<ChainAccess>,
    sender: mpsc::Sender<Done>,
    pub(super) done: mpsc::Receiver<Done>,
    under_way: BTreeMap<ChannelId, UnderWay>,
}

struct UnderWay {
    gives_way: bool,
    _task: OwnedTask<()>,
}

/// News of one step.
pub(super) struct Done {
    channel_id: ChannelId,
    news: News,
}

enum News {
    /// No block took its transaction for so long; it offers more.
    Waits {
        gives_way: bool,
    },
    Over(Step, Result<Option<String>, ChainError>),
}

impl Defences {
    pub(super) fn new(chain: Option<ChainAccess>) -> Self {
        let (sender, done) = mpsc::channel(DONE);
        Self {
            chain,
            sender,
            done,
            under_way: BTreeMap::new(),
        }
    }

    /// Who answers for a channel with `config`.
    pub(super) fn answer(&self, config: &Config, wanted: bool) -> Defence {
        let sender = self.chain.as_ref().and_then(ChainAccess::sender);
        match sender {
            Some(sender) if wanted && (sender == config.client || sender == config.client_signer) => {
                Defence::Automatic
            }
            _ => Defence::ByHand,
        }
    }
}

impl Actor {
    /// Does what a channel's newest reading asks for, one transaction at a time.
    pub(super) fn defend(&mut self, id: &ChannelId, seen: &Seen) {
        let sighting = Sighting {
            disputes: &seen.disputes,
            open: seen.open,
            needed: seen.needed,
            shared: seen.shared_dispute,
            marked: &seen.marked,
            withdrawn: seen.newest.client_withdrawn,
            now: self.reading.now,
            latest: self.clock().now,
        };
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let Some(chain) = self.defences.chain.clone() else {
            return;
        };
        let now = Instant::now();
        if entry.defence.next.is_some_and(|next| now < next) {
            return;
        }
        let config = entry.channel.config().clone();
        let step = match self.defences.answer(&config, self.options.defend) {
            Defence::Automatic => entry.step(&sighting),
            Defence::ByHand => None,
        };
        let withdrawal = || entry.unmined_withdrawal(&sighting, self.options.broadcast);
        let step = step.or_else(|| withdrawal().filter(|_| chain.sender().is_some()));
        let Some(step) = step.filter(|step| !entry.rests(step, &sighting, now)) else {
            return;
        };
        let gives_way = step.gives_way();
        let before = self.defences.under_way.get(id);
        if before.is_some_and(|before| gives_way || !before.gives_way) {
            return;
        }
        let data = entry.calldata(&step);
        let gas_most = entry.gas_most(&step);
        let (sender, channel_id) = (self.defences.sender.clone(), *id);
        let work = async move {
            let waits = || {
                let news = News::Waits { gives_way };
                // Full: what is in it says enough.
                let _ = sender.try_send(Done { channel_id, news });
            };
            let result = carry_out(&chain, &step, &config, (data, gas_most), waits).await;
            let done = Done {
                channel_id,
                news: News::Over(step, result),
            };
            // The client has ended: the next one looks at the chain anew.
            let _ = sender.send(done).await;
        };
        let under_way = UnderWay {
            gives_way,
            _task: OwnedTask::spawn(work),
        };
        self.defences.under_way.insert(*id, under_way);
    }

    pub(super) fn defended(&mut self, done: Done) {
        let id = done.channel_id;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let seq = entry.channel.received().seq;
        let (step, result) = match done.news {
            News::Over(step, result) => (step, result),
            News::Waits { gives_way: true } => return,
            News::Waits { gives_way: false } => {
                let why = "no block takes the transaction; it offers more".to_owned();
                return self.defence_failed(id, why);
            }
        };
        // What was put in its place goes on.
        let gives_way = step.gives_way();
        self.defences
            .under_way
            .extract_if(.., |other, task| *other == id && task.gives_way == gives_way)
            .for_each(drop);
        entry.defence.disputed_last = matches!(step, Step::Dispute { .. });
        let something_else = entry.heard(&step, result.as_ref().err());
        if !something_else && matches!(result, Ok(Some(_)) | Err(ChainError::Reverted { .. })) {
            entry.spent(&step, self.options.chain_poll, Instant::now());
        }
        match result {
            Ok(transaction) => {
                entry.defence.retries.succeeded();
                entry.defence.told = None;
                // The next reading shows it.
                entry.defence.next = Some(later(self.options.chain_poll.saturating_mul(2)));
                entry.defence.not_finalized = 0;
                match step {
                    Step::Show { locks, .. } => entry.defence.resolved.2.extend(locks),
                    Step::Claim => entry.defence.claimed = true,
                    Step::Dispute { .. } | Step::Finalize | Step::Withdraw { .. } => {}
                }
                if let Some(transaction) = transaction.filter(|_| !gives_way) {
                    self.emit(ClientEvent::Defended {
                        channel_id: id,
                        seq,
                        transaction,
                    });
                }
            }
            Err(error) => {
                let retries = &mut entry.defence.retries;
                let wait = match something_else {
                    true => RETRY_MIN,
                    false => retries.failed(&self.options.ports, RETRY_MIN, RETRY_MAX),
                };
                entry.defence.next = Some(later(wait));
                // Not final yet, or the hub was faster: nobody needs to do anything about it.
                match step {
                    Step::Finalize => {
                        let times = entry.defence.not_finalized.saturating_add(1);
                        entry.defence.not_finalized = times;
                        tracing::debug!(channel = %id, %error, times, "cannot be finalized yet");
                        if times < NOT_FINALIZED_MAX {
                            return;
                        }
                        let why = format!("the dispute cannot be finalized yet; tried again: {error}");
                        return self.defence_failed(id, why);
                    }
                    Step::Withdraw { .. } => {
                        return tracing::info!(channel = %id, %error, "the withdrawal was not handed in");
                    }
                    _ => {}
                }
                self.defence_failed(id, error.to_string());
            }
        }
    }

    /// Told once for each reason.
    fn defence_failed(&mut self, channel_id: ChannelId, why: String) {
        let known = self
            .entries
            .get_mut(&channel_id)
            .and_then(|entry| entry.defence.told.replace(why.clone()));
        if known.as_ref() != Some(&why) {
            self.emit(ClientEvent::DefenceFailed { channel_id, why });
        }
    }
}

/// The transaction's hash; `None` when there is nothing to do.
async fn carry_out(
    chain: &ChainAccess,
    step: &Step,
    config: &Config,
    (data, gas_most): (Vec<u8>, u64),
    waits: impl Fn() + Send + Sync,
) -> Result<Option<String>, ChainError> {
    let defence = Urgency::Defence { gas_most };
    let sent = match step {
        Step::Dispute { left, .. } | Step::Show { left, .. } => {
            chain.defend(data, Some(*left), defence, waits).await
        }
        Step::Withdraw { left } => chain.defend(data, Some(*left), Urgency::CanWait, waits).await,
        Step::Finalize => chain.defend(data, None, Urgency::CanWait, waits).await,
        Step::Claim => {
            let own = chain.sender() == Some(config.client);
            if !own || chain.claimable(config.token).await?.is_zero() {
                return Ok(None);
            }
            chain.defend(data, None, Urgency::CanWait, waits).await
        }
    };
    sent.map(|hash| Some(hash.to_string()))
}
