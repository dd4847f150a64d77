//! One file: what readers see, what is durable, and what is under way between the two.

use std::io::{Error, ErrorKind};

use rand::Rng;
use rand::rngs::StdRng;

/// Sizes of what a crash keeps or loses as a whole. redb assumes no more than single bytes.
const UNITS: [usize; 5] = [1, 16, 64, 512, 4096];

#[derive(Clone, Debug)]
enum Change {
    Write {
        offset: usize,
        data: Vec<u8>,
    },
    /// As it was set.
    Length(usize),
    /// What a write made of it.
    Grown(usize),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// How much of what is under way survives.
#[derive(Clone, Copy)]
enum Fate {
    Nothing,
    Everything,
    Mixed { unit: usize },
}

fn position(offset: u64) -> Result<usize, Error> {
    usize::try_from(offset).map_err(|_| Error::from(ErrorKind::InvalidInput))
}

fn write_at(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset.saturating_add(data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(target) = bytes.get_mut(offset..end) {
        target.copy_from_slice(data);
    }
}

impl Image {
    pub(super) fn new(contents: Vec<u8>) -> Self {
        Self {
            visible: contents.clone(),
            durable: contents,
            pending: Vec::new(),
        }
    }

    pub(super) fn visible(&self) -> &[u8] {
        &self.visible
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let offset = position(offset)?;
        let source = self.visible.get(offset..offset.saturating_add(out.len()));
        out.copy_from_slice(source.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let offset = position(offset)?;
        let end = offset.saturating_add(data.len());
        if end > self.visible.len() {
            self.pending.push(Change::Grown(end));
        }
        write_at(&mut self.visible, offset, data);
        self.pending.push(Change::Write {
            offset,
            data: data.to_vec(),
        });
        Ok(())
    }

    pub(super) fn set_len(&mut self, len: u64) -> Result<(), Error> {
        let len = position(len)?;
        self.visible.resize(len, 0);
        self.pending.push(Change::Length(len));
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { offset, data } => write_at(&mut self.durable, offset, &data),
                Change::Length(length) | Change::Grown(length) => self.durable.resize(length, 0),
            }
        }
    }

    pub(super) fn flip_bit(&mut self, bit: usize) {
        let mask = 1_u8.rotate_left(u32::try_from(bit & 7).unwrap_or_default());
        for bytes in [&mut self.visible, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(bit >> 3) {
                *byte ^= mask;
            }
        }
    }

    /// A failed sync: a part becomes durable, the rest never will. But the last length that was set, file systems note in their
    /// log, and the next sync that works makes it durable; one that came of a write may be lost with it.
    pub(super) fn lose_part(&mut self, random: &mut StdRng) {
        self.durable = self.survivor(random);
        let mut set = None;
        for change in self.pending.drain(..) {
            match change {
                Change::Length(length) => set = Some(length),
                // What survived of a file that grew later is not cut off.
                Change::Grown(_) => set = set.map(|length: usize| length.max(self.durable.len())),
                Change::Write { .. } => {}
            }
        }
        self.pending.extend(set.map(Change::Length));
    }

    /// The file after a power loss.
    pub(super) fn survive(&self, random: &mut StdRng) -> Self {
        Self::new(self.survivor(random))
    }

    fn survivor(&self, random: &mut StdRng) -> Vec<u8> {
        let unit = UNITS
            .get(random.random_range(0..UNITS.len()))
            .copied()
            .unwrap_or(512);
        let fate = match random.random_range(0..8) {
            0 => Fate::Nothing,
            1 => Fate::Everything,
            _ => Fate::Mixed { unit },
        };
        match fate {
            Fate::Nothing => self.durable.clone(),
            Fate::Everything => self.visible.clone(),
            Fate::Mixed { unit } => self.mix(unit, random),
        }
    }

    /// Each unit keeps the content it had after some number of its writes; the length likewise, and what lies
    /// past the end is gone.
    fn mix(&self, unit: usize, random: &mut StdRng) -> Vec<u8> {
        let mut counts: Vec<u16> = Vec::new();
        for (index, _, _) in self.pieces(unit) {
            if counts.len() <= index {
                counts.resize(index.saturating_add(1), 0);
            }
            if let Some(count) = counts.get_mut(index) {
                *count = count.saturating_add(1);
            }
        }
        let mut kept: Vec<u16> = counts
            .iter()
            .map(|count| random.random_range(0..=*count))
            .collect();
        let mut image = self.durable.clone();
        let lengths = self.pending.iter().filter_map(|change| match change {
            Change::Length(length) | Change::Grown(length) => Some(*length),
            Change::Write { .. } => None,
        });
        let lengths: Vec<usize> = std::iter::once(image.len()).chain(lengths).collect();
        let length = lengths
            .get(random.random_range(0..lengths.len()))
            .copied()
            .unwrap_or_default();
        image.resize(length, 0);
        for (index, offset, data) in self.pieces(unit) {
            if let Some(left) = kept.get_mut(index).filter(|left| **left > 0) {
                *left = left.saturating_sub(1);
                write_at(&mut image, offset, data);
            }
        }
        image.truncate(length);
        image
    }

    /// Pending writes in order, cut at unit boundaries: index of the unit, offset, bytes.
    fn pieces(&self, unit: usize) -> impl Iterator<Item = (usize, usize, &[u8])> {
        self.pending.iter().flat_map(move |change| match change {
            Change::Write { offset, data } => cut(*offset, data, unit),
            Change::Length(_) | Change::Grown(_) => Vec::new(),
        })
    }
}

fn cut(offset: usize, data: &[u8], unit: usize) -> Vec<(usize, usize, &[u8])> {
    let mut pieces = Vec::new();
    let (mut at, mut rest) = (offset, data);
    while !rest.is_empty() {
        let index = at.checked_div(unit).unwrap_or_default();
        let end = index.saturating_add(1).saturating_mul(unit);
        let (piece, later) = rest.split_at(end.saturating_sub(at).min(rest.len()));
        pieces.push((index, at, piece));
        (at, rest) = (end, later);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Of all ways in which a sync can fail: what is durable stays when the next one works, and a length that was set counts then.
    #[test]
    fn a_failed_sync_loses_no_length_that_was_set_and_the_next_loses_nothing() {
        let (mut short, mut long) = (0, 0);
        for seed in 0..500 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut image = Image::new(vec![1; 10]);
            image.set_len(50).unwrap();
            image.set_len(100).unwrap();
            image.write(60, &[2; 10]).unwrap();
            if seed % 2 == 0 {
                image.write(100, &[3; 100]).unwrap();
            }
            image.lose_part(&mut random);
            let survived = image.durable.clone();
            image.sync();
            assert!(image.durable.len() >= 100);
            assert!(image.durable.starts_with(&survived));
            short += usize::from(survived.len() < 100);
            long += usize::from(survived.len() > 100);
        }
        assert!(short > 50 && long > 50, "{short} and {long}");
    }
}
