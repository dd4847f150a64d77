//! What a process used, from `/proc`; nothing on other systems.

/// Clock ticks per second in `/proc/PID/stat`: fixed on Linux for programs.
const TICKS_PER_S: u64 = 100;

/// User and system time so far, milliseconds.
pub(crate) fn cpu_ms(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    ticks(11)?
        .checked_add(ticks(12)?)?
        .saturating_mul(1000)
        .checked_div(TICKS_PER_S)
}

/// Resident memory now, bytes.
pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
    field(
        &std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        "VmRSS:",
    )
    .map(|kib| kib.saturating_mul(1024))
}

/// Bytes handed to the disk so far.
pub(crate) fn written_bytes(pid: u32) -> Option<u64> {
    field(
        &std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?,
        "write_bytes:",
    )
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
