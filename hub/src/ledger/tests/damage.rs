//! A database that is not what was written is refused, whatever is missing, foreign or out of its place.

use super::{
    state::Tables,
    world::{World, new_ledger},
};
use crate::{ledger::Ledger, store::Table};
use protocol_spec::Reject;

/// Enough for a full row of each list.
const PAYMENTS: usize = 8;

/// Tables of a world with rows in every table.
fn tables() -> Tables {
    let mut world = World::new(3, 100_000);
    for _ in 0..PAYMENTS {
        // The third acknowledges nothing.
        for from in 0..2 {
            let ops = vec![world.pay_op(from, from + 1, 10, 5)];
            world.send(from, ops);
        }
    }
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    tables
}

fn refused(tables: &Tables) -> bool {
    let mut ledger: Ledger = new_ledger();
    tables.restore_into(&mut ledger) == Err(Reject::RecordCorrupt)
}

#[test]
fn rows_that_are_missing_foreign_or_cut_are_refused() {
    let whole = tables();
    assert!(!refused(&whole));
    let mut seen = std::collections::BTreeSet::new();
    for (place, value) in &whole.rows {
        let (table, key) = place;
        seen.insert(*table);
        let change = |change: &dyn Fn(&mut Tables)| {
            let mut tables = whole.clone();
            change(&mut tables);
            refused(&tables)
        };
        assert!(
            change(&|tables| drop(tables.rows.remove(place))),
            "missing: {place:?}"
        );
        if *table != Table::Meta {
            let mut other = key.clone();
            other[0] ^= 1;
            let moved = change(&|tables| {
                tables.rows.remove(place);
                tables.rows.insert((*table, other.clone()), value.clone());
            });
            assert!(moved, "in another place: {place:?}");
            assert!(
                change(&|tables| drop(tables.rows.insert((*table, other.clone()), value.clone()))),
                "twice: {place:?}"
            );
        }
        let cut = value[..value.len() - 1].to_vec();
        assert!(
            change(&|tables| drop(tables.rows.insert(place.clone(), cut.clone()))),
            "cut: {place:?}"
        );
    }
    assert_eq!(seen.len(), 5, "rows in all five tables");
}

/// Nothing but its own row tells of a channel that nobody ever paid in.
#[test]
fn a_quiet_channel_that_is_missing_is_noticed() {
    let mut world = World::new(3, 10_000);
    let mut whole = Tables::default();
    whole.write(world.ledger.checkpoint());
    assert!(!refused(&whole));
    let places: Vec<_> = whole
        .rows
        .keys()
        .filter(|(table, _)| *table == Table::Channels)
        .collect();
    assert_eq!(places.len(), 3);
    for place in places {
        let mut fewer = whole.clone();
        fewer.rows.remove(place);
        assert!(refused(&fewer), "missing: {place:?}");
    }
}
