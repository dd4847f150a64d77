//! How many files and how much memory processes may have, and an upgrade that takes a file.
#![allow(dead_code, reason = "no test uses all of it")]

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
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
    limited(&format!("-n {files}"))
}

/// The hub with so many MiB of memory at most, not counting its program.
pub(crate) fn hub_within(mib: u64) -> Command {
    limited(&format!("-d {}", mib * 1024))
}

fn limited(limit: &str) -> Command {
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_hub")]);
    command
}

/// What counts against the limit of memory now, KiB.
pub(crate) fn data_kib(process: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// Lets a running process have so many KiB.
pub(crate) fn limit_data(process: i32, kib: u64) {
    let limit = Rlimit {
        current: Some(kib * 1024),
        maximum: Some(kib * 1024),
    };
    prlimit(Pid::from_raw(process), Resource::Data, limit).unwrap();
}
