//! A disk and a clock that fail on command: `shim.c`, loaded into the hub, and the page that both processes see.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A field of the page, by its place; `shim.c` says what each means.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    FailSync = 0,
    Syncs = 1,
    FailedInode = 2,
    AfterFailure = 3,
    DelayMs = 4,
    Limited = 5,
    Space = 6,
    Refused = 7,
    ClockS = 8,
}

const FIELDS: usize = 9;

pub(crate) struct Orders {
    page: File,
    path: PathBuf,
    library: PathBuf,
}

impl Orders {
    /// Compiles the shim with the `cc` that Rust links with.
    pub(crate) fn new(dir: &Path) -> Self {
        let library = dir.join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fire/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]);
        let compiled = compiler.arg(&library).arg(&source).status().unwrap();
        assert!(compiled.success(), "cc: {compiled}");
        let path = dir.join("orders");
        std::fs::write(&path, [0; FIELDS * 8]).unwrap();
        let page = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Self { page, path, library }
    }

    /// Makes a process obey.
    pub(crate) fn load_into(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FIRE_ORDERS", &self.path);
    }

    pub(crate) fn set(&self, order: Order, value: i64) {
        self.page
            .write_all_at(&value.to_ne_bytes(), order as u64 * 8)
            .unwrap();
    }

    pub(crate) fn get(&self, order: Order) -> i64 {
        let mut bytes = [0; 8];
        self.page.read_exact_at(&mut bytes, order as u64 * 8).unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// Nothing fails any more.
    pub(crate) fn clear(&self) {
        self.page.write_all_at(&[0; FIELDS * 8], 0).unwrap();
    }
}
