//! What each thread of a process is doing, from `/proc/PID/task`: name, state, the system call it is in and on what.
//!
//! A thread stopped in a call shows that call: `D` while the kernel still works on it, `T` when it is finished and the
//! program has not been told.

use std::{fmt, fs};

/// System calls told apart, by their numbers on this machine.
#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const PWRITE: i64 = 18;
    pub(super) const FSYNC: [i64; 2] = [74, 75];
    pub(super) const SEND: [i64; 4] = [1, 20, 44, 46];
    pub(super) const IDLE: [i64; 4] = [202, 232, 281, 441];
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const PWRITE: i64 = 68;
    pub(super) const FSYNC: [i64; 2] = [82, 83];
    pub(super) const SEND: [i64; 4] = [64, 66, 206, 211];
    pub(super) const IDLE: [i64; 3] = [98, 22, 441];
}

/// What a thread is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    /// Waiting for work: a futex or epoll.
    Idle,
    /// Writing a file.
    Write(String),
    /// Syncing a file.
    Sync(String),
    /// Sending on a socket.
    Send,
    /// Another system call.
    Call(i64),
    /// The program's own code.
    Computing,
}

/// One thread.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) name: String,
    /// As in `/proc/PID/stat`: R, S, D, T ...
    pub(crate) state: char,
    pub(crate) doing: Doing,
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state, doing } = self;
        match doing {
            Doing::Idle => write!(f, "{name} idle"),
            Doing::Write(file) => write!(f, "{name} in pwrite({file}) [{state}]"),
            Doing::Sync(file) => write!(f, "{name} in fdatasync({file}) [{state}]"),
            Doing::Send => write!(f, "{name} in send(socket)"),
            Doing::Call(call) => write!(f, "{name} in call {call}"),
            Doing::Computing => write!(f, "{name} computing"),
        }
    }
}

/// All threads of a process.
#[derive(Clone, Debug)]
pub(crate) struct Threads(pub(crate) Vec<Thread>);

impl Threads {
    /// Empty when there is no such process.
    pub(crate) fn of(pid: i32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        let ids = tasks
            .filter_map(Result::ok)
            .filter_map(|task| task.file_name().to_str()?.parse().ok());
        Self(ids.filter_map(|id| thread(pid, id)).collect())
    }

    /// No thread runs; one in the kernel's hands (`D`) stops as soon as it comes back.
    pub(crate) fn are_stopped(&self) -> bool {
        !self.0.is_empty()
            && self
                .0
                .iter()
                .all(|thread| matches!(thread.state, 'T' | 't' | 'D'))
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Thread> {
        self.0.iter().find(|thread| thread.name == name)
    }

    pub(crate) fn any(&self, doing: impl Fn(&Doing) -> bool) -> bool {
        self.0.iter().any(|thread| doing(&thread.doing))
    }
}

/// The number of the thread with this name.
pub(crate) fn find(pid: i32, name: &str) -> Option<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks.filter_map(Result::ok).find_map(|task| {
        let id = task.file_name().to_str()?.parse().ok()?;
        let comm = fs::read_to_string(task.path().join("comm")).ok()?;
        (comm.trim_end() == name).then_some(id)
    })
}

/// True while the thread waits for a sync. Reads one file only: microseconds count.
pub(crate) fn is_syncing(pid: i32, id: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/task/{id}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|word| word.parse().ok());
    number.is_some_and(|number: i64| number::FSYNC.contains(&number))
}

/// `None` when the thread is gone.
pub(crate) fn thread(pid: i32, id: i32) -> Option<Thread> {
    let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/task/{id}/{what}")).ok();
    let stat = read("stat")?;
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    Some(Thread {
        name: read("comm")?.trim_end().to_owned(),
        state,
        doing: doing(pid, &read("syscall")?),
    })
}

fn doing(pid: i32, syscall: &str) -> Doing {
    // "running", or "-1 sp pc" outside of calls, or "number arguments sp pc".
    let mut words = syscall.split_whitespace();
    let Some(call) = words.next().and_then(|word| word.parse::<i64>().ok()) else {
        return Doing::Computing;
    };
    let mut target = || {
        let digits = words.next().unwrap_or_default().trim_start_matches("0x");
        let descriptor = u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
        let link = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap_or_default();
        link.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    match call {
        ..0 => Doing::Computing,
        number::PWRITE => Doing::Write(target()),
        call if number::FSYNC.contains(&call) => Doing::Sync(target()),
        call if number::IDLE.contains(&call) => Doing::Idle,
        call if number::SEND.contains(&call) && target().starts_with("socket:") => Doing::Send,
        call => Doing::Call(call),
    }
}
