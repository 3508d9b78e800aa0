//! Where keys stand, and that no log says one; and whose address the gate is told.

use super::Rig;
use crate::client::{CALL, request};
use crate::nodes::{Does, Node, nobody};
use crate::rosters::{main_of, plain};
use crate::support::{Settings, until};

#[tokio::test]
async fn a_key_is_found_in_every_form_of_the_address() {
    let rig = Rig::new().await;
    for (host, path, key) in [
        ("x", "/main/v3/nw_Key1", Some("nw_Key1")),
        ("x", "/main/v2/nw_Key1", Some("nw_Key1")),
        ("x", "/v3/nw_Key1", Some("nw_Key1")),
        ("x", "/v2/nw_Key1?apikey=nw_other", Some("nw_Key1")),
        ("main.rpc.example", "/v3/nw_Key1", Some("nw_Key1")),
        ("x", "//main//v3//nw_Key1", Some("nw_Key1")),
        ("x", "/main/v3/nw%5FKey1", Some("nw_Key1")),
        ("x", "/main/v3", None),
        ("x", "/main/v3/", None),
        // None of these can be a key, and none may break the question's head.
        ("x", "/main/v3/a%0d%0aX-Gate-Project:%20x", Some("malformed")),
        ("x", "/main/v3/nw_Key1%0a", Some("malformed")),
        ("x", "/main/v3/nw.Key1", Some("malformed")),
        ("x", "/main/v3/%C3%A9", Some("malformed")),
    ] {
        request(rig.port(), "POST", path, &[&format!("Host: {host}")], CALL).await;
        let asked = rig.gate.asked("/gate").pop().unwrap();
        let told = asked.headers.get("X-Gate-Path-Key").map(|value| value.to_str().unwrap());
        assert_eq!(told, key, "{host} {path}");
        assert_eq!(asked.headers.get("X-Gate-Project"), None, "{path}");
        assert_eq!(asked.headers["X-Gate-Network"], "main");
    }
    let long = format!("/main/v3/{}", "a".repeat(129));
    rig.call(&long).await;
    assert_eq!(rig.gate.asked("/gate").pop().unwrap().headers["X-Gate-Path-Key"], "malformed");
}

#[tokio::test]
async fn a_key_in_a_header_is_told_as_it_stands() {
    let rig = Rig::new().await;
    for header in ["X-API-Key: nw_Key1", "Authorization: Bearer nw_Key1", "Authorization: Basic Om53X0tleTE="] {
        request(rig.port(), "POST", "/main/v3", &[header], CALL).await;
        let (name, value) = header.split_once(": ").unwrap();
        assert_eq!(rig.gate.asked("/gate").pop().unwrap().headers[name], value);
    }
}

#[tokio::test]
async fn no_log_holds_a_key() {
    const KEY: &str = "nw_SecretSecretSecretSecretSecretSecretAB";
    let node = Node::start("node", Does::Answer).await;
    // One that is away makes nginx write to its error log, the address included.
    let rosters = main_of(vec![plain("away", nobody())], None);
    let rig = Rig::of(node, &rosters, &Settings { gate: "{}", ..Settings::default() }).await;
    let headers = [format!("X-API-Key: {KEY}"), format!("Referer: http://x/{KEY}"), format!("User-Agent: {KEY}")];
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let reply = request(rig.port(), "POST", &format!("/main/v3/{KEY}?k={KEY}"), &headers, CALL).await;
    assert_eq!(reply.status, 503);
    let id = reply.header("X-Request-Id").unwrap();
    until("it is logged", async || rig.proxy.log().into_iter().find(|line| line.contains(id))).await;
    rig.used(1).await;
    let used = std::fs::read_to_string(rig.proxy.folder.path().join("usage/requests.log")).unwrap();
    for log in [used, rig.proxy.log().join("\n")] {
        assert!(log.contains("acme") && !log.contains("SecretSecret"), "{log}");
    }
    // The error log quotes the request, whatever the settings; what the supervisor makes of it holds none.
    let said = until("the error log tells of the node", async || {
        Some(rig.proxy.output()).filter(|said| said.contains("connect() failed") && said.contains(KEY))
    })
    .await;
    let redactor = nodeweir_control::proxy::Redactor::default();
    assert!(!redactor.text(&said).contains("SecretSecret"));
}

#[tokio::test]
async fn the_gate_is_told_who_asks_and_believes_only_load_balancers() {
    let forged = "X-Forwarded-For: 198.51.100.9, 203.0.113.7, 127.0.0.1";
    for (settings, address) in [
        ("{}", "127.0.0.1"),
        ("{trusted_proxies: [192.0.2.0/24]}", "127.0.0.1"),
        // From the right, the first that is no load balancer: what stands before it the client may have made up.
        ("{trusted_proxies: [127.0.0.0/8]}", "203.0.113.7"),
        ("{trusted_proxies: [127.0.0.0/8, 203.0.113.0/24]}", "198.51.100.9"),
    ] {
        let rig = Rig::with(settings).await;
        request(rig.port(), "POST", super::GOOD, &[forged], CALL).await.answered_by();
        assert_eq!(rig.gate.seen()[0].headers["X-Gate-Address"], address, "{settings}");
        let line = until("it is logged", async || rig.proxy.log().pop()).await;
        assert!(line.contains(&format!("\"client\":\"{address}\"")), "{line}");
    }
}
