//! What of the locks in the evidence only the chain can tell: which are marked, and what resolvers take.

use super::{evidence::CheckedEvidence, exit::SettleError, node::Node};
use alloy::{eips::BlockId, primitives::Bytes};
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use protocol_spec::{Digest, Lock, Side, Witness, marks, probes};
use std::collections::{BTreeMap, BTreeSet};

/// Calls under way at once: for 4,096 locks marks take 4 calls and resolvers 128.
const CALLS_AT_ONCE: usize = 8;

/// Leaves that were counted once, with the seq of the voucher each was last counted in.
pub(super) type Marks = BTreeMap<(Side, Digest), u64>;

/// The marks of all locks in the evidence (R17).
///
/// # Errors
/// As [`Node::create`], and [`SettleError::Refused`] when the node does not run creation code.
pub(super) fn marks<'a>(
    node: &'a Node,
    evidence: &'a CheckedEvidence,
    block: BlockId,
) -> BoxFuture<'a, Result<Marks, SettleError>> {
    Box::pin(async move {
        let mine = evidence.side();
        let locks = [
            (mine.other(), &evidence.received().locks),
            (mine, &evidence.sent().locks),
        ];
        let questions = locks.into_iter().flat_map(|(payer, locks)| {
            let leaves = move |some: &[Lock]| some.iter().map(Lock::leaf).collect::<Vec<_>>();
            locks
                .chunks(marks::LEAVES_MAX)
                .map(move |some| (payer, leaves(some)))
        });
        let asked = questions.map(|(payer, leaves)| marks_of(node, evidence, block, payer, leaves));
        stream::iter(asked.collect::<Vec<_>>())
            .buffer_unordered(CALLS_AT_ONCE)
            .try_concat()
            .await
    })
}

fn marks_of<'a>(
    node: &'a Node,
    evidence: &'a CheckedEvidence,
    block: BlockId,
    payer: Side,
    leaves: Vec<Digest>,
) -> BoxFuture<'a, Result<Marks, SettleError>> {
    Box::pin(async move {
        let code = marks::code(evidence.raw().adjudicator, evidence.id(), payer, &leaves);
        let output = run(
            node,
            code,
            block,
            "the adjudicator does not tell the marks of locks",
        )
        .await?;
        let told = marks::answer(&output, leaves.len()).ok_or_else(no_creation)?;
        let marked = leaves.into_iter().zip(told);
        Ok(marked
            .filter_map(|(leaf, seq)| Some(((payer, leaf), seq?)))
            .collect())
    })
}

/// Received locks whose resolvers refuse the witness in the evidence: each is asked, as the adjudicator would. It reads no
/// witness of a marked lock, so of those nobody is asked.
///
/// # Errors
/// As [`marks`].
pub(super) fn refused<'a>(
    node: &'a Node,
    evidence: &'a CheckedEvidence,
    marks: &'a Marks,
    block: BlockId,
) -> BoxFuture<'a, Result<BTreeSet<u64>, SettleError>> {
    Box::pin(async move {
        let (payer, received) = (evidence.side().other(), evidence.received());
        let resolved = received
            .locks
            .iter()
            .filter(|lock| lock.condition().has_resolver());
        let questions = resolved.filter_map(|lock| {
            let witness = received.witnesses.get(&lock.id)?;
            let marked = marks.contains_key(&(payer, lock.leaf()));
            (!marked).then_some((lock, witness))
        });
        let questions: Vec<_> = questions.collect();
        let asked = questions
            .chunks(probes::QUESTIONS_MAX)
            .map(|some| refused_of(node, block, some));
        stream::iter(asked.collect::<Vec<_>>())
            .buffer_unordered(CALLS_AT_ONCE)
            .try_concat()
            .await
    })
}

fn refused_of<'a>(
    node: &'a Node,
    block: BlockId,
    asked: &'a [(&'a Lock, &'a Witness)],
) -> BoxFuture<'a, Result<BTreeSet<u64>, SettleError>> {
    Box::pin(async move {
        let questions: Vec<_> = asked
            .iter()
            .map(|(lock, witness)| (lock.condition(), *witness))
            .collect();
        let code = probes::code(&questions);
        let output = run(node, code, block, "resolvers cannot be asked").await?;
        let opens = probes::answers(&output, asked.len()).ok_or_else(no_creation)?;
        let refused = asked.iter().zip(opens).filter(|(_, opens)| !opens);
        Ok(refused.map(|((lock, _), _)| lock.id).collect())
    })
}

/// Runs creation code. Both programs revert for lack of gas, too.
async fn run(node: &Node, code: Bytes, block: BlockId, cannot: &str) -> Result<Bytes, SettleError> {
    node.create(code, block).await.map_err(|error| match error {
        SettleError::Reverted(_) => SettleError::Refused(format!(
            "{cannot}: the node gives eth_call less than 10M gas, or contradicts itself; use another node"
        )),
        error => error,
    })
}

fn no_creation() -> SettleError {
    SettleError::Refused("the node does not run creation code in eth_call; use another node".to_owned())
}
