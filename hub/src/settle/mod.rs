//! Leaving or defending a channel with nothing but evidence, a node and a key.
//!
//! The CLI `settle`, the demo and the tests run the same code: evidence is checked offline ([`CheckedEvidence`]),
//! the chain is read at one block ([`View`]), a verb is decided and built without I/O ([`plan::plan`]), then simulated,
//! sent and checked ([`Node`]). [`Settle`] ties them together.

mod agree;
mod args;
mod args_batch;
mod batch;
pub mod cli;
mod cooperative;
mod decode;
mod evidence;
mod evidence_error;
mod exit;
mod files;
mod forecast;
mod hd_path;
mod journal;
mod key;
mod node;
mod on_chain;
mod outbox;
mod outlook;
mod output;
mod package;
mod plan;
mod planner;
mod receipt;
mod relay;
mod render;
mod render_forecast;
mod render_verified;
mod resume;
mod run;
mod run_broadcast;
mod run_export;
mod run_send;
mod run_verify;
mod send;
mod signer;
mod spent;
mod status;
mod sweep;
pub mod text;
mod view;
mod wait;
mod watch;

pub use cooperative::{CooperativeFile, Message};
pub use decode::revert as decode_revert;
pub use evidence::{CheckedDirection, CheckedEvidence, EvidenceError};
pub use exit::{Exit, SettleError};
pub use forecast::{Forecast, Price, Step, forecast};
pub use journal::{Ending, Entry, Journal, Purpose};
pub use node::{Head, Node};
pub use outlook::{Offer, Outcome, offer, offer_locks, outcomes, unanswered};
pub use package::{Package, Permission, SignedAccept, check_package, countersign, seal_package};
pub use plan::{Intent, Plan, Proof, Verb, plan};
pub use receipt::ReceiptFile;
pub(crate) use render::{amount as show_amount, table};
pub use send::{Cost, Fees, NotSent, Signed, Transaction};
pub use status::Status;
pub use view::{Phase, TokenInfo, View, share, token_info};
pub use wait::{Mined, Progress};
pub use watch::{Event as WatchEvent, Looked, WatchOptions, Watchtower};

use alloy::{eips::BlockId, network::EthereumWallet};
use protocol_spec::{Address, abi::IAdjudicator};
use std::collections::BTreeSet;

/// Checked evidence and a node that was checked against it.
#[derive(Clone, Debug)]
pub struct Settle {
    node: Node,
    evidence: CheckedEvidence,
    left_out: BTreeSet<u64>,
}

impl Settle {
    /// Checks chain id and adjudicator.
    ///
    /// # Errors
    /// [`SettleError::Refused`] for another chain or no adjudicator there, [`SettleError::Unreachable`].
    pub async fn open(node: Node, evidence: CheckedEvidence) -> Result<Self, SettleError> {
        node.check(evidence.domain()).await?;
        Ok(Self {
            node,
            evidence,
            left_out: BTreeSet::new(),
        })
    }

    /// The same without showing the received locks `ids`: one that is refused in a transaction keeps the whole call back.
    ///
    /// # Errors
    /// [`SettleError::Usage`] for a lock that the evidence does not have.
    pub fn leaving_out(mut self, ids: &[u64]) -> Result<Self, SettleError> {
        let locks = &self.evidence.received().locks;
        match ids.iter().find(|id| locks.iter().all(|lock| lock.id != **id)) {
            Some(id) => Err(SettleError::Usage(format!(
                "--leave-out-locks {id}: no received lock of this evidence has that number"
            ))),
            None => {
                self.left_out.extend(ids);
                Ok(self)
            }
        }
    }

    async fn view(&self) -> Result<View, SettleError> {
        let mut view = View::read(&self.node, &self.evidence).await?;
        view.left_out.clone_from(&self.left_out);
        Ok(view)
    }

    /// The evidence.
    #[must_use]
    pub fn evidence(&self) -> &CheckedEvidence {
        &self.evidence
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The chain's view of the channel, who gets what, and what to do next.
    ///
    /// # Errors
    /// As [`View::read`].
    pub async fn status(&self) -> Result<Status, SettleError> {
        let view = self.view().await?;
        let stale = self.node.stale(view.head);
        let mut status = Status::new(view, &self.evidence);
        status.warnings.extend(stale);
        Ok(status)
    }

    /// Decides and builds a call at the newest block. Sends nothing.
    ///
    /// # Errors
    /// As [`plan()`], and as [`View::read`].
    pub async fn plan(&self, intent: Intent) -> Result<Plan, SettleError> {
        let view = self.view().await?;
        if let Verb::Claim { token, .. } = intent.verb {
            require_claimable(&self.node, &self.evidence, token, intent.sender).await?;
        }
        let mut plan = plan::plan(&view, &self.evidence, intent)?;
        plan.notes.extend(self.node.stale(view.head));
        Ok(plan)
    }

    /// All at once, for programs: plan, simulate, send from `sender` in `wallet`, wait, check.
    ///
    /// # Errors
    /// As the four steps.
    pub async fn run(
        &self,
        verb: Verb,
        sender: Address,
        wallet: &EthereumWallet,
        confirmations: u64,
    ) -> Result<Mined, SettleError> {
        let intent = Intent {
            verb,
            sender,
            force: false,
            without_evidence: false,
        };
        let plan = self.plan(intent).await?;
        let call = plan.transaction();
        let cost = self.node.simulate(&call).await?;
        let hash = self.node.broadcast(&call, &cost, wallet).await?;
        self.node.wait(&call, hash, confirmations).await
    }
}

/// Refuses a claim where nothing was left behind.
async fn require_claimable(
    node: &Node,
    evidence: &CheckedEvidence,
    token: Address,
    account: Address,
) -> Result<(), SettleError> {
    let call = IAdjudicator::claimableCall { token, account };
    let amount = node
        .read(evidence.raw().adjudicator, &call, BlockId::latest())
        .await?;
    match amount.is_zero() {
        true => Err(SettleError::NothingToDo(format!(
            "nothing is left behind for {account} in token {token}; only the account itself can claim"
        ))),
        false => Ok(()),
    }
}
