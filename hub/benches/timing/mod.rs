//! How the benchmarks measure: CPU time of the thread, and several rounds in one cell.

use rustix::time::{ClockId, clock_gettime};

pub(crate) const ROUNDS: usize = 5;

/// Of [`ROUNDS`] times: median (min-max).
pub(crate) fn median(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let (least, most) = (times[0], times[ROUNDS - 1]);
    format!("{:.2} ({least:.2}-{most:.2})", times[ROUNDS / 2])
}

/// Microseconds that this thread has used.
pub(crate) fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
