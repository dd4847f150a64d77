//! Which processors a process may use. Linux only: elsewhere nothing is pinned.

#[cfg(target_os = "linux")]
pub(crate) use linux::Cores;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Cores;

#[cfg(target_os = "linux")]
mod linux {
    use anyhow::Context;
    use rustix::{
        process::Pid,
        thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    };

    /// Processors.
    #[derive(Clone, Copy)]
    pub(crate) struct Cores(CpuSet);

    impl Cores {
        /// Those that this process may use.
        pub(crate) fn all() -> anyhow::Result<Self> {
            Ok(Self(
                sched_getaffinity(None).context("which processors there are")?,
            ))
        }

        /// The first `count`, and the others; all of them when none is left.
        pub(crate) fn split(&self, count: u32) -> (Self, Self) {
            let all = self.0;
            let (mut first, mut others) = (CpuSet::new(), CpuSet::new());
            let mine = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
            for (at, cpu) in (0_u32..).zip(mine) {
                let set = if at < count { &mut first } else { &mut others };
                set.set(cpu);
            }
            let others = if others.count() == 0 { all } else { others };
            (Self(first), Self(others))
        }

        /// Puts every thread of this process there.
        pub(crate) fn take_over(&self) -> anyhow::Result<()> {
            for thread in std::fs::read_dir("/proc/self/task")? {
                let number = thread?.file_name().to_string_lossy().parse()?;
                sched_setaffinity(Pid::from_raw(number), &self.0).context("pinning")?;
            }
            Ok(())
        }

        /// Runs `start` with this thread there, so that a process which it starts stays there.
        pub(crate) fn within<T>(&self, start: impl FnOnce() -> T) -> anyhow::Result<T> {
            let before = sched_getaffinity(None).context("where this thread runs")?;
            sched_setaffinity(None, &self.0).context("pinning")?;
            let started = start();
            sched_setaffinity(None, &before).context("pinning")?;
            Ok(started)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// Processors; there are none to choose from.
    #[derive(Clone, Copy)]
    pub(crate) struct Cores;

    impl Cores {
        pub(crate) fn all() -> anyhow::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn split(&self, _count: u32) -> (Self, Self) {
            (Self, Self)
        }

        pub(crate) fn take_over(&self) -> anyhow::Result<()> {
            Ok(())
        }

        pub(crate) fn within<T>(&self, start: impl FnOnce() -> T) -> anyhow::Result<T> {
            Ok(start())
        }
    }
}
