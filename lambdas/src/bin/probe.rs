//! The function `probe`: asks every node, judges, stores.
#![recursion_limit = "256"]

fn main() -> std::process::ExitCode {
    nodeweir_lambdas::serve(nodeweir_lambdas::Probe::new)
}
