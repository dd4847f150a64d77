//! The chain as the client sees it, by one or several RPC endpoints: reading channels at a confirmed block, opening,
//! depositing, broadcasting.

mod fees;
mod merge;
mod node;
mod send;

pub(crate) use merge::Panel;
pub(crate) use send::{Signed, Urgency};

use crate::{ChainError, Rpc};
use alloy::{
    primitives::{B256, Bytes},
    signers::local::PrivateKeySigner,
    sol_types::{self, SolCall},
    transports::TransportError,
};
use fees::Market;
use futures::future::{BoxFuture, join_all};
use node::Node;
use protocol_spec::{
    Address, Amount, ChannelId, Condition, Config, Digest, Seq, UnixSeconds, Witness, abi::IAdjudicator,
    calls,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;

/// An endpoint that does not answer a call within this time has failed.
const CALL_MAX: Duration = Duration::from_secs(20);
/// Most characters of what an endpoint says that an error repeats.
const SAID_MAX: usize = 500;

/// A channel to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) id: ChannelId,
    /// Locks of the hub, by id, with their leaves: whether they are marked (R17) is asked, too.
    pub(crate) locks: Vec<(u64, Digest)>,
}

/// What the adjudicator stores about a channel, in the protocol's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) open: bool,
    pub(crate) disputed: bool,
    pub(crate) closed: bool,
    pub(crate) client_deposit: Amount,
    pub(crate) hub_deposit: Amount,
    pub(crate) client_withdrawn: Amount,
    pub(crate) hub_withdrawn: Amount,
    pub(crate) dispute_no: Seq,
    /// Of the direction in which the hub pays.
    pub(crate) shown: Shown,
    /// Of the direction in which the client pays.
    pub(crate) taken: Shown,
}

/// What was shown of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shown {
    /// Its best voucher.
    pub(crate) seq: Seq,
    pub(crate) paid: Amount,
    /// Its locks are there: not of one that is known by an acknowledgement only.
    pub(crate) live: bool,
    /// They are opened, too: whoever shows it for us may leave that out, and after the window it is too late for it.
    pub(crate) opened: bool,
    /// Sum of the locks resolved in it; zero unless they are there.
    pub(crate) counted: Amount,
    /// From then on no voucher is taken; zero unless disputed.
    pub(crate) window_end: UnixSeconds,
}

/// One channel in a reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// At the confirmed block.
    pub(crate) confirmed: Facts,
    /// At the newest block.
    pub(crate) newest: Facts,
    /// What each endpoint that shows a dispute says of it.
    pub(crate) disputes: Vec<Facts>,
    /// How many endpoints that are up to date show it open at their newest block.
    pub(crate) open: usize,
    /// How many endpoints must agree.
    pub(crate) needed: usize,
    /// The number of the dispute that so many show.
    pub(crate) shared_dispute: Option<Seq>,
    /// False while endpoints that are up to date disagree whether the channel is closed.
    pub(crate) agreed: bool,
    /// Of several endpoints more than half show it open or disputed at the confirmed block, and none closed.
    pub(crate) not_closed: bool,
    /// More than half of all endpoints show it closed at the confirmed block.
    pub(crate) closed_by_most: bool,
    /// The hub has withdrawn no more than this, as so many say. More than the confirmed facts tell: they disagree.
    pub(crate) hub_withdrawn_most: Amount,
    /// Too few know the channel: nothing of this counts but the disputes.
    pub(crate) few: bool,
    /// Locks of the hub that were resolved in time, as any endpoint shows at its newest block.
    pub(crate) marked: BTreeSet<u64>,
    /// The same at the confirmed block, as so many say as must agree.
    pub(crate) marked_for_good: BTreeSet<u64>,
}

impl Seen {
    /// As the hub tells it, where its view is trusted.
    pub(crate) fn by_hub(facts: Facts) -> Self {
        Self {
            shared_dispute: facts.disputed.then_some(facts.dispute_no),
            ..Self::by_one(facts, facts)
        }
    }

    fn by_one(confirmed: Facts, newest: Facts) -> Self {
        Self {
            confirmed,
            newest,
            disputes: Vec::new(),
            open: 0,
            needed: 1,
            shared_dispute: None,
            agreed: true,
            not_closed: false,
            closed_by_most: false,
            hub_withdrawn_most: confirmed.hub_withdrawn,
            few: false,
            marked: BTreeSet::new(),
            marked_for_good: BTreeSet::new(),
        }
    }

