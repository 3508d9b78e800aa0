//! Whatever stands in the node list: it is said, and it stops nobody else.

use rusqlite::Connection;
use rusqlite::types::Value as Cell;

use crate::both::with_both;
use crate::nodes::Anvil;
use crate::rig::Rig;

/// Stands in every hostile item; nothing that is published may hold it.
const MARK: &str = "evilmark";

/// Key and attributes of items that nobody sane would write.
fn items() -> Vec<(Cell, Cell, Cell)> {
    let text = |text: &str| Cell::Text(text.replace("MARK", MARK));
    let item = |node: &str, attributes: &str| (text("ethereum"), text(node), text(attributes));
    let mut items = vec![
        item("bad-json", "{\"url\": \"http://MARK"),
        item("not-a-map", "[\"http://MARK:1\"]"),
        item("nothing", ""),
        item("newline", r#"{"url": "http://MARK:1\n}\nserver 6.6.6.6:1;"}"#),
        item("semicolon", r#"{"url": "http://MARK:1;return"}"#),
        item("variable", r#"{"url": "http://MARK:1/$host"}"#),
        item("secret", r#"{"url": "https://MARK.example/${HOME}"}"#),
        item("quote", r#"{"url": "http://MARK:1/'\"{}"}"#),
        item("metadata", r#"{"url": "http://169.254.169.254/MARK"}"#),
        item("weight", r#"{"url": "http://MARK:1", "weight": -1}"#),
        item("huge-weight", r#"{"url": "http://MARK:1", "weight": 18446744073709551616}"#),
        item("host", r#"{"url": "http://MARK:1", "host": "a\r\nX-MARK: 1"}"#),
        item("cordon", r#"{"url": "http://MARK:1", "cordon": "yes"}"#),
        item("second-leader", r#"{"url": "http://MARK:2", "role": "leader"}"#),
        item("unknown-key", r#"{"url": "http://MARK:1", "MARK\u001b[2J\n": {}}"#),
        item("socket", r#"{"url": "unix:/MARK"}"#),
        item("../../MARK", r#"{"url": "http://127.0.0.1:1"}"#),
        item("MARK\n}\nserver", r#"{"url": "http://127.0.0.1:1"}"#),
        item("", r#"{"url": "http://127.0.0.1:1/MARK"}"#),
        item("deep", &format!("{{\"url\": {}1{}}}", "[".repeat(5000), "]".repeat(5000))),
        item("long", &format!("{{\"url\": \"http://MARK/{}\"}}", "x".repeat(1 << 20))),
        (text("elsewhere"), text("MARK"), text(r#"{"url": "http://127.0.0.1:1"}"#)),
        (text("MARK; }"), text("a"), text(r#"{"url": "http://127.0.0.1:1"}"#)),
        (text("ethereum"), text("number"), Cell::Integer(7)),
        (text("ethereum"), text("bytes"), Cell::Blob(vec![0xff, 0xfe, 0x00, 0x7b])),
    ];
    items.push((Cell::Blob(vec![0xff]), Cell::Integer(1), text("{}")));
    items
}

#[tokio::test]
async fn hostile_items_are_said_and_stop_nobody() {
    with_both(async |kind| {
        let (leader, node, leader_of_other, node_of_other) =
            (Anvil::start().await, Anvil::start().await, Anvil::start().await, Anvil::start().await);
        let mut rig = Rig::with_networks(kind, &[("ethereum", &leader), ("other", &leader_of_other)]);
        rig.run(&["node", "add", "ethereum", "good", &node.url()]).await.exits(0);
        rig.run(&["node", "add", "other", "good", &node_of_other.url()]).await.exits(0);
        rig.up();
        rig.until_all_serve(["good"]).await;
        let before = rig.published();

        let items = items();
        let database = Connection::open(rig.state("state.db")).unwrap();
        for (network, node, attributes) in &items {
            let sql = "INSERT INTO nodes (network, node, attributes) VALUES (?1, ?2, ?3)";
            database.execute(sql, [network, node, attributes]).unwrap();
        }
        drop(database);

        // Two ticks with them.
        let tick = |status: &crate::status::Status| status.network("ethereum")["last_tick"].to_string();
        let mut last = tick(&rig.status().await);
        for _ in 0..2 {
            let (status, _) = rig.until_status("a tick", |status| tick(status) != last).await;
            last = tick(&status);
        }
        let status = rig.status().await;
        let rejected = status.value["rejected"].as_array().unwrap();
        assert_eq!(rejected.len(), items.len(), "{kind}: {rejected:#?}");
        assert_eq!(status.code, 1);
        assert!(status.says("ethereum/weight is not usable: weight: expected"), "{:#?}", status.problems());
        for item in rejected {
            let words = [&item["network"], &item["node"], &item["why"]].map(|word| word.as_str().unwrap());
            assert!(words.iter().all(|word| word.len() < 1000), "too long to read: {item}");
            assert!(!words.iter().any(|word| word.chars().any(char::is_control)), "would break a line: {item:?}");
        }
        let shown = rig.run(&["status"]).await.exits(1).out;
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");

        assert_eq!(rig.published(), before, "{kind}: nothing of them is published");
        assert!(!rig.published().contains(MARK));
        for (path, port) in [("/ethereum/v3", node.port), ("/other/v3", node_of_other.port)] {
            let answer = rig.call_at(path).await.unwrap();
            assert_eq!((answer.endpoint(), answer.result().is_some()), ("good", true), "{kind}: {path} {port}");
        }

        // The rest of the network can still be edited, and published.
        rig.run(&["node", "edit", "ethereum", "good", "--weight", "4"]).await.exits(0).says("it serves");
        assert!(rig.published() != before && !rig.published().contains(MARK));
        // And what cannot be used can be removed, where its name is one.
        rig.run(&["node", "remove", "ethereum", "weight"]).await.exits(0);
        assert_eq!(rig.status().await.value["rejected"].as_array().unwrap().len(), items.len() - 1);
    })
    .await;
}
