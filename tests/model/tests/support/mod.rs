//! What is asked of every instance.

use model::rules::Rule;
use model::search::{Model, search};

const LIMIT: usize = 4_000_000;

/// Searched to the end, and nobody lost.
pub(crate) fn holds<M: Model>(name: &str, model: &M) {
    let report = search(model, LIMIT, 1, &|_, _| {});
    assert!(report.fault.is_none(), "{name}: {:?}", report.fault);
    assert!(
        report.complete && report.ended > 0,
        "{name}: {} states",
        report.states
    );
}

/// `model` is without the rule, and somebody loses.
pub(crate) fn loses<M: Model>(name: &str, rule: Rule, model: &M) {
    let report = search(model, LIMIT, 1, &|_, _| {});
    assert!(
        report.fault.is_some(),
        "{name}: {rule} removed and nobody lost in {} states",
        report.states
    );
}
