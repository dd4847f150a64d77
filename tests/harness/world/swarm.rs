//! What a seed stands for when everything is drawn: who is there, what goes wrong, and how often.

use super::{
    clock::random,
    faults::{Faults, Rates},
    part::Part,
    run::Scenario,
};
use rand::Rng as _;

impl Scenario {
    /// The world of this seed: most parts are off in most worlds, so that each can do its worst in some.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut random = random(seed, "swarm");
        let payers = random.random_range(1..=4);
        let merchants = random.random_range(1..=2);
        let payments = random.random_range(3..=14);
        let foes = [0, 0, 1, 1, 2][random.random_range(0..5)];
        let mut rates = Rates::default();
        for (part, most) in Part::ALL {
            // Drawn for all, so that parts can be added at the end without changing the others.
            let (on, rate) = (random.random_range(0..3) == 0, random.random_range(1..=most));
            if on && (foes > 0 || !part.is_foul()) {
                rates = rates.with(part, rate);
            }
        }
        Self {
            seed,
            payers,
            merchants,
            foes,
            payments,
            faults: Faults::Drawn(rates),
        }
    }

    /// The same without a part.
    #[must_use]
    pub fn without(mut self, part: Part) -> Self {
        if let Faults::Drawn(rates) = self.faults {
            self.faults = Faults::Drawn(rates.with(part, 0));
        }
        self
    }

    /// The parts that are on.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match &self.faults {
            Faults::Drawn(rates) => rates.on().map(|(part, _)| part).collect(),
            Faults::None | Faults::At(_) => Vec::new(),
        }
    }
}
