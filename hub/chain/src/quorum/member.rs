//! An endpoint at work: connected when it is needed, rested when it fails, checked whenever it comes back.

use super::super::client::AlloyChain;
use super::super::connect::ChainOptions;
use super::super::error::ChainError;
use super::ballot::{Brief as _, without_urls};
use super::endpoint::{Connector, Endpoint, EndpointStatus, Identity};
use crate::Chain as _;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a failing endpoint is left alone; `None`: not at all, because there is no other.
pub(super) type Rest = Option<(Duration, Duration)>;

#[derive(Default)]
struct State {
    /// `None`: to be connected and checked before it is asked anything.
    port: Option<AlloyChain>,
    rests_until: Option<Instant>,
    /// Rests that count for the length of the next one; forgotten when it was well for as long as the longest rest.
    in_a_row: u32,
    forgotten_at: Option<Instant>,
    wrong_chain: bool,
    last_error: Option<String>,
    head: Option<u64>,
    failures: u64,
    outvoted: u64,
}

/// An endpoint at work.
pub(super) struct Member {
    name: String,
    connect: Connector,
    options: ChainOptions,
    rest: Rest,
    state: Mutex<State>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.name).finish()
    }
}

impl Member {
    pub(super) fn new(endpoint: Endpoint, options: ChainOptions, rest: Rest) -> Self {
        Self {
            name: endpoint.name,
            connect: endpoint.connect,
            options,
            rest,
            state: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn status(&self) -> EndpointStatus {
        let state = self.state();
        EndpointStatus {
            name: self.name.clone(),
            up: state.rests_until.is_none() && state.port.is_some(),
            rests_until: state.rests_until,
            wrong_chain: state.wrong_chain,
            last_error: state.last_error.clone(),
            head: state.head,
            failures: state.failures,
            outvoted: state.outvoted,
        }
    }

    /// Whether it may be asked: it is up, or has rested long enough.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready_at(Instant::now())
    }

    fn is_ready_at(&self, now: Instant) -> bool {
        self.state().rests_until.is_none_or(|until| until <= now)
    }

    /// Lower is asked first: those that are up, then those that have told of a block at `height`.
    pub(super) fn rank(&self, height: Option<u64>) -> (bool, bool) {
        let state = self.state();
        (state.rests_until.is_some(), state.head < height)
    }

    /// Why it was not asked, or did not answer.
    pub(super) fn why_silent(&self) -> String {
        let state = self.state();
        match (&state.last_error, state.rests_until) {
            (Some(error), Some(_)) => format!("it rests since {error}"),
            _ => "no answer in time".to_owned(),
        }
    }

    pub(super) fn is_on_wrong_chain(&self) -> bool {
        self.state().wrong_chain
    }

    pub(super) fn saw_head(&self, number: u64) {
        self.state().head = Some(number);
    }

    /// Connects if need be, checks that the chain is the expected one, and asks.
    pub(super) async fn ask<T>(
        &self,
        expected: Option<Identity>,
        question: impl FnOnce(AlloyChain) -> BoxFuture<'static, Result<T, ChainError>>,
    ) -> Result<T, ChainError> {
        let before = self.state().rests_until;
        let answer = match self.port(expected).await {
            Ok(port) => question(port).await,
            Err(error) => Err(error),
        };
        match &answer {
            Err(error) if is_failure(error) => self.failed(error),
            _ => self.recovered_at(before, Instant::now()),
        }
        answer
    }

    /// The chain id that it had when it was connected. Connects if need be.
    pub(super) async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask(None, |port| Box::pin(async move { port.chain_id().await }))
            .await
    }

    async fn port(&self, expected: Option<Identity>) -> Result<AlloyChain, ChainError> {
        let connected = self.state().port.clone();
        if let Some(port) = connected {
            return Ok(port);
        }
        let port = (self.connect)(self.options.clone()).await?;
        if let Some(expected) = expected {
            let got = Identity::of(&port).await?;
            if got != expected {
                return Err(self.shut_out(got, expected));
            }
        }
        let mut state = self.state();
        state.port = Some(port.clone());
        state.wrong_chain = false;
        Ok(port)
    }

    /// Marks an endpoint that is on another chain; it rests as long as any, and is then looked at again.
    pub(super) fn shut_out(&self, got: Identity, expected: Identity) -> ChainError {
        let (endpoint, got, expected) = (&self.name, got.brief(), expected.brief());
        tracing::warn!(
            endpoint,
            got,
            expected,
            "SHUT OUT: this endpoint is on another chain"
        );
        let error = ChainError::Config(format!("{endpoint} is on {got}, expected {expected}"));
        self.state().wrong_chain = true;
        self.failed(&error);
        error
    }

