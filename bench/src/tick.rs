//! One tick of everything: probing over the network, judging, storing, publishing, rolling out.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeweir_control::edges::{EdgeError, Etag, PublishedObject, Service, ServiceState, Started};
use nodeweir_control::folder::FolderObject;
use nodeweir_control::probe::{self, Scope};
use nodeweir_control::prober::HttpProber;
use nodeweir_control::{publish, rollout};
use nodeweir_domain::fleet::judge::State;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{FleetStore, Written};
use serde_json::json;

use crate::nodes::{Counts, Nodes};
use crate::process;
use crate::sample::{NETWORKS, config, item, median, ms};

const COUNTS: Counts = Counts { answering: 800, silent: 200 };
/// Ticks that find something new: nodes become healthy, then a revision runs.
const WARM_UP: usize = 2;
const ROUNDS: usize = 10;

/// A folder, with its effective writes counted.
struct CountedFolder {
    folder: FolderObject,
    writes: AtomicU32,
}

impl PublishedObject for CountedFolder {
    async fn get(&self) -> Result<Option<(Etag, String)>, EdgeError> {
        self.folder.get().await
    }

    async fn put(&self, seen: Option<&Etag>, text: &str) -> Result<bool, EdgeError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.folder.put(seen, text).await
    }
}

/// A proxy that runs whatever it is given, with its reloads counted.
#[derive(Default)]
struct CountedProxy {
    running: Mutex<Option<String>>,
    reloads: AtomicU32,
}

impl Service for CountedProxy {
    async fn state(&self) -> Result<ServiceState, EdgeError> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(ServiceState { running, ..ServiceState::default() })
    }

    async fn start(&self, _: &ServiceState, revision: &Revision, _: &str) -> Result<Started, EdgeError> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision.name());
        Ok(Started::Yes)
    }
}

/// Runs the flows and tells, as a table.
pub(crate) async fn measure() -> anyhow::Result<String> {
    let nodes = Nodes::start(COUNTS)?;
    let url = |index: usize| format!("http://127.0.0.1:{}", nodes.ports[index]);
    // The first are the leaders, all of which answer; the silent ones are the last.
    let config = config(url)?;
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(&folder.path().join("state.db"))?;
    for index in NETWORKS..nodes.ports.len() {
        anyhow::ensure!(store.put_item(None, &item(index, &json!({"url": url(index)}))).await? == Written::Done);
    }
    let object = CountedFolder { folder: FolderObject::open(folder.path())?, writes: AtomicU32::new(0) };
    let proxy = CountedProxy::default();
    let prober = HttpProber::new(&config, Arc::new(|_| None))?;
    let before_mib = process::peak_mib()?;

    let (mut probing, mut whole) = (Vec::new(), Vec::new());
    let mut counted = [0; 3];
    let mut now = Timestamp::UNIX_EPOCH;
    for round in 0..WARM_UP + ROUNDS {
        let began = Instant::now();
        let report = probe::run(&store, &prober, &config, &Scope::All, now).await?;
        anyhow::ensure!(report.failed.is_empty() && report.listed.rejected.is_empty(), "{report:?}");
        probing.push(began.elapsed());
        publish::run(&store, &object, &config, now).await?;
        rollout::run(&store, &object, &proxy, &config, now).await?;
        whole.push(began.elapsed());
        if round < WARM_UP {
            let revisions = u32::try_from(store.revisions(u32::MAX).await?.len())?;
            counted = [object.writes.load(Ordering::Relaxed), revisions, proxy.reloads.load(Ordering::Relaxed)];
        } else {
            anyhow::ensure!(report.flips.is_empty(), "{:?}", report.flips);
        }
        now += config.health.interval;
    }
    let health = store.health().await?;
    let healthy =
        health.values().flat_map(|health| health.statuses.values()).filter(|status| status.state == State::Healthy);
    anyhow::ensure!(healthy.count() == COUNTS.answering, "every node that answers is healthy, and no other");

    let revisions = u32::try_from(store.revisions(u32::MAX).await?.len())?;
    let after = [object.writes.load(Ordering::Relaxed), revisions, proxy.reloads.load(Ordering::Relaxed)];
    let changes = [0, 1, 2].map(|index| after[index] - counted[index]);
    let bound = config.health.timeout + Duration::from_secs(1);
    let mut table = String::new();
    let total = COUNTS.answering + COUNTS.silent;
    writeln!(table, "a tick over {total} nodes, {} of them silent ({ROUNDS} rounds after {WARM_UP})", COUNTS.silent)?;
    let longest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    for (what, times) in [
        ("probe, first", &probing[..1]),
        ("probe", &probing[WARM_UP..]),
        ("probe + publish + roll out", &whole[WARM_UP..]),
    ] {
        writeln!(table, "  {what:<28} median {:>8.1} ms   longest {:>8.1} ms", ms(median(times)), ms(longest(times)))?;
    }
    writeln!(table, "  allowed: timeout + 1 s       {:>15.1} ms", ms(bound))?;
    writeln!(
        table,
        "  peak memory (VmHWM)          {:>15.1} MiB, {before_mib:.1} MiB of it before the first tick",
        process::peak_mib()?
    )?;
    writeln!(table, "{ROUNDS} ticks without change")?;
    writeln!(table, "  files published {}, revisions {}, reloads {}", changes[0], changes[1], changes[2])?;
    anyhow::ensure!(changes == [0; 3], "a tick without change changed something:\n{table}");
    anyhow::ensure!(longest(&probing) <= bound, "a tick took too long:\n{table}");
    Ok(table)
}
