//! Who may come in: handshakes under way and open connections, counted and bounded.
//!
//! A handshake over the cap does not lock anybody out: the oldest one under way is dropped instead. An honest
//! handshake takes milliseconds, so what is old is a slow one (attack B1).

use super::limits::SessionLimits;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::task::AbortHandle;

/// The unit of accounting: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Origin(IpAddr);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            IpAddr::V6(v6) => Self(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)))),
        }
    }
}

#[derive(Default, Debug)]
struct Counts {
    next: u64,
    pending: BTreeMap<u64, (Origin, Option<AbortHandle>)>,
    by_origin: HashMap<Origin, BTreeSet<u64>>,
    open: u32,
}

impl Counts {
    fn remove(&mut self, ticket: u64) -> Option<AbortHandle> {
        let (origin, handle) = self.pending.remove(&ticket)?;
        if let Some(tickets) = self.by_origin.get_mut(&origin) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.by_origin.remove(&origin);
            }
        }
        handle
    }

    fn oldest_beyond(&self, origin: Origin, limits: &SessionLimits) -> Option<u64> {
        let over = |count: usize, max: u32| u32::try_from(count).is_ok_and(|count| count <= max);
        let of_origin = self.by_origin.get(&origin)?;
        if !over(of_origin.len(), limits.handshakes_per_address_max) {
            return of_origin.first().copied();
        }
        if !over(self.pending.len(), limits.handshakes_max) {
            return self.pending.first_key_value().map(|(ticket, _)| *ticket);
        }
        None
    }
}

/// Shared by the accept loop and all connections.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    counts: Arc<Mutex<Counts>>,
    limits: SessionLimits,
}

impl Gate {
    /// An empty gate.
    pub(crate) fn new(limits: SessionLimits) -> Self {
        Self {
            counts: Arc::default(),
            limits,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        // The counts are consistent after every statement, so a panic elsewhere does not spoil them.
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Enters a handshake; drops the oldest one when there are too many.
    pub(crate) fn knock(&self, address: IpAddr) -> Pending {
        let origin = Origin::from(address);
        let (ticket, dropped) = self.with(|counts| {
            let ticket = counts.next;
            counts.next = counts.next.saturating_add(1);
            counts.pending.insert(ticket, (origin, None));
            counts.by_origin.entry(origin).or_default().insert(ticket);
            let oldest = counts.oldest_beyond(origin, &self.limits);
            (ticket, oldest.and_then(|oldest| counts.remove(oldest)))
        });
        if let Some(handle) = dropped {
            metrics::counter!("hub_session_handshakes_evicted_total").increment(1);
            handle.abort();
        }
        Pending {
            gate: self.clone(),
            origin,
            ticket,
        }
    }

    /// Open connections.
    pub(crate) fn open(&self) -> u32 {
        self.with(|counts| counts.open)
    }

    /// Drops all handshakes under way.
    pub(crate) fn abort_pending(&self) {
        let handles = self.with(|counts| {
            counts.by_origin.clear();
            std::mem::take(&mut counts.pending)
        });
        for (_, handle) in handles.into_values() {
            if let Some(handle) = handle {
                handle.abort();
            }
        }
    }
}

/// A handshake under way; leaves the count when dropped.
#[derive(Debug)]
pub(crate) struct Pending {
    gate: Gate,
    origin: Origin,
    ticket: u64,
}

impl Pending {
    /// Names the task to abort when this handshake must go.
    pub(crate) fn watch(gate: &Gate, ticket: u64, handle: AbortHandle) {
        gate.with(|counts| {
            if let Some((_, slot)) = counts.pending.get_mut(&ticket) {
                *slot = Some(handle);
            }
        });
    }

    /// Its number.
    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Turns the handshake into a connection, if there is room for one.
    pub(crate) fn admit(self) -> Option<Admission> {
        let gate = self.gate.clone();
        let origin = self.origin;
        let admitted = gate.with(|counts| {
            // A handshake that was dropped for its age must not come back: its task is about to be aborted.
            let held = counts.pending.contains_key(&self.ticket);
            let fits = held && counts.open < gate.limits.connections_max;
            counts.open = counts.open.saturating_add(u32::from(fits));
            fits
        });
        // `self` leaves the pending count here, so nobody aborts the connection's task any more.
        drop(self);
        if admitted {
            metrics::gauge!("hub_sessions_open").increment(1);
        }
        admitted.then_some(Admission { gate, origin })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gate.with(|counts| counts.remove(self.ticket));
    }
}

/// An open connection; leaves the count when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    gate: Gate,
    origin: Origin,
}

impl Admission {
    /// Where it came from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.gate
            .with(|counts| counts.open = counts.open.saturating_sub(1));
        metrics::gauge!("hub_sessions_open").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(per_address: u32, all: u32, open: u32) -> Gate {
        Gate::new(SessionLimits {
            handshakes_per_address_max: per_address,
            handshakes_max: all,
            connections_max: open,
            ..SessionLimits::DEFAULT
        })
    }

    #[test]
    fn connections_are_capped_and_come_back() {
        let gate = gate(10, 10, 1);
        let address = IpAddr::from([10, 0, 0, 1]);
        let first = gate.knock(address).admit().unwrap();
        assert!(gate.knock(address).admit().is_none());
        drop(first);
        assert_eq!(gate.open(), 0);
        assert!(gate.knock(address).admit().is_some());
    }

    #[test]
    fn the_oldest_handshake_of_an_address_goes_first() {
        let gate = gate(2, 10, 10);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = [a, b, a, a]
            .map(|address| gate.knock(address))
            .into_iter()
            .collect();
        let left = gate.with(|counts| counts.pending.keys().copied().collect::<Vec<_>>());
        assert_eq!(left, [1, 2, 3], "the first of address a is gone, b is untouched");
        drop(held);
        assert_eq!(
            gate.with(|counts| (counts.pending.len(), counts.by_origin.len())),
            (0, 0)
        );
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let origin = |text: &str| Origin::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:2"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
    }
}
