//! `settle`: leave or defend a payment channel with the hub gone. `settle --help` teaches; `hub::settle` does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    hub::settle::cli::main()
}
