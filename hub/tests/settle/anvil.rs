//! A real anvil on a port of its own, killed by its own process id. The tests of the daemon use it, too.
#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

pub(crate) struct Anvil {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A native chain tool: the binary named in the environment in capitals, or the one that `npm ci` installs.
pub(crate) fn tool(name: &str) -> PathBuf {
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let roots = crates
        .ancestors()
        .map(|root| root.join("protocol-spec/contracts"));
    let contracts = roots.into_iter().find(|contracts| contracts.is_dir());
    let installed = format!("node_modules/@foundry-rs/{name}-linux-amd64/bin/{name}");
    let installed = contracts.unwrap_or_default().join(installed);
    std::env::var_os(name.to_uppercase()).map_or(installed, PathBuf::from)
}

impl Anvil {
    /// `None` when the tests on anvil are skipped by `CHANNELHUB_SKIP_ANVIL=1`.
    pub(crate) fn start() -> Option<Self> {
        let path = tool("anvil");
        if !path.exists() {
            if std::env::var_os("CHANNELHUB_SKIP_ANVIL").is_some_and(|value| value == "1") {
                eprintln!("SKIPPED: no anvil at {}", path.display());
                return None;
            }
            panic!(
                "no anvil at {}: run `npm ci` in protocol-spec/contracts, or set ANVIL to a native anvil, \
                 or CHANNELHUB_SKIP_ANVIL=1 to skip the tests that need it",
                path.display()
            );
        }
        let mut child = Command::new(&path)
            .args(["--port", "0", "--accounts", "1", "--hardfork", "osaka"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", path.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let address = lines
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil says where it listens");
        // Its log must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            url: format!("http://{address}"),
        })
    }
}
