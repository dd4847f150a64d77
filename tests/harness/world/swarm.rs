//! What a seed stands for when everything is drawn: who is there, what goes wrong, and how often.

use super::{
    clock::random,
    faults::{Faults, Rates},
    part::Part,
    run::Scenario,
};
use rand::{Rng as _, rngs::StdRng};

/// How much of everything.
struct Mix {
    payers_max: usize,
    payments_max: usize,
    foes: [usize; 5],
    on: fn(Part, &mut StdRng) -> bool,
    /// Of the highest rate.
    rate: fn(u32, &mut StdRng) -> u32,
}

impl Scenario {
    /// The world of this seed: most parts are off in most worlds, so that each can do its worst in some.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mix = Mix {
            payers_max: 4,
            payments_max: 14,
            foes: [0, 0, 1, 1, 2],
            on: |_, random| random.random_range(0..3) == 0,
            rate: |most, random| random.random_range(1..=most),
        };
        Self::drawn(seed, random(seed, "swarm"), &mix)
    }

    /// A small world in which Mallory is always there and does much: what can be found is found soon.
    #[must_use]
    pub fn dense(seed: u64) -> Self {
        let mix = Mix {
            payers_max: 2,
            payments_max: 8,
            foes: [1, 1, 1, 1, 2],
            on: |part, random| {
                let percent: u32 = match part {
                    // They end what Mallory could still do.
                    Part::Mute | Part::Flood => 15,
                    // No locks are added after it.
                    Part::HubRestore => 10,
                    Part::Forgetful => 50,
                    part if part.is_foul() => 60,
                    _ => 25,
                };
                random.random_range(0..100) < percent
            },
            rate: |most, random| random.random_range(2 * most..=5 * most).min(10_000),
        };
        Self::drawn(seed, random(seed, "dense"), &mix)
    }

    fn drawn(seed: u64, mut random: StdRng, mix: &Mix) -> Self {
        let payers = random.random_range(1..=mix.payers_max);
        let merchants = random.random_range(1..=2);
        let payments = random.random_range(3..=mix.payments_max);
        let foes = mix.foes[random.random_range(0..5)];
        let mut rates = Rates::default();
        for (part, most) in Part::ALL {
            // Drawn for all, so that parts can be added at the end without changing the others.
            let (on, rate) = ((mix.on)(part, &mut random), (mix.rate)(most, &mut random));
            if on && (foes > 0 || !part.is_foul()) {
                rates = rates.with(part, rate);
            }
        }
        if rates.on().any(|(part, _)| part == Part::ClientRestore) {
            rates = rates.with(Part::HubRestore, 0);
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

    /// The same with a part at its highest rate, if there is somebody to do it.
    #[must_use]
    pub fn with(mut self, part: Part) -> Self {
        let most = Part::ALL.into_iter().find(|(known, _)| *known == part);
        if let (Faults::Drawn(rates), Some((_, most))) = (&self.faults, most)
            && (self.foes > 0 || !part.is_foul())
        {
            let mut rates = rates.clone().with(part, most);
            if let Some(other) = part.excludes() {
                rates = rates.with(other, 0);
            }
            self.faults = Faults::Drawn(rates);
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
