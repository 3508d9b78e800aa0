//! What the system allows this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Allows as many open files as may be. A tick has connections to hundreds of nodes at once, and a proxy, which inherits
/// this, two files for each request; many systems allow 1,024 by default and far more on demand.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        warn!(%error, "the limit of open files stays as it is");
    }
}
