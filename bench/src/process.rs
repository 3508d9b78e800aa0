//! What the system says of this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Two ends of a thousand connections take more than the usual 1,024.
pub(crate) fn raise_open_files() -> rustix::io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
}

/// The most memory that was resident at once, in MiB.
pub(crate) fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u32 = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default().parse()?;
    Ok(f64::from(kib) / 1024.0)
}
