//! Waiting for something to happen.
//!
//! Every source is looked at each time, in a fixed order, and gives a bounded part of what it has. So no source can
//! starve another, however much it brings, and the same arrivals are always handled in the same order.

use super::{Actor, Command, chain, defence::Done, resolvers::Verdict};
use crate::{
    ConnectError, StoreError,
    link::{Inbound, Link},
    tower::Report,
};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll},
};
use tokio::time::{Instant, sleep_until};

const COMMANDS_MAX: usize = 1024;

/// What has come in since the last turn.
#[derive(Default)]
pub(super) struct Arrivals {
    messages: Vec<Inbound>,
    dialed: Option<Result<Link, ConnectError>>,
    chain: Option<chain::Report>,
    verdict: Option<Verdict>,
    defended: Option<Done>,
    reports: Vec<Report>,
    commands: Vec<Command>,
    /// It is time to look at deadlines, retries and pauses.
    sweep: bool,
    /// Every handle is gone.
    abandoned: bool,
}

impl Arrivals {
    fn any(&self) -> bool {
        !self.messages.is_empty()
            || self.dialed.is_some()
            || self.chain.is_some()
            || self.verdict.is_some()
            || self.defended.is_some()
            || !self.reports.is_empty()
            || !self.commands.is_empty()
            || self.sweep
            || self.abandoned
    }
}

impl Actor {
    /// Waits until something has come in.
    pub(super) async fn arrivals(&mut self) -> Arrivals {
        let mut arrivals = Arrivals::default();
        let mut timer = pin!(sleep_until(self.next_sweep));
        poll_fn(|context| {
            self.collect(context, &mut arrivals);
            if arrivals.any() {
                return Poll::Ready(());
            }
            let due = timer.as_mut().poll(context);
            arrivals.sweep = due.is_ready();
            due
        })
        .await;
        arrivals
    }

    fn collect(&mut self, context: &mut Context<'_>, arrivals: &mut Arrivals) {
        arrivals.sweep = self.next_sweep <= Instant::now();
        if let Poll::Ready(dialed) = self.link.poll(context, &mut arrivals.messages) {
            arrivals.dialed = Some(dialed);
        }
        // `None` for ever when the chain is not read: then nothing comes from there.
        if let Poll::Ready(Some(report)) = self.reports.poll_recv(context) {
            arrivals.chain = Some(report);
        }
        if let Poll::Ready(verdict) = self.resolvers.verdicts.poll_recv(context) {
            arrivals.verdict = verdict;
        }
        if let Poll::Ready(done) = self.defences.done.poll_recv(context) {
            arrivals.defended = done;
        }
        self.towers.poll(context, &mut arrivals.reports);
        let commands = self
            .inbox
            .poll_recv_many(context, &mut arrivals.commands, COMMANDS_MAX);
        arrivals.abandoned = matches!(commands, Poll::Ready(0));
    }

    /// Handles everything; false when nobody is left who wants something.
    pub(super) async fn handle(&mut self, arrivals: Arrivals) -> Result<bool, StoreError> {
        if arrivals.abandoned {
            return Ok(false);
        }
        self.look();
        for message in arrivals.messages {
            self.inbound(message).await?;
        }
        match arrivals.dialed {
            Some(Ok(link)) => self.connected(link),
            Some(Err(error)) => self.dial_failed(&error),
            None => {}
        }
        if let Some(report) = arrivals.chain {
            self.chain_told(report);
        }
        if let Some(verdict) = arrivals.verdict {
            self.verdict(verdict);
        }
        if let Some(done) = arrivals.defended {
            self.defended(done);
        }
        for report in arrivals.reports {
            self.package_handed(report);
        }
        for command in arrivals.commands {
            self.command(command).await?;
        }
        if arrivals.sweep {
            self.next_sweep = super::pay::later(super::SWEEP);
            self.sweep().await?;
        }
        Ok(true)
    }
}
