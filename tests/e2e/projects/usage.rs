//! What a project used.

use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::usage::{LogCursor, UsageCounts, UsageKey, UsageRow, day, minute};
use nodeweir_store::{GateStore as _, Kept, Written};
use serde_json::{Value, json};

use super::Office;

const HOUR: Duration = Duration::from_secs(3600);

impl Office {
    async fn record(&self, rows: &[UsageRow]) {
        let (store, log) = (self.store(), "proxy".parse().unwrap());
        let seen = store.log_cursor(&log).await.unwrap();
        let now = LogCursor::at(1, seen.map_or(0, |seen| seen.offset) + 1);
        assert_eq!(store.record_usage(&log, seen, now, rows).await.unwrap(), Written::Done);
    }
}

fn row(key: &str, network: &str, method: &str, status: u16, calls: u64, credits: u64) -> UsageRow {
    let of = UsageKey {
        start: minute(Timestamp::now()),
        project: "shop".parse().unwrap(),
        key: key.parse::<KeyId>().unwrap(),
        network: network.parse().unwrap(),
        method: method.to_owned(),
        status,
    };
    let counts =
        UsageCounts { requests: calls / 2, calls, credits, milliseconds: calls * 4, bytes_in: 10, bytes_out: 20 };
    UsageRow { of, counts }
}

fn ago(time: Duration, mut row: UsageRow) -> UsageRow {
    row.of.start = minute(row.of.start - time);
    row
}

/// Label and calls of each row.
fn calls(usage: &Value, by: &str) -> Vec<(String, u64)> {
    let rows = usage["rows"].as_array().unwrap().iter();
    rows.map(|row| (row[by].as_str().unwrap().to_owned(), row["calls"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn usage_is_added_up_by_what_is_asked_for() {
    let office = Office::with_shop().await;
    office.run("usage shop").await.exits(0).says("shop used nothing since");
    let none = office.json("usage shop").await;
    assert_eq!((&none["rows"], &none["total"]["calls"]), (&json!([]), &json!(0)));
    office.run("usage shp").await.exits(1).says("did you mean `shop`?");

    let web = office.json("key create shop --name web").await["key"]["id"].as_str().unwrap().to_owned();
    let other = "00000000000f";
    office
        .record(&[
            row(&web, "ethereum", "eth_call", 200, 600, 600),
            row(&web, "base", "eth_getLogs", 200, 40, 200),
            row(other, "ethereum", "eth_call", 429, 360, 0),
            row(other, "ethereum", "eth_getLogs", 200, 40, 200),
        ])
        .await;
    let pair = |label: &str, calls: u64| (label.to_owned(), calls);
    let by = async |by: &str| office.json(&format!("usage shop --by {by}")).await;
    let methods = by("method").await;
    assert_eq!(calls(&methods, "method"), [pair("eth_call", 960), pair("eth_getLogs", 80)]);
    let first = &methods["rows"][0];
    assert_eq!((&first["share"], &first["errors"], &first["mean_milliseconds"]), (&json!(0.6), &json!(360), &json!(8)));
    assert_eq!((&first["requests"], &first["bytes_out"], &first["credits"]), (&json!(480), &json!(40), &json!(600)));
    assert_eq!(methods["total"]["credits"], 1000);
    assert_eq!(methods["by"], "method");
    let keys = by("key").await;
    assert_eq!(calls(&keys, "key"), [(web.clone(), 640), pair(other, 400)]);
    assert_eq!([&keys["rows"][0]["name"], &keys["rows"][1]["name"]], [&json!("web"), &Value::Null]);
    assert_eq!(calls(&by("network").await, "network"), [pair("ethereum", 1000), pair("base", 40)]);
    let statuses = by("status").await;
    assert_eq!(calls(&statuses, "status"), [pair("200", 680), pair("429", 360)]);
    assert_eq!(statuses["rows"][1]["share"], 0.3461, "of calls, because refused ones cost nothing");
    assert_eq!(by("day").await["rows"].as_array().unwrap().len(), 1);

    let table = office.run("usage shop").await.exits(0).says("METHOD").says("60.00%").says("1,000");
    let lines: Vec<_> = table.out.lines().filter(|line| line.contains('█')).collect();
    let length = |line: &str| line.matches('█').count();
    assert_eq!(lines.iter().map(|line| length(line)).collect::<Vec<_>>(), [20, 13], "{}", table.out);
    assert!(table.out.lines().all(|line| line.trim_end() == line), "{}", table.out);
    office.run("usage shop --by key").await.exits(0).says(&format!("web ({web})"));
    for wrong in ["--by moon", "--since soon", "--since 2100-01-01", "--since 99999999999d"] {
        office.run(&format!("usage shop {wrong}")).await.exits(2);
    }
}

#[tokio::test]
async fn usage_reaches_back_as_far_as_is_asked_for_also_where_days_are_folded() {
    let office = Office::with_shop().await;
    let key = "00000000000f";
    let recent = row(key, "base", "eth_call", 200, 2, 2);
    let rows = [
        recent.clone(),
        ago(HOUR * 20, row(key, "base", "eth_call", 200, 4, 4)),
        ago(HOUR * 30, row(key, "base", "eth_call", 200, 8, 8)),
        ago(HOUR * 24 * 5, row(key, "base", "eth_call", 200, 16, 16)),
        ago(HOUR * 24 * 5 + HOUR / 60, row(key, "base", "eth_call", 200, 32, 32)),
        ago(HOUR * 24 * 40, row(key, "base", "eth_call", 200, 64, 64)),
    ];
    office.record(&rows).await;
    let total = async |since: &str| office.json(&format!("usage shop --since {since}")).await["total"]["calls"].clone();
    for _ in 0..2 {
        assert_eq!(total("1h").await, 2);
        assert_eq!(total("24h").await, 6);
        assert_eq!(total("2d").await, 14);
        assert_eq!(total("7d").await, 62);
        assert_eq!(total("60d").await, 126);
        assert_eq!(total("2000-01-01").await, 126);
        // The second time, as the gate leaves it.
        office.store().fold_usage(Timestamp::now() - Kept::USAGE_MINUTES).await.unwrap();
    }
    let days = office.json("usage shop --by day --since 60d").await;
    let first = &days["rows"][0];
    assert_eq!(first["day"], day(rows[5].of.start).strftime("%Y-%m-%d").to_string());
    assert_eq!(first["calls"], 64);
}
