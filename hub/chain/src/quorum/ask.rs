//! Asking several endpoints: until enough of them agree, or all of them where every answer counts.

use super::super::client::AlloyChain;
use super::super::error::{ChainError, EndpointSaid};
use super::super::outlet::is_nonce_stale;
use super::super::seldom::Seldom;
use super::QuorumOptions;
use super::ballot::{Ballot, Brief, brief, contradicts, is_answer, outvoted, refusal, votes_max, winner};
use super::endpoint::Identity;
use super::member::Member;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeSet, VecDeque};
use tokio::time::sleep;

/// What one endpoint is asked; `None`: it has no such thing (yet).
pub(super) type Ask<T> =
    dyn Fn(AlloyChain) -> BoxFuture<'static, Result<Option<T>, ChainError>> + Send + Sync;

/// All endpoints, and how many of them must agree.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) members: Vec<Member>,
    pub(super) options: QuorumOptions,
    /// The chain that they must be on; `None` while that is being found out.
    pub(super) identity: Option<Identity>,
    /// Disagreements, by what was asked.
    pub(super) disagreed: Seldom,
}

impl Panel {
    /// The only endpoint, if there is one only: it is asked without any of the detours below.
    pub(super) fn only(&self) -> Option<&Member> {
        match self.members.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The answer that enough endpoints give; those that contradict it are named in the log and sent to rest.
    /// Endpoints that have told of a block at `height` are asked first.
    pub(super) async fn agreed<T>(
        &self,
        what: &'static str,
        height: Option<u64>,
        ask: &Ask<T>,
    ) -> Result<Option<T>, ChainError>
    where
        T: Brief + Clone + PartialEq + Send,
    {
        if let Some(only) = self.only() {
            return only.ask(self.identity, ask).await;
        }
        let mut ballots = Vec::new();
        self.poll(what, height, ask, &mut ballots).await;
        self.call_out(what, &ballots);
        let verdict = self.verdict(what, &ballots);
        if let Err(error @ ChainError::Disagreement { .. }) = &verdict
            && let Some(held_back) = self.disagreed.due(what)
        {
            tracing::warn!(%error, held_back, "chain endpoints disagree: nothing is believed");
        }
        verdict
    }

    /// Collects ballots, beside those that are there, until one answer has enough or nobody is left to ask.
    pub(super) async fn poll<T: PartialEq + Send>(
        &self,
        what: &'static str,
        height: Option<u64>,
        ask: &Ask<T>,
        ballots: &mut Vec<Ballot<T>>,
    ) {
        let mut later: VecDeque<(usize, &Member)> = self.ready(height).into();
        later.retain(|(index, _)| ballots.iter().all(|ballot| ballot.member != *index));
        let mut under_way = FuturesUnordered::new();
        let mut kept_waiting = BTreeSet::new();
        let patience = sleep(self.options.patience);
        tokio::pin!(patience);
        let mut impatient = false;
        while winner(ballots, self.options.agree).is_none() {
            // At first no more than can decide it; all others when those cannot, or one keeps us waiting.
            let best = votes_max(ballots);
            let all = impatient || best < ballots.len();
            let missing = self.options.agree.saturating_sub(best);
            while all || under_way.len() < missing {
                let Some((index, member)) = later.pop_front() else {
                    break;
                };
                if !impatient {
                    kept_waiting.insert(index);
                }
                under_way.push(self.cast(index, member, ask));
            }
            tokio::select! {
                biased;
                ballot = under_way.next() => match ballot {
                    Some(ballot) => {
                        kept_waiting.remove(&ballot.member);
                        ballots.push(ballot);
                    }
                    None => break,
                },
                () = &mut patience, if !impatient => impatient = true,
            }
        }
        if impatient {
            self.too_slow(what, &kept_waiting);
        }
    }

    /// Asks every endpoint that is up, and waits for all of them; but not longer than the patience once `enough`
    /// have answered. With nobody up those that rest are asked too.
    pub(super) async fn gather<T: Send>(
        &self,
        what: &'static str,
        enough: usize,
        ask: &Ask<T>,
    ) -> Vec<Ballot<T>> {
        let mut asked = self.ready(None);
        if asked.is_empty() {
            let all = self.members.iter().enumerate();
            asked = all.filter(|(_, member)| !member.is_on_wrong_chain()).collect();
        }
        let mut kept_waiting: BTreeSet<usize> = asked.iter().map(|(index, _)| *index).collect();
        let mut under_way: FuturesUnordered<_> = asked
            .into_iter()
            .map(|(index, member)| self.cast(index, member, ask))
            .collect();
        let patience = sleep(self.options.patience);
        tokio::pin!(patience);
        let mut impatient = false;
        let mut ballots: Vec<Ballot<T>> = Vec::new();
        loop {
            let answers = ballots.iter().filter(|ballot| is_answer(&ballot.answer));
            if impatient && answers.count() >= enough {
                break;
            }
            tokio::select! {
                biased;
                ballot = under_way.next() => match ballot {
                    Some(ballot) => {
                        kept_waiting.remove(&ballot.member);
                        ballots.push(ballot);
                    }
                    None => break,
                },
                () = &mut patience, if !impatient => impatient = true,
            }
        }
        self.too_slow(what, &kept_waiting);
        ballots
    }

    /// What the ballots say, all in all.
    pub(super) fn verdict<T>(
        &self,
        what: &'static str,
        ballots: &[Ballot<T>],
    ) -> Result<Option<T>, ChainError>
    where
        T: Brief + Clone + PartialEq,
    {
        let agree = self.options.agree;
        if let Some(won) = winner(ballots, agree) {
            return won.answer.clone();
        }
        if let Some(error) = refusal(ballots, agree) {
            return Err(error);
        }
        let said = self.said(ballots);
        Err(if contradicts(ballots) {
            ChainError::Disagreement { what, agree, said }
        } else {
            ChainError::TooFewAnswers { what, agree, said }
        })
    }

    /// Why nothing came of asking: what can be mended at once goes first, then what asking again does not mend. An
    /// only endpoint's error is told as it is.
    pub(super) fn telling<T: Brief>(
        &self,
        what: &'static str,
        ballots: &[Ballot<T>],
        agree: usize,
    ) -> ChainError {
        let errors = || ballots.iter().filter_map(|ballot| ballot.answer.as_ref().err());
        let lasting = |error: &&ChainError| !error.is_retryable() && !matches!(error, ChainError::Config(_));
        let stale = errors().find(|error| is_nonce_stale(error));
        let only = errors().next().filter(|_| self.only().is_some());
        let found = only.or(stale).or_else(|| errors().find(lasting)).cloned();
        found.unwrap_or_else(|| ChainError::TooFewAnswers {
            what,
            agree,
            said: self.said(ballots),
        })
    }

    /// Endpoints that may be asked, best first.
    fn ready(&self, height: Option<u64>) -> Vec<(usize, &Member)> {
        let members = self.members.iter().enumerate();
        let mut ready: Vec<_> = members.filter(|(_, member)| member.is_ready()).collect();
        ready.sort_by_key(|(_, member)| member.rank(height));
        ready
    }

    fn cast<'a, T: Send + 'a>(
        &'a self,
        index: usize,
        member: &'a Member,
        ask: &'a Ask<T>,
    ) -> BoxFuture<'a, Ballot<T>> {
        Box::pin(async move {
            let answer = member.ask(self.identity, ask).await;
            Ballot {
                member: index,
                answer,
            }
        })
    }

