//! The Channel Hub daemon. See `hub --help`.

mod bench;
mod demo;
mod stage;

use hub::cli::{Failure, Plays, bench::BenchArgs, demo::DemoArgs};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Here;

#[async_trait::async_trait(?Send)]
impl Plays for Here {
    async fn demo(&self, args: DemoArgs) -> Result<(), Failure> {
        demo::demo(args).await
    }

    async fn bench(&self, args: BenchArgs) -> Result<(), Failure> {
        bench::bench(args).await
    }
}

fn main() -> ExitCode {
    // The allocator asks for huge pages, gives parts of them back and faults them in again, two cleared megabytes at a time.
    // A kernel that knows no huge pages refuses, and has none.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    hub::cli::main(&Here)
}
