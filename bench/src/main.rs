//! How fast Nodeweir is. `bench/run` measures it beside plain nginx, `cargo run --release -p nodeweir-bench` the control
//! path, with `-- gate` the gate, with `-- functions` the functions on AWS, with `-- container` the proxy's container;
//! `bench/README.md` says how.

#![expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52, and are shown rounded")]

#[cfg(feature = "aws")]
mod container;
mod decide;
#[cfg(feature = "aws")]
mod functions;
mod gate;
mod lanes;
mod machine;
mod nodes;
mod process;
mod rounds;
mod sample;
mod table;
mod tick;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    process::raise_open_files().context("raising the limit of open files")?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["gate"] => gate::measure(None),
        ["gate", part] => gate::measure(Some(part)),
        ["table", words @ ..] => table::measure(words),
        #[cfg(feature = "aws")]
        ["functions"] => {
            println!("{}", tokio::runtime::Runtime::new()?.block_on(functions::measure())?);
            Ok(())
        }
        #[cfg(feature = "aws")]
        ["container"] => {
            let runtime = tokio::runtime::Runtime::new()?;
            println!("{}", runtime.block_on(container::measure())?);
            Ok(())
        }
        [gate::BE_GATE, words @ ..] => gate::be(words),
        _ => control_path(),
    }
}

fn control_path() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    if let Some((counts, port)) = nodes::asked_to_be_nodes() {
        return runtime.block_on(nodes::serve(counts, port));
    }
    // The tick first: the peak memory of this process must be of nothing else.
    println!("{}", runtime.block_on(tick::measure())?);
    println!("{}", decide::measure()?);
    Ok(())
}