    /// Names in the log who contradicts the winner, and sends them to rest.
    fn call_out<T: Brief + PartialEq>(&self, what: &'static str, ballots: &[Ballot<T>]) {
        let Some(won) = winner(ballots, self.options.agree) else {
            return;
        };
        let agreed = brief(&won.answer);
        for ballot in outvoted(ballots, won) {
            if let Some(member) = self.members.get(ballot.member) {
                let (endpoint, said) = (member.name(), brief(&ballot.answer));
                tracing::warn!(what, endpoint, said, agreed, "an endpoint contradicts the others");
                member.outvoted(what);
            }
        }
    }

    fn too_slow(&self, what: &'static str, slow: &BTreeSet<usize>) {
        let after = self.options.patience;
        for member in slow.iter().filter_map(|index| self.members.get(*index)) {
            member.failed(&ChainError::Timeout { what, after });
        }
    }

    /// Every endpoint with what it said, or why it was not asked.
    fn said<T: Brief>(&self, ballots: &[Ballot<T>]) -> Vec<EndpointSaid> {
        let said = |(index, member): (usize, &Member)| {
            let ballot = ballots.iter().find(|ballot| ballot.member == index);
            let said = ballot.map_or_else(
                || format!("nothing: {}", member.why_silent()),
                |ballot| brief(&ballot.answer),
            );
            EndpointSaid {
                endpoint: member.name().to_owned(),
                said,
            }
        };
        self.members.iter().enumerate().map(said).collect()
    }
}
