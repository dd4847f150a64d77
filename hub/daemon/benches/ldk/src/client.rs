//! Payers and payees, and the threads that play them.

use crate::{hub::Hub, load::Load, node::Node, ways::PAYEE_DELTA};
use anyhow::{Context, bail};
use bitcoin::secp256k1::PublicKey;
use lightning::{
    events::{Event, PaymentPurpose},
    ln::{
        channelmanager::{PaymentId, RecipientOnionFields, Retry},
        msgs::{BaseMessageHandler, MessageSendEvent},
    },
    routing::router::{PaymentParameters, RouteParameters},
    types::payment::{PaymentHash, PaymentPreimage},
};
use rand::{Rng, seq::IndexedRandom};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

/// The hub's message to the client at a place in a worker.
pub type Letter = (usize, MessageSendEvent);

/// How long a worker waits for messages before it looks whether the load ended.
const LOOK: Duration = Duration::from_millis(10);

/// A client with one channel, which is the hub's.
pub struct Client {
    /// Its node.
    pub node: Node,
    /// Whom it pays; nobody: it is a payee.
    pub payees: Option<Arc<[PublicKey]>>,
    /// Payments whose preimage a payer has, or that a payee claimed.
    pub done: Vec<PaymentHash>,
    /// Their sum, in thousandths of a satoshi.
    pub done_msat: u64,
    /// From the order to the preimage, of the payments done while it counted.
    pub latencies: Vec<Duration>,
    in_flight: HashMap<PaymentId, Instant>,
}

impl Client {
    /// A client that has not paid and was not paid.
    pub fn new(node: Node, payees: Option<Arc<[PublicKey]>>) -> Client {
        Client {
            node,
            payees,
            done: Vec::new(),
            done_msat: 0,
            latencies: Vec::new(),
            in_flight: HashMap::new(),
        }
    }

    /// Does what there is to do until the hub must answer.
    fn go_on(&mut self, hub: &Hub, load: &Load) -> anyhow::Result<()> {
        loop {
            self.node.forward();
            let events = self.node.events();
            for event in &events {
                self.on(event, load)?;
            }
            self.pay(load)?;
            let messages = self.node.manager.get_and_clear_pending_msg_events();
            for message in &messages {
                hub.handle(self.node.id, message)?;
            }
            if events.is_empty() && messages.is_empty() {
                return Ok(());
            }
        }
    }

    fn on(&mut self, event: &Event, load: &Load) -> anyhow::Result<()> {
        match event {
            Event::PaymentClaimable {
                purpose: PaymentPurpose::SpontaneousPayment(preimage),
                ..
            } => {
                self.node.manager.claim_funds(*preimage);
            }
            Event::PaymentClaimed {
                payment_hash,
                amount_msat,
                ..
            } => self.finish(*payment_hash, *amount_msat)?,
            Event::PaymentSent {
                payment_id: Some(id),
                payment_hash,
                amount_msat: Some(msat),
                fee_paid_msat: Some(0),
                ..
            } => {
                self.finish(*payment_hash, *msat)?;
                let since = self
                    .in_flight
                    .remove(id)
                    .context("sent twice, or never ordered")?;
                load.finished();
                if load.counts() {
                    self.latencies.push(since.elapsed());
                }
            }
            Event::ChannelPending { .. }
            | Event::ChannelReady { .. }
            | Event::PaymentPathSuccessful { .. } => {}
            other => bail!("a client is told {other:?}"),
        }
        Ok(())
    }

    fn finish(&mut self, hash: PaymentHash, msat: u64) -> anyhow::Result<()> {
        self.done.push(hash);
        self.done_msat = self
            .done_msat
            .checked_add(msat)
            .context("more money than there is")?;
        Ok(())
    }

    /// Orders payments until enough are in flight, each to a payee drawn by lot.
    fn pay(&mut self, load: &Load) -> anyhow::Result<()> {
        let Some(payees) = &self.payees else { return Ok(()) };
        while load.runs() && self.in_flight.len() < load.depth {
            let payee = *payees.choose(&mut rand::rng()).context("no payee")?;
            let preimage = PaymentPreimage(rand::rng().random());
            let id = PaymentId(PaymentHash::from(preimage).0);
            let to = PaymentParameters::for_keysend(payee, PAYEE_DELTA, false);
            let route = RouteParameters::from_payment_params_and_value(to, load.amount_msat);
            load.ordered();
            self.in_flight.insert(id, Instant::now());
            let manager = &self.node.manager;
            let onion = RecipientOnionFields::spontaneous_empty();
            if let Err(why) =
                manager.send_spontaneous_payment(Some(preimage), onion, id, route, Retry::Attempts(0))
            {
                bail!("a payment cannot be sent: {why:?}");
            }
        }
        Ok(())
    }
}

/// The connections of some clients: what comes in for them is handled one after the other.
pub struct Worker {
    /// Its clients.
    pub clients: Vec<Client>,
    inbox: Receiver<Letter>,
}

impl Worker {
    /// A worker without clients.
    pub fn new(inbox: Receiver<Letter>) -> Worker {
        Worker {
            clients: Vec::new(),
            inbox,
        }
    }

    /// Handles what is there, and waits for it if nothing is. Returns whether anything came.
    pub fn turn(&mut self, hub: &Hub, load: &Load, wait: Duration) -> anyhow::Result<bool> {
        let first = self.inbox.recv_timeout(wait).ok();
        let mut touched = BTreeSet::new();
        for (place, message) in first.into_iter().chain(self.inbox.try_iter()) {
            let client = self.clients.get(place).context("no such client")?;
            client.node.handle(hub.node.id, &message)?;
            touched.insert(place);
        }
        for place in &touched {
            self.clients
                .get_mut(*place)
                .context("no such client")?
                .go_on(hub, load)?;
        }
        hub.send()?;
        hub.wake();
        Ok(!touched.is_empty())
    }

    /// Pays and is paid until the load has ended and no payment is in flight.
    pub fn run(&mut self, hub: &Hub, load: &Load) -> anyhow::Result<()> {
        for client in &mut self.clients {
            client.go_on(hub, load)?;
        }
        hub.send()?;
        hub.wake();
        while !load.is_over() {
            self.turn(hub, load, LOOK)?;
        }
        Ok(())
    }
}

/// Until nobody has anything to say, in one thread.
pub fn settle(workers: &mut [Worker], hub: &Hub, load: &Load) -> anyhow::Result<()> {
    loop {
        let mut moved = hub.go_on()?;
        for worker in workers.iter_mut() {
            moved |= worker.turn(hub, load, Duration::ZERO)?;
        }
        if !moved {
            return Ok(());
        }
    }
}
