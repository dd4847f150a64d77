//! What was sent, written down before it is sent: a run that was killed goes on with the same transaction.
//!
//! One JSON object per line. First the header; then a `sent` line per transaction, durable before the bytes leave; then an
//! `ended` line once it is known what became of it. Bytes after the last line end were torn by a crash: what they began
//! to describe was never sent. One process at a time: the file is locked while it is open.

use super::{
    exit::SettleError,
    plan::Proof,
    send::{Cost, Signed, Transaction},
    spent::Spent,
};
use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718 as _,
    primitives::{Address, B256, Bytes, TxHash, U256},
    sol_types::SolCall as _,
};
use protocol_spec::{ChannelId, Seq, Side, abi::IAdjudicator};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

/// Longest line, bytes: nodes take no transaction above 128 KiB, here twice as long in hex. A journal has no largest size:
/// that of a hundred channels with all the locks they may hold is 600 MiB.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What a transaction is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// The command: `dispute`, `submit`, ...
    pub command: String,
    /// The channels it is about.
    pub channels: Vec<ChannelId>,
    /// The event expected, by name; empty when there is one per channel (a call for many).
    pub event: String,
    /// What the event is about: the channel, or the claiming account.
    pub about: B256,
}

/// A transaction that was signed, and may have been sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What for.
    pub purpose: Purpose,
    /// The chain it is for.
    pub chain_id: Seq,
    /// Who signed it.
    pub sender: Address,
    /// The nonce in it.
    pub nonce: Seq,
    /// Its hash.
    pub hash: TxHash,
    /// The bytes that were or are to be sent.
    pub raw: Bytes,
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// In a block, and it succeeded.
    Mined,
    /// In a block, and it failed.
    Reverted,
    /// Another transaction took its nonce: it can never be mined.
    Replaced,
    /// The node would not take it.
    Refused,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Header { format: String },
    Sent { entry: Entry },
    Ended { hash: TxHash, ending: Ending },
}

/// The file, open and locked.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes that are whole lines.
    length: u64,
    open: Vec<Entry>,
    spent: Spent,
}

impl Journal {
    /// The `format` of this version.
    pub const FORMAT: &str = "channelhub.settle-journal.v1";

