//! A full block of a list's items, as the bytes that they take in a row of the store.

use super::{
    compact::{Compact, put_all, put_number, take_number},
    entry::EventRow,
    output::Issue,
    payments::Known,
};
use std::{fmt, io, marker::PhantomData, sync::Arc};

/// What a list keeps.
pub(super) trait Item: Compact + Clone + fmt::Debug {
    /// So many are a full block.
    const BLOCK_ITEMS: usize;
}

impl Item for Known {
    const BLOCK_ITEMS: usize = 64;
}

impl Item for EventRow {
    const BLOCK_ITEMS: usize = 64;
}

/// Never one: it is shared with what is sent, and its memory is counted until it goes.
impl Item for Arc<Issue> {
    const BLOCK_ITEMS: usize = usize::MAX;
}

/// Items in order, which never change: whoever writes them down holds them too.
#[derive(Clone, Debug)]
pub(super) struct Block<T>(Arc<[u8]>, PhantomData<fn() -> T>);

impl<T: Item> Block<T> {
    pub(super) fn of(items: impl Iterator<Item = T>) -> Self {
        let mut bytes = Vec::with_capacity(T::BLOCK_ITEMS.saturating_mul(size_of::<T>()));
        put_all(items, &mut bytes);
        Self(bytes.as_slice().into(), PhantomData)
    }

    /// The item at `at`, which then is the place of the next one; `before` is the one before. `None` behind the last.
    #[expect(clippy::panic, reason = "memory is wrong: a crash beats a wrong signature")]
    pub(super) fn read(&self, before: Option<&T>, at: &mut usize) -> Option<T> {
        let mut rest = self.0.get(*at..).filter(|rest| !rest.is_empty())?;
        match T::take(before, &mut rest) {
            Ok(item) => {
                *at = self.0.len().saturating_sub(rest.len());
                Some(item)
            }
            Err(error) => panic!("a block of a list cannot be read: {error}"),
        }
    }

    /// From the first on.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        let (mut before, mut at) = (None, 0);
        std::iter::from_fn(move || {
            let item = self.read(before.as_ref(), &mut at)?;
            before = Some(item.clone());
            Some(item)
        })
    }

    pub(super) fn put(&self, to: &mut Vec<u8>) {
        put_number(self.0.len() as u128, to);
        to.extend_from_slice(&self.0);
    }

    /// Errors: `from` does not begin with what [`Block::put`] wrote.
    pub(super) fn take(from: &mut &[u8]) -> io::Result<Self> {
        let corrupt = || io::Error::from(io::ErrorKind::InvalidData);
        let len = usize::try_from(take_number(from)?).map_err(|_| corrupt())?;
        let (bytes, rest) = from.split_at_checked(len).ok_or_else(corrupt)?;
        *from = rest;
        Ok(Self(bytes.into(), PhantomData))
    }
}