    /// What may be believed of an endpoint alone, or of an older block than was seen before.
    pub(crate) fn only_disputes(self) -> Self {
        let newest = Facts {
            disputed: self.newest.disputed,
            dispute_no: self.newest.dispute_no,
            ..Facts::default()
        };
        Self {
            confirmed: Facts::default(),
            newest,
            shared_dispute: None,
            not_closed: false,
            closed_by_most: false,
            few: true,
            marked_for_good: BTreeSet::new(),
            ..self
        }
    }
}

/// One reading of the chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Number of the newest block.
    pub(crate) number: u64,
    /// Number of the newest confirmed block.
    pub(crate) confirmed_number: u64,
    /// Timestamp of the newest block.
    pub(crate) now: UnixSeconds,
    /// Timestamp of the newest confirmed block.
    pub(crate) confirmed: UnixSeconds,
    /// Fewer endpoints are up to date than must agree: only the disputes count.
    pub(crate) too_few: bool,
    pub(crate) channels: BTreeMap<ChannelId, Seen>,
}

/// Access to one adjudicator on one chain.
#[derive(Clone, Debug)]
pub(crate) struct ChainAccess {
    nodes: Arc<[Node]>,
    market: Arc<Mutex<Market>>,
    agree: Option<usize>,
    key: Option<PrivateKeySigner>,
    chain_id: u64,
    adjudicator: Address,
    confirmations: u64,
    poll: Duration,
    timeout: Duration,
}

/// What [`ChainAccess::connect`] needs.
pub(crate) struct ChainParams {
    /// At least one.
    pub(crate) rpcs: Vec<Rpc>,
    /// How many of them must agree; `None`: more than half.
    pub(crate) agree: Option<usize>,
    pub(crate) sender: Option<PrivateKeySigner>,
    pub(crate) chain_id: u64,
    pub(crate) adjudicator: Address,
    pub(crate) confirmations: u64,
    pub(crate) poll: Duration,
    pub(crate) timeout: Duration,
}

impl ChainAccess {
    /// Connects to all endpoints and checks their chain ids. One that cannot be reached, or serves another chain, is left out and
    /// tried again with every reading; an error when none is left, or when more than half serve another chain.
    pub(crate) fn connect(params: ChainParams) -> BoxFuture<'static, Result<Self, ChainError>> {
        Box::pin(async move {
            let numbered = params.rpcs.into_iter().enumerate();
            let nodes = numbered.map(|(index, rpc)| Node::new(index.saturating_add(1), rpc, params.chain_id));
            let nodes: Arc<[Node]> = nodes.collect();
            let tried = join_all(nodes.iter().map(Node::provider)).await;
            let reached = tried.iter().any(Result::is_ok);
            let wrong = |result: &&Result<_, _>| matches!(result, Err(ChainError::WrongChain { .. }));
            let most = tried.iter().filter(wrong).count() > tried.len() >> 1;
            for (node, result) in nodes.iter().zip(&tried) {
                match result {
                    Ok(_) => {}
                    Err(error) if most && wrong(&result) => return Err(error.clone()),
                    Err(error) if !reached => return Err(error.clone()),
                    Err(error) => tracing::warn!(node = node.name, %error, "left out; tried again"),
                }
            }
            Ok(Self {
                nodes,
                market: Arc::default(),
                agree: params.agree,
                key: params.sender,
                chain_id: params.chain_id,
                adjudicator: params.adjudicator,
                confirmations: params.confirmations,
                poll: params.poll,
                timeout: params.timeout,
            })
        })
    }

    /// The account that sends transactions.
    pub(crate) fn sender(&self) -> Option<Address> {
        self.key.as_ref().map(PrivateKeySigner::address)
    }

    /// Number of endpoints.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Name of an endpoint, without what may be secret.
    pub(crate) fn name(&self, node: usize) -> String {
        self.nodes
            .get(node)
            .map(|node| node.name.clone())
            .unwrap_or_default()
    }

    /// What one endpoint says of `channels` at its newest and at its newest confirmed block.
    pub(crate) fn read<'a>(
        &'a self,
        node: usize,
        channels: &'a [Asked],
    ) -> BoxFuture<'a, Result<Reading, ChainError>> {
        Box::pin(async move {
            let node = self.nodes.get(node).ok_or(ChainError::NotConfigured)?;
            node.read(self.adjudicator, self.confirmations, channels).await
        })
    }

    /// What the resolver of `condition` says of `witness` at the newest confirmed block, asked as the adjudicator would.
    /// Yes only if enough of the endpoints say so: by default most, those included that do not answer.
    pub(crate) fn opens<'a>(
        &'a self,
        condition: &'a Condition,
        witness: &'a Witness,
    ) -> BoxFuture<'a, Result<bool, ChainError>> {
        Box::pin(async move {
            let asked = self
                .nodes
                .iter()
                .map(|node| node.opens(self.confirmations, condition, witness));
            verdict(join_all(asked).await, self.agree)
        })
    }

    /// `open(config, amount)`, signed and not sent, after `approve` for a token.
    pub(crate) fn prepare_open<'a>(
        &'a self,
        config: &'a Config,
        amount: Amount,
    ) -> BoxFuture<'a, Result<Signed, ChainError>> {
        Box::pin(self.funding(config.token, amount, calls::open(config, amount.0).abi_encode()))
    }

    /// Sends what was prepared, and waits until it is mined.
    pub(crate) fn send_prepared<'a>(&'a self, signed: &'a Signed) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(self.broadcast_signed(signed))
    }

    /// `deposit(config, amount)`, with `approve` for a token.
    pub(crate) fn deposit<'a>(
        &'a self,
        config: &'a Config,
        amount: Amount,
    ) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(async move {
            let data = calls::deposit(config, amount.0).abi_encode();
            let signed = self.funding(config.token, amount, data).await?;
            self.broadcast_signed(&signed).await
        })
    }

    /// What a payout that could not be pushed left for the sender.
    pub(crate) async fn claimable(&self, token: Address) -> Result<Amount, ChainError> {
        let account = self.sender().ok_or(ChainError::NoSender)?;
        let call = IAdjudicator::claimableCall { token, account };
        let decode = |answer: &Bytes| IAdjudicator::claimableCall::abi_decode_returns(answer).map_err(unread);
        let amount = self.ask(self.adjudicator, call.abi_encode(), decode).await?;
        u128::try_from(amount).map(Amount).map_err(rpc)
    }
}

