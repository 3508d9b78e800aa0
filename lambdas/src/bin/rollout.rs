//! The function `rollout`: makes the proxy's tasks run what is published.
#![recursion_limit = "256"]

fn main() -> std::process::ExitCode {
    nodeweir_lambdas::serve(nodeweir_lambdas::Rollout::new)
}
