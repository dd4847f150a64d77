//! The network: streams between people and the hub, with delays, cuts and ears on every message.

use super::{
    faults::{Kind, Plan},
    frames::Unit,
    mallory::Mallory,
    rogue::Rogue,
    watchtower::{Door, HOST},
    wires,
};
use async_trait::async_trait;
use client_sdk::Stream;
use rand::{Rng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::{mpsc, watch},
};

/// Bytes in flight on one direction of a connection.
const PIPE_BYTES: usize = 64 * 1024;
/// Longest delay of one message.
const DELAY_MS_MAX: u64 = 8;

/// Who is on the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Party {
    Hub,
    /// By number.
    Person(usize),
    Watchtower,
}

/// The direction of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    ToHub,
    ToPerson,
}

/// Told of every message, and of power cuts that the plan asks for.
pub(super) trait Ears: Send + Sync {
    /// A message has left its sender.
    fn hear(&self, message: u64, person: usize, way: Way, unit: &super::frames::Content);
    /// What must never happen has.
    fn violation(&self, text: String);
    /// The plan wants this machine's power cut now.
    fn cut_power(&self, party: Party, kind: Kind);
}

/// The network of a world. Clones are one network.
#[derive(Clone)]
pub(super) struct Network(Arc<Mutex<State>>);

struct State {
    listener: Option<mpsc::UnboundedSender<(DuplexStream, IpAddr)>>,
    watchtower: Option<Gate>,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    foes: BTreeMap<usize, Mallory>,
    rogue: Option<Rogue>,
    plan: Plan,
    ears: Arc<dyn Ears>,
    random: StdRng,
}

/// The watchtower's port. Its wires end with it.
struct Gate {
    port: mpsc::UnboundedSender<DuplexStream>,
    open: watch::Sender<()>,
}

