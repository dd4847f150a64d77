//! Which adjudicators the watchtower believes: anybody can put a contract on a chain that calls itself one, says that a
//! channel is disputed at every look, and burns the gas key's coins.

use crate::settle::{Node, SettleError};
use protocol_spec::{Address, Domain};
use std::collections::BTreeSet;

/// The adjudicators that were named, or else every one whose code is the committed one.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    node: Node,
    named: BTreeSet<Address>,
}

impl Trust {
    pub(super) fn new(node: Node, named: &[Address]) -> Self {
        Self {
            node,
            named: named.iter().copied().collect(),
        }
    }

    /// Checks chain, adjudicator, and that it is one to believe.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when not, [`SettleError::Unreachable`].
    pub(super) async fn check(&self, domain: &Domain) -> Result<(), SettleError> {
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
