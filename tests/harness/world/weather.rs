//! What happens by the second rather than by the message: clocks that jump, gas that costs more, blocks that vanish, people
//! that are cut off, somebody who leaves, and disputes that Mallory starts.

use super::{
    bank::Bank,
    book::Book,
    clock::Clock,
    court,
    drive::Attic,
    faults::{Kind, Plan},
    hub::{CONFIRMATIONS, Known},
    mallory::Mallory,
    network::{Ears as _, Network, Party},
    oracle::Oracle,
    part::Part,
    strangers::Strangers,
};
use protocol_spec::SignerKey;
use rand::Rng as _;
use std::time::Duration;
use tokio::time::sleep;

const JUMP_S_MAX: u64 = 120;
/// How far time goes when a close is lost: beyond its deadline by everybody's clock, and not beyond the `lag` for which its signer
/// waits.
const LATE_S: std::ops::Range<u64> = 740..1_100;
/// How wrong a clock may be.
pub(super) const SKEW_S_MAX: i64 = 60;

/// Everything it needs.
pub(super) struct Weather<'a> {
    pub(super) bank: &'a Bank,
    pub(super) book: &'a Book,
    pub(super) clock: &'a Clock,
    /// The machines' own.
    pub(super) clocks: &'a [Clock],
    pub(super) network: &'a Network,
    pub(super) oracle: &'a Oracle,
    pub(super) keys: &'a [SignerKey],
    /// The merchant that may leave.
    pub(super) leaver: usize,
    /// The person who may be given an old database, and where those are.
    pub(super) restorer: (usize, &'a Attic<()>),
    /// Old databases of the hub.
    pub(super) backups: &'a Attic<Known>,
    pub(super) strangers: Strangers<'a>,
}

impl Weather<'_> {
    /// Goes on for as long as it is polled. Errors: the chain of the world itself failed.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        loop {
            sleep(Duration::from_secs(1)).await;
            if self.book.everybody_is_there() {
                self.network.plan(Plan::settle);
                self.second().await?;
            }
        }
    }

    fn strikes(&self, part: Part) -> bool {
        let strikes = self.network.plan(|plan| plan.strikes(part));
        if strikes {
            self.oracle.note(&format!("{part}"));
        }
        strikes
    }

    async fn second(&self) -> anyhow::Result<()> {
        if self.strikes(Part::Jump) {
            let jump = |plan: &mut Plan| plan.dice(Part::Jump).random_range(1..=JUMP_S_MAX);
            self.clock.jump(self.network.plan(jump));
        }
        for clock in self.clocks {
            if self.strikes(Part::ClockSet) {
                let skew = |plan: &mut Plan| plan.dice(Part::ClockSet).random_range(-SKEW_S_MAX..=SKEW_S_MAX);
                clock.set(self.network.plan(skew));
            }
        }
        if self.strikes(Part::GasSpike) {
            self.bank.spike()?;
        }
        if self.strikes(Part::Reorg) {
            let depth = |plan: &mut Plan| plan.dice(Part::Reorg).random_range(1..=CONFIRMATIONS);
            self.bank.reorg(self.network.plan(depth))?;
            court::look_again(self.bank, self.book, self.network, self.oracle).await?;
        }
        if self.strikes(Part::Leave) {
            self.book.ask_to_leave(self.leaver);
        }
        self.lapse();
        if self.strikes(Part::ClientRestore) {
            let (person, attic) = self.restorer;
            attic.want();
            self.oracle.cut_power(Party::Person(person), Kind::ClientBefore);
        }
        if self.strikes(Part::HubRestore) {
            self.backups.want();
            self.oracle.cut_power(Party::Hub, Kind::HubBefore);
        }
        court::take(self.bank, self.book, self.network, self.oracle).await?;
        if self.strikes(Part::LieCourt) {
            let people = self.keys.len();
            let person = |plan: &mut Plan| plan.dice(Part::LieCourt).random_range(0..people);
            let person = self.network.plan(person);
            court::lie(self.bank, self.book, self.network, self.oracle, person).await?;
        }
        for (person, key) in self.keys.iter().enumerate() {
            if self.network.plan(|plan| plan.cut_off(person)) {
                self.oracle.note(&format!("person {person} is cut off"));
                self.network.unplug(Party::Person(person));
            }
            if self.book.is_foe(person) {
                self.foe(person, key).await?;
            }
        }
        Ok(())
    }

    /// What a foe does of its own accord.
    async fn foe(&self, person: usize, key: &SignerKey) -> anyhow::Result<()> {
        if self.strikes(Part::Stale) {
            court::dispute(self.bank, self.book, self.network, self.oracle, person, key).await?;
        }
        if self.strikes(Part::Persist) {
            self.network.persist(person);
        }
        if self.strikes(Part::Both) {
            self.network.say(person, Mallory::says_both);
        }
        if self.strikes(Part::WithdrawOld) {
            let now = self.clock.now();
            self.network
                .say(person, |mallory, plan| mallory.withdraws(now, plan));
        }
        if self.strikes(Part::Cancel) {
            court::cancel(self.bank, self.book, self.network, self.clock, person).await?;
        }
        if self.strikes(Part::Stranger) {
            self.strangers.act(person, key).await?;
        }
        Ok(())
    }

    /// A close that is lost is late from the next second on: the hub credits again, and the merchant takes nothing yet.
    fn lapse(&self) {
        if self.network.plan(Plan::loses_close) {
            self.book.ask_to_leave(self.leaver);
        }
        if self.network.plan(Plan::lapses) {
            let mut dice = self.network.plan(|plan| plan.dice(Part::Lapse).clone());
            self.oracle.note("the deadline of a close is over");
            self.clock.jump(dice.random_range(LATE_S));
            self.book.set_lapsed();
            self.book.draw_to(self.leaver, &mut dice);
        }
    }
}
