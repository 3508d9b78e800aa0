//! A full disk: the folder that the process writes to is a small file system of its own, which needs root.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::client::{Load, failures};
use crate::nodes::Anvil;
use crate::process::{send, until};
use crate::rig::{Rig, children};

/// A namespace of mounts, and one of processes, whose end is the end of all that runs on the small disk.
const UNSHARE: [&str; 6] = ["/usr/bin/unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
const MOUNT: &str = r#"mount -t tmpfs -o size=1m,nr_inodes=100 tmpfs "$NODEWEIR_STATE" && exec "$0""#;

fn can_mount() -> bool {
    let place = tempfile::tempdir().unwrap();
    let mount = ["mount", "-t", "tmpfs", "tmpfs", place.path().to_str().unwrap()];
    Command::new(UNSHARE[0]).args(&UNSHARE[1..]).args(mount).output().is_ok_and(|done| done.status.success())
}

/// What a disk can have too little of.
#[derive(Debug, Clone, Copy)]
enum Lack {
    Room,
    Names,
}

/// The small disk, seen from outside.
struct Disk(PathBuf);

impl Disk {
    fn of(init: u32, rig: &Rig) -> Self {
        Self(Path::new(&format!("/proc/{init}/root")).join(rig.state.strip_prefix("/").unwrap()))
    }

    fn fill(&self, lack: Lack) {
        let full = |done: io::Result<()>| done.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        match lack {
            Lack::Room => {
                let mut file = File::create(self.0.join("filler")).unwrap();
                while !full(file.write_all(&[0; 512])) {}
            }
            Lack::Names => {
                let mut numbers = 0..;
                let mut file =
                    || File::create(self.0.join(format!("filler-{}", numbers.next().unwrap_or(0)))).map(drop);
                while !full(file()) {}
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(&self.0).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with("filler") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

/// nginx's master: of the children of the process that follows, the one that has workers.
fn master(follower: u32) -> Option<u32> {
    children(follower).into_iter().find(|pid| !children(*pid).is_empty())
}

#[tokio::test]
async fn a_full_disk_changes_nothing_until_there_is_room_again() {
    if !can_mount() {
        return println!("skipped: no file system can be mounted here, which needs root");
    }
    let (leader, one, other) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    for lack in [Lack::Room, Lack::Names] {
        let mut rig = Rig::new(leader.port).await;
        rig.look = "500ms";
        rig.publish(&rig.revision(1, "one", one.port).compose()).await;
        let mut container = rig.start_by(&[&UNSHARE[..], &["/bin/sh", "-c", MOUNT]].concat());
        container.serves("one").await;
        container.says(r#""message":"runs""#).await;
        let init = children(container.child.0.id())[0];
        let follower = children(init)[0];
        let disk = Disk::of(init, &rig);

        disk.fill(lack);
        let load = Load::start(rig.port, 4);
        let next = rig.revision(2, "other", other.port);
        rig.publish(&next.compose()).await;
        let refusals = || container.said().matches("No space left on device").count();
        until("it has tried again and again", async || (refusals() >= 3).then_some(())).await;
        load.until_answered_by(&["one"]).await;
        let tried = load.end().await;
        assert_eq!(failures(&tried), Vec::<&str>::new(), "of {}", tried.len());

        let before = master(follower).unwrap();
        send(i32::try_from(before).unwrap(), Signal::KILL);
        until("another one runs", async || master(follower).filter(|found| *found != before)).await;
        container.serves("one").await;

        disk.free();
        container.serves("other").await;
        container.says(&format!(r#""message":"runs","revision":"{}""#, next.name())).await;

        disk.fill(lack);
        let begun = master(follower).unwrap();
        container.stop_first_process().await;
        assert_eq!(container.ends().await, 0, "{lack:?}: {}", container.said());
        assert!(container.said().contains(r#""how":"Gracefully""#), "{lack:?}: {}", container.said());
        assert!(!Path::new(&format!("/proc/{begun}")).exists());
    }
}
