//! Runs the real binary.

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

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: stdout is\n{}", self.stdout))
    }
}

pub(crate) fn settle(args: &[&str]) -> Output {
    settle_env(args, &[])
}

pub(crate) fn settle_env(args: &[&str], env: &[(&str, &str)]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_settle"))
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
