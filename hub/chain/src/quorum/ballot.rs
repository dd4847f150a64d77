//! Counting answers: which one has enough votes, and who contradicts whom. No I/O.

use super::super::error::ChainError;
use super::super::outlet::Prices;
use super::super::types::{BlockRef, ChainLog, TxReceipt};
use alloy::primitives::{B256, Bytes, U256};

/// Most logs whose places are named in an error.
const PLACES_MAX: usize = 16;
/// Most bytes of an answer that are shown in an error.
const BYTES_SHOWN_MAX: usize = 36;

/// The answer of one endpoint. `Ok(None)`: there is no such thing, as far as this endpoint has got.
#[derive(Clone, Debug)]
pub(super) struct Ballot<T> {
    /// Which endpoint.
    pub(super) member: usize,
    /// What it said.
    pub(super) answer: Result<Option<T>, ChainError>,
}

/// The first answer that `agree` endpoints give identically. Reverts are answers, compared by their data: every
/// kind of node words them differently.
pub(super) fn winner<T: PartialEq>(ballots: &[Ballot<T>], agree: usize) -> Option<&Ballot<T>> {
    let candidates = ballots.iter().filter(|ballot| is_answer(&ballot.answer));
    // An answer goes before "no such thing", which an endpoint that lags behind says too.
    let mut winners: Vec<&Ballot<T>> = candidates
        .filter(|ballot| votes(ballots, ballot) >= agree)
        .collect();
    winners.sort_by_key(|ballot| !is_positive(&ballot.answer));
    winners.first().copied()
}

/// Most votes that any answer has.
pub(super) fn votes_max<T: PartialEq>(ballots: &[Ballot<T>]) -> usize {
    let counts = ballots.iter().map(|ballot| votes(ballots, ballot));
    counts.max().unwrap_or(0)
}

/// Ballots whose answer contradicts `winner`. To have nothing yet contradicts nothing.
pub(super) fn outvoted<'a, T: PartialEq>(
    ballots: &'a [Ballot<T>],
    winner: &'a Ballot<T>,
) -> impl Iterator<Item = &'a Ballot<T>> {
    let against = move |ballot: &&Ballot<T>| {
        is_positive(&winner.answer) && is_positive(&ballot.answer) && !same(&ballot.answer, &winner.answer)
    };
    ballots.iter().filter(against)
}

/// Whether two endpoints gave answers that cannot both be true.
pub(super) fn contradicts<T: PartialEq>(ballots: &[Ballot<T>]) -> bool {
    let mut positive = ballots.iter().filter(|ballot| is_positive(&ballot.answer));
    let Some(first) = positive.next() else {
        return false;
    };
    positive.any(|other| !same(&first.answer, &other.answer))
}

/// The refusal that at least `agree` endpoints gave alike, when none gave an answer: the request itself is wrong.
pub(super) fn refusal<T>(ballots: &[Ballot<T>], agree: usize) -> Option<ChainError> {
    if ballots.iter().any(|ballot| is_answer(&ballot.answer)) {
        return None;
    }
    let errors = || ballots.iter().filter_map(|ballot| ballot.answer.as_ref().err());
    let alike = |error: &ChainError| {
        let kind = std::mem::discriminant(error);
        errors()
            .filter(|other| std::mem::discriminant(*other) == kind)
            .count()
    };
    errors()
        .find(|error| !error.is_retryable() && alike(error) >= agree)
        .cloned()
}

/// An answer, rather than a failure to give one.
pub(super) fn is_answer<T>(answer: &Result<T, ChainError>) -> bool {
    matches!(answer, Ok(_) | Err(ChainError::Reverted { .. }))
}

fn votes<T: PartialEq>(ballots: &[Ballot<T>], wanted: &Ballot<T>) -> usize {
    let for_it = ballots
        .iter()
        .filter(|ballot| same(&ballot.answer, &wanted.answer));
    for_it.count()
}

fn is_positive<T>(answer: &Result<Option<T>, ChainError>) -> bool {
    matches!(answer, Ok(Some(_)) | Err(ChainError::Reverted { .. }))
}

fn same<T: PartialEq>(one: &Result<Option<T>, ChainError>, other: &Result<Option<T>, ChainError>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(ChainError::Reverted { data: one, .. }), Err(ChainError::Reverted { data: other, .. })) => {
            one == other
        }
        _ => false,
    }
}

/// The `nth` highest value, the highest for 1: with `nth` the agreement asked for, at least one honest endpoint
/// claims so much, and no single one pushes it up or down. `None` without values; the lowest if there are fewer.
pub(super) fn nth_highest<N: Ord + Copy>(mut values: Vec<N>, nth: usize) -> Option<N> {
    values.sort_unstable_by(|one, other| other.cmp(one));
    let index = nth.min(values.len()).checked_sub(1)?;
    values.get(index).copied()
}

/// An answer in a few words.
pub(super) trait Brief {
    /// The words.
    fn brief(&self) -> String;
}

impl Brief for BlockRef {
    fn brief(&self) -> String {
        format!("block {} is {}", self.number, self.hash)
    }
}

/// Logs up to a block that has this hash.
impl Brief for (B256, Vec<ChainLog>) {
    fn brief(&self) -> String {
        let (hash, logs) = self;
        let places = logs.iter().rev().take(PLACES_MAX);
        let places: Vec<String> = places
            .map(|log| format!("{}/{}", log.block_number, log.log_index))
            .collect();
        let (count, places) = (logs.len(), places.join(" "));
        format!("{count} logs up to block {hash} (block/index, newest first: {places})")
    }
}

