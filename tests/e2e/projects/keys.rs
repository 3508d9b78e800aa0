//! Keys: made, shown once, restricted, rotated, revoked.

use std::fs;

use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_store::GateStore as _;
use serde_json::{Value, json};

use super::{CONFIG, Office, is_in};

/// The key that a command has just shown.
fn secret(made: &Value) -> Secret {
    made["secret"].as_str().unwrap().parse().unwrap()
}

impl Office {
    async fn keys(&self) -> Vec<Value> {
        self.json("key list shop").await.as_array().unwrap().clone()
    }

    /// What the gate would find.
    async fn found(&self, secret: &Secret) -> Option<Key> {
        self.store().key(&secret.digest()).await.unwrap()
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_nowhere() {
    let office = Office::with_shop().await;
    let made = office.run("key create shop").await.exits(0);
    let shown: Vec<&str> = made.out.lines().map(str::trim).filter(|line| line.starts_with("nw_")).collect();
    let [text] = shown[..] else { panic!("not one key: {made:?}") };
    let first: Secret = text.parse().unwrap();
    for network in ["ethereum", "base"] {
        assert!(made.out.contains(&format!("  http://127.0.0.1:8080/{network}/v3/{text}\n")), "{made:?}");
    }
    let made = office.json("key create shop --name web").await;
    let second = secret(&made);
    let address = |network: &str| format!("http://127.0.0.1:8080/{network}/v3/{}", second.reveal());
    assert_eq!(made["addresses"], json!([address("ethereum"), address("base")]), "the default network first");
    assert_eq!(
        (&made["gate"], &made["key"]["name"], &made["key"]["status"]),
        (&json!(true), &json!("web"), &json!("active"))
    );
    let rotated = secret(&office.json("key rotate shop web").await);
    assert!(first != second && second != rotated);
    assert_eq!(office.found(&first).await.unwrap().name.as_str(), "default");

    let id = office.found(&first).await.unwrap().id().to_string();
    office.run("key revoke shop default").await.exits(0);
    office.run("key list shop").await.exits(0).says(&id);
    for key in [&first, &second, &rotated] {
        // Not even the random part alone.
        let random = &key.reveal()[3..35];
        assert!(!is_in(&office.state(), random), "a key is kept");
        for args in ["key list shop", "project show shop", "history --events", "usage shop", "key show shop web"] {
            for args in [args.to_owned(), format!("{args} --json")] {
                let done = office.run(&args).await.exits(0);
                assert!(!done.out.contains(random) && done.err.is_empty(), "{args}");
            }
        }
    }
    assert!(is_in(&office.state(), &id) && is_in(&office.state(), "web"), "the search finds what is there");

    // Whoever takes the key for its name does not find it in an error.
    let key = second.reveal();
    for (args, code, words) in [
        (format!("key show shop {key}"), 2, "that is the key itself"),
        (format!("key show shop {key},"), 2, "that is the key itself"),
        (format!("key show shop /v3/{key}"), 2, "that is the key itself"),
        (format!("key revoke shop {}", &key[..40]), 2, "that is the key itself"),
        (format!("key show {key}"), 2, "nw_…"),
        (format!("key show {key} web"), 2, "\"nw_…\" is not usable"),
        (format!("key create shop --name {key}"), 2, "\"nw_…\" is not usable"),
        (format!("key create shop --network {key}"), 2, "\"nw_…\" is not usable"),
        (format!("project show {key}"), 2, "\"nw_…\" is not usable"),
        (format!("usage {key}"), 2, "\"nw_…\" is not usable"),
        (key.to_owned(), 2, "unrecognized subcommand 'nw_…'"),
        (format!("check {key}"), 2, "cannot read nw_…"),
    ] {
        for args in [args.clone(), format!("{args} --json")] {
            let done = office.run(&args).await.exits(code).says(words);
            assert!(!done.err.contains(&key[3..23]) && !done.out.contains(&key[3..23]), "{done:?}");
        }
    }
}

#[tokio::test]
async fn a_key_has_the_restrictions_that_were_named() {
    let office = Office::with_shop().await;
    let made = office
        .json(
            "key create shop --name web --network base --origin https://app.example.com --origin *.example.org \
             --address 10.1.2.3/8 --address 192.0.2.7 --method eth_call --method eth_get* --method eth_call \
             --grant-method debug_* --websocket --expires 2100-01-01",
        )
        .await;
    let text = secret(&made);
    assert_eq!(made["addresses"], json!([format!("http://127.0.0.1:8080/base/v3/{}", text.reveal())]));
    let key = office.json("key show shop web").await;
    assert_eq!(key, made["key"]);
    assert_eq!(key["expires"], "2100-01-01T00:00:00Z");
    let restrictions = json!({
        "networks": ["base"], "origins": ["*.example.org", "https://app.example.com"],
        "addresses": ["10.0.0.0/8", "192.0.2.7/32"], "methods": ["eth_call", "eth_get*"],
        "granted_methods": ["debug_*"], "websocket": true,
    });
    assert_eq!(key["restrictions"], restrictions, "in order, and none twice");
    let shown = office.run("key show shop web").await.exits(0).says("shop/web").says("until 2100-01-01");
    shown.says("calls on base").says("of eth_call or eth_get*").says("; also debug_*, WebSockets");

    // What is named is replaced, what is cleared is lifted, the rest stays.
    let args = "key restrict shop web --method net_version --clear origins,websocket --clear expires";
    office.run(args).await.exits(0).says("within 30s");
    let kept = office.found(&text).await.unwrap();
    assert_eq!((kept.restrictions.methods[0].as_str(), kept.restrictions.methods.len()), ("net_version", 1));
    assert!(kept.restrictions.origins.is_empty() && !kept.restrictions.websocket && kept.expires.is_none());
    assert_eq!((kept.restrictions.networks.len(), kept.restrictions.addresses.len()), (1, 2));
    office.run("key restrict shop web --clear networks,addresses,methods,granted-methods").await.exits(0);
    office.run("key restrict shop web --expires 1h").await.exits(0);
    let left = office.json("key show shop web").await;
    assert!(left["expires"].is_string());
    let none = json!({"networks": [], "origins": [], "addresses": [], "methods": [], "granted_methods": [], "websocket": false});
    assert_eq!(left["restrictions"], none);
    office.run("key show shop web").await.exits(0).says("everything its project may");
}

#[tokio::test]
async fn a_wrong_word_about_keys_is_refused_and_changes_nothing() {
    let office = Office::with_shop().await;
    office.run("key create shop --name web --network base").await.exits(0);
    office.run("key create shop --name gone").await.exits(0);
    office.run("key revoke shop gone").await.exits(0);
    let (before, noted) = (office.shop().await, office.events().await.len());
    for (args, code, words) in [
        ("key create shp", 1, "there is no project shp; did you mean `shop`?"),
        ("key create shop --name web", 1, "is there already and active"),
        ("key create shop --name Web", 2, "\"Web\" is not usable"),
        ("key create shop --name 0123456789ab", 2, "looks like a key's id"),
        ("key create shop --network bsae", 1, "did you mean `base`?"),
        ("key create shop --network solana", 1, "it has base, ethereum"),
        ("key create shop --origin https://a/b", 2, "https://a/b"),
        ("key create shop --address 10.0.0.0/33", 2, "10.0.0.0/33"),
        ("key create shop --method eth_*_x", 2, "eth_*_x"),
        ("key create shop --grant-method eth_call", 1, "eth_call cannot be given"),
        ("key create shop --expires soon", 2, "write how long"),
        ("key create shop --expires 2020-01-01", 2, "--expires is 2020-01-01 00:00:00Z, which is past"),
        ("key create shop --expires 0d", 2, "which is past"),
        ("key create shop --expires 99999999999d", 2, "--expires is too long"),
        ("key show shop wbe", 1, "shop has no key \"wbe\"; did you mean `web`?"),
        ("key show shop nothing", 1, "`nodeweir key list shop` shows those there are"),
        ("key show nowhere web", 1, "there is no project nowhere"),
        ("key list shp", 1, "did you mean `shop`?"),
        ("key restrict shop web", 2, "nothing to change"),
        ("key restrict shop web --network base", 2, "nothing to change"),
        ("key restrict shop web --network solana", 1, "there is no network solana"),
        ("key restrict shop web --network base --clear networks", 2, "--network sets what --clear lifts"),
        ("key restrict shop web --clear everything", 2, "everything"),
        ("key restrict shop gone --network base", 1, "was not restricted: it was revoked"),
        ("key rotate shop gone", 1, "was not rotated: it was revoked"),
        ("key rotate shop web --keep-old 5", 2, "write how long"),
        ("key rotate shop web --keep-old 99999999999d", 2, "--keep-old is too long"),
        ("key revoke shop gone", 0, "was revoked at"),
        // Right, and only tried.
        ("key create shop --dry-run", 0, "would do: key shop/default made"),
        ("key restrict shop web --network ethereum --dry-run", 0, "would do: key shop/web"),
        ("key rotate shop web --dry-run", 0, "would do: key shop/web"),
        ("key revoke shop web --dry-run", 0, "would do: key shop/web"),
    ] {
        let done = office.run(args).await.exits(code).says(words);
        assert!(!done.out.contains("nw_"), "{args}: {done:?}");
    }
    assert_eq!(office.shop().await, before);
    assert_eq!(office.events().await.len(), noted, "nothing is noted that was not done");
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_as_long_as_was_said() {
    let office = Office::with_shop().await;
    let old = secret(&office.json("key create shop --name web --network base --expires 30d").await);
    let before = office.found(&old).await.unwrap();
    let done = office.json("key rotate shop web").await;
    let new = office.found(&secret(&done)).await.unwrap();
    let after = office.found(&old).await.unwrap();
    assert_eq!((&new.name, &new.restrictions), (&before.name, &before.restrictions));
    let life = |key: &Key| key.expires.unwrap().duration_since(key.created);
    assert_eq!(life(&new), life(&before), "it lives as long as the old one was meant to");
    assert_eq!(after.expires.unwrap().duration_since(new.created).as_hours(), 24);
    assert_eq!(after.name.as_str(), format!("web-old-{}", after.id()));
    assert_eq!(done["old"]["id"], after.id().as_str());
    assert_eq!(done["old"]["status"], "active");

    // Never longer than it had, and not at all if that is meant.
    let short = secret(&office.json("key create shop --name short --expires 1h").await);
    let ends = office.found(&short).await.unwrap().expires;
    office.run("key rotate shop short --keep-old 7d").await.exits(0).says("ends at");
    assert_eq!(office.found(&short).await.unwrap().expires, ends);
    let open = secret(&office.json("key create shop").await);
    let done = office.json("key rotate shop default --keep-old 0s").await;
    assert_eq!(done["old"]["status"], "expired");
    assert_eq!(office.json(&format!("key show shop {}", open.digest().id())).await["status"], "expired");
    assert_eq!(done["key"]["expires"], Value::Null);
    // One that has ended can be rotated; by its id as well.
    let again = office.json(&format!("key rotate shop {}", open.digest().id())).await;
    assert_eq!(again["key"]["status"], "active");
}

#[tokio::test]
async fn a_revoked_key_stays_known_and_its_name_is_free() {
    let office = Office::with_shop().await;
    let first = secret(&office.json("key create shop --name web").await);
    office.run("key revoke shop web").await.exits(0).says("it is refused within 30s");
    let second = secret(&office.json("key create shop --name web").await);
    let ids = [&first, &second].map(|key| key.digest().id().to_string());
    // The name means the one in use; each is known by its id.
    assert_eq!(office.json("key show shop web").await["id"], ids[1]);
    assert_eq!(office.json(&format!("key show shop {}", ids[0])).await["status"], "revoked");
    let again = office.json(&format!("key revoke shop {}", ids[0])).await;
    assert_eq!(again["changed"], false);
    assert!(
        office.found(&first).await.unwrap().revoked.is_some() && office.found(&second).await.unwrap().revoked.is_none()
    );
    office.run("key revoke shop web").await.exits(0);
    assert_eq!(office.json("key show shop web").await["status"], "revoked");
    let events: Vec<_> = office.events().await.into_iter().filter(|event| event["kind"] == "key").collect();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event["who"] == "operator"));
    assert!(events[0]["what"].as_str().unwrap().contains(&format!("shop/web ({}) revoked", ids[1])), "{events:?}");
}

#[tokio::test]
async fn of_several_who_change_keys_at_once_each_wins_or_is_told() {
    let office = Office::with_shop().await;
    let lost = ["is there already", "changed by somebody else at the same moment", "has no key", "nothing to change"];
    let done = office.race((0..6).map(|_| "key create shop --name web --json".to_owned())).await;
    let won: Vec<_> = done.iter().filter(|done| done.code == 0).collect();
    assert_eq!(won.len(), 1, "{done:?}");
    assert!(done.iter().all(|done| done.code == 0 || lost.iter().any(|words| done.out.contains(words))), "{done:?}");
    let kept = office.keys().await;
    assert_eq!((kept.len(), &kept[0]), (1, &won[0].json()["key"]));

    // Each rotation that succeeded showed a key that is there.
    let done = office.race((0..6).map(|_| "key rotate shop web --json".to_owned())).await;
    let won: Vec<_> = done.iter().filter(|done| done.code == 0).map(|done| secret(&done.json())).collect();
    assert!(!won.is_empty(), "{done:?}");
    assert!(done.iter().all(|done| done.code == 0 || lost.iter().any(|words| done.out.contains(words))), "{done:?}");
    assert_eq!(office.keys().await.len(), 1 + won.len());
    for secret in &won {
        assert!(office.found(secret).await.is_some());
    }
    // A revocation is never undone by a change that began before it.
    let changes = (0..4).map(|hour| format!("key restrict shop web --expires {}h", hour + 1));
    let done = office.race(changes.chain(["key revoke shop web".to_owned()])).await;
    let revoked = done.last().unwrap();
    let status = office.json("key show shop web").await["status"].clone();
    match revoked.code {
        0 => assert_eq!(status, "revoked"),
        _ => assert!(status == "active" && revoked.err.contains("at the same moment"), "{status}: {revoked:?}"),
    }
}

#[tokio::test]
async fn a_key_for_a_gate_that_is_off_is_made_with_a_word_about_it() {
    let office = Office::with_shop().await;
    fs::write(office.0.path().join("config.yml"), CONFIG.replace("gate:\n", "gate:\n  enabled: false\n")).unwrap();
    office.run("key create shop").await.exits(0).says("the gate is switched off").says("nw_");
    assert_eq!(office.json("key create shop --name web").await["gate"], false);
}
