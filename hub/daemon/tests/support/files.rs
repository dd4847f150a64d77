//! How many files processes may have open, and an upgrade that takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::Command;

/// What an upgrade to a WebSocket says.
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: channelhub.v1+json\r\n\r\n";

/// Lets this process, and those that it starts, have so many, if the system permits it.
pub(crate) fn raise(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let raised = Rlimit {
        current: Some(wanted.max(limit.current.unwrap_or(0))),
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// The hub with so many at most.
pub(crate) fn hub_with(files: usize) -> Command {
    let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_hub")]);
    command
}
