//! Who is let in.

use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Gated, REVOKED, assert_refused};
use crate::client::request;
use crate::process::until;

#[tokio::test]
async fn a_key_opens_the_address_wherever_it_stands() {
    let gated = Gated::start("").await;
    gated.project("shop", "free").await;
    let key = gated.key("shop", "web", &[]).await;
    let text = key.text.as_str();
    let body = request("eth_chainId");
    for path in ["/ethereum/v3/", "/v3/", "/ethereum/v2/", "/v2/"] {
        let answer = gated.post(&format!("{path}{text}"), &[], &body).await;
        assert_eq!(answer.result().as_deref(), Some("0x539"), "{path}: {answer:?}");
        assert_eq!(answer.endpoint(), "a");
        assert_eq!(answer.header("x-ratelimit-limit"), Some("10"));
        assert_eq!(answer.header("x-ratelimit-burst"), Some("20"));
        assert_eq!(answer.header("x-credits-cost"), Some("1"));
        assert!(answer.header("x-credits-remaining").is_some());
        assert!(answer.header("x-gate-project").is_none() && answer.header("x-gate-key").is_none());
    }
    let bearer = format!("Bearer {text}");
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!(":{text}")));
    for header in [("X-API-Key", text), ("Authorization", &bearer), ("Authorization", &basic)] {
        let answer = gated.post("/ethereum/v3", &[header], &body).await;
        assert!(answer.result().is_some(), "{}: {answer:?}", header.0);
    }

    let mut slip = text.to_owned();
    slip.replace_range(10..11, if &text[10..11] == "a" { "b" } else { "a" });
    let unknown = nodeweir_domain::gate::key::Secret::from_random(&[7; 64]).unwrap();
    for wrong in ["", "/", "/x", &format!("/{slip}"), &format!("/{}", unknown.reveal())] {
        let answer = gated.post(&format!("/ethereum/v3{wrong}"), &[], &body).await;
        assert_refused(&answer, 401, -32051, "INVALID_API_KEY");
        assert!(answer.header("x-ratelimit-limit").is_none());
    }
    // A batch is answered member by member, and what is no request has no id to answer to.
    let batch =
        r#"[{"jsonrpc":"2.0","id":"x","method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"net_version"}]"#;
    let refused = gated.post("/v3", &[], batch).await;
    let members = refused.json();
    assert_eq!((refused.status, members.as_array().unwrap().len()), (401, 2));
    assert_eq!((&members[0]["id"], &members[1]["id"]), (&"x".into(), &2.into()));
    let garbage = gated.post(&key.path(), &[], "{").await;
    assert_eq!((garbage.status, &garbage.json()["error"]["code"]), (400, &(-32700).into()));

    // Nothing that is written anywhere holds the key.
    assert!(!gated.rig.said().contains(&text[3..]), "the log has the key");
    let metrics = gated.admin("/metrics").await.unwrap();
    assert!(metrics.contains("nodeweir_gate_decisions_total{outcome=\"pass\"} 7"), "{metrics}");
    assert!(!metrics.contains(&text[3..]) && !metrics.contains(&key.id) && !metrics.contains("shop"));
}

