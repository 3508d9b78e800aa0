//! The function `rollout`: makes the proxy's tasks run what is published.

fn main() -> std::process::ExitCode {
    nodeweir_lambdas::serve(nodeweir_lambdas::Rollout::new)
}
