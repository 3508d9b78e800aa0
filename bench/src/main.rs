//! How fast the control path is. `cargo run --release -p nodeweir-bench` prints it; `bench/README.md` says how it is
//! measured.

mod decide;
mod nodes;
mod process;
mod sample;
mod tick;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    process::raise_open_files().context("raising the limit of open files")?;
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some(counts) = nodes::asked_to_be_nodes() {
        return runtime.block_on(nodes::serve(counts));
    }
    // The tick first: the peak memory of this process must be of nothing else.
    println!("{}", runtime.block_on(tick::measure())?);
    println!("{}", decide::measure()?);
    Ok(())
}
