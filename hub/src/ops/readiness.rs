//! What must be true before the hub should get traffic.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

type Conditions = BTreeMap<&'static str, Result<(), String>>;

/// Named conditions, each fulfilled or not with a reason. Cheap to clone; all clones are one table.
#[derive(Clone, Default, Debug)]
pub struct Readiness(Arc<Mutex<Conditions>>);

impl Readiness {
    /// A table in which `names` are not fulfilled yet.
    #[must_use]
    pub fn waiting_for(names: &[&'static str]) -> Self {
        let waiting = |name: &&'static str| (*name, Err("starting".to_owned()));
        Self(Arc::new(Mutex::new(names.iter().map(waiting).collect())))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Conditions) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The condition holds.
    pub fn fulfil(&self, name: &'static str) {
        self.with(|conditions| conditions.insert(name, Ok(())));
    }

    /// The condition does not hold (any more).
    pub fn fail(&self, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        self.with(|conditions| conditions.insert(name, Err(reason)));
    }

    /// True when all conditions hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.with(|conditions| conditions.values().all(Result::is_ok))
    }

    /// One line per condition.
    #[must_use]
    pub fn report(&self) -> String {
        self.with(|conditions| {
            let mut text = String::new();
            for (name, state) in conditions.iter() {
                // Writing to a String cannot fail.
                let _ = match state {
                    Ok(()) => writeln!(text, "{name}: ok"),
                    Err(reason) => writeln!(text, "{name}: {reason}"),
                };
            }
            text
        })
    }
}