/// One connection from outside of it.
struct Wire {
    person: usize,
    cut: watch::Sender<bool>,
    /// What is put into it on the way to the hub.
    say: mpsc::UnboundedSender<Unit>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    pub(super) fn new(plan: Plan, ears: Arc<dyn Ears>, random: StdRng) -> Self {
        Self(Arc::new(Mutex::new(State {
            listener: None,
            watchtower: None,
            wires: BTreeMap::new(),
            next_wire: 0,
            foes: BTreeMap::new(),
            rogue: None,
            plan,
            ears,
            random,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan<T>(&self, ask: impl FnOnce(&mut Plan) -> T) -> T {
        ask(&mut self.state().plan)
    }

    /// From now on this person's messages pass through Mallory's hands.
    pub(super) fn corrupt(&self, person: usize, mallory: Mallory) {
        self.state().foes.insert(person, mallory);
    }

    /// Asks the Mallory of this person, if it is one.
    pub(super) fn mallory<T>(
        &self,
        person: usize,
        ask: impl FnOnce(&mut Mallory, &mut Plan) -> T,
    ) -> Option<T> {
        let state = &mut *self.state();
        let mallory = state.foes.get_mut(&person)?;
        Some(ask(mallory, &mut state.plan))
    }

    /// From now on what the hub says passes through its owner's hands.
    pub(super) fn lie(&self, rogue: Rogue) {
        self.state().rogue = Some(rogue);
    }

    /// Asks the hub's owner, if it is one that lies.
    pub(super) fn rogue<T>(&self, ask: impl FnOnce(&mut Rogue, &mut Plan) -> T) -> Option<T> {
        let state = &mut *self.state();
        let rogue = state.rogue.as_mut()?;
        Some(ask(rogue, &mut state.plan))
    }

    pub(super) fn ears(&self) -> Arc<dyn Ears> {
        self.state().ears.clone()
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.state().random.random_range(0..=DELAY_MS_MAX))
    }

    /// The hub's port; the one before it is closed.
    pub(super) fn listen(&self) -> Port {
        let (sender, queue) = mpsc::unbounded_channel();
        self.state().listener = Some(sender);
        Port(queue)
    }

    /// The watchtower's port; the one before it is closed.
    pub(super) fn listen_watchtower(&self) -> Door {
        let (port, queue) = mpsc::unbounded_channel();
        let open = watch::Sender::new(());
        self.state().watchtower = Some(Gate { port, open });
        Door(queue)
    }

    /// Ends every connection of a machine, and its port.
    pub(super) fn unplug(&self, party: Party) {
        let mut state = self.state();
        match party {
            Party::Hub => state.listener = None,
            Party::Watchtower => state.watchtower = None,
            Party::Person(_) => {}
        }
        state.wires.retain(|_, wire| {
            let ends = party == Party::Hub || party == Party::Person(wire.person);
            if ends {
                wire.cut.send_replace(true);
            }
            !ends
        });
    }

    /// The Mallory of this person pays once more in its dispute, if it is in one and connected.
    pub(super) fn persist(&self, person: usize) {
        self.say(person, |mallory, plan| {
            mallory.persists(plan).into_iter().collect()
        });
    }

    /// The Mallory of this person says something that its client does not, if it is connected.
    pub(super) fn say(&self, person: usize, what: impl FnOnce(&mut Mallory, &mut Plan) -> Vec<Unit>) {
        let units = self.mallory(person, what).unwrap_or_default();
        let state = self.state();
        if let Some(wire) = state.wires.values().find(|wire| wire.person == person) {
            for unit in units {
                // Gone at this moment: then nothing is said.
                let _ = wire.say.send(unit);
            }
        }
    }

    /// Connections that are up.
    pub(super) fn wires(&self) -> usize {
        self.state().wires.len()
    }

    pub(super) fn of(&self, person: usize) -> Arc<dyn client_sdk::Network> {
        Arc::new(Plug {
            network: self.clone(),
            person,
        })
    }

    /// To the watchtower. Nobody listens on this wire, and only the machines at its ends cut it.
    fn dial_watchtower(&self, person: usize) -> io::Result<DuplexStream> {
        let (person_end, ours) = duplex(PIPE_BYTES);
        let (tower_end, theirs) = duplex(PIPE_BYTES);
        let mut open = {
            let state = self.state();
            let gate = state.watchtower.as_ref().filter(|_| state.plan.reaches(person));
            let gate = gate.filter(|gate| gate.port.send(theirs).is_ok());
            let gate = gate.ok_or(ErrorKind::ConnectionRefused)?;
            gate.open.subscribe()
        };
        let network = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                // Only when there is no port any more.
                _ = open.changed() => {}
                _ = wires::join(&network, ours, tower_end) => {}
            }
        });
        Ok(person_end)
    }

    fn dial(&self, person: usize) -> io::Result<DuplexStream> {
        let (ours, person_end) = duplex(PIPE_BYTES);
        let (hub_end, theirs) = duplex(PIPE_BYTES);
        let (number, cut, said) = {
            let mut state = self.state();
            if !state.plan.reaches(person) {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            // An address that is a person's own for as long as the world lasts.
            let address = IpAddr::V4(Ipv4Addr::from_bits(
                0x0a00_0001 + u32::try_from(person).unwrap_or(0),
            ));
            let listening = state.listener.as_ref().map(|port| port.send((theirs, address)));
            if !matches!(listening, Some(Ok(()))) {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            let (cut, ends) = watch::channel(false);
            let number = state.next_wire;
            state.next_wire += 1;
            let (say, said) = mpsc::unbounded_channel();
            state.wires.insert(number, Wire { person, cut, say });
            (number, ends, said)
        };
        let network = self.clone();
        tokio::spawn(async move {
            wires::carry(&network, person, [ours, hub_end], cut, said).await;
            network.state().wires.remove(&number);
        });
        Ok(person_end)
    }
}

/// The hub's end of the network.
#[derive(Debug)]
pub(super) struct Port(mpsc::UnboundedReceiver<(DuplexStream, IpAddr)>);

impl hub::session::Listener for Port {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, IpAddr)> {
        match self.0.recv().await {
            Some(connection) => Ok(connection),
            // Unplugged: nobody comes any more.
            None => std::future::pending().await,
        }
    }
}

/// A person's end of the network.
#[derive(Debug)]
struct Plug {
    network: Network,
    person: usize,
}

#[async_trait]
impl client_sdk::Network for Plug {
    async fn connect(&self, host: &str, _port: u16) -> io::Result<Box<dyn Stream>> {
        tokio::time::sleep(self.network.delay()).await;
        let stream = match host == HOST {
            true => self.network.dial_watchtower(self.person)?,
            false => self.network.dial(self.person)?,
        };
        Ok(Box::new(stream))
    }
}
