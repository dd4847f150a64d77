//! The Channel Hub daemon. See `hub --help`.

mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    hub::cli::main(demo::demo)
}
