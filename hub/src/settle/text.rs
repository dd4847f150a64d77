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

/// A point in time as a calendar date and a clock, UTC. For people; years up to 9999.
#[must_use]
pub fn utc(at: UnixSeconds) -> String {
    let part = |size: u64, of: u64| {
        at.0.checked_div(size)
            .and_then(|n| n.checked_rem(of))
            .unwrap_or_default()
    };
    let (year, month, day) = date(at.0.checked_div(86_400).unwrap_or_default());
    let (hour, minute, second) = (part(3600, 24), part(60, 60), part(1, 60));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day since 1970-01-01, by the proleptic Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970_u64, days);
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length || year >= 9999 {
            break;
        }
        left = left.saturating_sub(length);
        year = year.saturating_add(1);
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1_u64;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left = left.saturating_sub(length);
        month = month.saturating_add(1);
    }
    (year, month, left.saturating_add(1))
}

/// An amount of gas money in gwei as people type it, in wei: at most nine decimals.
///
/// # Errors
/// In words.
pub fn gwei(text: &str) -> Result<u128, String> {
    let bad = || "expected gwei, for instance 30 or 1.5 (at most nine decimals)".to_owned();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 || whole.len() > 12 {
        return Err(bad());
    }
    format!("{whole}{fraction:0<9}").parse().map_err(|_| bad())
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

    #[test]
    fn dates_follow_the_calendar() {
        // Against `date -u`.
        for (at, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(UnixSeconds(at)), text);
        }
        assert!(utc(UnixSeconds(u64::MAX)).starts_with("9999-"));
    }

    #[test]
    fn gwei_are_exact_and_garbage_is_refused() {
        assert_eq!(gwei("30"), Ok(30_000_000_000));
        assert_eq!(gwei("1.5"), Ok(1_500_000_000));
        assert_eq!(gwei("0.000000001"), Ok(1));
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1e9",
            "0.0000000001",
            "1,5",
            "1234567890123",
        ] {
            assert!(gwei(bad).is_err(), "{bad}");
        }
    }
}
