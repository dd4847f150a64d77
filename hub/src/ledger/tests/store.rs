//! The way back from a store, on threads and without: the same state, and nothing that is damaged passes.

use super::{
    state::{State, Tables, state},
    world::{World, new_ledger},
};
use crate::{
    engine,
    execution::Execution,
    ledger::RowItems,
    store::{Checkpoint, Epoch, JournalRecord, MemoryStore, ShardId, Store, Table},
};
use protocol_spec::Op;

const SHARD: ShardId = ShardId(0);
/// More than are read at a time at first.
const CLIENTS: usize = 150;
const ROUNDS: usize = 16;
/// In each round so many of those who pay. Full rows of all are more than are read at a time.
const PAYMENTS: usize = 3;

/// A world and its store, in which the newest payments are in the journal only.
async fn written() -> (World, MemoryStore, Epoch) {
    let mut world = World::new(CLIENTS as u64, 100_000);
    let store = MemoryStore::new();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    for round in 0..=ROUNDS {
        for payer in (0..CLIENTS).filter(|payer| payer % 3 != 0 || *payer % ROUNDS == round) {
            let ops: Vec<Op> = (payer % 2..PAYMENTS)
                .map(|_| world.pay_op(payer, (payer + 7) % CLIENTS, 10, 5))
                .collect();
            world.send(payer, ops);
        }
        append_all(&world, &store, epoch).await;
        if round < ROUNDS {
            let checkpoint = world.ledger.checkpoint();
            store.checkpoint(SHARD, epoch, checkpoint).await.unwrap();
        }
    }
    (world, store, epoch)
}

async fn append_all(world: &World, store: &MemoryStore, epoch: Epoch) {
    let last = store.load(SHARD).await.unwrap().last;
    for (number, bytes) in (1..).zip(&world.records).filter(|(number, _)| *number > last) {
        let bytes = bytes.clone();
        let record = JournalRecord { number, bytes };
        let _durable = store.append(SHARD, epoch, record).await.unwrap();
    }
}

async fn restored(store: &MemoryStore, execution: Execution) -> Result<State, engine::StartError> {
    let mut ledger = new_ledger();
    let upto = store.load(SHARD).await.unwrap().upto;
    engine::restore(&mut ledger, store, SHARD, upto, execution).await?;
    Ok(state(&ledger))
}

#[tokio::test]
async fn the_state_comes_back_on_threads_and_without() {
    let (world, store, _) = written().await;
    let rows = store.scan(Table::Payments, &[], usize::MAX).await.unwrap();
    assert!(rows.len() > 1_100, "{} rows are one page", rows.len());
    let loaded = store.load(SHARD).await.unwrap();
    assert!(loaded.last > loaded.upto + 64, "the tail is more than one page");
    for execution in [Execution::Inline, Execution::Threads] {
        let again = restored(&store, execution).await.unwrap();
        assert!(again == state(&world.ledger), "{execution:?}: another state");
    }
}

#[tokio::test]
async fn what_is_damaged_is_refused_wherever_it_is() {
    let (_, store, epoch) = written().await;
    let good = store.load(SHARD).await.unwrap();
    for table in [
        Table::Payments,
        Table::Events,
        Table::Unacknowledged,
        Table::Channels,
    ] {
        let rows = store.scan(table, &[], usize::MAX).await.unwrap();
        // A row that is missing, in the first page, a later one, and the last; and then one that belongs to nobody.
        for at in [1, rows.len() / 2, rows.len() - 2] {
            let (key, value) = rows[at].clone();
            let mut stranger = key.clone();
            stranger[20] ^= 1;
            let change = |deletes, puts| Checkpoint {
                upto: good.upto,
                puts,
                deletes,
            };
            let gone = change(vec![(table, key.clone())], Vec::new());
            let back = change(Vec::new(), vec![(table, key, value.clone())]);
            let more = change(Vec::new(), vec![(table, stranger.clone(), value)]);
            let less = change(vec![(table, stranger)], Vec::new());
            for (bad, mended) in [(gone, back), (more, less)] {
                store.checkpoint(SHARD, epoch, bad).await.unwrap();
                for execution in [Execution::Inline, Execution::Threads] {
                    assert!(
                        restored(&store, execution).await.is_err(),
                        "{table:?}: row {at} of {}, {execution:?}",
                        rows.len()
                    );
                }
                store.checkpoint(SHARD, epoch, mended).await.unwrap();
                assert!(restored(&store, Execution::Threads).await.is_ok());
            }
        }
    }
    let number = good.last + 1;
    let bytes = b"no record".to_vec();
    let record = JournalRecord { number, bytes };
    let _durable = store.append(SHARD, epoch, record).await.unwrap();
    for execution in [Execution::Inline, Execution::Threads] {
        assert!(
            restored(&store, execution).await.is_err(),
            "{execution:?}: a record that is none"
        );
    }
}

/// Rows as a real hub writes them: what is behind the last one is more than a block.
#[test]
fn rows_that_fill_pages_come_back() {
    let mut world = World::new(2, 1_000_000);
    world.ledger = std::mem::replace(&mut world.ledger, new_ledger()).with_rows(RowItems::PAGE);
    let mut tables = Tables::default();
    for number in 0..500 {
        let ops = vec![world.pay_op(0, 1, 10, 5)];
        world.send(0, ops);
        if number % 90 == 0 || number == 499 {
            tables.write(world.ledger.checkpoint());
            assert!(state(&tables.restore()) == state(&world.ledger), "after {number}");
        }
    }
    let rows_of = |of| tables.rows.keys().filter(|(table, _)| *table == of).count();
    let rows = [Table::Payments, Table::Events, Table::Unacknowledged].map(rows_of);
    // Of 180 ids each; of 64 and 128 receipts; of 8, 16 and 32 vouchers.
    assert_eq!(rows, [2, 5, 21]);
}
