//! All channels by their index. One that nothing happens to for a while is kept as bytes, *cold*, until something asks
//! for it: which are hot changes nothing but time and memory.

use super::{cold::Cold, entry::Entry, remembered::Held};
use protocol_spec::Amount;
use std::{
    cell::{OnceCell, RefCell},
    collections::VecDeque,
    ops::Deref,
};

/// The channels.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Hot slots in the order in which they became it, once each.
    hot: RefCell<VecDeque<usize>>,
}

/// Never empty. With both the bytes are those of the entry.
#[derive(Debug, Default)]
struct Slot {
    hot: OnceCell<Box<Entry>>,
    cold: Option<Cold>,
}

/// An entry that is looked at and stays what it is.
pub(super) enum Look<'a> {
    Hot(&'a Entry),
    Cold(Box<Entry>),
}

impl Deref for Look<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        match self {
            Self::Hot(entry) => entry,
            Self::Cold(entry) => entry,
        }
    }
}

impl Slot {
    #[expect(clippy::panic, reason = "memory is wrong: a crash beats a wrong signature")]
    fn warm(&self) -> Box<Entry> {
        match self.cold.as_ref().map(Cold::warm) {
            Some(Ok(entry)) => entry,
            None | Some(Err(_)) => panic!("a channel at rest cannot be read"),
        }
    }

    fn look(&self) -> Look<'_> {
        match self.hot.get() {
            Some(entry) => Look::Hot(entry),
            None => Look::Cold(self.warm()),
        }
    }
}

impl Slots {
    /// Channels at rest, in the order of their indices.
    pub(super) fn restored(cold: impl IntoIterator<Item = Cold>) -> Self {
        let slot = |cold| Slot {
            hot: OnceCell::new(),
            cold: Some(cold),
        };
        Self {
            slots: cold.into_iter().map(slot).collect(),
            hot: RefCell::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Hot ones.
    pub(super) fn hot(&self) -> usize {
        self.hot.borrow().len()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.hot.get_mut().push_back(self.slots.len());
        self.slots.push(Slot {
            hot: OnceCell::from(Box::new(entry)),
            cold: None,
        });
    }

    /// From then on it is hot.
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        let slot = self.slots.get(index)?;
        match slot.hot.get() {
            Some(entry) => Some(entry),
            None => Some(self.warmed(index, slot)),
        }
    }

    /// From then on it is hot.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Entry> {
        if self.slots.get(index)?.cold.is_some() {
            self.get(index)?;
        }
        let slot = self.slots.get_mut(index)?;
        slot.cold = None;
        slot.hot.get_mut().map(|entry| &mut **entry)
    }

    #[cold]
    fn warmed<'a>(&self, index: usize, slot: &'a Slot) -> &'a Entry {
        slot.hot.get_or_init(|| {
            self.hot.borrow_mut().push_back(index);
            slot.warm()
        })
    }

    /// For a look at many: a cold one stays cold.
    pub(super) fn look(&self, index: usize) -> Option<Look<'_>> {
        self.slots.get(index).map(Slot::look)
    }

    /// What is remembered of its payments. A cold one is not read for it.
    pub(super) fn held(&self, index: usize) -> Option<Held> {
        let slot = self.slots.get(index)?;
        match slot.hot.get() {
            Some(entry) => Some(entry.held()),
            None => slot.cold.as_ref().map(Cold::held),
        }
    }

    /// A hot one.
    pub(super) fn get_hot(&self, index: usize) -> Option<&Entry> {
        Some(&**self.slots.get(index)?.hot.get()?)
    }

    /// The hot ones.
    pub(super) fn each_hot(&self) -> impl Iterator<Item = &Entry> {
        let hot = self.slots.iter().filter_map(|slot| slot.hot.get());
        hot.map(|entry| &**entry)
    }

    /// A look at all of them.
    pub(super) fn each(&self) -> impl Iterator<Item = Look<'_>> {
        self.slots.iter().map(Slot::look)
    }

    /// A look at those whose client paid at least so much. What is cold and has paid less is not read for it.
    pub(super) fn each_paid(&self, least: Amount) -> impl Iterator<Item = Look<'_>> {
        let paid = move |slot: &&Slot| {
            let cold = slot.cold.as_ref();
            cold.is_none_or(|cold| cold.received() >= least)
        };
        self.slots.iter().filter(paid).map(Slot::look)
    }

    /// For changes of many: a cold one is cold again afterwards.
    pub(super) fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let slot = self.slots.get_mut(index)?;
        if slot.hot.get().is_some() {
            return self.get_mut(index).map(change);
        }
        let mut entry = slot.warm();
        let done = change(&mut entry);
        slot.cold = Some(Cold::of(&entry));
        Some(done)
    }

    /// Looks at up to `looks` of the hot ones, those first that became it first, and makes up to `count` of them cold that
    /// `may` be; the others go behind. Returns how many it looked at.
    pub(super) fn cool(&mut self, looks: usize, count: usize, may: impl Fn(usize) -> bool) -> usize {
        let (mut looked, mut cooled) = (0_usize, 0_usize);
        while looked < looks && cooled < count {
            let Some(index) = self.hot.get_mut().pop_front() else {
                break;
            };
            looked = looked.saturating_add(1);
            let rests = self.get_hot(index).is_some_and(Entry::at_rest) && may(index);
            let Some(slot) = self.slots.get_mut(index).filter(|_| rests) else {
                self.hot.get_mut().push_back(index);
                continue;
            };
            let entry = slot.hot.take();
            if slot.cold.is_none() {
                slot.cold = entry.as_deref().map(Cold::of);
            }
            cooled = cooled.saturating_add(1);
        }
        looked
    }

    /// Channels at rest, and the bytes that they take.
    #[cfg(test)]
    pub(super) fn cold(&self) -> (usize, usize) {
        let cold = self.slots.iter().filter(|slot| slot.hot.get().is_none());
        let bytes = cold.filter_map(|slot| slot.cold.as_ref()).map(Cold::bytes);
        bytes.fold((0, 0), |(count, sum), bytes| {
            (count.saturating_add(1), sum.saturating_add(bytes))
        })
    }

    #[cfg(test)]
    pub(super) fn queue(&self) -> Vec<usize> {
        self.hot.borrow().iter().copied().collect()
    }

    /// Gives back the place of what was hot.
    pub(super) fn fit(&mut self) {
        let hot = self.hot.get_mut();
        if hot.len() < hot.capacity() >> 2 {
            hot.shrink_to_fit();
        }
    }
}
