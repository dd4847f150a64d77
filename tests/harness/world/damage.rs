//! What goes wrong with a machine's disk while it runs, drawn when it boots; counted if it happens, but for a full disk, which is
//! counted when it becomes one.

use super::{drive::Drive, network::Network, part::Part};
use hub::store::sim::{Counters, Fault, SimDisk};
use rand::Rng as _;

/// How far above what is on it now a disk may be full, bytes.
const ROOM_MAX: u64 = 400_000;

/// The parts that damage one kind of machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) power: Part,
    pub(super) error: Part,
    pub(super) full: Part,
}

/// One incarnation's.
#[derive(Debug)]
pub(super) struct Damage {
    disk: SimDisk,
    armed: Vec<(Part, Fault)>,
}

impl Damage {
    /// Counters begin anew with each disk, and so do faults.
    pub(super) fn draw(drive: &Drive, network: &Network, parts: Parts) -> Self {
        let disk = drive.disk().clone();
        let Counters {
            writes,
            syncs,
            operations,
        } = disk.counters();
        let mut armed = Vec::new();
        if let Some(operation) = network.plan(|plan| plan.disk(parts.power)) {
            armed.push((parts.power, Fault::PowerCut(operations + operation)));
        }
        if let Some(operation) = network.plan(|plan| plan.disk(parts.error)) {
            let fault = match network.plan(|plan| plan.dice(parts.error).random()) {
                true => Fault::SyncFails(syncs + operation.div_ceil(4)),
                false => Fault::WriteFails(writes + operation),
            };
            armed.push((parts.error, fault));
        }
        if network.plan(|plan| plan.strikes(parts.full)) {
            let sizes = disk.contents().into_iter().map(|file| file.len() as u64);
            let most = sizes.max().unwrap_or(0);
            let room = network.plan(|plan| plan.dice(parts.full).random_range(0..ROOM_MAX));
            armed.push((parts.full, Fault::Full(most + room)));
        }
        for (_, fault) in &armed {
            disk.inject(*fault);
        }
        Self { disk, armed }
    }

    /// True when something may fail other than the power.
    pub(super) fn is_faulty(&self) -> bool {
        let fails = |fault: &Fault| !matches!(fault, Fault::PowerCut(_));
        self.armed.iter().any(|(_, fault)| fails(fault))
    }

    /// The incarnation ends: counts what happened to it.
    pub(super) fn count(&self, network: &Network) {
        let done = self.disk.counters();
        for (part, fault) in &self.armed {
            let happened = match fault {
                Fault::PowerCut(at) => done.operations >= *at,
                Fault::SyncFails(at) => done.syncs >= *at,
                Fault::WriteFails(at) => done.writes >= *at,
                Fault::Full(_) | Fault::SyncLies => false,
            };
            if happened {
                network.plan(|plan| plan.count(*part));
            }
        }
    }
}
