//! What rings for a connection beside its socket and its outbox: the alarm, and the hub's shutdown.
//!
//! Both ring seldom and are looked at with every message. So they are polled once, and from then on wake the task by
//! themselves; a look in between takes neither a lock, which all connections would share, nor the time.

use crate::ops::Shutdown;
use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::{
    task::coop,
    time::{Instant, Sleep},
};

/// Which of them rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ring {
    Alarm,
    /// Once.
    Shutdown,
}

/// See the module.
pub(crate) struct Bells<'a, F> {
    alarm: Pin<&'a mut Sleep>,
    shutdown: &'a Shutdown,
    stopping: Pin<&'a mut F>,
    stopped: bool,
    /// Whom both wake; `None` while one of them has to be polled for that.
    wakes: Option<Waker>,
}

impl<'a, F: Future<Output = ()>> Bells<'a, F> {
    /// `stopping` waits for `shutdown`.
    pub(crate) fn new(alarm: Pin<&'a mut Sleep>, shutdown: &'a Shutdown, stopping: Pin<&'a mut F>) -> Self {
        Self {
            alarm,
            shutdown,
            stopping,
            stopped: false,
            wakes: None,
        }
    }

    /// Sets the alarm. It rings on until that is done.
    pub(crate) fn set(&mut self, at: Instant) {
        self.alarm.as_mut().reset(at);
        self.wakes = None;
    }

    /// Ready when one of them rings.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ring> {
        let known = self
            .wakes
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if known && !self.alarm.is_elapsed() && (self.stopped || !self.shutdown.is_triggered()) {
            return Poll::Pending;
        }
        self.wakes = None;
        if self.alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ring::Alarm);
        }
        if !self.stopped && self.stopping.as_mut().poll(cx).is_ready() {
            self.stopped = true;
            return Poll::Ready(Ring::Shutdown);
        }
        // A task whose time is up is told `Pending` by everything, and is polled again soon.
        if coop::has_budget_remaining() {
            self.wakes = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, pin::pin, time::Duration};
    use tokio::time::{sleep, sleep_until, timeout};

    /// However often somebody looked before.
    #[tokio::test(start_paused = true)]
    async fn each_of_them_rings_and_wakes_whoever_looked() {
        let shutdown = Shutdown::new();
        let began = Instant::now();
        let alarm = pin!(sleep_until(began + Duration::from_secs(20)));
        let stopping = pin!(shutdown.triggered());
        let mut bells = Bells::new(alarm, &shutdown, stopping);
        let mut heard = Vec::new();
        let ringing = async {
            for _ in 0..5 {
                for _ in 0..2 {
                    let looked = poll_fn(|cx| Poll::Ready(bells.poll(cx))).await;
                    assert_eq!(looked, Poll::Pending);
                }
                let ring = poll_fn(|cx| bells.poll(cx)).await;
                heard.push((ring, began.elapsed().as_secs()));
                bells.set(Instant::now() + Duration::from_secs(20));
            }
        };
        let throwing = async {
            sleep(Duration::from_secs(50)).await;
            shutdown.trigger();
        };
        let both = async { tokio::join!(ringing, throwing) };
        timeout(Duration::from_secs(200), both).await.unwrap();
        let alarm = |at| (Ring::Alarm, at);
        assert_eq!(
            heard,
            [alarm(20), alarm(40), (Ring::Shutdown, 50), alarm(70), alarm(90)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_whose_time_was_up_is_woken_all_the_same() {
        let shutdown = Shutdown::new();
        let alarm = pin!(sleep(Duration::from_secs(20)));
        let stopping = pin!(shutdown.triggered());
        let mut bells = Bells::new(alarm, &shutdown, stopping);
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
        let ring = timeout(Duration::from_secs(60), poll_fn(|cx| bells.poll(cx)));
        assert_eq!(ring.await, Ok(Ring::Alarm));
    }
}
