//! The whole state as comparable bytes, and the two ways back to it: replay, and checkpoint with the tail's replay.

use super::world::{World, issued_of, new_ledger};
use crate::{
    ledger::{Ledger, Prepared},
    store::{Checkpoint, Row, Table},
};
use protocol_spec::Reject;
use std::collections::BTreeMap;

/// Everything that must be the same after a restart; connections are not.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct State {
    entries: Vec<Channel>,
    routes: BTreeMap<[u8; 40], usize>,
    waiting: Vec<usize>,
    rest: String,
}

#[derive(PartialEq, Eq, Debug)]
struct Channel {
    channel: Vec<u8>,
    stored: Vec<u8>,
    backlog: String,
    events: String,
    known: String,
}

pub(super) fn state(ledger: &Ledger) -> State {
    let entry = |entry: &crate::ledger::entry::Entry| {
        assert!(
            entry.pending.is_empty() && entry.pending_sum.is_zero(),
            "something is owed silently"
        );
        let stored = &entry.stored;
        entry.check_places();
        Channel {
            channel: entry.channel.to_record(),
            stored: borsh::to_vec(stored).unwrap(),
            backlog: format!("{:?}", stored.backlog.iter().collect::<Vec<_>>()),
            events: format!("{:?}", stored.events.iter().collect::<Vec<_>>()),
            known: format!("{:?}", stored.payments.iter().collect::<Vec<_>>()),
        }
    };
    let route = |((account, token), index): (&(protocol_spec::Address, _), &usize)| {
        let token: &protocol_spec::Address = token;
        (
            [account.as_slice(), token.as_slice()]
                .concat()
                .try_into()
                .unwrap(),
            *index,
        )
    };
    State {
        entries: ledger.entries.iter().map(entry).collect(),
        routes: ledger.by_account.iter().map(route).collect(),
        waiting: ledger.waiting.iter().copied().collect(),
        rest: format!(
            "{:?} {:?} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            ledger.chain,
            ledger.unsynced,
            ledger.next_record,
            ledger.policy,
            (&ledger.locked, &ledger.payers, &ledger.keepers),
            (&ledger.frozen, &ledger.disputed),
            (ledger.forwarded, ledger.remembered),
            ledger.opened_until,
            (ledger.starts, ledger.rollbacks),
            ledger.vaults,
            ledger.promising,
            ledger.former,
        ),
    }
}

/// What the tables of a store would contain.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    upto: u64,
    pub(super) rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Tables {
    pub(super) fn write(&mut self, checkpoint: Checkpoint) {
        self.upto = checkpoint.upto;
        for key in checkpoint.deletes {
            self.rows.remove(&key);
        }
        for (table, key, value) in checkpoint.puts {
            self.rows.insert((table, key), value);
        }
    }

    fn rows(&self, of: Table) -> Vec<Row> {
        let rows = self.rows.iter().filter(|((table, _), _)| *table == of);
        rows.map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(super) fn restore(&self) -> Ledger {
        let mut ledger = new_ledger();
        self.restore_into(&mut ledger).unwrap();
        ledger
    }

    pub(super) fn restore_into(&self, ledger: &mut Ledger) -> Result<(), Reject> {
        let meta = self
            .rows
            .get(&(Table::Meta, Ledger::meta_key().to_vec()))
            .cloned();
        let tables = crate::ledger::Tables {
            meta,
            channels: self.rows(Table::Channels),
            payments: self.rows(Table::Payments),
            events: self.rows(Table::Events),
            unacknowledged: self.rows(Table::Unacknowledged),
        };
        ledger.restore(self.upto, tables)
    }
}

impl World {
    /// Oracle: replaying every record, and restoring `tables` and replaying the tail, lead to this very state,
    /// and issue the very same vouchers record by record.
    pub(super) fn check_replay(&self, tables: &Tables) {
        for ledger in [new_ledger(), tables.restore()] {
            self.check_replay_on(ledger);
        }
    }

    /// The same on a ledger that some of the records are in.
    pub(super) fn check_replay_on(&self, mut ledger: Ledger) {
        let expected = state(&self.ledger);
        {
            let from = usize::try_from(ledger.next_record - 1).unwrap();
            for (index, bytes) in self.records.iter().enumerate().skip(from) {
                let commit = Prepared::of(&ledger.domain, index as u64 + 1, bytes)
                    .and_then(|prepared| ledger.replay_prepared(prepared))
                    .unwrap_or_else(|reject| panic!("record {} is refused: {reject}", index + 1));
                assert_eq!(
                    issued_of(&commit.outputs),
                    self.issued_by_record[index],
                    "record {}: other vouchers (replay from {from})",
                    index + 1
                );
            }
            assert_eq!(state(&ledger), expected, "another state after replay from {from}");
            let listed = |ledger: &Ledger| {
                (
                    ledger.reserve_needs(),
                    ledger.rich.clone(),
                    ledger.awaiting.clone(),
                )
            };
            assert_eq!(listed(&ledger), listed(&self.ledger));
        }
    }
}
