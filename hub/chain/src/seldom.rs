//! A warning that lasts is said once, and then at growing intervals.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Pause after the first time; each one after it is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// Longest pause. What was not said for longer is new when it comes back.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Warnings by a word for each.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<HashMap<&'static str, Told>>);

#[derive(Debug)]
struct Told {
    next: Instant,
    pause: Duration,
    held_back: u64,
}

impl Seldom {
    /// Whether it is time to say it: how often it was not said since the last time.
    pub fn due(&self, what: &'static str) -> Option<u64> {
        self.due_at(what, Instant::now())
    }

    fn due_at(&self, what: &'static str, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.get_mut(what);
        let before = before.filter(|told| now.saturating_duration_since(told.next) < PAUSE_MAX);
        let (pause, held_back) = match before {
            Some(told) if now < told.next => {
                told.held_back = told.held_back.saturating_add(1);
                return None;
            }
            Some(told) => (told.pause.saturating_mul(2).min(PAUSE_MAX), told.held_back),
            None => (PAUSE_MIN, 0),
        };
        let next = now.checked_add(pause).unwrap_or(now);
        told.insert(
            what,
            Told {
                next,
                pause,
                held_back: 0,
            },
        );
        Some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_ever_more_seldom() {
        let (seldom, began) = (Seldom::default(), Instant::now());
        let step = Duration::from_millis(100);
        let mut said = Vec::new();
        for tick in 0..36_000_u32 {
            let held_back = seldom.due_at("a", began + step * tick);
            said.extend(held_back.map(|held_back| (tick / 10, held_back)));
        }
        assert_eq!(said[..4], [(0, 0), (2, 19), (6, 39), (14, 79)], "{said:?}");
        assert_eq!(said.len(), 14, "in an hour: {said:?}");
        assert_eq!(seldom.due_at("b", began), Some(0), "another one");
        let later = began + step * 36_000 + PAUSE_MAX * 2;
        assert_eq!(seldom.due_at("a", later), Some(0), "it is new again");
        assert_eq!(seldom.due_at("a", later + PAUSE_MIN), Some(0));
    }
}
