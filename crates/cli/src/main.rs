//! `nodeweir`: keeps one JSON-RPC address right while Ethereum nodes come, lag, die and go.

mod args;
mod commands;
mod context;
mod demo;
mod output;
mod report;
mod up;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let args = args::Args::parse();
    let output = output::Output::new(args.json);
    match commands::run(args, output).await {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            output.error(&error);
            if error.is::<context::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
