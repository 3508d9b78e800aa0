//! Projects, keys and usage on the command line, while nothing runs.

mod keys;
mod usage;

use std::fs;
use std::path::Path;
use std::process::Command;

use nodeweir_domain::gate::account::Period;
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{GateStore as _, Written};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{Done, NODEWEIR, run};

/// A configuration with two networks and one tier of its own, in a folder of its own.
struct Office(TempDir);

const CONFIG: &str = "default_network: ethereum
networks:
  ethereum: {chain_id: 1, block_time: 12s, leader: {url: 'http://127.0.0.1:1'}}
  base: {chain_id: 8453, block_time: 2s, leader: {url: 'http://127.0.0.1:2'}}
gate:
  tiers:
    small: {requests_per_second: 2, credits_per_month: 100, methods: [trace_block]}
    rated: {requests_per_second: 2}
";

impl Office {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("config.yml"), CONFIG).unwrap();
        Self(place)
    }

    /// With the project `shop` in tier `small`.
    async fn with_shop() -> Self {
        let office = Self::new();
        office.run("project create shop --tier small").await.exits(0);
        office
    }

    fn state(&self) -> std::path::PathBuf {
        self.0.path().join("nodeweir-state")
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.state().join("state.db")).unwrap()
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(NODEWEIR);
        command.arg("--config").arg(self.0.path().join("config.yml")).args(args.split(' '));
        command.current_dir(self.0.path()).env_remove("NODEWEIR_CONFIG").env_remove("SUDO_USER");
        command.env("USER", "operator");
        command
    }

    async fn run(&self, args: &str) -> Done {
        run(self.command(args)).await
    }

    async fn json(&self, args: &str) -> Value {
        let done = self.run(&format!("{args} --json")).await.exits(0);
        assert_eq!(done.err, "");
        done.json()
    }

    /// All commands at once.
    async fn race(&self, commands: impl IntoIterator<Item = String>) -> Vec<Done> {
        let running = commands.into_iter().map(|args| run(self.command(&args)));
        futures_util::future::join_all(running).await
    }

    /// What the project `shop` and its keys are, as a refused command must leave it.
    async fn shop(&self) -> Value {
        self.json("project show shop").await
    }

    async fn events(&self) -> Vec<Value> {
        self.json("history --events").await.as_array().unwrap().clone()
    }
}

/// Whether a text stands anywhere in a folder's files.
fn is_in(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_in(&path, text);
        }
        fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[tokio::test]
async fn a_project_is_made_shown_and_listed() {
    let office = Office::new();
    office.run("project create shop").await.exits(0).says("10 requests per second").says("1,000,000 credits a month");
    let made = office.json("project create lab --tier enterprise --requests-per-second 7 --credits-per-month 9").await;
    assert_eq!(made["project"]["requests_per_second"], 7);
    office.run("project create mix --tier rated --credits-per-month 5").await.exits(0).says("2 requests per second");

    let list = office.json("project list").await;
    let names: Vec<_> = list.as_array().unwrap().iter().map(|one| one["project"]["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["lab", "mix", "shop"]);
    assert_eq!(list[0]["allowance"], json!({"requests_per_second": 7, "burst": 14, "credits_per_month": 9}));
    assert_eq!(list[1]["month"]["left"], 5);
    office.run("project list").await.exits(0).says("enterprise").says("1,000,000");

    let shop = office.shop().await;
    assert_eq!((&shop["project"]["tier"], &shop["month"]["granted"]), (&json!("free"), &json!(1_000_000)));
    assert_eq!((&shop["keys"], &shop["websocket"]), (&json!([]), &json!(false)));
    office.run("project show shop").await.exits(0).says("in tier free").says("no keys; `nodeweir key create shop`");

    let events = office.events().await;
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event["who"] == "operator" && event["kind"] == "project"), "{events:?}");
    assert!(events[2]["what"].as_str().unwrap().starts_with("shop made in tier free"), "{events:?}");
}

