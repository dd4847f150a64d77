//! The view that the client's task publishes and its handles read and wait on.
//!
//! Not tokio's `watch`: that wakes those who wait in a random order, and the same run would not give the same run again.

use crate::actor::View;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the handles share.
#[derive(Default)]
pub(crate) struct Board {
    view: Mutex<Arc<View>>,
    changed: Notify,
}

impl Board {
    /// The view as of the last turn.
    pub(crate) fn view(&self) -> Arc<View> {
        self.lock().clone()
    }

    /// The first view, from the present one on, for which `done` is true. Who waits longest is woken first.
    pub(crate) async fn wait_for(&self, done: impl Fn(&View) -> bool) -> Arc<View> {
        loop {
            // Made before the look, so that no change falls between look and wait.
            let changed = self.changed.notified();
            let view = self.view();
            if done(&view) {
                return view;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<View>> {
        // No code panics while it holds the lock.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task's end. When it is dropped the view says that the client has stopped, whatever happened to the task.
pub(crate) struct Publisher(Arc<Board>);

impl Publisher {
    /// The only publisher of `board`.
    pub(crate) fn of(board: Arc<Board>) -> Self {
        Self(board)
    }

    /// Shows `view` if it differs from the last one.
    pub(crate) fn publish(&self, view: View) {
        let mut shown = self.0.lock();
        if **shown == view {
            return;
        }
        *shown = Arc::new(view);
        drop(shown);
        self.0.changed.notify_waiters();
    }

    /// Shows that the client has stopped; the first reason stays.
    pub(crate) fn stop(&self, why: &str) {
        let mut view = View::clone(&self.0.view());
        view.connected = false;
        view.stopped.get_or_insert_with(|| why.to_owned());
        for channel in view.channels.values_mut() {
            channel.live = false;
        }
        self.publish(view);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop("its task has ended");
    }
}
