//! The hub as a child process: started, killed, started again, stopped; with the processor time it used.

use super::{http, world::World};
use anyhow::{Context, bail};
use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// Longest time until the hub is ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// Clock ticks per second in `/proc/PID/stat`: fixed on Linux for programs.
const TICKS_PER_S: u64 = 100;

pub(super) struct Hub {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    pub(super) ops: SocketAddr,
    used: Usage,
}

/// What all hub processes of the demo used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_ms: u64,
    pub(super) commits: u64,
}

impl Hub {
    pub(super) async fn start(world: &World) -> anyhow::Result<Self> {
        let (config, log) = (world.config.clone(), world.dir.join("hub.log"));
        let child = spawn(&config, &log)?;
        let mut hub = Self {
            child,
            config,
            log,
            ops: world.ops,
            used: Usage::default(),
        };
        hub.ready().await?;
        Ok(hub)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while http::get(self.ops, "/readyz").await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the hub ended with {status}; its log is {}", self.log.display());
            }
            if began.elapsed() > READY_MAX {
                bail!(
                    "the hub is not ready after {READY_MAX:?}; its log is {}",
                    self.log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// SIGKILL, then a new process on the same database. Returns how long the hub was away.
    pub(super) async fn kill_and_restart(&mut self) -> anyhow::Result<Duration> {
        self.account().await;
        let began = Instant::now();
        self.child.start_kill()?;
        self.child.wait().await?;
        self.child = spawn(&self.config, &self.log)?;
        self.ready().await?;
        Ok(began.elapsed())
    }

    /// SIGTERM, and the exit must be clean.
    pub(super) async fn stop(mut self) -> anyhow::Result<Usage> {
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
        let ticks = self.child.id().and_then(cpu_ticks).unwrap_or(0);
        let ms = ticks.saturating_mul(1000).checked_div(TICKS_PER_S).unwrap_or(0);
        self.used.cpu_ms = self.used.cpu_ms.saturating_add(ms);
    }
}

fn spawn(config: &PathBuf, log: &PathBuf) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("own program")?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(config);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    command.spawn().context("starting `hub serve`")
}

/// User and system time, from `/proc`; none on other systems.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    ticks(11)?.checked_add(ticks(12)?)
}