impl Brief for Bytes {
    fn brief(&self) -> String {
        let shown = self.get(..BYTES_SHOWN_MAX).unwrap_or(self);
        let shown = alloy::hex::encode_prefixed(shown);
        format!("{shown} of {} bytes", self.len())
    }
}

impl Brief for TxReceipt {
    fn brief(&self) -> String {
        let Self {
            block_number,
            block_hash,
            success,
            ..
        } = self;
        let (logs, gas) = (self.logs.len(), self.gas_used);
        format!("in block {block_number} {block_hash}, success {success}, {logs} logs, {gas} gas")
    }
}

impl Brief for B256 {
    fn brief(&self) -> String {
        self.to_string()
    }
}

impl Brief for U256 {
    fn brief(&self) -> String {
        self.to_string()
    }
}

impl Brief for u64 {
    fn brief(&self) -> String {
        self.to_string()
    }
}

impl Brief for bool {
    fn brief(&self) -> String {
        self.to_string()
    }
}

impl Brief for Prices {
    fn brief(&self) -> String {
        format!("base fee {}, tip {}", self.base_fee, self.tip)
    }
}

/// What a ballot says, for an error or the log.
pub(super) fn brief<T: Brief>(answer: &Result<Option<T>, ChainError>) -> String {
    match answer {
        Ok(Some(value)) => value.brief(),
        Ok(None) => "not there (yet)".to_owned(),
        Err(error) => without_urls(&error.to_string()),
    }
}

/// Nodes like to answer with links, and a link of one's own account may hold its key.
pub(super) fn without_urls(text: &str) -> String {
    let words = text
        .split(' ')
        .map(|word| if word.contains("://") { "(link)" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballots(answers: &[Result<Option<u64>, ChainError>]) -> Vec<Ballot<u64>> {
        let ballot = |(member, answer): (usize, &Result<Option<u64>, ChainError>)| Ballot {
            member,
            answer: answer.clone(),
        };
        answers.iter().enumerate().map(ballot).collect()
    }

    fn reverted(message: &str, data: u8) -> Result<Option<u64>, ChainError> {
        Err(ChainError::Reverted {
            message: message.to_owned(),
            data: vec![data].into(),
        })
    }

    fn down() -> Result<Option<u64>, ChainError> {
        Err(ChainError::Transport("refused".to_owned()))
    }

    fn rejected() -> Result<Option<u64>, ChainError> {
        Err(ChainError::Rejected {
            code: -32_000,
            message: "header not found".to_owned(),
        })
    }

    #[test]
    fn an_answer_wins_with_enough_votes_and_not_with_fewer() {
        let won = |answers: &[_], agree| winner(&ballots(answers), agree).map(|ballot| ballot.answer.clone());
        assert_eq!(won(&[Ok(Some(1)), Ok(Some(1))], 2), Some(Ok(Some(1))));
        assert_eq!(won(&[Ok(Some(1)), Ok(Some(2))], 2), None);
        assert_eq!(
            won(&[Ok(Some(2)), Ok(Some(1)), Ok(Some(1))], 2),
            Some(Ok(Some(1)))
        );
        assert_eq!(won(&[Ok(Some(1)), down(), down()], 2), None);
        assert_eq!(won(&[down(), down()], 2), None, "failures are no votes");
        assert_eq!(won(&[Ok(None), Ok(None)], 2), Some(Ok(None)));
        let both = [Ok(None), Ok(None), Ok(Some(1)), Ok(Some(1))];
        assert_eq!(
            won(&both, 2),
            Some(Ok(Some(1))),
            "what is there goes before what is not"
        );
        assert!(won(&[reverted("one", 7), reverted("other", 7)], 2).is_some());
        assert!(won(&[reverted("one", 7), reverted("one", 8)], 2).is_none());
    }

    #[test]
    fn to_have_nothing_yet_is_no_contradiction() {
        assert!(contradicts(&ballots(&[Ok(Some(1)), Ok(Some(2))])));
        assert!(contradicts(&ballots(&[Ok(Some(1)), reverted("no", 1)])));
        assert!(!contradicts(&ballots(&[
            Ok(Some(1)),
            Ok(None),
            down(),
            rejected()
        ])));
        let all = ballots(&[Ok(Some(1)), Ok(None), Ok(Some(2)), Ok(Some(1)), down()]);
        let against = |winner| outvoted(&all, &all[winner]).map(|ballot| ballot.member);
        assert_eq!(against(0).collect::<Vec<_>>(), [2]);
        assert_eq!(against(1).count(), 0);
    }

    #[test]
    fn a_refusal_counts_only_when_nobody_answers() {
        assert_eq!(refusal(&ballots(&[rejected(), rejected()]), 2), rejected().err());
        assert_eq!(refusal(&ballots(&[rejected(), down()]), 2), None);
        assert_eq!(refusal(&ballots(&[rejected(), rejected(), Ok(Some(1))]), 2), None);
        assert_eq!(refusal(&ballots(&[down(), down()]), 2), None);
    }

    #[test]
    fn no_single_claim_moves_the_nth_highest() {
        assert_eq!(nth_highest(vec![9, 10, u64::MAX], 2), Some(10));
        assert_eq!(nth_highest(vec![9, 0, 10], 2), Some(9));
        assert_eq!(nth_highest(vec![9, 10], 1), Some(10));
        assert_eq!(nth_highest(vec![7], 2), Some(7));
        assert_eq!(nth_highest(Vec::<u64>::new(), 2), None);
    }

    #[test]
    fn links_do_not_reach_the_errors() {
        let text = "limit reached, see https://node.example/v3/secret for more";
        assert_eq!(without_urls(text), "limit reached, see (link) for more");
    }
}
