//! Changes to inputs, as every mutating fuzzer makes them; the same for the same seed.

use rand::{Rng, SeedableRng, rngs::SmallRng};

const INTERESTING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'"', b'{'];

pub(crate) struct Mutator {
    random: SmallRng,
    seeds: Vec<Vec<u8>>,
    longest: usize,
}

impl Mutator {
    pub(crate) fn new(seed: u64, seeds: Vec<Vec<u8>>, longest: usize) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            seeds,
            longest,
        }
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut input = self.pick();
        for _ in 0..self.random.random_range(1..=6) {
            self.change(&mut input);
        }
        input.truncate(self.longest);
        input
    }

    fn pick(&mut self) -> Vec<u8> {
        match self.seeds.len() {
            0 => Vec::new(),
            count => self.seeds[self.random.random_range(0..count)].clone(),
        }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let end = input.len();
        let at = self.random.random_range(0..=end);
        let length = self.random.random_range(1..=16).min(end - at);
        match self.random.random_range(0..8) {
            0 if at < end => input[at] ^= 1 << self.random.random_range(0..8),
            1 if at < end => input[at] = INTERESTING[self.random.random_range(0..INTERESTING.len())],
            2 if at < end => input[at] = self.random.random(),
            3 => input.insert(at, self.random.random()),
            4 => drop(input.drain(at..at + length)),
            5 => {
                let copy = input[at..at + length].to_vec();
                let to = self.random.random_range(0..=end);
                input.splice(to..to, copy);
            }
            6 => {
                let other = self.pick();
                let from = self.random.random_range(0..=other.len());
                let take = self.random.random_range(0..=(other.len() - from).min(64));
                input.splice(at..at + length, other[from..from + take].iter().copied());
            }
            _ => input.truncate(at),
        }
    }
}
