//! What the clients saw, written down by their own process as it happens. The judge reads this file and nothing else.
#![allow(dead_code, reason = "no test uses all of it")]

use client_sdk::PaymentId;
use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Display},
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// One line of the log. `who` is a person's number.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Line {
    /// Handed to the SDK.
    Sent {
        id: PaymentId,
        payer: usize,
        payee: usize,
        amount: u128,
    },
    /// The SDK says that it is delivered.
    Acked { id: PaymentId, fee: u128 },
    /// The SDK says that it came back.
    Bounced { id: PaymentId },
    /// The SDK says that nothing was signed.
    NotSent { id: PaymentId },
    /// Anything else the SDK says: a defect.
    Failed { id: PaymentId, why: String },
    /// A credit in a voucher that `who` accepted and stored.
    Credit { id: PaymentId, who: usize, amount: u128 },
    /// Read by `who` from its stream, which goes on from the last cursor after every kill.
    Event { id: PaymentId, who: usize, amount: u128 },
    /// Read by `who` from a stream that begins at the beginning.
    Again { id: PaymentId, who: usize, amount: u128 },
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent {
                id,
                payer,
                payee,
                amount,
            } => write!(f, "sent {id} {payer} {payee} {amount}"),
            Self::Acked { id, fee } => write!(f, "acked {id} {fee}"),
            Self::Bounced { id } => write!(f, "bounced {id}"),
            Self::NotSent { id } => write!(f, "not-sent {id}"),
            Self::Failed { id, why } => write!(f, "failed {id} {}", why.replace('\n', " ")),
            Self::Credit { id, who, amount } => write!(f, "credit {id} {who} {amount}"),
            Self::Event { id, who, amount } => write!(f, "event {id} {who} {amount}"),
            Self::Again { id, who, amount } => write!(f, "again {id} {who} {amount}"),
        }
    }
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (kind, id) = (words.next()?, words.next()?.parse().ok()?);
        let rest = words.next().unwrap_or_default();
        let numbers: Vec<u128> = rest.split(' ').filter_map(|word| word.parse().ok()).collect();
        let person = |at: usize| usize::try_from(*numbers.get(at)?).ok();
        let money = |at: usize| numbers.get(at).copied();
        Some(match kind {
            "sent" => Self::Sent {
                id,
                payer: person(0)?,
                payee: person(1)?,
                amount: money(2)?,
            },
            "acked" => Self::Acked { id, fee: money(0)? },
            "bounced" => Self::Bounced { id },
            "not-sent" => Self::NotSent { id },
            "failed" => Self::Failed {
                id,
                why: rest.to_owned(),
            },
            "credit" | "event" | "again" => {
                let (who, amount) = (person(0)?, money(1)?);
                match kind {
                    "credit" => Self::Credit { id, who, amount },
                    "event" => Self::Event { id, who, amount },
                    _ => Self::Again { id, who, amount },
                }
            }
            _ => return None,
        })
    }
}

/// How many lines of each kind there are.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) credits: u64,
    pub(crate) events: u64,
    pub(crate) again: u64,
    pub(crate) failed: u64,
}

struct Inner {
    file: File,
    /// Sent when, and nothing heard of it yet.
    open: HashMap<PaymentId, Instant>,
    /// From handing a payment to the SDK to its acknowledgement.
    waits: Vec<Duration>,
}

/// The open log.
pub(crate) struct Log {
    path: PathBuf,
    inner: Mutex<Inner>,
    counts: watch::Sender<Counts>,
}

impl Log {
    pub(crate) fn create(path: &Path) -> Self {
        let inner = Inner {
            file: File::create_new(path).unwrap(),
            open: HashMap::new(),
            waits: Vec::new(),
        };
        Self {
            path: path.to_owned(),
            inner: Mutex::new(inner),
            counts: watch::Sender::default(),
        }
    }

    pub(crate) fn write(&self, line: &Line) {
        let text = format!("{line}\n");
        let mut inner = self.inner.lock().unwrap();
        inner.file.write_all(text.as_bytes()).unwrap();
        match line {
            Line::Sent { id, .. } => {
                let twice = inner.open.insert(*id, Instant::now());
                assert!(twice.is_none(), "an id was drawn twice");
            }
            Line::Acked { id, .. } => {
                let wait = inner.open.remove(id).map(|sent| sent.elapsed());
                inner.waits.extend(wait);
            }
            Line::Bounced { id } | Line::NotSent { id } => {
                inner.open.remove(id);
            }
            _ => {}
        }
        drop(inner);
        self.counts.send_modify(|counts| match line {
            Line::Acked { .. } => counts.acked += 1,
            Line::Credit { .. } => counts.credits += 1,
            Line::Event { .. } => counts.events += 1,
            Line::Again { .. } => counts.again += 1,
            Line::Failed { .. } => counts.failed += 1,
            _ => {}
        });
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wanted.
    pub(crate) async fn wait(&self, wanted: impl FnMut(&Counts) -> bool) {
        self.counts.subscribe().wait_for(wanted).await.unwrap();
    }

    /// Payments under way.
    pub(crate) fn open(&self) -> HashSet<PaymentId> {
        self.inner.lock().unwrap().open.keys().copied().collect()
    }

    /// The waits of the payments acknowledged since the last look, shortest first.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        let mut waits = std::mem::take(&mut self.inner.lock().unwrap().waits);
        waits.sort_unstable();
        waits
    }

    /// What failed so far, each as it was said.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = |line: &Line| matches!(line, Line::Failed { .. });
        let lines = self.read().into_iter().filter(failed);
        lines.map(|line| line.to_string()).collect()
    }

    /// Everything written so far, from the file.
    pub(crate) fn read(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let parse = |line| Line::parse(line).unwrap_or_else(|| panic!("the log says {line:?}"));
        text.lines().map(parse).collect()
    }
}
