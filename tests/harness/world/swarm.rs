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
    /// Of so many worlds one has a hub that lies; 0: none.
    lies: u32,
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
            lies: 5,
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
            lies: 0,
            on: |part, random| {
                let percent: u32 = match part {
                    // They end what Mallory could still do.
                    Part::Mute | Part::Flood => 15,
                    // No locks are added after it; and who starts again and again pays little.
                    Part::HubRestore | Part::ClientDiskPower | Part::ClientDiskFull => 10,
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

    /// A world as dense whose hub lies: its people are honest, and on their own.
    #[must_use]
    pub fn lying(seed: u64) -> Self {
        let mix = Mix {
            payers_max: 3,
            payments_max: 14,
            foes: [0; 5],
            lies: 1,
            on: |part, random| {
                let percent: u32 = match part {
                    Part::Vanish | Part::LieCourt | Part::Watchtower => 60,
                    // Little goes on after it.
                    Part::LieMute | Part::LieSwallow => 15,
                    part if part.is_lie() => 40,
                    _ => 20,
                };
                random.random_range(0..100) < percent
            },
            rate: |most, random| random.random_range(1..=most),
        };
        Self::drawn(seed, random(seed, "lying"), &mix)
    }

    fn drawn(seed: u64, mut random: StdRng, mix: &Mix) -> Self {
        let payers = random.random_range(1..=mix.payers_max);
        let merchants = random.random_range(1..=2);
        let payments = random.random_range(3..=mix.payments_max);
        let drawn_foes = mix.foes[random.random_range(0..5)];
        let lies = mix.lies > 0 && super::clock::random(seed, "lies").random_range(0..mix.lies) == 0;
        let foes = if lies { 0 } else { drawn_foes };
        let mut rates = Rates::default();
        for (part, most) in Part::ALL {
            // Drawn for all, so that parts can be added at the end without changing the others.
            let (on, rate) = ((mix.on)(part, &mut random), (mix.rate)(most, &mut random));
            let somebody = match () {
                () if part.is_foul() => foes > 0,
                () if part.needs_lies() => lies,
                () => true,
            };
            let excluded = rates.on().any(|(other, _)| part.excludes(other)) || (lies && part.is_restore());
            if on && somebody && !excluded {
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

    /// The same with a part at its highest rate, if there is somebody to do it, and without what it excludes.
    #[must_use]
    pub fn with(mut self, part: Part) -> Self {
        let most = Part::ALL.into_iter().find(|(known, _)| *known == part);
        if let (Faults::Drawn(rates), Some((_, most))) = (&self.faults, most)
            && (self.foes > 0 || !part.is_foul())
            && (part != Part::Watchtower || rates.on().any(|(other, _)| other.is_lie()))
        {
            let others = Part::ALL.into_iter().filter(|(other, _)| part.excludes(*other));
            let rates = others.fold(rates.clone(), |rates, (other, _)| rates.with(other, 0));
            self.faults = Faults::Drawn(rates.with(part, most));
        }
        if part.is_lie() {
            self.foes = 0;
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
