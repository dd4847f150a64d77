//! One random sequence: from a fresh contract to, mostly, the payout; compared after every step.

use crate::action::Action;
use crate::book::Book;
use crate::cast::{Chain, START_S};
use crate::compare;
use crate::counts::Counts;
use crate::generate::{World, sender};
use crate::model::{CLOSED, DISPUTED, Model, OPEN, Rules};
use protocol_spec::Side;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

struct Sequence<'a, R> {
    chain: &'a mut Chain,
    counts: &'a mut Counts,
    model: Model<R>,
    book: Book,
    now: u64,
    steps: u64,
    cancelled: bool,
}

/// Runs the sequence of `seed`. The error is the first difference.
pub(crate) fn run<R: Rules>(
    chain: &mut Chain,
    rules: &R,
    seed: u64,
    counts: &mut Counts,
) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    chain.reset();
    let period = [3600, 3601, 7200, 86_400].choose(&mut rng).copied().unwrap();
    let scale = [3, 10, 1000, 10_u128.pow(18), 1 << 80, 1 << 86]
        .choose(&mut rng)
        .copied()
        .unwrap();
    let config = chain.config(seed, period, rng.random_bool(0.05));
    let mut sequence = Sequence {
        book: Book::new(config.id(&chain.domain), scale, period),
        model: Model::new(config, rules.clone()),
        now: START_S,
        steps: 0,
        cancelled: false,
        chain,
        counts,
    };
    sequence.play(&mut rng)
}