/// A yes needs so many of all, by default more than half; a no is one that makes a yes impossible.
fn verdict(answers: Vec<Result<bool, ChainError>>, agree: Option<usize>) -> Result<bool, ChainError> {
    let all = answers.len();
    let needed = agree.unwrap_or((all >> 1).saturating_add(1));
    let count = |wanted: bool| answers.iter().filter(|answer| **answer == Ok(wanted)).count();
    let (yes, no) = (count(true), count(false));
    match () {
        () if yes >= needed => Ok(true),
        () if all.saturating_sub(no) < needed => Ok(false),
        () => {
            let mut failed = answers.into_iter().filter_map(Result::err);
            Err(failed.next().unwrap_or(ChainError::NotConfigured))
        }
    }
}

/// One call of the endpoint, with a time limit: an endpoint that does not answer is one that failed.
async fn within<T>(call: impl Future<Output = Result<T, TransportError>>) -> Result<T, ChainError> {
    match timeout(CALL_MAX, call).await {
        Ok(answer) => answer.map_err(|error| rpc(node_rpc::words(&error))),
        Err(_) => Err(ChainError::Rpc("no answer in time".to_owned())),
    }
}

/// What was called is not there, or something else is: its bytes tell people nothing.
fn unread(_: sol_types::Error) -> ChainError {
    ChainError::Rpc("a contract's answer cannot be read".to_owned())
}

fn rpc(error: impl std::fmt::Display) -> ChainError {
    ChainError::Rpc(said(error))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string().chars().take(SAID_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<bool, ChainError> {
        Err(ChainError::Rpc("down".to_owned()))
    }

    #[test]
    fn a_resolver_has_said_yes_when_as_many_say_so_as_must_agree() {
        let two = |answers| verdict(answers, Some(2));
        assert_eq!(
            two(vec![Ok(true), failed(), Ok(true), Ok(false), Ok(false)]),
            Ok(true)
        );
        assert_eq!(two(vec![Ok(true), Ok(false), Ok(false)]), Ok(false));
        let three = |answers| verdict(answers, Some(3));
        assert_eq!(three(vec![Ok(true), Ok(true), Ok(false)]), Ok(false));
        assert_eq!(three(vec![Ok(true), Ok(true), failed()]), failed());
    }

    #[test]
    fn a_resolver_has_said_yes_when_most_of_all_endpoints_say_so() {
        let majority = |answers| verdict(answers, None);
        assert_eq!(majority(vec![Ok(true)]), Ok(true));
        assert_eq!(majority(vec![Ok(true), Ok(true), failed()]), Ok(true));
        assert_eq!(majority(vec![Ok(true), Ok(false), Ok(true)]), Ok(true));
        assert_eq!(majority(vec![Ok(true), Ok(false)]), Ok(false), "one may lie");
        assert_eq!(
            majority(vec![Ok(true), failed()]),
            failed(),
            "one is not most of two"
        );
        assert_eq!(majority(vec![Ok(true), Ok(false), failed()]), failed());
        assert_eq!(majority(vec![Ok(false), failed(), Ok(false)]), Ok(false));
    }
}
