//! A share of the processor, as a function with little memory gets one on AWS: a group of the kernel's, for each process
//! its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How long the kernel counts before it starts anew. Lambda's own is 20 ms.
const PERIOD_US: u32 = 20_000;

/// So much of one processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    us_per_period: u32,
    kernel: Kernel,
}

/// Which interface the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Cgroup1,
    Cgroup2,
}

impl Quota {
    /// What a function of so much memory gets: 1,769 MB are one processor. Says why if this machine cannot do it, which
    /// needs root and control groups.
    pub fn of_memory(mb: u32) -> Result<Self, String> {
        let us_per_period = (PERIOD_US * mb / 1769).max(1000);
        let mut reasons = Vec::new();
        for kernel in [Kernel::Cgroup1, Kernel::Cgroup2] {
            let quota = Self { us_per_period, kernel };
            match Group::make(quota) {
                Ok(_) => return Ok(quota),
                Err(error) => reasons.push(format!("{}: {error}", kernel.root().display())),
            }
        }
        Err(format!("no control group can be made here ({})", reasons.join("; ")))
    }

    /// A group for one process.
    pub(super) fn group(self) -> Group {
        Group::make(self).expect("a control group, as one could be made before")
    }
}

impl Kernel {
    fn root(self) -> &'static Path {
        Path::new(match self {
            Self::Cgroup1 => "/sys/fs/cgroup/cpu",
            Self::Cgroup2 => "/sys/fs/cgroup",
        })
    }
}

/// Removed when it is dropped, if nothing runs in it any more.
#[derive(Debug)]
pub(super) struct Group(PathBuf);

impl Group {
    fn make(quota: Quota) -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = quota.kernel.root().join(format!("nodeweir-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let group = Self(folder);
        match quota.kernel {
            Kernel::Cgroup1 => {
                fs::write(group.0.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
                fs::write(group.0.join("cpu.cfs_quota_us"), quota.us_per_period.to_string())?;
            }
            Kernel::Cgroup2 => fs::write(group.0.join("cpu.max"), format!("{} {PERIOD_US}", quota.us_per_period))?,
        }
        Ok(group)
    }

    /// Words before those of a program that put it in the group before its first instruction: a shell goes there and
    /// becomes the program.
    pub(super) fn words(&self) -> Vec<OsString> {
        let script = r#"echo $$ > "$0" && exec "$@""#;
        vec!["/bin/sh".into(), "-c".into(), script.into(), self.0.join("cgroup.procs").into()]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It stays if something still runs there; an empty group costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}
