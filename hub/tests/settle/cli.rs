//! Runs the real binary. The tests of the daemon use it, too.
#![allow(dead_code, reason = "no test uses all of it")]

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "stderr lacks {words:?}:\n{}",
            self.stderr
        );
        self
    }

    /// The objects of `--ndjson`.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The names of the events of `--ndjson`, the result left out.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<String> {
        let lines = self.lines();
        lines
            .iter()
            .filter_map(|line| Some(line["event"].as_str()?.to_owned()))
            .collect()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: stdout is\n{}", self.stdout))
    }
}

/// The binary: cargo's, or for the tests of another crate the one beside them.
pub(crate) fn program() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(2).unwrap().join("settle")
    };
    let path = option_env!("CARGO_BIN_EXE_settle").map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "no {}: build the workspace", path.display());
    path
}

pub(crate) fn settle(args: &[&str]) -> Output {
    settle_env(args, &[])
}

pub(crate) fn settle_env(args: &[&str], env: &[(&str, &str)]) -> Output {
    let output = Command::new(program())
        .args(args)
        .envs(env.iter().copied())
        .env_remove("SETTLE_RPC_URL")
        .output()
        .unwrap();
    let output = Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    if std::env::var_os("SETTLE_TRANSCRIPT").is_some() {
        eprintln!(
            "$ settle {}\n{}{}[exit {}]\n",
            args.join(" "),
            output.stdout,
            output.stderr,
            output.code
        );
    }
    output
}

/// Writes a file into `dir`, readable by its owner only.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The real binary running beside the test; killed with it, by its own process id.
pub(crate) struct Running {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<Value>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts it; its stdout is `--ndjson`.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(Command::new(program()).args(args))
    }

    /// The same with so many files at most.
    pub(crate) fn with_files(files: u32, args: &[&str]) -> Self {
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        Self::spawn(command.args(["-c", &script]).arg(program()).args(args))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .env_remove("SETTLE_RPC_URL")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let lines = std::io::BufRead::lines(stdout).map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for the next event called `name`.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Value {
        self.find(name, |value| value["event"] == name)
    }

    /// Waits for the result of a command.
    #[track_caller]
    pub(crate) fn expect_result(&mut self) -> Value {
        self.find("result", |value| value["event"].is_null())
    }

    #[track_caller]
    fn find(&mut self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(std::time::Instant::now()))
        {
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            self.seen.push(value.clone());
            if is(&value) {
                return value;
            }
        }
        panic!("no event {name:?} after {:#?}", self.seen);
    }

    /// Kills it at once, without a chance to do anything more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
