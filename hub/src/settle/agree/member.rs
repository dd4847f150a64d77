//! One of the nodes: it has its time to answer, and rests when it keeps the others waiting.

use super::ballot::Answer;
use alloy::{
    providers::{DynProvider, Provider as _},
    transports::{RpcError, TransportErrorKind},
};
use serde_json::{Value, value::RawValue};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A node that takes longer has no vote. Three rounds fit into the time limit of a request.
const PATIENCE: Duration = Duration::from_secs(6);
/// One that takes longer is not waited for the next time.
const SLOW: Duration = Duration::from_secs(3);
/// Most parts of an answer that is looked at: a part of two bytes takes hundreds in memory. The longest honest answers are blocks
/// of so many transactions.
const PARTS_MAX: usize = 1 << 15;
/// First rest of a node that is slow; each one in a row is twice as long.
const REST_MIN: Duration = Duration::from_secs(2);
/// Longest rest.
const REST_MAX: Duration = Duration::from_secs(64);

#[derive(Debug, Default)]
struct State {
    /// Its last answer came too late, or never did.
    slow: bool,
    rests_until: Option<Instant>,
    in_a_row: u32,
}

/// A node at work.
#[derive(Debug)]
pub(super) struct Member {
    node: DynProvider,
    state: Mutex<State>,
}

impl Member {
    pub(super) fn new(node: DynProvider) -> Self {
        Self {
            node,
            state: Mutex::default(),
        }
    }

    /// Whether it may be asked: it does not rest.
    pub(super) fn is_ready(&self) -> bool {
        self.state()
            .rests_until
            .is_none_or(|until| until <= Instant::now())
    }

    /// Whether it is waited for: its last answer came in time.
    pub(super) fn is_prompt(&self) -> bool {
        !self.state().slow
    }

    /// Asks in a task of its own: whoever does not wait for the answer still learns from it.
    pub(super) async fn ask(self: Arc<Self>, method: String, params: Value) -> Answer {
        let asked = tokio::spawn(async move {
            let began = Instant::now();
            let answer = tokio::time::timeout(PATIENCE, self.request(method, &params)).await;
            match began.elapsed() < SLOW {
                true => self.was_prompt(),
                false => self.was_slow(began, Instant::now()),
            }
            answer.unwrap_or_else(|_| Err(TransportErrorKind::custom_str("no answer in time")))
        });
        let lost = |error| Err(TransportErrorKind::custom(error));
        asked.await.unwrap_or_else(lost)
    }

    async fn request(&self, method: String, params: &Value) -> Answer {
        let params = RawValue::from_string(params.to_string()).map_err(RpcError::ser_err)?;
        let answer = self.node.raw_request_dyn(method.into(), &params).await?;
        if parts(answer.get()) > PARTS_MAX {
            return Err(TransportErrorKind::custom_str(
                "the node's answer has more parts than any honest one",
            ));
        }
        serde_json::from_str(answer.get()).map_err(|error| RpcError::deser_err(error, answer.get()))
    }

    fn was_prompt(&self) {
        *self.state() = State::default();
    }

    /// What was under way before the last rest began counts once.
    fn was_slow(&self, began: Instant, now: Instant) {
        let mut state = self.state();
        if state.rests_until.is_some_and(|until| began < until) {
            return;
        }
        let rest = REST_MIN.saturating_mul(2_u32.saturating_pow(state.in_a_row));
        state.in_a_row = state.in_a_row.saturating_add(1);
        state.rests_until = now.checked_add(rest.min(REST_MAX));
        state.slow = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No fewer than there are in the JSON text.
fn parts(text: &str) -> usize {
    text.bytes()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'))
        .count()
}