impl<R: Rules> Sequence<'_, R> {
    fn play(&mut self, rng: &mut StdRng) -> Result<(), String> {
        let steps = rng.random_range(6..=26);
        let mut after_close = 2;
        for _ in 0..steps {
            if self.model.status == CLOSED {
                after_close -= 1;
            }
            if after_close == 0 {
                break;
            }
            for payer in [Side::Client, Side::Hub] {
                if rng.random_bool(0.45) {
                    self.book.add(self.chain, rng, payer, self.now);
                }
            }
            if rng.random_bool(if self.model.status == DISPUTED { 0.25 } else { 0.12 }) {
                self.move_clock(rng);
            }
            let action = self.world().action(rng);
            self.step(&action)?;
        }
        if rng.random_bool(0.92) {
            self.settle(rng)?;
        }
        compare::marks(self.chain, &self.model, self.book.leaves())?;
        self.count_end();
        Ok(())
    }

    fn world(&self) -> World<'_, R> {
        World {
            chain: self.chain,
            model: &self.model,
            book: &self.book,
            now: self.now,
        }
    }

    /// Runs the action on both sides and compares everything.
    fn step(&mut self, action: &Action) -> Result<(), String> {
        self.steps += 1;
        let name = action.name();
        let told = |difference: String| format!("step {} ({name}) at {}: {difference}", self.steps, self.now);
        let raw = self.model.status == DISPUTED && matches!(action, Action::Finalize);
        let clamp = raw.then(|| self.clamped());
        let expected = self.model.apply(self.chain, action, self.now, self.counts);
        let expected = expected.map(|()| self.model.skipped.clone());
        let got = compare::send(self.chain, &self.model.config, action);
        if got != expected {
            let names = |skipped: Vec<[u8; 4]>| {
                let names: Vec<_> = skipped.into_iter().map(compare::error_name).collect();
                format!("success but {names:?}")
            };
            let text = |result: Result<Vec<[u8; 4]>, [u8; 4]>| {
                result.map_or_else(|selector| compare::error_name(selector).to_owned(), names)
            };
            let difference = format!("the contract says {}, the model {}", text(got), text(expected));
            return Err(told(difference));
        }
        compare::state(self.chain, &self.model).map_err(told)?;
        match got {
            Ok(_) => {
                self.counts.bump(&format!("step ok: {name}"));
                self.cancelled |= matches!(action, Action::Cancel { .. });
                if let Some(clamp) = clamp {
                    self.counts.bump(clamp);
                }
            }
            Err(selector) => self
                .counts
                .bump(&format!("revert: {}", compare::error_name(selector))),
        }
        Ok(())
    }

    /// To one of the moments where something changes, a second before or after it, or just on.
    fn move_clock(&mut self, rng: &mut StdRng) {
        let mut moments = vec![self.now + rng.random_range(1..600)];
        if self.model.status == DISPUTED {
            let (window_end, final_at) = (self.model.window_end.0, self.model.final_at());
            let ends = [window_end - 1, window_end, window_end + 1];
            moments.extend(ends);
            // a final dispute ends the sequence: rarely
            if rng.random_bool(0.3) {
                moments.extend([final_at - 1, final_at, final_at + 1]);
            }
        }
        let newest = [Side::Client, Side::Hub].map(|payer| self.book.page(payer).made.last());
        for lock in newest.into_iter().flatten().flat_map(|known| &known.locks) {
            moments.extend([lock.expiry.0 - 1, lock.expiry.0, lock.expiry.0 + 1]);
        }
        moments.retain(|moment| *moment > self.now);
        if let Some(moment) = moments.choose(rng) {
            self.set_clock(*moment);
            self.counts.bump("clock moved");
        }
    }

    fn set_clock(&mut self, now: u64) {
        self.now = now;
        self.chain.evm.set_time(now);
    }

    /// Disputes if need be, shows some more evidence, is refused one second too early, and finalizes.
    fn settle(&mut self, rng: &mut StdRng) -> Result<(), String> {
        if self.model.status == OPEN {
            let from = sender(rng, &self.model.config, Side::Client);
            let dispute = Action::Evidence {
                from,
                dispute: true,
                submissions: Vec::new(),
                resolutions: Vec::new(),
            };
            self.step(&dispute)?;
            for _ in 0..rng.random_range(0..4) {
                let evidence = self.world().evidence(rng, false);
                self.step(&evidence)?;
            }
        }
        if self.model.status != DISPUTED {
            return Ok(());
        }
        let final_at = self.model.final_at();
        if self.now < final_at {
            if self.now < final_at - 1 {
                self.set_clock(final_at - 1);
            }
            self.step(&Action::Finalize)?;
            if rng.random_bool(0.3) {
                let evidence = self.world().evidence(rng, false);
                self.step(&evidence)?;
            }
            self.set_clock(self.model.final_at().max(self.now));
        }
        self.step(&Action::Finalize)
    }

    /// R20 before the clamp.
    fn clamped(&self) -> &'static str {
        let funds = &self.model.funds;
        let worth = |payer: Side| self.model.rules.direction(payer).effective().0;
        let plus = funds.client_deposit.0 + worth(Side::Hub);
        let minus = funds.client_withdrawn.0 + worth(Side::Client);
        match plus.checked_sub(minus) {
            None => "sequence: clamped low",
            Some(share) if share > funds.total().0 => "sequence: clamped high",
            Some(_) => "sequence: not clamped",
        }
    }

    fn count_end(&mut self) {
        let model = &self.model;
        let counts = &mut *self.counts;
        counts.bump("sequence: all");
        if self.cancelled {
            counts.bump("sequence: cancelled");
        }
        if model.funds.client_withdrawn.0 + model.funds.hub_withdrawn.0 > 0 {
            counts.bump("sequence: withdrawn");
        }
        if model.status != CLOSED {
            return;
        }
        counts.bump("sequence: finalized");
        if model.dispute_no > 1 {
            counts.bump("sequence: second dispute finalized");
        }
        if model.claimable > 0 {
            counts.bump("sequence: payout left to claim");
        }
        let directions = [Side::Client, Side::Hub].map(|payer| (payer, model.rules.direction(payer)));
        let stale = |(payer, direction): &(Side, &protocol_spec::settlement::Direction)| {
            let best = model.best_seq[usize::from(payer.index())];
            best > 0 && best < direction.seq
        };
        if directions.iter().any(stale) {
            counts.bump("sequence: stale best");
        }
        let live = directions
            .iter()
            .filter_map(|(_, direction)| direction.live.as_ref());
        if live.clone().count() > 0 {
            counts.bump("sequence: locks live at the end");
        }
        if live.clone().any(|live| live.counted.0 > 0) {
            counts.bump("sequence: resolved counts at the end");
        }
    }
}
