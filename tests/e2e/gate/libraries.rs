//! The same libraries, now at the real address: nginx, the gate, and what it says.

use futures_util::future::join_all;
use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::gate::key::Secret;

use super::{Gated, Key};
use crate::both::place;
use crate::clients::expected::{Expected, keeping_its_word};
use crate::clients::play::Play;
use crate::clients::refusal::Refusal;
use crate::clients::refused::{Case, check, staying_cases};
use crate::clients::{Library, Scenario, run};
use crate::nodes::Anvil;
use crate::process::{free_port, until};
use crate::rig::Rig;

/// Keys by the refusal that they meet, and where.
struct Paths(Vec<(&'static str, String)>);

impl Paths {
    async fn make(gated: &Gated) -> Self {
        gated.project("shop", "professional").await;
        gated.project("poor", "penniless").await;
        let (revoked, elsewhere) =
            (gated.key("shop", "revoked", &[]).await, gated.key("shop", "elsewhere", &["--network", "polygon"]).await);
        gated.rig.run(&["key", "revoke", "shop", "revoked"]).await.exits(0);
        let narrow = gated.key("shop", "narrow", &["--method", "eth_chainId"]).await;
        let (poor, good) = (gated.key("poor", "web", &[]).await, gated.key("shop", "good", &[]).await);
        let unknown = Secret::from_random(&[5; 64]).unwrap();
        Self(vec![
            ("INVALID_API_KEY", format!("/v3/{}", unknown.reveal())),
            ("KEY_INACTIVE", revoked.path()),
            ("NETWORK_NOT_ALLOWED", elsewhere.path()),
            ("METHOD_NOT_ALLOWED", narrow.path()),
            ("INSUFFICIENT_CREDITS", poor.path()),
            ("BATCH_TOO_LARGE", good.path()),
            ("UPSTREAM_UNAVAILABLE", format!("/polygon/v3/{}", good.text)),
        ])
    }

    /// Where a scenario meets a refusal; a single call is never too large a batch.
    fn of(&self, refusal: Refusal, scenario: Scenario) -> Option<String> {
        let (code, path) = self.0.iter().find(|(code, _)| *code == refusal.code)?;
        (*code != "BATCH_TOO_LARGE" || scenario == Scenario::Batch).then(|| path.clone())
    }
}

#[tokio::test]
async fn every_library_understands_every_refusal() {
    // Two members at most, so that three are too many; every other refusal comes before that is looked at, but for the
    // members' own.
    let mut large =
        Gated::start(", batch: 2, tiers: {penniless: {requests_per_second: 1000, credits_per_month: 0}}").await;
    let paths = Paths::make(&large).await;
    large.leader.kill();
    let port = large.rig.port;
    let at = |refusal: Refusal, scenario: Scenario| {
        let is_batch = scenario == Scenario::Batch && refusal.code != "BATCH_TOO_LARGE";
        let path = paths.of(refusal, scenario).filter(|_| !is_batch)?;
        Some(Play::To(port, path))
    };
    join_all(Library::ALL.map(|library| check(library, staying_cases(library, at)))).await;
}

#[tokio::test]
async fn every_library_understands_a_refused_batch() {
    let mut gated = Gated::start(", tiers: {penniless: {requests_per_second: 1000, credits_per_month: 0}}").await;
    let paths = Paths::make(&gated).await;
    gated.leader.kill();
    let port = gated.rig.port;
    let at = |refusal: Refusal, scenario: Scenario| {
        let is_meant = scenario == Scenario::Batch && refusal.code != "BATCH_TOO_LARGE";
        let path = paths.of(refusal, scenario).filter(|_| is_meant)?;
        Some(Play::To(port, path))
    };
    join_all(Library::ALL.map(|library| check(library, staying_cases(library, at)))).await;
}

#[tokio::test]
async fn who_heeds_a_rate_limit_succeeds_after_it() {
    let gated = Gated::start(", tiers: {slow: {requests_per_second: 1, credits_per_month: 100000}}").await;
    gated.project("shop", "slow").await;
    let limited = |library: Library| {
        let gated = &gated;
        async move {
            // Who would have given up by then is left out.
            let Some(usual) = keeping_its_word(library) else { return };
            let expected = Expected { attempts: 2..=12, ..usual };
            let key = gated.key("shop", library.name(), &[]).await;
            // More than the bucket holds: four seconds until there is a token again.
            let member = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
            let play = Play::Drained(gated.rig.port, key.path(), format!("[{}]", [member; 5].join(",")));
            let refusal = Refusal::of("RATE_LIMIT_EXCEEDED");
            check(library, vec![Case { refusal, scenario: Scenario::Single, play, expected }]).await;
        }
    };
    join_all(Library::ALL.map(limited)).await;
}

#[tokio::test]
async fn every_library_s_normal_calls_pass_unchanged() {
    join_all(Library::ALL.map(works)).await;
}

async fn works(library: Library) {
    let fleet = place().await;
    let (leader, node) = (Anvil::start_mining().await, Anvil::start_mining().await);
    let gate = format!("{{admin: '127.0.0.1:{}'}}", free_port());
    let mut rig = Rig::with_gate(ProxyKind::Nginx, &[("ethereum", &leader)], &gate);
    rig.run(&["node", "add", "ethereum", "a", &node.url()]).await.exits(0);
    rig.up();
    rig.until_all_serve(["a"]).await;
    let gated = Gated { rig, admin: 0, a: node, leader, _place: fleet };
    gated.project("shop", "professional").await;
    let key: Key = gated.key("shop", "web", &[]).await;
    let url = format!("http://127.0.0.1:{}{}", gated.rig.port, key.path());
    let outcome = run(library, &url, Scenario::Normal).await;
    let values = outcome.values();
    let value = |name: &str| values.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    assert!(outcome.ok, "{outcome:#?}");
    assert_eq!(
        (value("chain"), value("call"), value("receipt")),
        (Some("1337"), Some("0x"), Some("1")),
        "{outcome:#?}"
    );
    assert_eq!(value("balance"), Some("10000000000000000000000"), "{outcome:#?}");
    assert_eq!(gated.a.calls("eth_sendRawTransaction"), 1, "{}: a transaction is sent once", library.name());
    let rows = until("its calls are counted", async || {
        let usage = gated.rig.run(&["usage", "shop", "--by", "method", "--json"]).await.exits(0).json();
        let rows = usage["rows"].as_array().unwrap().clone();
        rows.iter().any(|row| row["method"] == "eth_sendRawTransaction").then_some(rows)
    })
    .await;
    let sent = rows.iter().find(|row| row["method"] == "eth_sendRawTransaction").unwrap();
    assert_eq!((&sent["calls"], &sent["credits"]), (&1.into(), &10.into()), "{rows:?}");
}
