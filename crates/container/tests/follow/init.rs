//! As process 1 of a container: in a process namespace of its own.

use std::process::Command;

use crate::nodes::Anvil;
use crate::process::until;
use crate::rig::{Rig, children};

/// A namespace whose first process the program is; it ends with the process that made it.
const UNSHARE: [&str; 5] = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

#[tokio::test]
async fn process_1_hands_signals_on_and_leaves_no_zombies() {
    let can =
        Command::new(UNSHARE[0]).args(&UNSHARE[1..]).arg("/bin/true").output().is_ok_and(|done| done.status.success());
    if !can {
        return println!("skipped: no process namespace can be made here, which needs root");
    }
    let leader = Anvil::start().await;
    let rig = Rig::new(leader.port).await;
    let mut container = rig.start_by(&UNSHARE);
    container.serves("leader").await;

    // Processes of the namespace, seen from outside: unshare's child is its first.
    let outer = container.child.0.id();
    let init = children(outer)[0];
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next().unwrap_or('?'))
    };
    // A process whose parent is gone becomes init's child; its end must be collected.
    let pid = init.to_string();
    let orphan = ["--pid", "--mount", "--target", &pid, "/bin/sh", "-c", "(sleep 0.2 &) "];
    assert!(Command::new("/usr/bin/nsenter").args(orphan).status().unwrap().success());
    let adopted = || children(init).len();
    until("the orphan is gone", async || (adopted() == 1).then_some(())).await;
    assert!(children(init).iter().all(|child| state(*child) != Some('Z')));

    container.stop_first_process().await;
    assert_eq!(container.ends().await, 0);
    assert_eq!(container.ready().await, None);
}
