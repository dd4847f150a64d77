//! The task that owns a client's channels. Commands, hub messages and chain readings come in; one store commit per turn;
//! then outcomes are told and frames leave. Nothing else touches a channel.

mod chain;
mod closed;
mod command;
mod cooperate;
mod defence;
mod entry;
mod escrow;
mod fault;
mod frames;
mod issue;
mod locks;
mod pay;
mod resolve;
mod resolvers;
mod retries;
#[cfg(test)]
mod samples;
mod session;
mod sight;
mod stored;
mod stream;
mod towers;
mod view;
mod wake;

pub(crate) use command::{Command, CooperativeKind, PayOrder, Setup, Signed};
pub(crate) use escrow::ReleaseOrder;
pub(crate) use locks::{INVOICE_EXPIRED, LockOrder};
pub(crate) use pay::later;
pub(crate) use retries::Retries;
pub(crate) use view::View;

use crate::{
    ClientEvent, ConnectError, LockedPaid, Paid, PayError, Store, StoreError,
    board::Publisher,
    chain::Reading,
    link::Dial,
    options::Options,
    pin::Hub,
    signer::CheckedSigner,
    store::{
        Write,
        rows::{self, InvoiceRow},
    },
};
use chain::Watched;
use defence::Defences;
use entry::Entry;
use locks::{AcceptReply, HeldReply};
use protocol_spec::{
    Amount, ChannelId, Digest, PaymentId, Signature, SigningGuard,
    canary::{Canary, planted},
    channel::Clock,
    message::{Message, Reply, Request, RpcError},
};
use resolvers::Resolvers;
use session::{LinkState, Pending};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};
use towers::Towers;

/// Deadlines, retries and pauses are looked at this often while anything waits.
const SWEEP: Duration = Duration::from_millis(100);

type PayReply = oneshot::Sender<Result<Paid, PayError>>;

/// What is told to a payer once the turn's commit is durable.
struct Outcome<T> {
    reply: oneshot::Sender<Result<T, PayError>>,
    result: Result<T, PayError>,
}

impl<T> Outcome<T> {
    fn tell(self) {
        // The caller may have dropped its future.
        let _ = self.reply.send(self.result);
    }

    /// Tells what it comes to when that commit failed: what was decided is not stored, and nobody may rely on it.
    fn tell_unstored(mut self, id: fn(&T) -> PaymentId) {
        let decided = match &self.result {
            Ok(paid) => Some(id(paid)),
            Err(PayError::Bounced { payment_id, .. } | PayError::NotPaid { payment_id }) => Some(*payment_id),
            Err(_) => None,
        };
        if let Some(payment_id) = decided {
            self.result = Err(PayError::Unknown { payment_id });
        }
        self.tell();
    }
}

