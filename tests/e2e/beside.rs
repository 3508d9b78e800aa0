//! The control loop and the proxy as two programs that share a state, as docker/compose.yml has them.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use nodeweir_domain::config::ProxyKind;
use rustix::process::Signal;
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::both::place;
use crate::client::Connection;
use crate::nodes::{Anvil, CHAIN};
use crate::process::{Owned, free_port, sibling, until};
use crate::rig::{NODEWEIR, Rig};

const STATE: &str = "/var/lib/nodeweir";

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker").join(name)).unwrap()
}

/// Both programs, with what the files in `docker` say, but for where things are.
struct Pair {
    rig: Rig,
    proxy: Owned,
}

impl Pair {
    fn start(leader: &Anvil, change: (&str, &str)) -> Self {
        let mut rig = Rig::new(ProxyKind::Nginx, leader);
        let state = rig.state("");
        let mut config = file("compose.config.yml");
        for (theirs, ours) in [
            (STATE, state.to_str().unwrap().trim_end_matches('/')),
            ("http://leader:8545", &leader.url()),
            ("ws://leader:8545", &leader.url().replace("http:", "ws:")),
            ("31337", &CHAIN.to_string()),
            ("listen: 0.0.0.0:8080", &format!("listen: 127.0.0.1:{}", rig.port)),
            change,
        ] {
            assert!(config.contains(theirs), "{theirs} is not in {config}");
            config = config.replace(theirs, ours);
        }
        fs::write(rig.place.path().join("config.yml"), config).unwrap();
        // The image's command.
        assert!(file("Dockerfile").contains("CMD [\"up\", \"--no-proxy\"]"));
        rig.up_by(&["up", "--no-proxy"]);

        let compose = file("compose.yml");
        let compose = Yaml::load_from_str(&compose).unwrap();
        let mut command = Command::new(sibling(NODEWEIR, "nodeweir-proxy"));
        command.env("NODEWEIR_CONFIG", rig.place.path().join("config.yml")).env("NODEWEIR_STATE", &state);
        for (name, value) in compose[0]["services"]["proxy"]["environment"].as_mapping().unwrap() {
            let value = value.as_str().unwrap().replace(STATE, state.to_str().unwrap());
            command.env(name.as_str().unwrap(), value);
        }
        let said = File::create(rig.place.path().join("proxy.out")).unwrap();
        command.stdin(Stdio::null()).stderr(said.try_clone().unwrap()).stdout(said);
        let proxy = Owned(command.spawn().unwrap());
        Self { rig, proxy }
    }

    /// Waits until whoever has this key is answered by this node.
    async fn serves(&self, key: &str, name: &str) {
        until(&format!("{name} serves"), async || {
            let answer = self.call(key).await.ok()?;
            (answer.result().is_some() && answer.endpoint() == name).then_some(())
        })
        .await;
    }

    async fn call(&self, key: &str) -> std::io::Result<crate::client::Answer> {
        Connection::call(self.rig.port, &format!("/ethereum/v3/{key}"), "eth_blockNumber").await
    }

    async fn stop(mut self) {
        self.proxy.signal(Signal::TERM);
        let ended = until("the proxy ends", async || self.proxy.0.try_wait().unwrap()).await;
        assert_eq!(ended.code(), Some(0));
        assert_eq!(self.rig.stop_up().await.code(), Some(0));
    }
}

#[tokio::test]
async fn what_one_publishes_the_other_runs() {
    let (_place, leader, mut own) = (place().await, Anvil::start().await, Anvil::start().await);
    let pair = Pair::start(&leader, ("interval: 10s", "interval: 1s"));
    pair.serves("", "leader").await;
    pair.rig.run(&["node", "add", "ethereum", "own", &own.url()]).await.exits(0).says("it serves");
    pair.serves("", "own").await;
    let (status, _) = pair.rig.until_all_is_well(["own"]).await;
    assert!(status.live().is_some());
    own.kill();
    pair.serves("", "leader").await;
    pair.rig.until_status("it is said to be unhealthy", |status| status.says("ethereum/own is unhealthy")).await;
    pair.stop().await;
}

#[tokio::test]
async fn keys_that_are_made_beside_the_proxy_open_it() {
    let (_place, leader) = (place().await, Anvil::start().await);
    let admin = free_port();
    let gate = format!("enabled: true\n  admin: 127.0.0.1:{admin}");
    let pair = Pair::start(&leader, ("enabled: false", &gate));
    pair.rig.run(&["project", "create", "shop", "--tier", "free"]).await.exits(0);
    let made = pair.rig.run(&["key", "create", "shop", "--name", "main", "--json"]).await.exits(0).json();
    pair.serves(made["secret"].as_str().unwrap(), "leader").await;
    assert_eq!(pair.call("").await.unwrap().status, 401);
    until("it is counted", async || {
        let usage = pair.rig.run(&["usage", "shop", "--json"]).await.exits(0).json();
        usage["rows"].as_array().unwrap().iter().any(|row| row["calls"].as_u64() > Some(0)).then_some(())
    })
    .await;
    pair.stop().await;
}
