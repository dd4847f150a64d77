//! The hub as a child process: started, killed, started again, stopped; with what it used.

use super::{cores::Cores, http, process, world::World};
use anyhow::{Context, bail};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// Longest time until the hub is ready; with a million channels it takes its time.
const READY_MAX: Duration = Duration::from_secs(300);

pub(crate) struct Hub {
    child: Child,
    start: Start,
    pub(crate) ops: SocketAddr,
    used: Usage,
}

/// What all hub processes of this run used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_ms: u64,
    pub(crate) commits: u64,
}

impl Hub {
    /// `cores`: the processors that it may use; those of this process without it.
    pub(crate) async fn start(world: &World, cores: Option<Cores>) -> anyhow::Result<Self> {
        let start = Start {
            config: world.config.clone(),
            log: world.dir.join("hub.log"),
            cores,
        };
        let mut hub = Self {
            child: start.spawn()?,
            start,
            ops: world.ops,
            used: Usage::default(),
        };
        hub.ready().await?;
        Ok(hub)
    }

    /// Its process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where its words go.
    pub(crate) fn log(&self) -> &Path {
        &self.start.log
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while http::get(self.ops, "/readyz").await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the hub ended with {status}; its log is {}",
                    self.start.log.display()
                );
            }
            if began.elapsed() > READY_MAX {
                bail!(
                    "the hub is not ready after {READY_MAX:?}; its log is {}",
                    self.start.log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// SIGKILL, then a new process on the same database. Returns how long the hub was away.
    pub(crate) async fn kill_and_restart(&mut self) -> anyhow::Result<Duration> {
        self.account().await;
        let began = Instant::now();
        self.child.start_kill()?;
        self.child.wait().await?;
        self.child = self.start.spawn()?;
        self.ready().await?;
        Ok(began.elapsed())
    }

    /// SIGTERM, and the exit must be clean.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Usage> {
        self.account().await;
        let id = self.child.id().context("the hub has ended by itself")?;
        let killed = Command::new("kill")
            .arg("-TERM")
            .arg(id.to_string())
            .status()
            .await?;
        anyhow::ensure!(killed.success(), "kill -TERM failed");
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        let status = ended.context("the hub did not stop within 10 s of SIGTERM")??;
        anyhow::ensure!(status.success(), "the hub ended with {status}");
        Ok(self.used)
    }

    /// Adds what the running process has used so far.
    async fn account(&mut self) {
        let metrics = http::get(self.ops, "/metrics").await.unwrap_or_default();
        self.used.commits = self
            .used
            .commits
            .saturating_add(http::counter(&metrics, "hub_commits_total"));
        let used = self.child.id().map_or(0, |pid| process::cpu_ms(pid).unwrap_or(0));
        self.used.cpu_ms = self.used.cpu_ms.saturating_add(used);
    }
}

/// How the process is started.
struct Start {
    config: PathBuf,
    log: PathBuf,
    cores: Option<Cores>,
}

impl Start {
    fn spawn(&self) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("own program")?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&self.config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let child = match &self.cores {
            None => command.spawn(),
            Some(cores) => cores.within(|| command.spawn())?,
        };
        child.context("starting `hub serve`")
    }
}