/// The owner of everything a client knows.
pub(crate) struct Actor {
    options: Options,
    store: Arc<dyn Store>,
    owners: Vec<CheckedSigner>,
    redial: Dial,
    inbox: mpsc::Receiver<Command>,
    publish: Publisher,
    events: broadcast::Sender<ClientEvent>,
    hub: Hub,
    signer: CheckedSigner,
    link: LinkState,
    redials: Retries,
    /// Who waits for the first connection.
    met: Option<oneshot::Sender<Result<(), ConnectError>>>,
    /// Why there is no connection, as told.
    unreachable: Option<ConnectError>,
    entries: BTreeMap<ChannelId, Entry>,
    /// Calls under way, each with the time by which its answer must be here.
    calls: BTreeMap<u64, (Pending, Instant)>,
    newest_call: u64,
    guard: SigningGuard,
    /// The chain task's list of channels; `None` when the hub's view is trusted.
    watched: Option<Watched>,
    /// The watchtowers that are kept up to date.
    towers: Towers,
    reports: mpsc::Receiver<chain::Report>,
    reading: Reading,
    /// When the newest confirmed block became known.
    advanced_at: Instant,
    started_at: Instant,
    resolvers: Resolvers,
    /// Answers to disputes.
    defences: Defences,
    /// Changes to be stored before anything of this turn is told or sent.
    batch: Vec<Write>,
    outcomes: Vec<Outcome<Paid>>,
    lock_outcomes: Vec<Outcome<LockedPaid>>,
    /// Other answers that speak of what is stored with this turn.
    told: Vec<Box<dyn FnOnce() + Send + Sync>>,
    /// Events of this turn, told after its commit.
    news: Vec<ClientEvent>,
    /// When time is looked at next, however much comes in meanwhile.
    next_sweep: Instant,
    /// Batch roots verified lately, with their signatures.
    roots: VecDeque<(Digest, Signature)>,
    spent: Amount,
    /// Own invoices by hash.
    invoices: BTreeMap<Digest, InvoiceRow>,
    /// Who waits for an invoice to be paid.
    accepting: BTreeMap<Digest, Vec<AcceptReply>>,
    /// Who released an invoice's lock and waits for the hub to fold it.
    releasing: BTreeMap<Digest, Vec<AcceptReply>>,
    /// Who waits for a lock that is held for an invoice.
    holding: BTreeMap<Digest, Vec<HeldReply>>,
    /// Who waits for the end.
    stopping: Vec<oneshot::Sender<()>>,
    /// Until when what is under way may finish; `None` while nobody wants the end.
    stop_at: Option<Instant>,
}

impl Actor {
    /// Loads the store's channels. They are looked after whether or not there is a connection.
    pub(crate) async fn load(setup: Setup) -> Result<Self, ConnectError> {
        let mut entries = BTreeMap::new();
        for stored in rows::channels(setup.store.as_ref()).await? {
            let mut entry = Entry::restore(stored);
            entry.load_payments(setup.store.as_ref()).await?;
            entries.insert(entry.channel.id(), entry);
        }
        let resolvers = Resolvers::new(setup.chain.clone());
        let defences = Defences::new(setup.chain.clone());
        let asked = entries.values().map(Entry::asked).collect();
        let (watched, reports) = chain::spawn(setup.chain, asked, &setup.options);
        let (hub, signer) = (setup.hub, setup.signer);
        let link = match setup.link {
            Some(link) => LinkState::Fresh(Box::new(link)),
            None => LinkState::Down(Instant::now()),
        };
        let towers = Towers::start(&setup.options, &signer, hub.domain)?;
        let invoices = rows::invoices(setup.store.as_ref()).await?;
        let actor = Self {
            invoices,
            accepting: BTreeMap::new(),
            releasing: BTreeMap::new(),
            holding: BTreeMap::new(),
            options: setup.options,
            store: setup.store,
            owners: setup.owners,
            redial: setup.redial,
            inbox: setup.inbox,
            publish: setup.publish,
            events: setup.events,
            hub,
            signer,
            link,
            redials: Retries::default(),
            met: Some(setup.met),
            unreachable: None,
            entries,
            calls: BTreeMap::new(),
            newest_call: 0,
            guard: SigningGuard::default(),
            watched,
            towers,
            reports,
            reading: Reading::default(),
            advanced_at: Instant::now(),
            started_at: Instant::now(),
            resolvers,
            defences,
            batch: Vec::new(),
            outcomes: Vec::new(),
            lock_outcomes: Vec::new(),
            told: Vec::new(),
            news: Vec::new(),
            next_sweep: Instant::now(),
            roots: VecDeque::new(),
            spent: Amount::ZERO,
            stopping: Vec::new(),
            stop_at: None,
        };
        actor.publish_view();
        Ok(actor)
    }

    /// Runs until shutdown, until every handle is dropped, or until the store fails.
    pub(crate) async fn run(mut self) {
        let why = match self.serve().await {
            Ok(()) => "shut down".to_owned(),
            Err(error) => {
                tracing::error!(%error, "the client stops");
                error.to_string()
            }
        };
        self.stop(&why);
    }

