//! What the gate of a task finds in its tables, and what it leaves there.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::Timestamp;
use nodeweir_aws::{DynamoStore, Tables, connect};
use nodeweir_domain::gate::account::{Account, Lease, Period};
use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_domain::gate::project::{MOST_CREDITS, MOST_RATE, Project};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::gate::usage::{LogCursor, UsageCounts, UsageKey, UsageRow};
use nodeweir_domain::name::ProjectId;
use nodeweir_store::{GateStore as _, Written};
use serde_json::Value;

use crate::process::until;
use crate::world::World;

/// Credits that a gate held when it died.
const HELD: u64 = 50;
/// Longer ago than usage is kept by the minute.
const LONG_AGO: Duration = Duration::from_secs(5 * 86_400);

/// The gate's tables, as those see them who make projects and write bills.
pub(super) struct Ledger {
    store: DynamoStore,
    began: Timestamp,
    secret: Secret,
}

fn project(name: &str) -> ProjectId {
    name.parse().unwrap()
}

impl Ledger {
    /// The project `shop`, which may do a lot, with a key; and what a gate left that has died: a lease of the project
    /// `gone`, and usage by the minute.
    pub(super) async fn prepare(world: &World) -> Self {
        let credentials = Credentials::new("operator", "nothing", None, None, "the test");
        let sdk = connect(Some("eu-central-1")).await.into_builder().endpoint_url(world.aws.url());
        let sdk = sdk.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        let [gate, usage] = ["GateTable", "UsageTable"].map(|output| world.outputs[output].clone());
        let store = DynamoStore::new(&sdk, Tables { gate, usage, ..Tables::default() });
        let secret = Secret::from_random(&[7; 32]).unwrap();
        let ledger = Self { store, began: Timestamp::now(), secret };
        ledger.make_project().await;
        ledger.leave_behind().await;
        ledger
    }

    async fn make_project(&self) {
        let shop = Project {
            id: project("shop"),
            tier: "free".parse().unwrap(),
            created: self.began,
            requests_per_second: MOST_RATE.try_into().ok(),
            credits_per_month: Some(MOST_CREDITS),
            methods: Vec::new(),
            websocket: false,
        };
        assert_eq!(self.store.put_project(None, &shop).await.unwrap(), Written::Done);
        let key = Key {
            digest: self.secret.digest(),
            project: shop.id,
            name: "web".parse().unwrap(),
            restrictions: Restrictions::default(),
            created: self.began,
            expires: None,
            revoked: None,
        };
        assert_eq!(self.store.put_key(None, &key).await.unwrap(), Written::Done);
    }

    async fn leave_behind(&self) {
        let until = self.began - Duration::from_secs(3600);
        let lease = Lease { number: 1, amount: HELD, written_off: 0, until, was_forgotten: false };
        let account = Account {
            leases: BTreeMap::from([("gate-dead".parse().unwrap(), lease)]),
            ..Account::open(project("gone"), Period::of(until), 1000)
        };
        assert_eq!(self.store.put_account(None, &account).await.unwrap(), Written::Done);
        let of = UsageKey {
            start: self.began - LONG_AGO,
            project: project("gone"),
            key: self.secret.digest().id(),
            network: "ethereum".parse().unwrap(),
            method: "eth_call".to_owned(),
            status: 200,
        };
        let rows = [UsageRow { of, counts: UsageCounts { requests: 3, ..UsageCounts::default() } }];
        let recorded = self.store.record_usage(&"dead".parse().unwrap(), None, LogCursor::at(1, 1), &rows).await;
        assert_eq!(recorded.unwrap(), Written::Done);
    }

    /// Where clients with the key call.
    pub(super) fn path(&self) -> String {
        format!("/v3/{}", self.secret.reveal())
    }

    /// Waits until all that a gate left that has died is put in order.
    pub(super) async fn is_tidied(&self, world: &World) {
        let gone = project("gone");
        let period = Period::of(self.began - Duration::from_secs(3600));
        let look = async || {
            let account = self.store.account(&gone, period).await.unwrap().unwrap();
            let minutes = rows(world, "UsageTable", "project", "gone").await;
            let minutes = minutes.iter().filter(|row| row["row"]["S"].as_str().unwrap().starts_with("minute#")).count();
            (account.written_off == HELD && account.leased() == 0 && minutes == 0).then_some(())
        };
        until("a lease is written off and usage is folded", look).await;
        let day = self.began - LONG_AGO - Duration::from_secs(86_400);
        let used = self.store.usage(&gone, day, self.began).await.unwrap();
        assert_eq!(used.iter().map(|row| row.counts.requests).collect::<Vec<_>>(), [3]);
    }

    /// The gate has stopped: all requests of the project `shop` are counted and paid for, and nobody holds anything of it.
    pub(super) async fn is_settled(&self, world: &World, answered: usize) {
        let shop = project("shop");
        let used = self.store.usage(&shop, self.began, Timestamp::now()).await.unwrap();
        let requests: u64 = used.iter().filter(|row| row.of.status == 200).map(|row| row.counts.requests).sum();
        assert_eq!(requests, u64::try_from(answered).unwrap(), "{used:?}");
        let accounts = self.store.accounts(&shop).await.unwrap();
        assert!(accounts.iter().all(|account| account.leased() == 0 && account.written_off == 0), "{accounts:?}");
        let spent: u64 = accounts.iter().map(|account| account.spent).sum();
        let charged: u64 = used.iter().map(|row| row.counts.credits).sum();
        assert!(spent > 0 && spent == charged, "{accounts:?} {used:?}");
        assert_eq!(rows(world, "GateTable", "kind", "sidecar").await, [Value::Null; 0]);
    }
}

/// All of a partition.
async fn rows(world: &World, table: &str, partition: &str, key: &str) -> Vec<Value> {
    let mut rows = world.rows(table).await;
    rows.retain(|row| row[partition]["S"] == key);
    rows
}