#[tokio::test]
async fn a_restricted_key_is_good_for_what_it_is_for() {
    let gated = Gated::start(", trusted_proxies: [127.0.0.1]").await;
    gated.project("shop", "developer").await;
    let body = request("eth_chainId");
    let one = |name: &'static str, flag: &'static str, value: &'static str| {
        let gated = &gated;
        async move { gated.key("shop", name, &[flag, value]).await }
    };

    let network = one("network", "--network", "polygon").await;
    assert_refused(&gated.call(&network, "eth_chainId").await, 403, -32002, "NETWORK_NOT_ALLOWED");
    let polygon = gated.post(&format!("/polygon/v3/{}", network.text), &[], &body).await;
    assert!(polygon.result().is_some(), "{polygon:?}");

    let origin = one("origin", "--origin", "https://*.example.com").await;
    assert_refused(&gated.call(&origin, "eth_chainId").await, 403, -32002, "DOMAIN_NOT_ALLOWED");
    for (from, is_good) in [("https://app.example.com", true), ("https://example.com", false), ("null", false)] {
        let answer = gated.post(&origin.path(), &[("Origin", from)], &body).await;
        assert_eq!(answer.status == 200, is_good, "{from}: {answer:?}");
    }

    let address = one("address", "--address", "192.0.2.0/24").await;
    assert_refused(&gated.call(&address, "eth_chainId").await, 403, -32002, "IP_NOT_ALLOWED");
    // What a trusted load balancer says is believed; what the client put before it is not.
    for (forwarded, is_good) in
        [("192.0.2.9", true), ("192.0.2.9, 198.51.100.1", false), ("198.51.100.1, 192.0.2.9", true)]
    {
        let answer = gated.post(&address.path(), &[("X-Forwarded-For", forwarded)], &body).await;
        assert_eq!(answer.status == 200, is_good, "{forwarded}: {answer:?}");
    }

    let method = one("method", "--method", "eth_get*").await;
    assert_refused(&gated.call(&method, "eth_chainId").await, 403, -32601, "METHOD_NOT_ALLOWED");
    let free = gated.key("shop", "free", &[]).await;
    for never in ["eth_accounts", "debug_traceTransaction", "admin_peers", "eth_newFilter", "eth_sendTransaction"] {
        assert_refused(&gated.call(&free, never).await, 403, -32601, "METHOD_NOT_ALLOWED");
    }
    let hidden = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","Method":"eth_accounts"}"#;
    let hidden = gated.post(&free.path(), &[], hidden).await;
    assert_eq!(
        (hidden.status, &hidden.json()["error"]["data"]["code"]),
        (400, &"INVALID_REQUEST".into()),
        "{hidden:?}"
    );
    // A refused request costs nothing.
    let credits = gated.until_spent("shop", 4).await;
    assert_eq!(credits["written_off"], 0);
}

#[tokio::test]
async fn a_revoked_key_ends_within_half_a_minute_and_a_rotated_one_when_it_was_said() {
    let gated = Gated::start("").await;
    gated.project("shop", "business").await;
    let key = gated.key("shop", "web", &[]).await;
    assert!(gated.call(&key, "eth_chainId").await.result().is_some());

    let rotated = gated.rig.run(&["key", "rotate", "shop", "web", "--keep-old", "1h", "--json"]).await.exits(0).json();
    let new = super::Key { text: rotated["secret"].as_str().unwrap().to_owned(), id: String::new() };
    for key in [&key, &new] {
        assert!(gated.call(key, "eth_chainId").await.result().is_some(), "both are good");
    }

    gated.rig.run(&["key", "revoke", "shop", "web"]).await.exits(0);
    let revoked = Instant::now();
    let refused = until("the revoked key is refused", async || {
        let answer = gated.call(&new, "eth_chainId").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    println!("refused {:?} after it was revoked", revoked.elapsed());
    assert!(revoked.elapsed() < REVOKED);
    assert_refused(&refused, 401, -32053, "KEY_INACTIVE");
    assert!(gated.call(&key, "eth_chainId").await.result().is_some(), "the old one still has its hour");
}

#[tokio::test]
async fn a_switched_off_gate_says_so_and_haproxy_cannot_ask_one() {
    use crate::both::with_one;
    use crate::nodes::Anvil;
    use crate::rig::Rig;
    use nodeweir_domain::config::ProxyKind;
    with_one(async |kind| {
        let leader = Anvil::start().await;
        let mut rig = Rig::new(kind, &leader);
        rig.up();
        rig.until_status("the leader serves", |status| status.live().is_some()).await;
        assert!(rig.said().contains("the gate is switched off"), "{}", rig.said());
        assert!(rig.call().await.unwrap().result().is_some());
        let haproxy = Rig::with_gate(ProxyKind::Haproxy, &[("ethereum", &leader)], "{}");
        for command in ["up", "check"] {
            haproxy.run(&[command]).await.exits(1).says("HAProxy cannot ask the gate for keys yet");
        }
    })
    .await;
}
