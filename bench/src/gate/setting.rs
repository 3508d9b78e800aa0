//! What every part measures with: a configuration without limits in the way, keys, bodies.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use nodeweir_domain::config::{Config, ProxyKind};
use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_domain::gate::project::{MOST_CREDITS, MOST_RATE, Project};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{GateStore as _, Written};
use serde_json::{Map, Value, json};

pub(crate) const NETWORK: &str = "ethereum";

/// Where processes of one measurement meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) proxy: u16,
    pub(crate) admin: u16,
    /// Of a Redis on this machine that counts rates, if one does.
    pub(crate) redis: Option<u16>,
}

/// The network of this number. The first is the default one.
pub(crate) fn network(index: usize) -> String {
    if index == 0 { NETWORK.to_owned() } else { format!("network-{index}") }
}

/// A configuration with one network, for nginx. No limit of it stands in the way: what is measured always passes.
pub(crate) fn config(is_gated: bool, ports: Ports) -> String {
    config_of(ProxyKind::Nginx, is_gated, ports, 1, 1)
}

/// The same for either proxy and so many networks, whose leaders are at `node`.
pub(crate) fn config_of(kind: ProxyKind, is_gated: bool, ports: Ports, networks: usize, node: u16) -> String {
    let most = u64::from(MOST_RATE);
    let network = |index| {
        let leader = json!({"url": format!("http://127.2.0.{}:{node}", index + 1)});
        (self::network(index), json!({"chain_id": 1, "block_time": "12s", "leader": leader}))
    };
    json!({
        "default_network": NETWORK,
        "networks": (0..networks).map(network).collect::<Map<_, _>>(),
        "proxy": {
            "kind": kind.as_str(),
            "listen": format!("127.0.0.1:{}", ports.proxy),
            "access_log": false,
            "timeouts": {"shutdown": "1s"},
        },
        "gate": {
            "enabled": is_gated,
            "limits": {"store": ports.redis.map_or("local".to_owned(), |port| format!("redis://127.0.0.1:{port}"))},
            "admin": format!("127.0.0.1:{}", ports.admin),
            "shield": {"requests_per_second": most, "connections": 65_535},
            "tiers": {"bench": {"requests_per_second": most, "credits_per_month": MOST_CREDITS}},
        },
    })
    .to_string()
}

pub(crate) fn read_config(text: &str) -> anyhow::Result<Config> {
    // JSON is YAML.
    Ok(Config::read(text)?)
}

/// The project that pays. Its rate is that of each key.
pub(crate) fn project(index: usize) -> anyhow::Result<Project> {
    Ok(Project {
        id: format!("project-{index}").parse()?,
        tier: "bench".parse()?,
        created: Timestamp::UNIX_EPOCH,
        requests_per_second: NonZeroU32::new(MOST_RATE),
        credits_per_month: Some(MOST_CREDITS),
        methods: Vec::new(),
        websocket: false,
    })
}

/// The key of this number, always the same.
pub(crate) fn secret(index: usize) -> anyhow::Result<Secret> {
    let mut random = fastrand::Rng::with_seed(index as u64);
    let mut bytes = [0; 128];
    random.fill(&mut bytes);
    Secret::from_random(&bytes).context("128 bytes are enough for a key")
}

pub(crate) fn key(secret: &Secret, index: usize, of: &Project) -> anyhow::Result<Key> {
    Ok(Key {
        digest: secret.digest(),
        project: of.id.clone(),
        name: format!("key-{index}").parse()?,
        restrictions: Restrictions::default(),
        created: Timestamp::UNIX_EPOCH,
        expires: None,
        revoked: None,
    })
}

/// A store with one project and so many keys, which it tells.
pub(crate) async fn store_with(path: &Path, keys: usize) -> anyhow::Result<(SqliteStore, Vec<Secret>)> {
    let store = SqliteStore::open(path)?;
    let project = project(0)?;
    anyhow::ensure!(store.put_project(None, &project).await? == Written::Done);
    let mut secrets = Vec::new();
    for index in 0..keys {
        let secret = secret(index)?;
        anyhow::ensure!(store.put_key(None, &key(&secret, index, &project)?).await? == Written::Done);
        secrets.push(secret);
    }
    Ok((store, secrets))
}

const TOKEN: &str = "0x6b175474e89094c44da98b954eedeac495271d0f";
const HOLDER: &str = "0000000000000000000000005a52e96bacdabb82fd05763e25335261b270efcb";

fn member(id: usize, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn call(id: usize, more: usize) -> Value {
    let data = format!("0x70a08231{HOLDER}{}", "0".repeat(more));
    member(id, "eth_call", &json!([{"to": TOKEN, "data": data}, "latest"]))
}

/// One `eth_call`, as a wallet asks for a balance of a token; about 200 bytes.
pub(crate) fn single() -> String {
    call(1, 0).to_string()
}

/// The same with `more` bytes of params beside.
pub(crate) fn single_with(more: usize) -> String {
    call(1, more).to_string()
}

/// A batch of 20 as a page sends it when it loads: calls, blocks, receipts, logs.
pub(crate) fn batch() -> String {
    let hash = format!("0x{}", "5c".repeat(32));
    let others = [
        ("eth_blockNumber", json!([])),
        ("eth_chainId", json!([])),
        ("eth_gasPrice", json!([])),
        ("eth_getBalance", json!([TOKEN, "latest"])),
        ("eth_getTransactionCount", json!([TOKEN, "latest"])),
        ("eth_getBlockByNumber", json!(["latest", false])),
        ("eth_getTransactionReceipt", json!([hash])),
        ("eth_getLogs", json!([{"address": TOKEN, "fromBlock": "0x1", "toBlock": "0x2", "topics": [hash]}])),
    ];
    let members = (0..20).map(|id| match others.get(id) {
        Some((method, params)) => member(id, method, params),
        None => call(id, 0),
    });
    members.collect::<Value>().to_string()
}

/// How calm the machine is: the load averages of the last 1 and 5 minutes.
pub(crate) fn calm() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let loads: Vec<_> = loads.split_whitespace().take(2).collect();
    format!("load average before: {}", loads.join(", "))
}

pub(crate) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