    async fn serve(&mut self) -> Result<(), StoreError> {
        if let LinkState::Fresh(link) = std::mem::replace(&mut self.link, LinkState::Down(Instant::now())) {
            self.connected(*link);
        }
        loop {
            self.turn().await?;
            if self.stop_at.is_some_and(|at| self.drained(at)) {
                return Ok(());
            }
            let arrivals = self.arrivals().await;
            if !self.handle(arrivals).await? {
                return Ok(());
            }
        }
    }

    /// Everything that follows from what came in: issue, store, tell, sign, send, publish.
    async fn turn(&mut self) -> Result<(), StoreError> {
        self.cooperate();
        self.issue_all();
        self.store_dirty();
        if planted(Canary::SendBeforeStore) {
            self.send_frames().await;
        }
        if !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            self.store.commit(batch).await?;
        }
        self.forget_credits();
        self.order_packages();
        // Whoever is told something finds it in the view already.
        self.publish_view();
        for event in std::mem::take(&mut self.news) {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
        std::mem::take(&mut self.outcomes)
            .into_iter()
            .for_each(Outcome::tell);
        std::mem::take(&mut self.lock_outcomes)
            .into_iter()
            .for_each(Outcome::tell);
        for tell in std::mem::take(&mut self.told) {
            tell();
        }
        self.hand_over_all().await?;
        self.send_registers().await;
        self.send_frames().await;
        self.send_lock_news();
        self.send_cooperative().await;
        self.publish_view();
        Ok(())
    }

    fn store_dirty(&mut self) {
        for entry in self.entries.values_mut() {
            if std::mem::take(&mut entry.dirty) {
                self.batch.extend(entry.writes());
            }
        }
    }

    /// `now` and chain time (R5): the own clock and the newest block; the newest confirmed block.
    fn clock(&self) -> Clock {
        let now = self.options.ports.now().max(self.reading.now);
        let chain = if self.watched.is_some() {
            self.reading.confirmed
        } else {
            now
        };
        Clock { now, chain }
    }

    fn emit(&mut self, event: ClientEvent) {
        self.news.push(event);
    }

    /// Sends a call; `None` when there is no connection, or none any more because the hub does not read.
    fn call(&mut self, request: Request, pending: Pending) -> Option<u64> {
        let LinkState::Up(link) = &self.link else {
            return None;
        };
        self.newest_call = self.newest_call.saturating_add(1);
        let id = self.newest_call;
        let message = Message::Request {
            id,
            call: Box::new(request),
        };
        if !link.send(message) {
            self.disconnected("the hub does not read");
            return None;
        }
        let due = pay::later(self.options.call_timeout);
        self.calls.insert(id, (pending, due));
        Some(id)
    }

    fn forward(&mut self, request: Request, reply: oneshot::Sender<Result<Reply, RpcError>>) {
        self.call(request, Pending::Forward(reply));
    }

    fn drained(&self, latest: Instant) -> bool {
        let said = !matches!(self.link, LinkState::Up(_)) || self.entries.values().all(Entry::idle);
        latest <= Instant::now() || (said && self.towers_idle())
    }

    /// Tells everybody who waits that it is over.
    fn stop(mut self, why: &str) {
        self.fail_waiting_releases();
        for entry in self.entries.values_mut() {
            entry.fail_waiting(|| PayError::Stopped(why.to_owned()), &mut self.outcomes);
            entry.fail_signed(&mut self.outcomes, &mut self.lock_outcomes);
            entry.fail_stream(crate::StreamError::Stopped(why.to_owned()));
        }
        // What is left is of a turn whose commit failed, or never came; events of it follow from the store after a restart.
        for outcome in std::mem::take(&mut self.outcomes) {
            outcome.tell_unstored(|paid| paid.payment_id);
        }
        for outcome in std::mem::take(&mut self.lock_outcomes) {
            outcome.tell_unstored(|paid| paid.payment_id);
        }
        self.publish.stop(why);
        let waiting = std::mem::take(&mut self.stopping);
        // Releases the store before anybody is told that it is released.
        drop(self);
        for done in waiting {
            let _ = done.send(());
        }
    }
}
