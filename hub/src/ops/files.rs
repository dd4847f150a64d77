//! How many files this process may have open: a socket is one, and so is each connection to a node of the chain.

use crate::session::SessionLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept from clients for nodes (16 reads at once, of each of them), disk, backups and the operator's door.
const RESERVED: u64 = 160;

/// Raises this process's own limit as far as it needs and may, and cuts `limits` down to it: whoever holds all the sockets that
/// there are must not keep the hub from defending its channels (attack H1).
pub fn fit(limits: SessionLimits) -> SessionLimits {
    let wanted = limits.sockets().saturating_add(RESERVED);
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let raised = Rlimit {
        current: Some(raised),
        ..limit
    };
    if limit.current.is_some_and(|now| now < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the number of open files could not be raised");
    }
    let Some(files) = getrlimit(Resource::Nofile).current else {
        return limits;
    };
    let fitted = limits.within(sockets_of(files));
    if fitted != limits {
        tracing::warn!(
            files,
            connections_max = fitted.connections_max,
            handshakes_max = fitted.handshakes_max,
            "fewer connections than [limits] allows: so many files may be open only; raise `ulimit -n` (systemd: LimitNOFILE) \
             to {wanted}"
        );
    }
    fitted
}

/// With few files half of them.
fn sockets_of(files: u64) -> u64 {
    files.saturating_sub(RESERVED.min(files >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_allowed_is_not_all_for_clients() {
        for (files, sockets) in [
            (0, 0),
            (1, 1),
            (100, 50),
            (256, 128),
            (1_024, 864),
            (100_000, 99_840),
        ] {
            assert_eq!(sockets_of(files), sockets);
        }
    }
}
