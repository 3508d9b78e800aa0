//! Projects, keys and usage of a stage.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use nodeweir_domain::gate::account::Period;
use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_domain::gate::usage::{LogCursor, UsageCounts, UsageKey, UsageRow};
use nodeweir_emulator::{Answer, Fault, On};
use nodeweir_store::{GateStore as _, Written};
use serde_json::{Value, json};

use super::world::{OPERATOR, World};
use crate::rig::Done;

impl World {
    /// With the project `shop`, which has 1,000 credits a month, and its key `web`.
    async fn with_shop() -> (Self, Secret) {
        let world = Self::deployed().await;
        world.call("project create shop --credits-per-month 1000").await.exits(0);
        let made = world.json("key create shop --name web").await;
        (world, secret(&made))
    }

    async fn call(&self, args: &str) -> Done {
        let done = self.run(&args.split(' ').collect::<Vec<_>>()).await;
        // What is to be called next must be about this stage too.
        for start in ["`nodeweir project", "`nodeweir key", "`nodeweir usage", "`nodeweir up"] {
            assert!(!done.out.contains(start) && !done.err.contains(start), "{args}: {done:?}");
        }
        done
    }

    async fn json(&self, args: &str) -> Value {
        self.call(&format!("{args} --json")).await.exits(0).json()
    }

    /// What a gate would find.
    async fn found(&self, secret: &Secret) -> Option<Key> {
        self.store.key(&secret.digest()).await.unwrap()
    }

    /// From now on DynamoDB says this instead of doing what the operator asks of a table.
    fn refuses(&self, operation: &str, table: &str, code: &str) {
        let on = On::call("dynamodb", operation).by(OPERATOR).about(table);
        self.aws.fault(on, Fault::Instead(Answer::error(400, code)));
    }
}

