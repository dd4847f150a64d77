//! Asking resolvers: what the hub tells of an own lock with a resolver counts only when the chain says the same.

use super::{Actor, Retries};
use crate::{chain::ChainAccess, ports::Ports, task::OwnedTask};
use protocol_spec::{ChannelId, Lock, Opened, Witness, message::Reveal};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::mpsc, time::sleep};

/// Pause before the chain is asked again that could not be asked.
const PAUSE: Duration = Duration::from_secs(1);
/// Shortest and longest pause after a "no": the own node may be behind the hub's, or what the resolver looks at is yet to
/// come on chain. The hub may also have lied, so the pause grows.
const NO_MIN: Duration = Duration::from_secs(2);
const NO_MAX: Duration = Duration::from_secs(60);
const VERDICTS: usize = 64;

/// Questions under way and their answers.
pub(super) struct Resolvers {
    chain: Option<ChainAccess>,
    sender: mpsc::Sender<Verdict>,
    pub(super) verdicts: mpsc::Receiver<Verdict>,
    /// By own lock: what was told last is asked about, and only that.
    asked: BTreeMap<(ChannelId, u64), OwnedTask<()>>,
}

/// The chain's answer about an own lock.
pub(super) struct Verdict {
    channel_id: ChannelId,
    lock_id: u64,
    /// `None`: it has expired, and the chain never took the witness.
    opened: Option<Opened>,
}

impl Resolvers {
    pub(super) fn new(chain: Option<ChainAccess>) -> Self {
        let (sender, verdicts) = mpsc::channel(VERDICTS);
        Self {
            chain,
            sender,
            verdicts,
            asked: BTreeMap::new(),
        }
    }

    /// Asks until the chain has said yes or the lock has expired. A question about the same lock before ends.
    fn ask(&mut self, channel_id: ChannelId, lock: Lock, witness: Witness, ports: Ports) {
        let Some(chain) = self.chain.clone() else {
            return tracing::warn!(channel = %channel_id, lock = lock.id, "no chain to ask the resolver of a lock");
        };
        let (sender, lock_id) = (self.sender.clone(), lock.id);
        let work = async move {
            let opened = opened(&chain, &lock, witness, &ports).await;
            let verdict = Verdict {
                channel_id,
                lock_id,
                opened,
            };
            // The client has ended: then nobody waits for it.
            let _ = sender.send(verdict).await;
        };
        self.asked.insert((channel_id, lock_id), OwnedTask::spawn(work));
    }
}

async fn opened(chain: &ChainAccess, lock: &Lock, witness: Witness, ports: &Ports) -> Option<Opened> {
    let condition = lock.condition();
    let mut noes = Retries::default();
    while ports.now() < lock.expiry {
        let pause = match chain.opens(&condition, &witness).await {
            Ok(true) => return Opened::vouched(condition, witness),
            Ok(false) => {
                tracing::warn!(
                    lock = lock.id,
                    "the resolver does not take what the hub told; asking it again later"
                );
                noes.failed(ports, NO_MIN, NO_MAX)
            }
            Err(error) => {
                tracing::warn!(lock = lock.id, %error, "a resolver could not be asked; trying again");
                PAUSE
            }
        };
        sleep(pause).await;
    }
    None
}

impl Actor {
    /// The hub tells what opens an own lock: the proof of payment. It is not believed.
    pub(super) fn lock_revealed(&mut self, reveal: Reveal) {
        let Some(entry) = self.entries.get(&reveal.channel_id) else {
            return;
        };
        let (id, lock_id) = (reveal.channel_id, reveal.lock_id);
        let told = entry.channel.told_witnesses().any(|told| told.0 == lock_id);
        // Told again: it is converted already, or about to be.
        let Some(lock) = entry.channel.sent().locks.lock(lock_id).filter(|_| !told) else {
            return;
        };
        if lock.condition().has_resolver() {
            let (lock, ports) = (lock.clone(), self.options.ports.clone());
            return self.resolvers.ask(id, lock, reveal.witness, ports);
        }
        match Opened::by_hash(lock.condition(), reveal.witness) {
            Some(opened) => self.lock_opened(&id, lock_id, &opened),
            None => tracing::warn!(channel = %id, lock_id, "what the hub told does not open the lock"),
        }
    }

    pub(super) fn verdict(&mut self, verdict: Verdict) {
        let (id, lock_id) = (verdict.channel_id, verdict.lock_id);
        self.resolvers.asked.remove(&(id, lock_id));
        match verdict.opened {
            Some(opened) => self.lock_opened(&id, lock_id, &opened),
            None => {
                tracing::warn!(channel = %id, lock_id, "the lock has expired, and its resolver took nothing that the hub told")
            }
        }
    }
}
