//! The Channel Hub daemon. See `hub --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hub::cli::main()
}
