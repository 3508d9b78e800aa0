//! What a project used.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::account::Period;
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
    for (wrong, words) in [
        ("shop --by moon", "moon"),
        ("shop --since soon", "write how long"),
        ("shop --since 2100-01-01", "--since is yet to come"),
        ("shop --since 99999999999d", "--since is too long ago"),
        ("shop --until 1h", "--since <TIME>"),
        ("shop --since 1h --until 2h", "--until is not after --since"),
        ("shop --month 2026-13", "is not a month"),
        ("shop --month 9999-12", "--month is yet to come"),
        ("shop --month 2026-11 --since 1h", "cannot be used with"),
        ("shop --export xml", "csv, json"),
        ("shop --export csv --by key", "cannot be used with"),
        ("shop --export csv --json", "leave out --json"),
        ("shop --export csv --since 402d", "usage is kept for 400 days"),
        ("shop --export csv --month 2020-02", "usage is kept for 400 days"),
        ("--all-projects", "--export <FORMAT>"),
        ("shop --all-projects --export csv", "cannot be used with"),
        ("--export csv", "<PROJECT>"),
    ] {
        office.run(&format!("usage {wrong}")).await.exits(2).says(words);
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

/// The month before this one, and its last minute.
fn last_month() -> (Period, Timestamp) {
    let last = Period::of(Timestamp::now()).begins() - Duration::from_secs(60);
    (Period::of(last), last)
}

fn at(start: Timestamp, mut row: UsageRow) -> UsageRow {
    row.of.start = minute(start);
    row
}

#[tokio::test]
async fn a_bill_of_a_month_has_each_day_of_it_and_nothing_else() {
    let office = Office::with_shop().await;
    let none = office.run("usage shop --export csv").await.exits(0);
    let header =
        "project,day,key,name,network,method,status,requests,calls,credits,milliseconds,bytes_in,bytes_out\r\n";
    assert_eq!((none.out.as_str(), none.err.as_str()), (header, ""));
    assert_eq!(office.run("usage --all-projects --export json").await.exits(0).json(), json!([]));

    office.run("project create lab").await.exits(0);
    office.run("project create idle").await.exits(0);
    let web = office.json("key create shop --name web").await["key"]["id"].as_str().unwrap().to_owned();
    let other = "00000000000f";
    let (month, last) = last_month();
    let (first, next) = (month.begins(), month.ends());
    // More than a program that counts in floating point could tell apart from the next number.
    let many = 1 << 60;
    let mut lab = row(other, "base", "other", 503, 8, 0);
    lab.of.project = "lab".parse().unwrap();
    office
        .record(&[
            at(first - HOUR / 60, row(&web, "base", "eth_call", 200, 1, 1)),
            at(first, row(&web, "base", "eth_call", 200, 2, 2)),
            at(last - HOUR, row(&web, "base", "eth_call", 200, 4, 4)),
            at(last, row(&web, "base", "eth_call", 200, 4, many)),
            at(last, row(&web, "base", "eth_call", 429, 4, 0)),
            at(last, row(other, "ethereum", "eth_getLogs", 200, 4, 20)),
            at(last, lab),
            at(next, row(&web, "base", "eth_call", 200, 64, 64)),
        ])
        .await;
    let (first, last) = (first.strftime("%Y-%m-%d"), last.strftime("%Y-%m-%d"));
    // By day, then by key; what two minutes of a day have in common is one row.
    let rows = [
        format!("shop,{first},{web},web,base,eth_call,200,1,2,2,8,10,20\r\n"),
        format!("shop,{last},{other},,ethereum,eth_getLogs,200,2,4,20,16,10,20\r\n"),
        format!("shop,{last},{web},web,base,eth_call,200,4,8,{},32,20,40\r\n", many + 4),
        format!("shop,{last},{web},web,base,eth_call,429,2,4,0,16,10,20\r\n"),
    ];
    let lab = format!("lab,{last},{other},,base,other,503,4,8,0,32,10,20\r\n");
    let shop = format!("{header}{}", rows.concat());
    let all = format!("{header}{lab}{}", rows.concat());
    for _ in 0..2 {
        assert_eq!(office.run(&format!("usage shop --month {month} --export csv")).await.exits(0).out, shop);
        let named = format!("--since {first} --until {}", next.strftime("%Y-%m-%d"));
        assert_eq!(office.run(&format!("usage shop {named} --export csv")).await.exits(0).out, shop);
        let done = office.run(&format!("usage --all-projects --month {month} --export csv")).await.exits(0);
        assert_eq!(done.out, all, "projects by name, and none that used nothing");

        let done = office.run(&format!("usage --all-projects --month {month} --export json")).await.exits(0);
        assert_eq!(done.out.lines().count(), 2 + 5, "each row on a line of its own: {}", done.out);
        let value = done.json();
        let one = json!({
            "project": "lab", "day": last.to_string(), "key": other, "name": null, "network": "base", "method": "other",
            "status": 503, "requests": 4, "calls": 8, "credits": 0, "milliseconds": 32, "bytes_in": 10, "bytes_out": 20,
        });
        assert_eq!(value[0], one);
        let credits = value.as_array().unwrap().iter().map(|row| row["credits"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(credits, many + 4 + 20 + 2);
        let summed = office.json(&format!("usage shop --month {month} --by day")).await;
        assert_eq!((&summed["total"]["credits"], &summed["until"]), (&json!(credits), &json!(next)));
        assert_eq!(summed["rows"].as_array().unwrap().len(), 2);
        // The second time all of it is folded that can be.
        office.store().fold_usage(Timestamp::now()).await.unwrap();
    }
    let table = office.run(&format!("usage shop --month {month}")).await.exits(0);
    table.says(&format!("shop from {first} 00:00:00Z until {} 00:00:00Z", next.strftime("%Y-%m-%d")));
    // The key is the same, whatever it is called.
    office.run("key rotate shop web").await.exits(0);
    let done = office.run(&format!("usage shop --month {month} --export csv")).await.exits(0);
    assert_eq!(done.out.matches(&format!(",{web},web-old-{web},")).count(), 3, "{}", done.out);
}

#[tokio::test]
async fn rows_that_cannot_be_written_are_missed() {
    let office = Office::with_shop().await;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = office.command("usage shop --export csv");
    let done = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(1) && said.contains("not all rows were printed"), "{said}");
}
