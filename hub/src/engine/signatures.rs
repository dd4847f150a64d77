//! Which engine verifies clients' signatures, and who makes its tables.

use super::{
    threads::Lanes,
    verify::{Hub, Verifier},
};
use crate::execution::Execution;
use hub_verify::{Cached, Engine, Portable, Reference, Tables};
use serde::{Deserialize, Serialize};
use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

/// Tables made before others may have the processor.
const TOGETHER: usize = 64;
/// The same when each displaces another: more signers than tables must not cost more than they save.
const TOGETHER_FULL: usize = 8;
/// Pause of who makes tables when nobody wants one, or there is no room.
const IDLE: Duration = Duration::from_millis(20);

/// `[signatures]` in hub.toml.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signatures {
    /// Which engine.
    pub engine: EngineChoice,
    /// Most memory for the tables of signers, MiB.
    pub tables_mib: u32,
}

/// The engines. All give the same answers; what one of them does not accept is decided by `k256`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum EngineChoice {
    /// Our own, with a table per signer: as many lanes as the CPU has.
    Tables,
    /// The same with one lane, in general registers.
    OneLane,
    /// libsecp256k1.
    Libsecp256k1,
    /// The reference.
    K256,
}

impl EngineChoice {
    /// Whether it keeps tables.
    pub(crate) fn has_tables(self) -> bool {
        matches!(self, Self::Tables | Self::OneLane)
    }
}

impl Default for Signatures {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Tables,
            tables_mib: 1024,
        }
    }
}

impl Lanes {
    /// One verifier per worker; with tables, somebody beside them who makes those.
    pub(super) fn verifiers(
        &self,
        hub: &Hub,
        signatures: Signatures,
        workers: usize,
    ) -> Result<Vec<Verifier>, io::Error> {
        // In a simulation nothing may depend on when a table is ready.
        let tables = signatures.engine.has_tables() && self.execution == Execution::Threads;
        let bytes = usize::try_from(u64::from(signatures.tables_mib) << 20).unwrap_or(usize::MAX);
        let tables = tables.then(|| Arc::new(Tables::new(bytes)));
        if let Some(tables) = &tables {
            self.spawn("tables", make(Arc::downgrade(tables)))?;
        }
        let engine = || -> Box<dyn Engine> {
            match (&tables, signatures.engine) {
                (Some(tables), EngineChoice::OneLane) => Box::new(Cached::one_lane(Arc::clone(tables))),
                (Some(tables), _) => Box::new(Cached::new(Arc::clone(tables))),
                (None, EngineChoice::K256) => Box::new(Reference),
                (None, _) => Box::new(Portable::default()),
            }
        };
        let verifier = |_| Verifier::new(hub.clone(), engine());
        Ok((0..workers.max(1)).map(verifier).collect())
    }
}

/// Makes the tables that are wanted, until nobody verifies any more.
async fn make(tables: Weak<Tables>) {
    while let Some(tables) = tables.upgrade() {
        let full = tables.is_full();
        let left = tables.build_wanted(if full { TOGETHER_FULL } else { TOGETHER });
        drop(tables);
        if left == 0 || full {
            tokio::time::sleep(IDLE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}
