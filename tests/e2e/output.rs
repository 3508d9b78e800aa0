//! What programs read: JSON lines, exit codes, and no colours where nobody sees them.

use serde_json::Value;

use crate::both::{with_both, with_one};
use crate::nodes::Anvil;
use crate::process::until;
use crate::rig::Rig;

#[tokio::test]
async fn up_prints_json_lines_where_it_is_no_terminal() {
    with_both(async |kind| {
        let (leader, mut a) = (Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        for _ in 0..5 {
            rig.endpoint().await;
        }
        let answer = rig.call_at("/ethereum/v3/topsecretkey").await.unwrap();
        assert!(answer.result().is_some(), "{answer:?}");
        let id = answer.header("x-request-id").unwrap().to_owned();
        a.kill();
        rig.until_status("the leader serves", |status| status.says("the leader serves alone")).await;
        until("the request is logged", async || rig.said().contains(&id).then_some(())).await;
        assert_eq!(rig.stop_up().await.code(), Some(0));

        let said = rig.said();
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let lines: Vec<Value> = said.lines().map(parse).collect();
        assert!(lines.iter().all(Value::is_object));
        let with = |message: &str| lines.iter().find(|line| line["message"] == message);
        for message in ["starting", "flip", "published", "live", "state", "the proxy has stopped"] {
            assert!(with(message).is_some(), "{kind}: {message:?} is not said: {said}");
        }
        let request = lines.iter().find(|line| line["request_id"] == id.as_str()).expect("an access log line");
        let seen = ["network", "route", "node"].map(|key| request[key].as_str().unwrap_or_default().to_owned());
        assert_eq!(seen, ["ethereum", "rpc", "a"], "{request}");
        assert_eq!(request["status"], 200, "{request}");
        assert!(!said.contains("topsecretkey"), "{kind}: a key is in the log");
        assert!(!said.contains('\x1b'), "{kind}: colours in a file");
        assert_eq!(std::fs::read_to_string(rig.place.path().join("up.err")).unwrap(), "", "{kind}");
    })
    .await;
}

#[tokio::test]
async fn every_command_speaks_json_and_without_colours() {
    with_one(async |kind| {
        let (leader, a, b) = (Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let rig = Rig::serving(kind, &leader, &[("a", &a)]).await;
        let (url, dead) = (&b.url(), "http://127.0.0.1:1");
        for (args, code) in [
            (&["check"][..], 0),
            (&["status"], 0),
            (&["plan"], 0),
            (&["history"], 0),
            (&["history", "1"], 0),
            (&["history", "99"], 1),
            (&["history", "--events"], 0),
            (&["probe", url], 0),
            (&["probe", dead], 1),
            (&["node", "list"], 0),
            (&["node", "list", "ethereum"], 0),
            (&["node", "list", "nowhere"], 1),
            (&["node", "add", "ethereum", "b", url, "--dry-run"], 0),
            (&["node", "add", "ethereum", "b", url], 0),
            (&["node", "edit", "ethereum", "b", "--note", "rack 4"], 0),
            (&["node", "edit", "ethereum", "b", "--note", "rack 4"], 2),
            (&["node", "cordon", "ethereum", "b", "--dry-run"], 0),
            (&["node", "cordon", "ethereum", "b"], 0),
            (&["node", "uncordon", "ethereum", "b"], 0),
            (&["node", "uncordon", "ethereum", "b"], 0),
            (&["node", "drain", "ethereum", "b", "--dry-run"], 0),
            (&["rollback", "1", "--dry-run"], 0),
            (&["rollback", "1"], 0),
            (&["rollback", "--release", "--dry-run"], 0),
            (&["rollback", "--release"], 0),
            (&["rollback", "--release"], 0),
            (&["node", "remove", "ethereum", "b", "--dry-run"], 0),
            (&["node", "remove", "ethereum", "b"], 0),
            (&["node", "remove", "ethereum", "b"], 1),
            (&["up"], 1),
        ] {
            let done = rig.run(&[args, &["--json"]].concat()).await.exits(code);
            let value = done.json();
            assert_eq!(value["error"].is_string(), code != 0 && args[0] != "probe", "{args:?}: {value}");
            assert_eq!(done.err, "", "{args:?}");
        }
        for args in [
            &["status"][..],
            &["plan"],
            &["history"],
            &["history", "--events"],
            &["node", "list"],
            &["probe", url],
            &["check"],
        ] {
            let done = rig.run(args).await.exits(0);
            assert!(!done.out.is_empty() && !done.out.contains('\x1b'), "{args:?}: {}", done.out);
            assert!(done.out.lines().all(|line| line.trim_end() == line), "{args:?}: {}", done.out);
        }
        rig.run(&["history", "1"]).await.exits(0).says("# revision: 1");
    })
    .await;
}

#[tokio::test]
async fn wrong_usage_is_told_from_trouble() {
    with_one(async |kind| {
        let leader = Anvil::start().await;
        let rig = Rig::new(kind, &leader);
        for args in [
            &["frobnicate"][..],
            &["node"],
            &["node", "add", "ethereum"],
            &["node", "edit", "ethereum", "a", "--weight", "many"],
            &["history", "one"],
            &["history", "1", "--events"],
            &["rollback", "1", "--release"],
            &["probe", "nonsense"],
            &["completions", "cobol"],
            &["up", "file.yml", "--demo"],
            &["status", "--config", "/does/not/exist"],
            &["check", "/does/not/exist"],
        ] {
            let done = rig.run(args).await.exits(2);
            assert!(!done.err.is_empty() && done.out.is_empty(), "{args:?}: {done:?}");
        }
        rig.run(&["--help"]).await.exits(0).says("Exit code: 0 fine, 1 degraded or refused, 2 wrong usage");
        rig.run(&["--version"]).await.exits(0).says("nodeweir ");
    })
    .await;
}
