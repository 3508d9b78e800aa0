//! The function `probe`: asks every node, judges, stores.

fn main() -> std::process::ExitCode {
    nodeweir_lambdas::serve(nodeweir_lambdas::Probe::new)
}
