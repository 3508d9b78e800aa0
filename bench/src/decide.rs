//! Deciding, without any effect: reading the list, judging, rosters, rendering, inspecting.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeweir_domain::config::{Config, ProxyKind};
use nodeweir_domain::fleet::judge::{Health, judge};
use nodeweir_domain::fleet::node::{Item, Listed, Node, list};
use nodeweir_domain::fleet::plan::{Step, World, plan};
use nodeweir_domain::fleet::probe::{Answer, Observation};
use nodeweir_domain::fleet::render::render;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_domain::name::NetworkId;
use serde_json::json;

use crate::sample::{config, item, median, ms};

/// Nodes, and how often each step is repeated.
const SIZES: [(usize, usize); 3] = [(100, 301), (1_000, 51), (10_000, 11)];
/// What a run over 1,000 nodes may take.
const ALLOWED: Duration = Duration::from_millis(20);

/// Half of the nodes are plain, a quarter has a name, a quarter TLS and a path; half have a WebSocket address.
fn items(count: usize) -> Vec<Item> {
    let attributes = |index: usize| {
        let (a, b) = (index / 250, index % 250);
        let mut all = match index % 4 {
            0 | 1 => json!({"url": format!("http://10.1.{a}.{b}:8545")}),
            2 => json!({"url": format!("http://node-{index}.internal.example:8545")}),
            _ => json!({"url": format!("https://node-{index}.example/rpc/v1")}),
        };
        if index.is_multiple_of(2) {
            all["ws_url"] = json!(format!("ws://10.2.{a}.{b}:8546"));
        }
        all
    };
    (0..count).map(|index| item(index, &attributes(index / 20 * 21 + index % 20))).collect()
}

/// What is known of everybody after a probe that everybody answered.
pub(crate) fn judged(
    config: &Config,
    listed: &Listed,
    before: &BTreeMap<NetworkId, Health>,
    head: u64,
) -> BTreeMap<NetworkId, Health> {
    let unknown = Health::default();
    let mut by_network: BTreeMap<&NetworkId, Vec<&Node>> = BTreeMap::new();
    for node in &listed.nodes {
        by_network.entry(&node.network).or_default().push(node);
    }
    let one = |(id, network)| {
        let nodes: &[&Node] = by_network.get(id).map_or(&[], Vec::as_slice);
        let observe = |node: &&Node| {
            let outcome = Ok(Answer { head, chain_id: Some(1) });
            let observation =
                Observation { address: node.address.clone(), latency: Duration::from_millis(20), outcome };
            (node.name.clone(), observation)
        };
        let observations = nodes.iter().map(observe).collect();
        let before = before.get(id).unwrap_or(&unknown);
        let id: &NetworkId = id;
        (
            id.clone(),
            judge(network, config.health.confirm_after, nodes, before, &observations, Timestamp::UNIX_EPOCH).health,
        )
    };
    config.networks.iter().map(one).collect()
}

fn timed<T>(rounds: usize, mut work: impl FnMut() -> T) -> Duration {
    let times: Vec<_> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            black_box(work());
            began.elapsed()
        })
        .collect();
    median(&times)
}

/// Measures each step at each size and tells, as a table.
pub(crate) fn measure() -> anyhow::Result<String> {
    let mut table = String::from("deciding, medians in ms (nodes on 20 networks)\n");
    writeln!(
        table,
        "  {:>6} {:>8} {:>8} {:>12} {:>12} {:>8}   of plan: {:>12} {:>14}",
        "nodes", "list", "judge", "plan nginx", "plan HAProxy", "sum", "render nginx", "render HAProxy"
    )?;
    let mut of_thousand = Duration::ZERO;
    for (count, rounds) in SIZES {
        let mut config = config(|index| format!("https://leader-{index}.example/v3/x"))?;
        let items = items(count);
        let listed = list(&items, &config);
        anyhow::ensure!(listed.rejected.is_empty(), "{:?}", listed.rejected.first());
        let listing = timed(rounds, || list(&items, &config));
        let health = judged(&config, &listed, &BTreeMap::new(), 100);
        let judging = timed(rounds, || judged(&config, &listed, &health, 101));
        let (mut planning, mut rendering) = (Vec::new(), Vec::new());
        for kind in ProxyKind::ALL {
            config.proxy.kind = kind;
            let at = Timestamp::UNIX_EPOCH;
            let world = World {
                config: &config,
                listed: &listed,
                health: &health,
                published: None,
                is_intact: false,
                pin: None,
                now: at,
            };
            let first = plan(world);
            anyhow::ensure!(matches!(first.step, Step::Publish { .. }), "{:?}", first.findings.first());
            let published =
                Revision { seq: 1, proxy: kind, at, reason: String::new(), rosters: first.rosters, body: first.body };
            let world = World { published: Some(&published), is_intact: true, ..world };
            anyhow::ensure!(plan(world).step == Step::Nothing);
            planning.push(timed(rounds, || plan(world)));
            rendering.push(timed(rounds, || render(&published.rosters, &config)));
        }
        let sum = listing + judging + planning.iter().sum::<Duration>();
        let [list, judge, nginx, haproxy, sum_ms] = [listing, judging, planning[0], planning[1], sum].map(ms);
        let [only_nginx, only_haproxy] = [rendering[0], rendering[1]].map(ms);
        write!(table, "  {count:>6} {list:>8.2} {judge:>8.2} {nginx:>12.2} {haproxy:>12.2} {sum_ms:>8.2}")?;
        writeln!(table, "            {only_nginx:>12.2} {only_haproxy:>14.2}")?;
        if count == 1_000 {
            of_thousand = sum.saturating_sub(listing);
        }
    }
    let verdict = if of_thousand <= ALLOWED { "kept" } else { "MISSED" };
    let [took, allowed] = [of_thousand, ALLOWED].map(ms);
    writeln!(table, "  judge + plan for both, 1,000 nodes: {took:.1} ms, allowed {allowed:.0} ms: {verdict}")?;
    Ok(table)
}
