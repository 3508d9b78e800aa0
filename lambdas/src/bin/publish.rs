//! The function `publish`: plans, and puts the wanted revision where proxies read it.
#![recursion_limit = "256"]

fn main() -> std::process::ExitCode {
    nodeweir_lambdas::serve(nodeweir_lambdas::Publish::new)
}
