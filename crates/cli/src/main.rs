//! `nodeweir`: keeps one JSON-RPC address right while Ethereum nodes come, lag, die and go.

mod args;
mod commands;
mod context;
mod demo;
mod output;
mod place;
mod report;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let args = args::Args::try_parse().unwrap_or_else(|error| refuse(&error));
    let output = output::Output::new(args.json);
    // On the heap: what waits for AWS is large.
    match Box::pin(commands::run(args, output)).await {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            output.error(&error);
            if error.is::<context::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Says what is wrong with the command line, or the help that was asked for, and ends.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let safe = output::without_keys(&text);
    if safe == text {
        error.exit();
    }
    // Without colours, which only clap itself can print.
    let _ = write!(std::io::stderr(), "{safe}");
    std::process::exit(error.exit_code());
}