#[tokio::test]
async fn a_wrong_word_about_projects_is_refused_and_changes_nothing() {
    let office = Office::with_shop().await;
    let before = office.shop().await;
    for (args, code, words) in [
        ("project create shop", 1, "there is a project shop already"),
        ("project create new --tier fre", 1, "there is no tier fre; did you mean `free`?"),
        ("project create new --tier gold", 1, "business, developer, enterprise, free, professional, rated, small"),
        ("project create new --tier enterprise", 2, "add --requests-per-second and --credits-per-month"),
        ("project create new --tier enterprise --credits-per-month 5", 2, "add --requests-per-second"),
        ("project create new --tier rated", 2, "add --credits-per-month"),
        ("project create new --requests-per-second 0", 2, "1 to 1000000"),
        ("project create new --credits-per-month -1", 2, "-1"),
        ("project create new --credits-per-month 99999999999999999", 2, "99999999999999999"),
        ("project create New", 2, "\"New\" is not usable"),
        ("project show shp", 1, "there is no project shp; did you mean `shop`?"),
        ("project show nowhere", 1, "`nodeweir project list` shows those there are"),
        ("project set-tier shop small", 2, "nothing to change"),
        ("project set-tier shop enterprise", 2, "add --requests-per-second and"),
        ("project set-tier shop smal", 1, "did you mean `small`?"),
        ("project set-tier nowhere free", 1, "there is no project nowhere"),
        ("project grant shop", 2, "--credits"),
        ("project grant shop --credits 5 --websocket", 2, "cannot be used with"),
        ("project grant shop --credits 0", 2, "0"),
        ("project grant shop --credits 5 --take-back", 2, "cannot be used with"),
        ("project grant shop --credits 1125899906842624", 1, "was not given"),
        ("project grant shop --methods eth_call", 1, "eth_call cannot be given"),
        ("project grant shop --methods debug_* d*", 1, "d* cannot be given"),
        ("project grant shop --methods debug_*x", 2, "debug_*x"),
        ("project grant shop --methods debug_* --take-back", 2, "nothing to change"),
        // Right, and only tried.
        ("project create new --dry-run", 0, "would do: new made in tier free"),
        ("project set-tier shop free --dry-run", 0, "would do: shop moved from tier small to free"),
        ("project grant shop --credits 5 --dry-run", 0, "would do: shop given 5 credits"),
        ("project grant shop --methods debug_* --dry-run", 0, "would do: shop given debug_*"),
        ("project grant shop --websocket --dry-run", 0, "would do: shop given WebSockets"),
    ] {
        office.run(args).await.exits(code).says(words);
    }
    assert_eq!(office.shop().await, before);
    assert_eq!(office.json("project list").await.as_array().unwrap().len(), 1);
    assert_eq!(office.events().await.len(), 1, "nothing is noted that was not done");
    assert_eq!(office.store().accounts(&"shop".parse().unwrap()).await.unwrap(), []);
    let refused = office.run("project show shp --json").await.exits(1);
    assert!(refused.json()["error"].as_str().unwrap().contains("did you mean `shop`?"));
}

#[tokio::test]
async fn another_tier_brings_its_limits_and_leaves_this_month_to_the_operator() {
    let office = Office::with_shop().await;
    office.run("project set-tier shop enterprise --requests-per-second 9 --credits-per-month 400").await.exits(0);
    let shop = office.shop().await;
    assert_eq!(shop["allowance"], json!({"requests_per_second": 9, "burst": 18, "credits_per_month": 400}));
    assert_eq!(shop["month"]["left"], 400, "nothing was used yet, so that the month begins with the new tier");
    let moved = office.run("project set-tier shop small").await.exits(0);
    assert!(!moved.out.contains("stays at"), "{moved:?}");
    assert_eq!(office.shop().await["allowance"]["requests_per_second"], 2, "own limits end with the tier");

    office.run("project grant shop --credits 1").await.exits(0).says("101 are left");
    let moved = office.run("project set-tier shop free").await.exits(0);
    moved.says("stays at 101 credits").says("`nodeweir project grant shop --credits 999899`");
    office.run("project grant shop --credits 999899").await.exits(0).says("1,000,000 are left");
    let moved = office.run("project set-tier shop small").await.exits(0).says("stays at 1,000,000 credits");
    assert!(!moved.out.contains("project grant"), "{moved:?}");

    // A tier that the configuration has no more: it is said, and not taken for another one.
    let file = office.0.path().join("config.yml");
    fs::write(&file, CONFIG.replace("small:", "tiny:")).unwrap();
    office.run("project show shop").await.exits(1).says("has no such tier");
    assert_eq!(office.json("project list").await[0]["allowance"], Value::Null);
    office.run("project grant shop --credits 1").await.exits(1).says("there is no tier small");
}

#[tokio::test]
async fn grants_are_given_and_taken_back() {
    let office = Office::with_shop().await;
    office.run("project grant shop --methods debug_* trace_*").await.exits(0).says("shop given debug_*, trace_*");
    office.run("project grant shop --websocket").await.exits(0).says("shop given WebSockets");
    office.run("project grant shop --websocket").await.exits(2).says("nothing to change");
    let shop = office.shop().await;
    assert_eq!(shop["project"]["methods"], json!(["debug_*", "trace_*"]));
    assert_eq!(shop["methods"], json!(["debug_*", "trace_*", "trace_block"]), "with those of its tier");
    assert_eq!(shop["websocket"], true);
    office.run("project show shop").await.exits(0).says("debug_*, trace_*").says("WebSockets");
    office.run("project grant shop --methods debug_* --take-back").await.exits(0).says("debug_* taken back from shop");
    office.run("project grant shop --websocket --take-back").await.exits(0);
    let shop = office.shop().await;
    assert_eq!((&shop["project"]["methods"], &shop["websocket"]), (&json!(["trace_*"]), &json!(false)));
}

