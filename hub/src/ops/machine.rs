//! What the machine has.

/// Memory that this process may use, bytes: the machine's, or less where its control group says so. `None`: it cannot be told.
pub(crate) fn memory_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| total(&text));
    let group = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let group = group
        .into_iter()
        .filter_map(read)
        .filter_map(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemFree:          123 kB\nMemTotal:       24567890 kB\nMemAvailable: 1 kB\n";
        assert_eq!(total(text), Some(24_567_890 * 1024));
        assert_eq!(total("MemTotal: some kB\n"), None);
        assert_eq!(total(""), None);
    }
}
