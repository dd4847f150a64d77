//! Newtypes for money, sequence numbers and time. Arithmetic is checked; there are no operators.

use crate::{Reject, text};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

macro_rules! number {
    ($(#[$meta:meta])* $name:ident, $inner:ty) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map(Self)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text::deserialize(deserializer, |text| {
                    let number = decimal(text).and_then(|text| text.parse().ok()).map(Self);
                    number.ok_or(concat!(stringify!($name), " must be a decimal string in range"))
                })
            }
        }
    };
}

number!(
    /// An amount of money in base units of the channel's token. JSON: decimal string.
    Amount, u128
);
number!(
    /// Number of a voucher in its direction; 0 means "none yet". JSON: decimal string.
    Seq, u64
);
number!(
    /// A point in time in whole unix seconds. JSON: decimal string.
    UnixSeconds, u64
);

/// Canonical decimal only: digits, no sign, no leading zero except "0" itself.
fn decimal(text: &str) -> Option<&str> {
    let canonical = !text.is_empty()
        && text.len() <= 39
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    canonical.then_some(text)
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Sum, or [`Reject::AmountOverflow`].
    pub fn plus(self, other: Self) -> Result<Self, Reject> {
        self.0
            .checked_add(other.0)
            .map(Self)
            .ok_or(Reject::AmountOverflow)
    }

    /// Difference, or [`Reject::AmountOverflow`] when `other` is larger.
    pub fn minus(self, other: Self) -> Result<Self, Reject> {
        self.0
            .checked_sub(other.0)
            .map(Self)
            .ok_or(Reject::AmountOverflow)
    }

    /// Difference, zero when `other` is larger.
    #[must_use]
    pub fn saturating_minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// True for zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Sum over `amounts`, checked.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, Reject> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }
}

impl Seq {
    /// Before the first voucher.
    pub const NONE: Self = Self(0);

    /// The next number. Numbers stay below [`crate::limits::SEQ_MAX`], so this cannot overflow in a channel.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl UnixSeconds {
    /// This time plus `seconds`, saturating at the end of time.
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}
