//! Several endpoints behind one chain port, none of which is believed alone.
//!
//! What the hub decides by (blocks, logs, calls, receipts, code, balances) counts only when
//! [`QuorumOptions::agree`] endpoints give the identical answer. At most `agree - 1` of them may lie; a log that one
//! endpoint hides or invents is then never believed. First as many are asked as must agree, the others when one of
//! those fails, contradicts, or keeps us waiting. No agreement is [`ChainError::Disagreement`] or
//! [`ChainError::TooFewAnswers`], never a guess.
//!
//! Endpoints are a few blocks apart from each other, and that is no lie. So the head is the newest block that
//! enough endpoints have in common; what is read at "the newest block" is read at that one; logs of an endpoint
//! count only if it has the last block of the range; to lack a block, log range or receipt contradicts nobody.
//!
//! Measures that nothing rests on (nonce, gas, fees) are the `agree`-th highest of all answers, so that no single
//! endpoint moves them. Transactions are signed once and go to every endpoint that is up.
//!
//! An endpoint that fails is left alone for [`QuorumOptions::rest_min`], doubling up to
//! [`QuorumOptions::rest_max`]; when it is asked again, it is connected anew and must be on the same chain.

mod ask;
mod ballot;
mod chain;
mod connect;
mod endpoint;
mod member;
mod outlet;

pub use endpoint::{Endpoint, EndpointStatus};

use super::connect::ChainOptions;
use super::send::SendQueue;
use ask::Panel;
use std::sync::Arc;
use std::time::Duration;

/// How several endpoints are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumOptions {
    /// Endpoints that must give the identical answer: at least 1, at most all.
    pub agree: usize,
    /// First rest of an endpoint that fails.
    pub rest_min: Duration,
    /// Longest rest, and the rest of an endpoint that is on another chain or does not accept our key.
    pub rest_max: Duration,
    /// After this long without an answer other endpoints are asked as well. Well below
    /// [`ChainOptions::request_timeout`].
    pub patience: Duration,
}

impl QuorumOptions {
    /// The usual options; `agree` endpoints must agree.
    #[must_use]
    pub fn agree(agree: usize) -> Self {
        Self {
            agree,
            rest_min: Duration::from_secs(1),
            rest_max: Duration::from_secs(60),
            patience: Duration::from_secs(3),
        }
    }

    /// The usual options; more than half of `endpoints` must agree: 1 of 1, 2 of 2, 2 of 3, 3 of 5.
    #[must_use]
    pub fn majority(endpoints: usize) -> Self {
        Self::agree(endpoints.checked_div(2).unwrap_or(0).saturating_add(1))
    }
}

/// A chain behind several endpoints. Clones share endpoints and send queue. With one endpoint it costs and does
/// what [`super::AlloyChain`] does.
#[derive(Clone, Debug)]
pub struct QuorumChain {
    panel: Arc<Panel>,
    chain_id: u64,
    options: ChainOptions,
    queue: Option<SendQueue>,
}

impl QuorumChain {
    /// How each endpoint is doing, in the order in which they were given.
    #[must_use]
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.panel.members.iter().map(|member| member.status()).collect()
    }

    /// Endpoints that must give the identical answer.
    #[must_use]
    pub fn agree(&self) -> usize {
        self.panel.options.agree
    }
}

#[cfg(test)]
mod tests {
    use super::QuorumOptions;

    #[test]
    fn a_majority_is_more_than_half() {
        let agree = |endpoints| QuorumOptions::majority(endpoints).agree;
        assert_eq!([1, 2, 3, 4, 5].map(agree), [1, 2, 2, 3, 3]);
    }
}
