//! Which adjudicators the watchtower believes: anybody can put a contract on a chain that calls itself one, says that a
//! channel is disputed at every look, and burns the gas key's coins.

use crate::settle::{Node, SettleError};
use protocol_spec::{Address, Domain};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The adjudicators that were named, or else every one whose code is the committed one. Clones know what each other checked.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    node: Node,
    named: BTreeSet<Address>,
    /// Found to be good, by chain and address: what is there does not change.
    checked: Arc<Mutex<BTreeSet<(u64, Address)>>>,
}

impl Trust {
    pub(super) fn new(node: Node, named: &[Address]) -> Self {
        Self {
            node,
            named: named.iter().copied().collect(),
            checked: Arc::default(),
        }
    }

    /// Checks chain, adjudicator, and that it is one to believe.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when not, [`SettleError::Unreachable`].
    pub(super) async fn check(&self, domain: &Domain) -> Result<(), SettleError> {
        let adjudicator = (domain.chain_id, domain.adjudicator);
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked().contains(&adjudicator) {
            return Ok(());
        }
        self.ask(domain).await?;
        checked().insert(adjudicator);
        Ok(())
    }

    async fn ask(&self, domain: &Domain) -> Result<(), SettleError> {
        match (self.named.is_empty(), self.named.contains(&domain.adjudicator)) {
            (false, false) => Err(SettleError::Refused(format!(
                "its adjudicator {} is none of those named by --adjudicator",
                domain.adjudicator
            ))),
            (false, true) => self.node.check(domain).await,
            (true, _) => {
                self.node.check(domain).await?;
                self.node.check_code(domain).await
            }
        }
    }
}
