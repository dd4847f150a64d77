//! A chain view over a node that may lie: what it hands out, and what becomes of it when the node is honest again.

use super::{
    case::{Case, filter, is_one_list},
    read,
    world::World,
};
use hub_chain::{Chain, ChainError, ChainLog, ChainView, Cursor, LogQuery, ViewEvent, ViewOptions};
use serde_json::json;

pub(super) const CONFIRMATIONS: u64 = 2;
const BLOCKS_PER_POLL: u64 = 3;

pub(super) struct Follow {
    view: ChainView,
    options: ViewOptions,
    /// All that was handed out.
    logs: Vec<ChainLog>,
}

impl Follow {
    pub(super) fn new(world: &World) -> Self {
        let options = ViewOptions {
            address: world.adjudicator,
            confirmations: CONFIRMATIONS,
            blocks_per_poll_max: BLOCKS_PER_POLL,
        };
        let genesis = world.ask("eth_getBlockByNumber", &json!(["0x0", false]));
        let cursor = Cursor::before(read::block(&genesis).unwrap());
        Self {
            view: ChainView::new(options, cursor),
            options,
            logs: Vec::new(),
        }
    }

    pub(super) async fn poll(&mut self, chain: &dyn Chain) -> Result<Vec<ViewEvent>, ChainError> {
        self.view.poll(chain).await
    }

    pub(super) async fn unconfirmed(&self, chain: &dyn Chain) -> Result<Vec<ChainLog>, ChainError> {
        self.view.unconfirmed_logs(chain).await
    }

    pub(super) fn alarmed(&self) -> bool {
        self.view.alarm().is_some()
    }

    /// What was handed out was told, in order, once, and is deep enough.
    pub(super) fn took(&mut self, case: &Case<'_>, got: Result<Vec<ViewEvent>, ChainError>) {
        let events = match got {
            Ok(events) => events,
            Err(error) => {
                assert!(case.alone && case.is_bent(), "an honest poll fails: {error:?}");
                return case.keeps_the_key(&error);
            }
        };
        let told = case.logs_told(&json!([{"fromBlock": "0x0", "address": self.options.address}]));
        for event in events {
            match event {
                ViewEvent::Log { log, cursor } => {
                    assert!(told.contains(&log), "a log that nobody told: {log:?}");
                    assert_eq!(cursor.next_log_index, log.log_index.saturating_add(1));
                    assert_eq!(
                        (cursor.block_number, cursor.block_hash),
                        (log.block_number, log.block_hash)
                    );
                    self.logs.push(log);
                }
                ViewEvent::Confirmed { block, cursor } => {
                    let head = self.view.latest().unwrap().number;
                    assert!(
                        block.number.saturating_add(CONFIRMATIONS) <= head,
                        "not deep enough"
                    );
                    assert_eq!(cursor, self.view.cursor());
                    assert_eq!(cursor.block_number, block.number);
                }
                ViewEvent::Reorg { .. } | ViewEvent::DeepReorg(_) => {}
            }
        }
        let all = LogQuery {
            address: self.options.address,
            from: 0,
            to: u64::MAX,
        };
        is_one_list(all, &self.logs);
    }

    pub(super) fn took_unconfirmed(&self, case: &Case<'_>, got: Result<Vec<ChainLog>, ChainError>) {
        let from = self.view.cursor().block_number.saturating_add(1);
        let to = match case.alone {
            true => u64::MAX,
            false => case.world.height(),
        };
        let query = LogQuery {
            address: self.options.address,
            from,
            to,
        };
        match got {
            Ok(logs) => {
                is_one_list(query, &logs);
                let told = match !case.alone && from > to {
                    true => Vec::new(),
                    false => case.logs_told(&json!([filter(query)])),
                };
                // Of a chain that is far ahead only the newest blocks are read; how far it is, one that lies may say.
                if case.alone && case.is_bent() {
                    assert!(told.ends_with(&logs), "{logs:?} of {told:?}");
                    return;
                }
                let newest = CONFIRMATIONS.max(BLOCKS_PER_POLL);
                let first = case.world.height().saturating_sub(newest);
                let told: Vec<_> = told.into_iter().filter(|log| log.block_number >= first).collect();
                assert_eq!(logs, told);
            }
            Err(error) => {
                assert!(case.alone && case.is_bent(), "honest logs are refused: {error:?}");
                case.keeps_the_key(&error);
            }
        }
    }

    /// From an honest node: all that is confirmed and was not handed out, and nothing else; or the alarm.
    pub(super) async fn ends_in_truth(&mut self, world: &World, chain: &dyn Chain, outvoted: bool) {
        let begin = self.view.cursor();
        let already = self.logs.len();
        let target = world.height().checked_sub(CONFIRMATIONS).unwrap();
        for _ in 0..=target / BLOCKS_PER_POLL + 2 {
            let events = self.view.poll(chain).await.expect("an honest poll");
            let logs = events.into_iter().filter_map(|event| match event {
                ViewEvent::Log { log, .. } => Some(log),
                _ => None,
            });
            self.logs.extend(logs);
        }
        if self.alarmed() {
            return;
        }
        assert_eq!(self.view.confirmed().map(|block| block.number), Some(target));
        let begin = match outvoted {
            true => (0, 0),
            false => (begin.block_number, begin.next_log_index),
        };
        let query = LogQuery {
            address: self.options.address,
            from: 0,
            to: target,
        };
        let truth = world.ask("eth_getLogs", &json!([filter(query)]));
        let truth = truth
            .as_array()
            .unwrap()
            .iter()
            .map(|log| read::log(log).unwrap());
        let missed: Vec<ChainLog> = truth
            .filter(|log| (log.block_number, log.log_index) >= begin)
            .collect();
        let handed_out = match outvoted {
            true => &self.logs[..],
            false => &self.logs[already..],
        };
        assert_eq!(handed_out, missed, "a log was lost, or invented");
    }
}
