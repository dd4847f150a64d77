//! The real `hub serve`, started, killed, stopped. Shared by the tests that start one.
#![allow(dead_code, reason = "no test uses all of it")]

use super::world::World;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::OpenOptions,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Longest time until the hub is ready.
const READY_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Hub {
    child: Child,
    ops: SocketAddr,
    log: PathBuf,
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hub {
    /// Starts the process; it is not ready yet.
    pub(crate) fn spawn(world: &World) -> Self {
        Self::spawn_with(world, Command::new(env!("CARGO_BIN_EXE_hub")))
    }

    /// Starts it by a command of the caller's, which gets the arguments.
    pub(crate) fn spawn_with(world: &World, mut command: Command) -> Self {
        let path = world.dir.join("hub.log");
        let log = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        command.args(["serve", "--config"]).arg(&world.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self {
            child: command.spawn().unwrap(),
            ops: world.ops,
            log: path,
        }
    }

    /// Waits until it says that it is ready.
    pub(crate) fn ready(&mut self) {
        if let Some(status) = self.ready_or_ended() {
            panic!("the hub ended by itself with {status}: {}", self.words());
        }
    }

    /// Waits until it says that it is ready, or has ended by itself.
    pub(crate) fn ready_or_ended(&mut self) -> Option<ExitStatus> {
        let began = Instant::now();
        while !is_ready(self.ops) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            assert!(
                began.elapsed() < READY_MAX,
                "the hub is not ready: {}",
                self.words()
            );
            // Another process: it can only be asked again.
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Fails when the hub has ended by itself.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the hub ended by itself with {status}: {}", self.words());
        }
    }

    /// The end of its log.
    pub(crate) fn words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(4000);
        text.get(from..).unwrap_or_default().to_owned()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// SIGKILL, and the process is gone.
    pub(crate) fn kill(&mut self) {
        self.must_run();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself, for so long.
    pub(crate) async fn ended(&mut self, longest: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                None if began.elapsed() < longest => tokio::time::sleep(Duration::from_millis(5)).await,
                ended => return ended,
            }
        }
    }

    /// SIGTERM; the exit must be clean.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the hub ended with {status}: {}", self.words());
    }
}

fn is_ready(ops: SocketAddr) -> bool {
    let answer = get(ops, "/readyz");
    answer.starts_with("HTTP/1.") && answer.contains(" 200 ")
}

/// Head and text of what the operator's door answers; empty: nothing.
pub(crate) fn get(ops: SocketAddr, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(ops)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}
