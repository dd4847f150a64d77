//! The same scenarios on the embedded chain, in process and over HTTP, and on a real anvil, so that the
//! embedded chain is never its own only judge.
//!
//! anvil is found by `ANVIL` or in `protocol-spec/contracts/node_modules`; without it these tests fail, unless
//! `CHANNELHUB_SKIP_ANVIL=1` is set.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

mod contract;
mod embedded_only;
mod measure;
mod node;
mod quorum;
mod remote;
mod scenarios;

macro_rules! conformance {
    ($($group:ident :: $name:ident),* $(,)?) => {
        mod in_process {
            $(#[tokio::test] async fn $name() {
                crate::scenarios::$group::$name(crate::node::Node::in_process().await).await;
            })*
        }
        mod over_http {
            $(#[tokio::test] async fn $name() {
                crate::scenarios::$group::$name(crate::node::Node::over_http().await).await;
            })*
        }
        mod on_anvil {
            $(#[tokio::test] async fn $name() {
                if let Some(node) = crate::node::Node::anvil().await {
                    crate::scenarios::$group::$name(node).await;
                }
            })*
        }
    };
}

conformance! {
    basics::identity,
    basics::transfer,
    basics::deploy_and_call,
    basics::estimate,
    basics::revert_data,
    basics::logs_and_filters,
    basics::block_tags,
    basics::historical_state,
    basics::batch_request,
    basics::alloy_provider_with_fillers,
    pool::nonce_too_low_and_too_high,
    pool::gas_cap,
    pool::cannot_pay,
    pool::waiting_replacing_dropping,
    pool::send_queue_50_concurrent,
    pool::send_queue_survives_a_foreign_nonce,
    control::time_travel,
    control::snapshot_and_revert,
    control::reorg_drops_transactions,
    control::reorg_with_other_transaction,
    control::interval_mining,
    control::set_balance_code_and_base_fee,
    view::confirmed_logs_over_a_reorg,
    view::restart_repeats_and_loses_nothing,
    view::deep_reorg_is_an_alarm,
    view::dropped_transaction_is_told_and_sent_again,
    stuck::stuck_transaction_is_raised_and_mined,
    stuck::budget_is_respected_and_the_deadline_presses,
    stuck::budget_is_never_exceeded,
    stuck::each_raise_is_at_least_an_eighth,
    stuck::dropped_transaction_is_handed_over_again,
    stuck::reorg_loses_blocks_and_mempool_and_all_comes_back,
    stuck::nonce_used_by_another_is_noticed_and_sent_again,
    stuck::gap_left_by_an_earlier_process_is_filled,
    stuck::stuck_transaction_of_an_earlier_process_blocks_nobody,
    stuck::a_poor_or_late_one_holds_up_nobody,
    stuck::what_no_block_would_take_is_not_sent,
    stuck::one_that_is_too_dear_costs_the_others_nothing,
    stuck::those_behind_a_stuck_one_are_left_alone,
    adjudicator::releases_in_one_transaction,
    adjudicator::a_full_batch_of_releases_is_cheap_enough,
}
