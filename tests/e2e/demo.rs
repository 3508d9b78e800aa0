//! `nodeweir up --demo`: what a newcomer sees first.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::both::with_one;
use crate::client::Connection;
use crate::process::{Owned, Proxy, until};
use crate::rig::{Done, NODEWEIR, run};
use crate::status::Status;

struct Demo {
    // Dropped in this order.
    up: Owned,
    proxy: Proxy,
    place: TempDir,
}

fn command(place: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(NODEWEIR);
    command.args(args).current_dir(place.path()).stdin(Stdio::null()).env_remove("NODEWEIR_CONFIG");
    command
}

impl Demo {
    /// In an empty folder.
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let proxy = Proxy(place.path().join(".nodeweir-demo/state/proxy"));
        let up = command(&place, &["up", "--demo"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { up: Owned(up), proxy, place }
    }

    async fn run(&self, args: &[&str]) -> Done {
        run(command(&self.place, args)).await
    }

    async fn until(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        until(what, async || {
            // Until it has made its configuration, commands say that there is none.
            let done = self.run(&["status", "--json"]).await;
            let status = Status { code: done.code, value: done.json() };
            (status.value["error"].is_null() && status.live().is_some() && condition(&status)).then_some(status)
        })
        .await
    }

    /// Who answers at the address that it shows.
    async fn endpoint(&self) -> String {
        let address = std::fs::read_to_string(self.place.path().join(".nodeweir-demo/address")).unwrap();
        let (place, path) = address.trim().trim_start_matches("http://").split_once('/').unwrap();
        let port = place.split_once(':').unwrap().1.parse().unwrap();
        let answer = Connection::call(port, &format!("/{path}"), "eth_blockNumber").await.unwrap();
        assert!(answer.result().is_some(), "{answer:?}");
        answer.endpoint().to_owned()
    }
}

#[tokio::test]
async fn a_newcomer_can_break_and_heal_it() {
    with_one(async |_| {
        let empty = tempfile::tempdir().unwrap();
        run(command(&empty, &["demo", "stop", "all"])).await.exits(1).says("no demo runs in this folder");
        run(command(&empty, &["status"])).await.exits(2).says("nodeweir up --demo");

        let mut demo = Demo::start();
        let own = ["alpha", "beta", "gamma"];
        let all = |status: &Status| own.iter().all(|name| status.serves(name)) && status.code == 0;
        demo.until("all of the demo's nodes serve", all).await;
        assert!(own.contains(&demo.endpoint().await.as_str()));

        demo.run(&["demo", "stop", "all"]).await.exits(0).says("alpha refuses connections");
        let alone = "no own node serves; the leader serves alone";
        let status = demo.until("the leader serves", |status| status.says(alone)).await;
        assert_eq!((status.code, demo.endpoint().await.as_str()), (1, "leader"));

        demo.run(&["demo", "start", "all"]).await.exits(0).says("gamma is right again");
        demo.until("all serve again", all).await;
        assert!(own.contains(&demo.endpoint().await.as_str()));

        demo.run(&["demo", "lag", "beta"]).await.exits(0).says("beta is 20 blocks behind");
        let status = demo.until("beta is out", |status| !status.serves("beta")).await;
        assert!(status.why("beta").ends_with("blocks behind, 10 allowed"), "{}", status.why("beta"));
        demo.run(&["demo", "lag", "beta", "3"]).await.exits(0);
        demo.until("beta is in again", all).await;

        demo.run(&["demo", "stop", "nobody"]).await.exits(1).says("there is no simulated node \"nobody\"");
        demo.run(&["demo", "stop", "../x"]).await.exits(1).says("is not the name of a simulated node");
        demo.run(&["demo", "lag", "alpha", "minus-one"]).await.exits(2);
        demo.run(&["up", "--demo"]).await.exits(1).says("another `nodeweir up` runs");

        demo.up.signal(Signal::TERM);
        let ended = until("the demo ends", async || demo.up.0.try_wait().unwrap()).await;
        assert_eq!(ended.code(), Some(0));
        assert_eq!(demo.proxy.all(), Vec::<i32>::new());
    })
    .await;
}