    /// Opens or creates the file, locks it, and reads what is not ended yet.
    ///
    /// # Errors
    /// [`SettleError::Usage`] naming the file: not readable or writable, in use by another process, or corrupt. A corrupt
    /// file is left as it is.
    pub fn open(path: &Path) -> Result<Self, SettleError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = private(&mut options)
            .open(path)
            .map_err(|error| cannot(path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SettleError::Usage(format!(
                    "journal {}: another settle is using it; wait for that one",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(path, &error)),
        }
        let mut journal = Self {
            path: path.to_owned(),
            file,
            length: 0,
            open: Vec::new(),
            spent: Spent::default(),
        };
        journal.load()?;
        Ok(journal)
    }

    /// Transactions of which it is not known what became, oldest first.
    #[must_use]
    pub fn open_entries(&self) -> &[Entry] {
        &self.open
    }

    /// What showing evidence took in gas, in all runs.
    pub(super) fn spent(&self) -> &Spent {
        &self.spent
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down a signed transaction. When this returns it is on the disk, and may be sent.
    ///
    /// # Errors
    /// [`SettleError::Usage`] naming the file; the transaction must not be sent then.
    pub fn record(
        &mut self,
        purpose: Purpose,
        call: &Transaction,
        chain_id: u64,
        signed: &Signed,
    ) -> Result<Entry, SettleError> {
        let entry = Entry {
            purpose,
            chain_id: Seq(chain_id),
            sender: call.sender,
            nonce: Seq(signed.nonce),
            hash: signed.hash,
            raw: signed.raw.clone(),
        };
        self.append(&Line::Sent { entry: entry.clone() })?;
        self.began(entry.clone());
        Ok(entry)
    }

    /// Writes down what became of a transaction.
    ///
    /// # Errors
    /// [`SettleError::Usage`] naming the file.
    pub fn end(&mut self, hash: TxHash, ending: Ending) -> Result<(), SettleError> {
        self.append(&Line::Ended { hash, ending })?;
        self.ended(hash, ending);
        Ok(())
    }

    fn began(&mut self, entry: Entry) {
        self.spent.sent(&entry);
        self.open.push(entry);
    }

    fn ended(&mut self, hash: TxHash, ending: Ending) {
        for entry in self.open.extract_if(.., |entry| entry.hash == hash) {
            self.spent.ended(&entry, ending);
        }
    }

    fn append(&mut self, line: &Line) -> Result<(), SettleError> {
        let mut text = serde_json::to_vec(line).map_err(|error| SettleError::Internal(error.to_string()))?;
        text.push(b'\n');
        // A line that an earlier failure left half written is cut off first.
        let whole = SeekFrom::Start(self.length);
        let cut = self
            .file
            .set_len(self.length)
            .and_then(|()| self.file.seek(whole));
        let written = cut
            .and_then(|_| self.file.write_all(&text))
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| cannot(&self.path, &error))?;
        self.length = self.length.saturating_add(text.len() as u64);
        Ok(())
    }

    fn load(&mut self) -> Result<(), SettleError> {
        let file = self
            .file
            .try_clone()
            .map_err(|error| cannot(&self.path, &error))?;
        let (mut reader, mut bytes) = (BufReader::new(file), Vec::new());
        for number in 1_usize.. {
            bytes.clear();
            let mut line = (&mut reader).take(LINE_BYTES_MAX);
            let read = line.read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| cannot(&self.path, &error))? as u64;
            let Some(line) = bytes.strip_suffix(b"\n") else {
                match read == LINE_BYTES_MAX {
                    true => return Err(self.corrupt(number, "a line of more than 1 MiB")),
                    false => break,
                }
            };
            if !line.is_empty() {
                let line =
                    serde_json::from_slice(line).map_err(|error| self.corrupt(number, &error.to_string()))?;
                self.take(number, line)?;
            }
            self.length = self.length.saturating_add(read);
        }
        // What a crash tore was never sent. A file of somebody else has no header, and is not touched.
        if self.length == 0 && !bytes.is_empty() && !bytes.starts_with(b"{\"line\":\"header\"") {
            return Err(self.corrupt(1, "it is no journal of settle"));
        }
        if self.length == 0 {
            let format = Self::FORMAT.to_owned();
            self.append(&Line::Header { format })?;
            sync_directory(&self.path).map_err(|error| cannot(&self.path, &error))?;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, line: Line) -> Result<(), SettleError> {
        match (number, line) {
            (1, Line::Header { format }) if format == Self::FORMAT => Ok(()),
            (1, _) => Err(self.corrupt(number, &format!("its first line must name {}", Self::FORMAT))),
            (_, Line::Header { .. }) => Err(self.corrupt(number, "a second header")),
            (_, Line::Sent { entry }) => {
                entry.check().map_err(|what| self.corrupt(number, &what))?;
                self.began(entry);
                Ok(())
            }
            (_, Line::Ended { hash, ending }) => {
                self.ended(hash, ending);
                Ok(())
            }
        }
    }

    fn corrupt(&self, line: usize, what: &str) -> SettleError {
        SettleError::Usage(format!(
            "journal {} is corrupt (line {line}): {what}. It says which transactions may be on their way: find out by a \
             block explorer what became of them, then move the file away",
            self.path.display()
        ))
    }
}

impl Entry {
    /// The bytes must be the transaction that the other fields describe.
    fn check(&self) -> Result<(), String> {
        let envelope = self.envelope()?;
        let sender = envelope
            .signature()
            .recover_address_from_prehash(&envelope.signature_hash())
            .map_err(|error| format!("its signature is malformed: {error}"))?;
        let same = *envelope.tx_hash() == self.hash
            && envelope.nonce() == self.nonce.0
            && envelope.chain_id() == Some(self.chain_id.0)
            && sender == self.sender;
        match same {
            true => Ok(()),
            false => Err("bytes, hash, nonce, chain and sender do not belong together".to_owned()),
        }
    }

    fn envelope(&self) -> Result<TxEnvelope, String> {
        TxEnvelope::decode_2718(&mut self.raw.as_ref())
            .map_err(|error| format!("its bytes are no transaction: {error}"))
    }

    /// The side whose evidence it shows (`submit`, `resolve`): the payee of the vouchers and locks in it.
    pub(super) fn shown_side(&self) -> Option<Side> {
        let (call, _) = self.call()?;
        let call = IAdjudicator::submitCall::abi_decode(&call.calldata).ok()?;
        let vouchers = call.submissions.iter().map(|shown| shown.payer);
        let payer = vouchers
            .chain(call.resolutions.iter().map(|shown| shown.payer))
            .next()?;
        match payer {
            0 => Some(Side::Hub),
            _ => Some(Side::Client),
        }
    }

    /// The call in it, when one event proves it.
    #[must_use]
    pub fn transaction(&self) -> Option<Transaction> {
        let proof = Proof::named(&self.purpose.event, self.purpose.about)?;
        Some(Transaction {
            proof,
            ..self.call()?.0
        })
    }

    /// The call in it and what it offers. Of a call for many channels, the event is the first one's.
    pub(super) fn call(&self) -> Option<(Transaction, Cost)> {
        let envelope = self.envelope().ok()?;
        let proof = self.purpose.proof(*self.purpose.channels.first()?);
        let call = Transaction {
            sender: self.sender,
            to: envelope.to()?,
            value: envelope.value(),
            calldata: envelope.input().clone(),
            proof: proof?,
        };
        let cost = Cost {
            gas_estimate: envelope.gas_limit(),
            gas_limit: envelope.gas_limit(),
            fee_per_gas_max: envelope.max_fee_per_gas(),
            priority_fee_per_gas_max: envelope.max_priority_fee_per_gas().unwrap_or_default(),
            value: envelope.value(),
            // Not in it; whoever sends it again asks.
            balance: U256::ZERO,
        };
        Some((call, cost))
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> SettleError {
    SettleError::Usage(format!("journal {}: {error}", path.display()))
}

/// A new name is durable when its directory is.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}
