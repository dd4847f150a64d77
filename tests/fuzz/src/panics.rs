//! Panics in tasks, which end a task and not the process.

use std::{
    panic,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Panics so far.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Runs something, which must not make any task panic.
pub(crate) fn none_in(run: impl FnOnce()) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(info);
        }));
    });
    let before = PANICS.load(Ordering::SeqCst);
    run();
    assert_eq!(PANICS.load(Ordering::SeqCst), before, "a task panicked");
}
