//! The directory of packages: read again when files change; the newest usable evidence of each side of each channel.

use super::event::Event;
use crate::settle::{
    SettleError,
    evidence::CheckedEvidence,
    files::{evidence_files, load},
};
use protocol_spec::{Address, ChannelId, Digest, Side, UnixSeconds};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A file that was changed so lately may change again without another time or length.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What tells that a file was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
struct Known {
    /// `None`: read it again at the next look.
    stamp: Option<Stamp>,
    /// What is wrong with it.
    fault: Option<String>,
    /// What was told of it last, so that it is told once.
    told: Option<String>,
}

/// Whom a piece of evidence guards: one side of one channel. The two sides are strangers to each other here: what one of
/// them hands in says nothing about the other.
pub(super) type Ward = (ChannelId, Side);

/// Whom `evidence` guards.
pub(super) fn ward(evidence: &CheckedEvidence) -> Ward {
    (evidence.id(), evidence.side())
}

/// The guarded channels.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    key: Address,
    files: BTreeMap<PathBuf, Known>,
    wards: BTreeMap<Ward, CheckedEvidence>,
}

/// How new evidence compares with what is held of the same side of the same channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    /// It replaces what is held.
    Better,
    /// Nothing in it is new.
    Same,
    /// What is held stays.
    Worse(&'static str),
}

impl Folder {
    pub(super) fn new(dir: &Path, key: Address) -> Self {
        Self {
            dir: dir.to_owned(),
            key,
            files: BTreeMap::new(),
            wards: BTreeMap::new(),
        }
    }

    /// The newest usable evidence of every side that is guarded.
    pub(super) fn wards(&self) -> &BTreeMap<Ward, CheckedEvidence> {
        &self.wards
    }

    /// How many channels they are: one whose two sides are guarded counts once.
    pub(super) fn channels(&self) -> usize {
        let ids: BTreeSet<ChannelId> = self.wards.keys().map(|(id, _)| *id).collect();
        ids.len()
    }

    /// How many files cannot be used as they are.
    pub(super) fn faults(&self) -> usize {
        self.files.values().filter(|known| known.fault.is_some()).count()
    }

    /// Reads what changed since the last scan.
    ///
    /// # Errors
    /// When the directory cannot be read. What is held stays.
    pub(super) fn scan(&mut self) -> Result<Vec<Event>, SettleError> {
        let paths = evidence_files(&self.dir)?;
        let mut events = Vec::new();
        let gone: Vec<_> = self
            .files
            .keys()
            // By name, as `paths` is: with many files a search of all for each would take longer than a window.
            .filter(|path| paths.binary_search(path).is_err())
            .cloned()
            .collect();
        for path in gone {
            self.files.remove(&path);
            events.push(
                Event::new(
                    "vanished",
                    "the file is gone; what it held is guarded until this process ends",
                )
                .with("file", shown(&path)),
            );
        }
        for path in paths {
            let stamp = stamp(&path);
            let known = self.files.get(&path).and_then(|known| known.stamp);
            if known.is_none() || known != stamp {
                events.extend(self.take(&path, stamp));
            }
        }
        Ok(events)
    }

    fn take(&mut self, path: &Path, stamp: Option<Stamp>) -> Option<Event> {
        let settled = stamp.filter(|stamp| {
            let age = stamp
                .modified
                .and_then(|at| SystemTime::now().duration_since(at).ok());
            age.is_some_and(|age| age >= SETTLED_AFTER)
        });
        let before = self.files.remove(path).and_then(|known| known.told);
        let (fault, event) = match load(path) {
            Ok(evidence) => self.adopt(path, evidence),
            Err(error) => (Some(error.to_string()), None),
        };
        let faulty = fault
            .clone()
            .map(|fault| Event::new("bad_file", fault).with("file", shown(path)));
        let event = event.or(faulty);
        let told = event
            .as_ref()
            .map(|event| event.text().to_owned())
            .or_else(|| before.clone());
        let news = told != before;
        self.files.insert(
            path.to_owned(),
            Known {
                stamp: settled,
                fault,
                told,
            },
        );
        event.filter(|_| news)
    }

    /// What is wrong with it, and what to tell.
    fn adopt(&mut self, path: &Path, evidence: CheckedEvidence) -> (Option<String>, Option<Event>) {
        if !evidence.may_submit(self.key) {
            let fault = format!(
                "it is not for the key {}: export it with --submitter {} (or use the key of its side)",
                self.key, self.key
            );
            return (Some(fault), None);
        }
        let (ward, seq) = (ward(&evidence), seq(&evidence));
        let told = |name, text: String| {
            Event::new(name, text)
                .ward(ward)
                .with("file", shown(path))
                .with("seq", json!(seq.to_string()))
        };
        let comparison = self
            .wards
            .get(&ward)
            .map(|held| compare(self.key, &evidence, held));
        match comparison {
            None => {
                self.wards.insert(ward, evidence);
                (
                    None,
                    Some(told(
                        "guarding",
                        format!("voucher {seq}, from {}", path.display()),
                    )),
                )
            }
            Some(Comparison::Better) => {
                self.wards.insert(ward, evidence);
                (
                    None,
                    Some(told(
                        "replaced",
                        format!("now voucher {seq}, from {}", path.display()),
                    )),
                )
            }
            Some(Comparison::Same) => (None, None),
            Some(Comparison::Worse(why)) => {
                let fault = format!("{}: {why}; the one held stays", path.display());
                (None, Some(told("kept", fault)))
            }
        }
    }
}

fn shown(path: &Path) -> serde_json::Value {
    json!(path.display().to_string())
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        length: meta.len(),
        modified: meta.modified().ok(),
    })
}

/// The number of the voucher that the evidence can show.
pub(super) fn seq(evidence: &CheckedEvidence) -> u64 {
    let voucher = evidence.received().voucher.as_ref();
    voucher.map_or(0, |voucher| voucher.voucher().seq.0)
}

/// Only a newer voucher replaces (R28); with the same voucher, what can do more with it. Both are of one [`Ward`].
pub(super) fn compare(key: Address, new: &CheckedEvidence, held: &CheckedEvidence) -> Comparison {
    let digest = |evidence: &CheckedEvidence| {
        let voucher = evidence.received().voucher.as_ref();
        voucher.map_or(Digest::ZERO, |voucher| voucher.digest())
    };
    let reach = |evidence: &CheckedEvidence| {
        let accept = evidence.accept().map(|signed| &signed.accept);
        (
            evidence.is_party(key),
            // Without it the dispute is not held open for the locks; it is not signed, so anybody can leave it away.
            evidence.received().opening.is_some(),
            evidence.received().witnesses.len(),
            accept.map_or(UnixSeconds(u64::MAX), |accept| accept.deadline),
            accept.is_none_or(|accept| accept.may_dispute),
        )
    };
    match seq(new).cmp(&seq(held)) {
        std::cmp::Ordering::Greater => Comparison::Better,
        std::cmp::Ordering::Less => Comparison::Worse("its voucher is older"),
        std::cmp::Ordering::Equal if digest(new) != digest(held) => Comparison::Worse(
            "another voucher with the same number (R1): the other side signed two, keep both files",
        ),
        std::cmp::Ordering::Equal => match reach(new).cmp(&reach(held)) {
            std::cmp::Ordering::Greater => Comparison::Better,
            std::cmp::Ordering::Equal => Comparison::Same,
            std::cmp::Ordering::Less => Comparison::Worse("it is the same voucher and permits less"),
        },
    }
}
