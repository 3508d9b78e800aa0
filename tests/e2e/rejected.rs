//! The proxy's own checker says no.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nodeweir_control::proxy::Program;
use nodeweir_domain::config::ProxyKind;

use crate::both::with_both;
use crate::client::{Load, failures};
use crate::nodes::Anvil;
use crate::rig::Rig;

/// An "installed" proxy in `folder`: the real one, except that its check fails while the file `refuse` is there.
fn install(kind: ProxyKind, folder: &Path) {
    let program = Program::find(kind).unwrap_or_else(|error| panic!("these tests need real proxies: {error}"));
    let file = program.file.display();
    let real = match &program.root {
        None => format!("'{file}'"),
        Some(root) => {
            let (loader, libraries) = (root.loader.display(), root.libraries.display());
            // HAProxy runs itself again by this name.
            format!("'{loader}' --library-path '{libraries}' --argv0 \"$0\" '{file}'")
        }
    };
    let check = if kind == ProxyKind::Nginx { "-t" } else { "-c" };
    let refuse = folder.join("refuse");
    // nginx names its live file with `-c` too; only a check names the candidate.
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *\" {check} \"*.new*) if [ -e '{}' ]; then echo 'told to refuse' >&2; exit 1; fi;; esac\n\
         exec {real} \"$@\"\n",
        refuse.display()
    );
    let file = folder.join(kind.as_str());
    fs::write(&file, script).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_revision_that_the_checker_refuses_leaves_the_one_before_live() {
    with_both(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let installed = tempfile::tempdir().unwrap();
        install(kind, installed.path());
        let mut rig = Rig::new(kind, &leader);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [installed.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
        rig.environment.push(("PATH", std::env::join_paths(folders).unwrap()));
        // Empty is as if it were not set.
        rig.environment.push(("NODEWEIR_PROXY_ROOT", "".into()));
        rig.run(&["node", "add", "ethereum", "a", &a.url()]).await.exits(0);
        rig.up();
        let (status, _) = rig.until_all_serve(["a"]).await;
        let live = status.live().unwrap().to_owned();
        let proxy = status.value["runtime"]["proxy"].as_str().unwrap();
        assert!(proxy.contains(installed.path().to_str().unwrap()), "another proxy runs: {proxy}");

        let load = Load::start(rig.port, 2);
        fs::write(installed.path().join("refuse"), "").unwrap();
        let done = rig.run(&["node", "add", "ethereum", "b", &b.url()]).await;
        println!("{kind}: {}", done.out.trim());
        let done = done.says("the proxy has not taken it up yet");
        assert_eq!(done.code, 0);
        let status = rig.status().await;
        assert_eq!(status.code, 1);
        assert!(
            status.says("was rejected by the proxy's checker, the one before stays live"),
            "{:?}",
            status.problems()
        );
        assert!(status.says("told to refuse"), "the checker's words: {:?}", status.problems());
        assert_eq!(status.value["runtime"]["running"], live.as_str());
        assert_eq!(rig.endpoint().await, "a");

        // It is not asked again about the same revision, which would get the same answer; the next one is.
        fs::remove_file(installed.path().join("refuse")).unwrap();
        rig.run(&["node", "edit", "ethereum", "b", "--weight", "2"]).await.exits(0).says("it serves");
        rig.until_all_is_well(["a", "b"]).await;
        let tried = load.end().await;
        assert_eq!(failures(&tried), Vec::<&str>::new(), "{kind}: of {} requests", tried.len());
    })
    .await;
}
