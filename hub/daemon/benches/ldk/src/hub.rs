//! The hub: a node that forwards, with its threads, its disk and its share of the processors.

use crate::{
    chain,
    client::Letter,
    node::{Node, receiver},
    store::Files,
};
use anyhow::{Context, bail};
use bitcoin::{Transaction, secp256k1::PublicKey};
use lightning::{
    events::Event,
    ln::msgs::{BaseMessageHandler, MessageSendEvent},
    util::{
        persist::{
            CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
            CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE, KVStoreSync,
        },
        ser::Writeable,
    },
};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::Sender,
    },
    thread::Thread,
    time::Duration,
};

/// How long a thread of the hub waits at most before it looks by itself.
const LOOK: Duration = Duration::from_millis(10);

/// What went through the hub.
#[derive(Clone, Copy, Default)]
pub struct Forwarded {
    /// Payments whose preimage came back.
    pub count: u64,
    /// Their sum, in thousandths of a satoshi.
    pub msat: u64,
}

/// The hub.
pub struct Hub {
    /// Its node.
    pub node: Node,
    /// Its files, if it keeps anything.
    pub store: Option<Arc<Files>>,
    /// Transactions that fund its channels.
    pub funding: Mutex<Vec<Transaction>>,
    /// What went through it.
    pub forwarded: Mutex<Forwarded>,
    clients: HashMap<PublicKey, (usize, usize)>,
    workers: Vec<Sender<Letter>>,
    draining: AtomicUsize,
    forwarder: OnceLock<Thread>,
    cpu_ns: AtomicU64,
    manager_writes: AtomicU64,
}

impl Hub {
    /// A hub whose `clients` are reached through the worker and the place there that are said for each.
    pub fn new(
        node: Node,
        store: Option<Arc<Files>>,
        clients: HashMap<PublicKey, (usize, usize)>,
        workers: Vec<Sender<Letter>>,
    ) -> Hub {
        Hub {
            node,
            store,
            funding: Mutex::default(),
            forwarded: Mutex::default(),
            clients,
            workers,
            draining: AtomicUsize::new(0),
            forwarder: OnceLock::new(),
            cpu_ns: AtomicU64::new(0),
            manager_writes: AtomicU64::new(0),
        }
    }

    /// Processor time spent in the hub's node, whoever called it.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed))
    }

    /// How often the manager was written as a whole.
    pub fn manager_writes(&self) -> u64 {
        self.manager_writes.load(Ordering::Relaxed)
    }

    /// Takes a client's message, as the thread of its connection would.
    pub fn handle(&self, client: PublicKey, message: &MessageSendEvent) -> anyhow::Result<()> {
        self.metered(|| self.node.handle(client, message))
    }

    /// Gives the hub's messages to the clients' workers; one thread at a time, as LDK's peer manager does.
    /// Returns whether there were any.
    pub fn send(&self) -> anyhow::Result<bool> {
        if self.draining.fetch_add(1, Ordering::AcqRel) > 0 {
            return Ok(false);
        }
        let mut any = false;
        loop {
            self.draining.store(1, Ordering::Release);
            for message in self.metered(|| self.node.manager.get_and_clear_pending_msg_events()) {
                any = true;
                let client = receiver(&message)?;
                let (worker, place) = *self.clients.get(&client).context("a stranger")?;
                self.workers
                    .get(worker)
                    .context("no such worker")?
                    .send((place, message))?;
            }
            if self.draining.fetch_sub(1, Ordering::AcqRel) == 1 {
                return Ok(any);
            }
        }
    }

    /// Forwards what is to be forwarded and looks at events. Returns whether there was anything to do.
    pub fn go_on(&self) -> anyhow::Result<bool> {
        let events = self.metered(|| {
            self.node.forward();
            self.node.events()
        });
        for event in &events {
            self.metered(|| self.on(event))?;
        }
        Ok(self.send()? || !events.is_empty())
    }

    fn on(&self, event: &Event) -> anyhow::Result<()> {
        match event {
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                let mut funding = self.funding.lock();
                let number = u32::try_from(funding.len())?;
                let transaction = chain::funding(number, *channel_value_satoshis, output_script.clone());
                funding.push(transaction.clone());
                drop(funding);
                let manager = &self.node.manager;
                if let Err(why) = manager.funding_transaction_generated(
                    *temporary_channel_id,
                    *counterparty_node_id,
                    transaction,
                ) {
                    bail!("a channel is not funded: {why:?}");
                }
            }
            Event::PaymentForwarded {
                outbound_amount_forwarded_msat: Some(msat),
                total_fee_earned_msat: Some(0),
                claim_from_onchain_tx: false,
                ..
            } => {
                let mut forwarded = self.forwarded.lock();
                forwarded.count = forwarded.count.saturating_add(1);
                forwarded.msat = forwarded.msat.saturating_add(*msat);
            }
            Event::ChannelPending { .. } | Event::ChannelReady { .. } => {}
            other => bail!("the hub is told {other:?}"),
        }
        Ok(())
    }

    /// Wakes the thread that forwards.
    pub fn wake(&self) {
        if let Some(thread) = self.forwarder.get() {
            thread.unpark();
        }
    }

    /// The thread that forwards: at once, where LDK's background processor waits a random time for privacy's sake.
    pub fn forward_until(&self, done: impl Fn() -> bool) -> anyhow::Result<()> {
        let _ = self.forwarder.set(std::thread::current());
        while !done() {
            std::thread::park_timeout(LOOK);
            self.go_on()?;
        }
        Ok(())
    }

    /// The thread that writes the manager whenever LDK says that it needs to be written.
    pub fn persist_until(&self, done: impl Fn() -> bool) -> anyhow::Result<()> {
        while !done() {
            self.node
                .manager
                .get_event_or_persistence_needed_future()
                .wait_timeout(LOOK);
            self.metered(|| self.persist())?;
        }
        Ok(())
    }

    /// Writes the manager if that is needed.
    pub fn persist(&self) -> anyhow::Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        if !self.node.manager.get_and_clear_needs_persistence() {
            return Ok(());
        }
        self.manager_writes.fetch_add(1, Ordering::Relaxed);
        store
            .write(
                CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
                CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE,
                CHANNEL_MANAGER_PERSISTENCE_KEY,
                self.node.manager.encode(),
            )
            .context("writing the manager")
    }

    fn metered<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_cpu();
        let result = work();
        let used = thread_cpu().saturating_sub(before).as_nanos();
        self.cpu_ns
            .fetch_add(u64::try_from(used).unwrap_or(u64::MAX), Ordering::Relaxed);
        result
    }
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}