#[tokio::test]
async fn what_is_taken_back_and_is_still_there_is_said() {
    let office = Office::with_shop().await;
    office.run("project grant shop --methods debug_*").await.exits(0);
    // A broader pattern, and nothing of what was named.
    let done = office.run("project grant shop --methods debug_traceCall --take-back").await.exits(2);
    done.says("shop was not given debug_traceCall\n")
        .says("shop still has debug_*; `nodeweir project grant shop --methods 'debug_*' --take-back`");
    // Only what was given is taken back.
    let done = office.run("project grant shop --methods trace_* debug_* --take-back --dry-run").await.exits(0);
    assert!(done.out.starts_with("would do: debug_* taken back from shop\n"), "{done:?}");
    let done = office.run("project grant shop --methods trace_* debug_* --take-back").await.exits(0);
    assert!(done.out.starts_with("debug_* taken back from shop; it was not given trace_*\n"), "{done:?}");
    done.says("shop still has trace_block by its tier small; `nodeweir project set-tier shop TIER`");
    let noted = office.events().await[0]["what"].clone();
    assert_eq!(noted, "debug_* taken back from shop");
    // What it has already is not given again.
    office.run("project grant shop --methods debug_traceCall").await.exits(0);
    let given = office.run("project grant shop --methods debug_traceCall trace_*").await.exits(0);
    assert_eq!(given.out, "shop given trace_*; it had debug_traceCall already\n");

    let file = office.0.path().join("config.yml");
    fs::write(&file, CONFIG.replace("methods: [trace_block]", "websocket: unmetered")).unwrap();
    let words = "shop still has WebSockets by its tier small";
    office
        .run("project grant shop --websocket --take-back")
        .await
        .exits(2)
        .says("shop was not given WebSockets")
        .says(words);
    office.run("project grant shop --websocket").await.exits(0);
    office.run("key create shop --name web --websocket").await.exits(0);
    let done = office.run("project grant shop --websocket --take-back").await.exits(0).says(words);
    done.says("WebSockets taken back").says("`nodeweir key restrict shop web --clear websocket`");
    fs::write(&file, CONFIG).unwrap();
    office.run("key revoke shop web").await.exits(0);
    office.run("project grant shop --websocket").await.exits(0);
    let done = office.json("project grant shop --websocket --take-back").await;
    assert_eq!((&done["changed"], &done["left"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn credits_are_added_to_this_month_and_nothing_else_of_it_changes() {
    let office = Office::with_shop().await;
    let (store, id) = (office.store(), "shop".parse().unwrap());
    let granted = office.json("project grant shop --credits 50").await;
    assert_eq!((&granted["month"]["granted"], &granted["month"]["left"]), (&json!(150), &json!(150)));
    let period = Period::of(jiff::Timestamp::now());
    let mut account = store.account(&id, period).await.unwrap().unwrap();
    let before = account.clone();
    account.spent = 140;
    account.written_off = 3;
    assert_eq!(store.put_account(Some(&before), &account).await.unwrap(), Written::Done);

    // At once, and each counts.
    for done in office.race((0..8).map(|_| "project grant shop --credits 10".to_owned())).await {
        done.exits(0);
    }
    let month = office.shop().await["month"].clone();
    let expected = json!({
        "month": period, "granted": 230, "spent": 140, "written_off": 3, "leased": 0, "left": 87,
    });
    assert_eq!(month, expected);
    office.run("project show shop").await.exits(0).says("230").says("140").says("87");
}

#[tokio::test]
async fn of_several_who_make_or_move_a_project_at_once_none_overwrites_another() {
    let office = Office::new();
    let done = office.race((1..=6).map(|rate| format!("project create shop --requests-per-second {rate}"))).await;
    let won: Vec<_> = done.iter().filter(|done| done.code == 0).collect();
    assert_eq!(won.len(), 1, "{done:?}");
    for lost in done.iter().filter(|done| done.code != 0) {
        let is_told = ["there is a project shop already", "changed by somebody else at the same moment"];
        assert!(lost.code == 1 && is_told.iter().any(|words| lost.err.contains(words)), "{lost:?}");
    }
    let rate = office.shop().await["project"]["requests_per_second"].clone();
    assert!(won[0].out.contains(&format!("{rate} requests per second")), "{rate}, {won:?}");

    let done =
        office.race((11..=16).map(|rate| format!("project set-tier shop free --requests-per-second {rate}"))).await;
    let rate = office.shop().await["project"]["requests_per_second"].clone();
    let is_of_rate = |done: &&Done| done.code == 0 && done.out.contains(&format!("{rate} requests per second"));
    assert_eq!(done.iter().filter(is_of_rate).count(), 1, "{rate}: {done:?}");
    assert!(done.iter().all(|done| done.code == 0 || done.err.contains("at the same moment")), "{done:?}");
    let noted = office.events().await.len();
    assert_eq!(noted, 1 + done.iter().filter(|done| done.code == 0).count());
}