/// The key that a command has just shown.
fn secret(made: &Value) -> Secret {
    made["secret"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_project_is_made_given_more_and_moved() {
    let world = World::deployed().await;
    world.call("project list").await.exits(0).says("PROJECT");
    world.call("project create shop --dry-run").await.exits(0).says("would do: shop made in tier free");
    assert_eq!(world.store.projects().await.unwrap(), []);
    let made = world.call("project create shop --tier free --credits-per-month 100").await.exits(0);
    made.says("shop made in tier free: 10 requests").says("`nodeweir --stage dev key create shop` makes it a key");
    world.call("project create lab").await.exits(0);
    world.call("project create shop").await.exits(1).says("`nodeweir --stage dev project show shop`");
    world.call("project show shp").await.exits(1).says("did you mean `shop`?");
    world.call("project show nowhere").await.exits(1).says("`nodeweir --stage dev project list` shows those there are");
    world.call("project set-tier shop gold").await.exits(1).says("there is no tier gold; config.dev.yml has business");

    world.call("project show shop").await.exits(0).says("no keys; `nodeweir --stage dev key create shop` makes one");
    world.call("project grant shop --credits 50").await.exits(0).says("150 are left");
    world.call("project grant shop --methods debug_* trace_*").await.exits(0).says("shop given debug_*, trace_*");
    world.call("project grant shop --websocket").await.exits(0).says("shop given WebSockets");
    let moved = world.call("project set-tier shop free --credits-per-month 400").await.exits(0);
    moved.says("stays at 150 credits").says("`nodeweir --stage dev project grant shop --credits 250` gives it");
    let shop = world.json("project show shop").await;
    assert_eq!((&shop["month"]["granted"], &shop["allowance"]["credits_per_month"]), (&json!(150), &json!(400)));
    assert_eq!((&shop["methods"], &shop["websocket"]), (&json!(["debug_*", "trace_*"]), &json!(true)));
    let list = world.json("project list").await;
    let listed: Vec<_> = list.as_array().unwrap().iter().map(|one| (&one["project"]["id"], &one["month"])).collect();
    assert_eq!((listed[0].0, listed[1]), (&json!("lab"), (&json!("shop"), &shop["month"])));

    let events = world.json("history --events").await;
    let events = events.as_array().unwrap();
    assert!(events.iter().all(|event| event["who"] == "olga" && event["kind"] == "project"), "{events:?}");
    assert_eq!(events.len(), 6);
    assert!(!world.place.path().join("nodeweir-state").exists(), "a stage has no state here");
}

#[tokio::test]
async fn what_still_gives_what_was_taken_back_is_told_with_the_commands_of_the_stage() {
    let (world, _) = World::with_shop().await;
    let file = world.place.path().join("config.dev.yml");
    let text = fs::read_to_string(&file).unwrap();
    let tier =
        "gate: {enabled: false, tiers: {free: {requests_per_second: 2, credits_per_month: 9, methods: [trace_block]}}}";
    fs::write(&file, text.replace("gate: {enabled: false}", tier)).unwrap();
    world.call("project grant shop --methods trace_*").await.exits(0);
    world.call("key restrict shop web --grant-method trace_call").await.exits(0);
    let done = world.call("project grant shop --methods trace_* --take-back").await.exits(0);
    done.says("`nodeweir --stage dev project set-tier shop TIER` moves it to another, or change `gate.tiers.free` in")
        .says("config.dev.yml; a deployment brings that to the tasks")
        .says("`nodeweir --stage dev key restrict shop web --clear granted-methods` takes that back");
    world.call("project grant shop --methods debug_*").await.exits(0);
    let done = world.call("project grant shop --methods debug_traceCall --take-back").await.exits(2);
    done.says("`nodeweir --stage dev project grant shop --methods 'debug_*' --take-back` takes that back");
}

#[tokio::test]
async fn a_key_is_made_restricted_rotated_and_revoked() {
    let (world, first) = World::with_shop().await;
    let found = world.found(&first).await.unwrap();
    assert_eq!((found.name.as_str(), found.project.as_str()), ("web", "shop"));

    let made = world.call("key create shop --network ethereum").await.exits(0);
    let made = made.says("  https://rpc.example.com/ethereum/v3/nw_");
    made.says("the gate is switched off in config.dev.yml").says("`gate.enabled` is true; a deployment brings that");
    let made = world.json("key create shop --name api").await;
    let api = secret(&made);
    assert_eq!(made["addresses"], json!([format!("https://rpc.example.com/ethereum/v3/{}", api.reveal())]));
    assert_eq!(made["gate"], false);

    world.call("key restrict shop web --address 10.0.0.0/8").await.exits(0).says("it takes effect within 30s");
    assert_eq!(world.found(&first).await.unwrap().restrictions.addresses.len(), 1);
    world.call("key restrict shop web --network base").await.exits(1).says("no network base in config.dev.yml");
    world.call("key show shop web").await.exits(0).says("shop/web").says("from 10.0.0.0/8");
    world.call("key show shop wbe").await.exits(1).says("did you mean `web`?");
    world.call("key show shop other").await.exits(1).says("`nodeweir --stage dev key list shop` shows those there are");

    let rotated = world.json("key rotate shop web --keep-old 1h").await;
    let second = secret(&rotated);
    let (old, new) = (world.found(&first).await.unwrap(), world.found(&second).await.unwrap());
    assert_eq!((old.name.as_str(), new.name.as_str()), (rotated["old"]["name"].as_str().unwrap(), "web"));
    assert!(old.expires.is_some() && new.expires.is_none() && new.restrictions == old.restrictions);
    world.call("key revoke shop web").await.exits(0).says("it is refused within 30s, everywhere and for good");
    assert!(world.found(&second).await.unwrap().revoked.is_some());
    // Its name is free again.
    world.call("key create shop --name web").await.exits(0);

    let list = world.json("key list shop").await;
    let status = |key: &Value| format!("{} {}", key["name"].as_str().unwrap(), key["status"].as_str().unwrap());
    let list: Vec<_> = list.as_array().unwrap().iter().map(status).collect();
    assert_eq!(list.len(), 5, "{list:?}");
    assert_eq!(list[..2], ["api active", "default active"]);
    world.call("key list shop").await.exits(0).says("KEY").says("revoked since");
    let shown = world.json("project show shop").await;
    assert_eq!(shown["keys"].as_array().unwrap().len(), 5);
    world.call("history --events").await.exits(0).says("revoked");
    for key in [&first, &second, &api] {
        // Not even the random part alone.
        let random = &key.reveal()[3..35];
        let told = world.aws.calls().iter().any(|call| call.json().to_string().contains(random));
        assert!(!told, "a key was sent to AWS");
    }
}

/// Another operator's change comes between what the program read and what it writes.
#[tokio::test]
async fn of_two_operators_at_once_none_overwrites_the_other() {
    let (world, web) = World::with_shop().await;
    let held = world.aws.hold(On::call("dynamodb", "PutItem").by(OPERATOR).about(&world.tables.gate));
    let other = async {
        held.arrived(1).await;
        let before = world.store.project(&"shop".parse().unwrap()).await.unwrap().unwrap();
        let mut after = before.clone();
        after.websocket = true;
        assert_eq!(world.store.put_project(Some(&before), &after).await.unwrap(), Written::Done);
        held.release();
        after
    };
    let (done, after) = tokio::join!(world.call("project set-tier shop developer"), other);
    done.exits(1).says("shop was changed by somebody else").says("`nodeweir --stage dev project show shop`");
    assert_eq!(world.store.project(&after.id).await.unwrap(), Some(after));

    world.aws.heal();
    let held = world.aws.hold(On::call("dynamodb", "TransactWriteItems").by(OPERATOR));
    let other = async {
        held.arrived(1).await;
        let before = world.found(&web).await.unwrap();
        let after = Key { revoked: Some(before.created), ..before.clone() };
        assert_eq!(world.store.put_key(Some(&before), &after).await.unwrap(), Written::Done);
        held.release();
        after
    };
    let (done, after) = tokio::join!(world.call("key rotate shop web"), other);
    done.exits(1).says("the keys of shop were changed by somebody").says("`nodeweir --stage dev key list shop`");
    assert_eq!(world.store.keys(&after.project).await.unwrap(), [after]);

    world.aws.heal();
    let done = join_all((0..4).map(|_| world.call("key create shop --name web"))).await;
    assert_eq!(done.iter().filter(|done| done.code == 0).count(), 1, "{done:?}");
    for done in join_all((0..4).map(|_| world.call("project grant shop --credits 10"))).await {
        done.exits(0);
    }
    assert_eq!(world.json("project show shop").await["month"]["granted"], 1040);
}

#[tokio::test]
async fn usage_is_told_and_exported() {
    let (world, web) = World::with_shop().await;
    world.call("usage shop").await.exits(0).says("shop used nothing since");
    world.call("project create lab").await.exits(0);
    world.call("usage shp").await.exits(1).says("did you mean `shop`?");
    let key = web.digest().id();
    let month = Period::of(Period::of(Timestamp::now()).begins() - Duration::from_secs(60));
    let (first, last) = (month.begins(), month.ends() - Duration::from_secs(60));
    let row = |project: &str, start: Timestamp, status: u16, credits: u64| UsageRow {
        of: UsageKey {
            start,
            project: project.parse().unwrap(),
            key,
            network: "ethereum".parse().unwrap(),
            method: "eth_call".to_owned(),
            status,
        },
        counts: UsageCounts { requests: 1, calls: 2, credits, milliseconds: 4, bytes_in: 8, bytes_out: 16 },
    };
    let rows = [
        row("shop", first - Duration::from_secs(60), 200, 1),
        row("shop", first, 200, 2),
        row("shop", first + Duration::from_secs(60), 200, 4),
        row("shop", last, 429, 0),
        row("lab", last, 200, 8),
        row("shop", month.ends(), 200, 16),
    ];
    let (log, now) = ("proxy".parse().unwrap(), LogCursor::at(1, 1));
    assert_eq!(world.store.record_usage(&log, None, now, &rows).await.unwrap(), Written::Done);
    let [begins, ends] = [first, last].map(|at| at.strftime("%Y-%m-%d"));
    let header = "project,day,key,name,network,method,status,requests,calls,credits,milliseconds,bytes_in,bytes_out";
    let expected = [
        header.to_owned(),
        format!("lab,{ends},{key},,ethereum,eth_call,200,1,2,8,4,8,16"),
        format!("shop,{begins},{key},web,ethereum,eth_call,200,2,4,6,8,16,32"),
        format!("shop,{ends},{key},web,ethereum,eth_call,429,1,2,0,4,8,16"),
    ];
    for _ in 0..2 {
        let done = world.call(&format!("usage --all-projects --month {month} --export csv")).await.exits(0);
        assert_eq!(done.out.split_terminator("\r\n").collect::<Vec<_>>(), expected);
        let summed = world.json(&format!("usage shop --month {month} --by day")).await;
        assert_eq!((&summed["total"]["credits"], &summed["total"]["calls"]), (&json!(6), &json!(6)));
        // The second time as the gate leaves it.
        world.store.fold_usage(Timestamp::now()).await.unwrap();
    }
    let named = world.call(&format!("usage shop --month {month} --by key")).await.exits(0);
    named.says(&format!("web ({key})"));

    // Half a bill is none.
    let shop = On::call("dynamodb", "Query").by(OPERATOR).about(&world.tables.usage);
    world.aws.fault(shop.from(1), Fault::Instead(Answer::error(400, "AccessDeniedException")));
    let done = world.call(&format!("usage --all-projects --month {month} --export json")).await.exits(1);
    assert_eq!(done.out, "");
    done.says("AccessDeniedException");
}

/// Whatever fails: a key that was made is shown, because nobody could show it later.
#[tokio::test]
async fn a_key_is_shown_even_if_the_history_cannot_tell_of_it() {
    let (world, _) = World::with_shop().await;
    world.refuses("BatchWriteItem", &world.tables.history, "AccessDeniedException");
    for args in ["key create shop --name api", "key rotate shop api"] {
        let done = world.call(args).await.exits(1).says("it is done, but the history does not tell of it");
        let done = done.says("AccessDeniedException").says(&world.tables.history);
        let shown: Secret = done.out.lines().find_map(|line| line.trim().parse().ok()).unwrap();
        assert_eq!(world.found(&shown).await.unwrap().name.as_str(), "api");
    }
    world.call("project grant shop --credits 1").await.exits(1).says("it is done, but");
    assert_eq!(world.json("project show shop").await["month"]["granted"], 1001);
}

#[tokio::test]
async fn what_the_tables_refuse_is_told_and_changes_nothing() {
    let (world, web) = World::with_shop().await;
    let (gate, usage) = (world.tables.gate.clone(), world.tables.usage.clone());
    let before = world.json("project show shop").await;
    for (operation, table, args) in [
        ("GetItem", &gate, "project show shop"),
        ("Query", &gate, "project list"),
        ("BatchGetItem", &gate, "key list shop"),
        ("PutItem", &gate, "project create lab"),
        ("PutItem", &gate, "project grant shop --credits 5"),
        ("TransactWriteItems", &gate, "key create shop"),
        ("TransactWriteItems", &gate, "key rotate shop web"),
        ("Query", &usage, "usage shop"),
    ] {
        for (code, words) in [
            ("AccessDeniedException", "have it granted"),
            ("ExpiredTokenException", "sign in again"),
            ("ResourceNotFoundException", "ResourceNotFoundException"),
        ] {
            world.refuses(operation, table, code);
            let done = world.call(args).await.exits(1).says(words).says(code);
            done.says(&format!("the store DynamoDB table {table}"));
            world.aws.heal();
        }
    }
    assert_eq!(world.json("project show shop").await, before);
    assert!(world.found(&web).await.unwrap().expires.is_none());

    for table in [&gate, &usage] {
        let gone = json!({"TableName": table});
        let gone = world.aws.client().json("dynamodb", "DynamoDB_20120810.DeleteTable", &gone).await.unwrap();
        assert_eq!(gone.status, 200, "{}", gone.text());
    }
    let done = world.call("project list").await.exits(1).says(&gate);
    println!("{}", done.err);
    // What is not about the gate works on.
    world.call("node list").await.exits(0);
}

/// One that an earlier version deployed.
#[tokio::test]
async fn a_stack_without_the_tables_is_told() {
    let world = World::deployed().await;
    let asked = world.aws.client().form("cloudformation", "DescribeStacks", &[("StackName", "nodeweir-dev")]).await;
    let told = asked.unwrap().text().replace("GateTable", "OtherTable");
    let headers = vec![("content-type".to_owned(), "text/xml".to_owned())];
    world.aws.fault(On::service("cloudformation"), Fault::Instead(Answer::Raw(200, headers, told.into())));
    let done = world.call("project list").await.exits(1);
    done.says("it has no output GateTable; was it deployed by this version?");
}

/// What docs/operations.md says that an operator must be allowed to do. IAM looks at each write of a transaction by itself.
#[tokio::test]
async fn an_operator_needs_no_more_than_is_written_down() {
    let (world, _) = World::with_shop().await;
    for args in [
        "project list",
        "project show shop",
        "project set-tier shop developer",
        "project grant shop --credits 5",
        "project grant shop --websocket",
        "key list shop",
        "key restrict shop web --address 10.0.0.0/8",
        "key rotate shop web",
        "key revoke shop web",
        "usage shop",
    ] {
        world.call(args).await.exits(0);
    }
    let mut used = BTreeSet::new();
    for call in world.aws.calls().iter().filter(|call| call.by == OPERATOR && call.service == "dynamodb") {
        used.extend(call.needs().into_iter().map(|need| (need.resource, need.action)));
    }
    assert!(used.iter().all(|(resource, _)| !resource.contains("/index/")), "an index was asked: {used:?}");
    let of = |table: &str| {
        let used = used.iter().filter(|(used, _)| used == table);
        used.map(|(_, action)| action.trim_start_matches("dynamodb:")).collect::<Vec<_>>()
    };
    assert_eq!(of(&world.tables.gate), ["BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query"]);
    assert_eq!(of(&world.tables.usage), ["Query"]);
    assert_eq!(of(&world.tables.history), ["BatchWriteItem"]);
    assert_eq!(of(&world.tables.nodes), [""; 0]);
}
