//! From a list of endpoints to a chain port.

use super::super::connect::ChainOptions;
use super::super::error::ChainError;
use super::super::seldom::Seldom;
use super::super::send::SendQueue;
use super::ask::Panel;
use super::ballot::winner;
use super::endpoint::{Endpoint, Identity, host};
use super::member::Member;
use super::{QuorumChain, QuorumOptions};
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;

impl QuorumChain {
    /// Connects to the endpoints and finds out which chain they are on. Endpoints that are down are tried again
    /// later, those on another chain are shut out, as long as `agree` endpoints are left. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ChainError::Config`] for options that cannot work or (with one endpoint) the wrong chain, retryable errors
    /// if too few endpoints are there.
    pub fn connect(
        endpoints: Vec<Endpoint>,
        options: ChainOptions,
        quorum: QuorumOptions,
    ) -> BoxFuture<'static, Result<Self, ChainError>> {
        Box::pin(async move {
            check(&endpoints, &quorum)?;
            let several = endpoints.len() > 1;
            let keyless = ChainOptions {
                signer: None,
                // With several, the vote decides who is on the wrong chain.
                chain_id: options.chain_id.filter(|_| !several),
                ..options.clone()
            };
            let rest = several.then_some((quorum.rest_min, quorum.rest_max));
            let member = |endpoint| Member::new(endpoint, keyless.clone(), rest);
            let mut panel = Panel {
                members: endpoints.into_iter().map(member).collect(),
                options: quorum,
                identity: None,
                disagreed: Seldom::default(),
            };
            let chain_id = match panel.only() {
                Some(only) => only.chain_id().await?,
                None => {
                    let identity = panel.identify(options.chain_id).await?;
                    panel.identity = Some(identity);
                    identity.chain_id
                }
            };
            Ok(Self::start(panel, chain_id, options))
        })
    }

    fn start(panel: Panel, chain_id: u64, options: ChainOptions) -> Self {
        let mut chain = Self {
            panel: Arc::new(panel),
            chain_id,
            options,
            queue: None,
        };
        if let Some(signer) = chain.options.signer.clone() {
            let outlet = Arc::new(chain.clone());
            chain.queue = Some(SendQueue::start(outlet, signer, chain_id, &chain.options));
        }
        chain
    }
}

impl Panel {
    /// The chain that enough endpoints are on; the others are shut out.
    async fn identify(&self, wanted: Option<u64>) -> Result<Identity, ChainError> {
        let what = "the chain's identity";
        let ballots = self
            .gather(what, self.options.agree, &|port| {
                Box::pin(async move { Identity::of(&port).await.map(Some) })
            })
            .await;
        let found = match winner(&ballots, self.options.agree) {
            Some(won) => won.answer.clone()?,
            None => self.verdict(what, &ballots)?,
        };
        let found = found.ok_or_else(|| ChainError::BadAnswer("no chain".to_owned()))?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found.chain_id) {
            let got = found.chain_id;
            return Err(ChainError::Config(format!(
                "the endpoints are on chain {got}, expected {wanted}"
            )));
        }
        for ballot in &ballots {
            if let (Ok(Some(got)), Some(member)) = (&ballot.answer, self.members.get(ballot.member))
                && *got != found
            {
                member.shut_out(*got, found);
            }
        }
        Ok(found)
    }
}

fn check(endpoints: &[Endpoint], quorum: &QuorumOptions) -> Result<(), ChainError> {
    let (count, agree) = (endpoints.len(), quorum.agree);
    if agree == 0 || agree > count {
        return Err(ChainError::Config(format!(
            "{agree} of {count} chain endpoints cannot agree: from 1 to all of them may be asked to"
        )));
    }
    let mut addresses = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    for endpoint in endpoints {
        let Some(address) = &endpoint.address else {
            continue;
        };
        let name = &endpoint.name;
        if !addresses.insert(address.trim_end_matches('/')) {
            return Err(ChainError::Config(format!(
                "{name} is named twice: it would agree with itself"
            )));
        }
        if !hosts.insert(host(address)) {
            tracing::warn!(
                endpoint = name,
                "two chain endpoints on one host: they lie and fail together"
            );
        }
    }
    if agree.saturating_mul(2) <= count {
        tracing::warn!(
            agree,
            count,
            "two groups of chain endpoints may agree on different answers"
        );
    }
    Ok(())
}
