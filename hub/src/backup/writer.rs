//! Writing one generation: its tables, then the journal as it grows.

use super::{
    BackupError, BackupKey,
    directory::Directory,
    format::{Header, Kind, digest, random},
    key::{Cipher, GenerationId},
    part::{Head, Part, encode},
};
use crate::store::{Frozen, Identity, JournalRecord, Table};
use protocol_spec::{Address, UnixSeconds};

/// Rows read at once, and bytes after which a segment of rows is written.
const ROWS_PER_READ: usize = 512;
const SEGMENT_BYTES: usize = 4 << 20;

/// A generation that is being written.
pub(super) struct Generation {
    directory: Directory,
    key_id: [u8; 8],
    cipher: Cipher,
    number: u64,
    id: GenerationId,
    next: u64,
    previous: [u8; 32],
    /// Newest record exported.
    record: u64,
    /// It has a head.
    claimed: bool,
    /// Bytes of the tables, and of the records.
    pub(super) base_bytes: u64,
    pub(super) tail_bytes: u64,
}

/// What stands at the start of a generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) identity: Identity,
    pub(super) hub: Address,
}

impl Generation {
    /// A new one, after all that are there, with the tables of `frozen`. Nothing is claimed until [`Generation::head`].
    pub(super) fn begin(
        directory: Directory,
        key: &BackupKey,
        owner: Owner,
        frozen: &dyn Frozen,
    ) -> Result<Self, BackupError> {
        directory.prepare()?;
        let newest = directory
            .generations()?
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        // After the number was chosen: none is used twice, so copies of a directory never mix two of one number.
        directory.discard_incomplete()?;
        let id = random()?;
        let mut generation = Self {
            directory,
            key_id: key.id(),
            cipher: key.cipher(&id)?,
            number: newest.saturating_add(1),
            id,
            next: 0,
            previous: [0; 32],
            record: frozen.upto(),
            claimed: false,
            base_bytes: 0,
            tail_bytes: 0,
        };
        generation.tables(owner, frozen)?;
        generation.base_bytes = std::mem::take(&mut generation.tail_bytes);
        Ok(generation)
    }

    fn tables(&mut self, owner: Owner, frozen: &dyn Frozen) -> Result<(), BackupError> {
        let upto = frozen.upto();
        let Owner { identity, hub } = owner;
        self.append(&Part::Start { identity, hub, upto })?;
        let mut count = 0_u64;
        for table in Table::ALL {
            let (mut from, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
            loop {
                let page = frozen.rows(table, &from, ROWS_PER_READ)?;
                let end = page.last().is_none();
                if let Some((last, _)) = page.last() {
                    from = [last.as_slice(), &[0]].concat();
                }
                for row in page {
                    bytes = bytes.saturating_add(row.0.len()).saturating_add(row.1.len());
                    rows.push(row);
                }
                if !rows.is_empty() && (end || bytes >= SEGMENT_BYTES) {
                    count = count.saturating_add(rows.len() as u64);
                    let rows = std::mem::take(&mut rows);
                    self.append(&Part::Rows {
                        table: table.number(),
                        rows,
                    })?;
                    bytes = 0;
                }
                if end {
                    break;
                }
            }
        }
        self.append(&Part::Whole { rows: count })
    }

    /// Adds records that follow the newest one. Durable on return, but not claimed until [`Generation::head`].
    pub(super) fn records(&mut self, records: Vec<JournalRecord>) -> Result<(), BackupError> {
        let Some(first) = records.first().map(|record| record.number) else {
            return Ok(());
        };
        let newest = records.last().map_or(self.record, |record| record.number);
        let records = records.into_iter().map(|record| record.bytes).collect();
        self.append(&Part::Records { first, records })?;
        self.record = newest;
        Ok(())
    }

    fn append(&mut self, part: &Part) -> Result<(), BackupError> {
        let file = self
            .header(Kind::Segment, self.next)?
            .seal(&self.cipher, encode(part))?;
        self.directory
            .put(&self.directory.segment(self.number, self.next), &file)?;
        self.previous = digest(&file);
        self.next = self.next.saturating_add(1);
        self.tail_bytes = self.tail_bytes.saturating_add(file.len() as u64);
        metrics::counter!("hub_backup_bytes_total").increment(file.len() as u64);
        Ok(())
    }

    /// Claims everything written so far: from now on it is missed when it is not there.
    /// `at`: everything that was durable then is in.
    pub(super) fn head(&mut self, at: UnixSeconds) -> Result<(), BackupError> {
        let head = Head {
            record: self.record,
            at,
        };
        let header = self.header(Kind::Head, self.next.saturating_sub(1))?;
        let file = header.seal(&self.cipher, encode(&head))?;
        self.directory.put(&self.directory.head(self.number), &file)?;
        self.claimed = true;
        Ok(())
    }

    fn header(&self, kind: Kind, index: u64) -> Result<Header, BackupError> {
        Ok(Header {
            kind,
            key_id: self.key_id,
            number: self.number,
            generation: self.id,
            index,
            previous: self.previous,
            nonce: random()?,
        })
    }

    /// Newest record exported.
    pub(super) fn record(&self) -> u64 {
        self.record
    }

    /// There is a head.
    pub(super) fn claimed(&self) -> bool {
        self.claimed
    }

    /// Segments so far.
    pub(super) fn segments(&self) -> u64 {
        self.next
    }

    /// Removes the oldest generations.
    pub(super) fn prune(&self, keep: usize) -> Result<(), BackupError> {
        self.directory.prune(self.number, keep)
    }
}
