//! Numbers for people: amounts with decimals, durations, addresses' roles. Display only; nothing computes with these.

use alloy::primitives::U256;
use protocol_spec::{Side, UnixSeconds};

/// Whole and fractional part of `units` at `decimals`, without trailing zeros.
#[must_use]
pub fn decimal(units: u128, decimals: u8) -> String {
    let digits = units.to_string();
    let width = usize::from(decimals).saturating_add(1);
    let padded = format!("{digits:0>width$}");
    let (whole, fraction) = padded.split_at(padded.len().saturating_sub(usize::from(decimals)));
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// At most two units: `3 d 4 h`, `2 h 5 min`, `40 s`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let part = |size: u64, of: u64| {
        seconds
            .checked_rem(of)
            .and_then(|rest| rest.checked_div(size))
            .unwrap_or_default()
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", part(60, u64::MAX), part(1, 60)),
        3600..86400 => format!("{} h {} min", part(3600, u64::MAX), part(60, 3600)),
        _ => format!("{} d {} h", part(86400, u64::MAX), part(3600, 86400)),
    }
}

/// A point in chain time, with the distance from `now`.
#[must_use]
pub fn moment(at: UnixSeconds, now: UnixSeconds) -> String {
    match at.0.checked_sub(now.0) {
        Some(0) => format!("{at} (now)"),
        Some(left) => format!("{at} (in {})", duration(left)),
        None => format!("{at} ({} ago)", duration(now.0.saturating_sub(at.0))),
    }
}

/// The word for a side.
#[must_use]
pub fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Hub => "hub",
    }
}

/// The word for the adjudicator's status number.
#[must_use]
pub(super) fn phase_of(status: U256) -> &'static str {
    match status.saturating_to::<u8>() {
        0 => "not open (never opened here)",
        1 => "open",
        2 => "disputed",
        3 => "closed",
        _ => "in an unknown state",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(0, 6), "0");
        assert_eq!(decimal(1, 6), "0.000001");
        assert_eq!(decimal(1_500_000, 6), "1.5");
        assert_eq!(decimal(1_000_000, 6), "1");
        assert_eq!(decimal(42, 0), "42");
        assert_eq!(decimal(u128::MAX, 0), u128::MAX.to_string());
        assert_eq!(decimal(7, 255).len(), 257);
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(3660), "1 h 1 min");
        assert_eq!(duration(90_000), "1 d 1 h");
        assert_eq!(moment(UnixSeconds(10), UnixSeconds(5)), "10 (in 5 s)");
        assert_eq!(moment(UnixSeconds(5), UnixSeconds(10)), "5 (5 s ago)");
    }
}
