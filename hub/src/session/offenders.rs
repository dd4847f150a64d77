//! Signers whose connection was closed for what it sent: they wait before they may log in again. Without it a
//! connection that floods comes back with all that a new one may send at once.

use super::limits;
use protocol_spec::Address;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Until when each of them waits.
#[derive(Debug, Default)]
pub(crate) struct Offenders(Mutex<HashMap<Address, Instant>>);

impl Offenders {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Address, Instant>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// They wait from now on. When the list is full the new ones are let off.
    pub(crate) fn put_off(&self, signers: impl Iterator<Item = Address>, now: Instant) {
        let Some(until) = now.checked_add(limits::OFFENCE_PAUSE) else {
            return;
        };
        self.with(|waiting| {
            for signer in signers {
                if waiting.len() >= limits::OFFENDERS_MAX {
                    waiting.retain(|_, until| *until > now);
                }
                if waiting.len() < limits::OFFENDERS_MAX {
                    waiting.insert(signer, until);
                }
            }
        });
    }

    /// How long `signer` has still to wait.
    pub(crate) fn wait(&self, signer: &Address, now: Instant) -> Duration {
        self.with(|waiting| {
            let until = waiting.get(signer);
            until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_closed_waits_and_nobody_else_and_the_list_is_bounded() {
        let (offenders, now) = (Offenders::default(), Instant::now());
        let signer = |number: usize| {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            Address::from(bytes)
        };
        offenders.put_off([signer(0)].into_iter(), now);
        assert_eq!(offenders.wait(&signer(0), now), limits::OFFENCE_PAUSE);
        assert_eq!(offenders.wait(&signer(1), now), Duration::ZERO);
        let later = now + limits::OFFENCE_PAUSE;
        assert_eq!(offenders.wait(&signer(0), later), Duration::ZERO);
        offenders.put_off((0..=limits::OFFENDERS_MAX).map(signer), now);
        assert_eq!(
            offenders.wait(&signer(limits::OFFENDERS_MAX), now),
            Duration::ZERO
        );
        offenders.put_off([signer(limits::OFFENDERS_MAX)].into_iter(), later);
        assert_eq!(
            offenders.wait(&signer(limits::OFFENDERS_MAX), later),
            limits::OFFENCE_PAUSE
        );
    }
}