    /// Sends it to rest, longer each time in a row. A failure while it rests is one that was under way.
    pub(super) fn failed(&self, error: &ChainError) {
        self.failed_at(error, Instant::now());
    }

    fn failed_at(&self, error: &ChainError, now: Instant) {
        let words = without_urls(&error.to_string());
        let mut state = self.state();
        state.last_error = Some(words.clone());
        let Some((rest_min, rest_max)) = self.rest else {
            state.failures = state.failures.saturating_add(1);
            return;
        };
        state.port = None;
        if state.rests_until.is_some_and(|until| until > now) {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        // What time does not heal is not asked often: a wrong chain, a key that is not accepted.
        let lasting = matches!(error, ChainError::Config(_));
        let grown = rest_min.saturating_mul(2_u32.saturating_pow(state.in_a_row));
        let pause = if lasting { rest_max } else { grown.min(rest_max) };
        state.in_a_row = state.in_a_row.saturating_add(1);
        state.rests_until = now.checked_add(pause);
        state.forgotten_at = state.rests_until.and_then(|until| until.checked_add(rest_max));
        drop(state);
        tracing::warn!(
            endpoint = self.name,
            error = words,
            ?pause,
            "a chain endpoint fails and rests"
        );
    }

    /// Enough others contradict it.
    pub(super) fn outvoted(&self, what: &'static str) {
        let mut state = self.state();
        state.outvoted = state.outvoted.saturating_add(1);
        drop(state);
        self.failed(&ChainError::BadAnswer(format!(
            "{what}: contradicted by the others"
        )));
    }

    /// It answered what it was asked when it was to rest until `before`; a rest since then stands.
    fn recovered_at(&self, before: Option<Instant>, now: Instant) {
        let mut state = self.state();
        if state.rests_until != before {
            return;
        }
        if state.forgotten_at.is_none_or(|at| at <= now) {
            state.in_a_row = 0;
        }
        if state.rests_until.take().is_some() {
            drop(state);
            tracing::info!(endpoint = self.name, "a chain endpoint is back");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error says that the endpoint is not well, rather than answering the question.
fn is_failure(error: &ChainError) -> bool {
    error.is_retryable() || matches!(error, ChainError::Config(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_and_end() {
        let seconds = Duration::from_secs;
        let endpoint = Endpoint::url(1, "http://127.0.0.1:1").unwrap();
        let member = Member::new(endpoint, ChainOptions::default(), Some((seconds(1), seconds(5))));
        let down = ChainError::Transport("refused".to_owned());
        let mut now = Instant::now();
        for pause in [1, 2, 4, 5, 5] {
            assert!(member.is_ready_at(now));
            member.failed_at(&down, now);
            member.failed_at(&down, now);
            now += seconds(pause) - Duration::from_millis(1);
            assert!(!member.is_ready_at(now), "{pause}");
            now += Duration::from_millis(1);
        }
        assert_eq!(member.status().failures, 5, "failures under way count once");
        let rested = member.status().rests_until;
        member.recovered_at(None, now);
        assert_eq!(
            member.status().rests_until,
            rested,
            "an older answer ends no rest"
        );
        member.recovered_at(rested, now);
        assert_eq!(member.status().rests_until, None);
        member.failed_at(&down, now);
        assert!(
            !member.is_ready_at(now + seconds(4)),
            "one success does not make up for five failures"
        );
        now += seconds(5);
        member.recovered_at(member.status().rests_until, now);
        now += seconds(5);
        member.recovered_at(None, now);
        member.failed_at(&down, now);
        assert!(
            member.is_ready_at(now + seconds(1)),
            "well for long enough: forgotten"
        );
        now += seconds(1);
        member.recovered_at(member.status().rests_until, now);
        member.failed_at(&ChainError::Config("key not accepted".to_owned()), now);
        assert!(
            !member.is_ready_at(now + seconds(4)),
            "what time does not heal rests long at once"
        );
    }

    #[test]
    fn an_only_endpoint_never_rests() {
        let endpoint = Endpoint::url(1, "http://127.0.0.1:1").unwrap();
        let member = Member::new(endpoint, ChainOptions::default(), None);
        member.failed(&ChainError::Transport("refused".to_owned()));
        assert!(member.is_ready());
        assert_eq!(
            member.status().last_error.as_deref(),
            Some("chain node not reached: refused")
        );
    }
}
