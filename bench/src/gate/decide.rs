//! The decision itself, in this process, without HTTP: the sidecar's own way of a request on a real store.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeweir_domain::gate::key::Secret;
use nodeweir_sidecar::{Ages, Gate, Question, Verdict};
use nodeweir_store::sqlite::SqliteStore;
use tokio::runtime::{Builder, Runtime};

use super::setting::{self, NETWORK, Ports, calm, us};
use crate::sample::median;

/// Keys that take turns, so that none comes near the highest limit there is.
const KEYS: usize = 1_000;
/// Decisions that are timed together: reading the clock takes part of what is measured.
const CHUNK: usize = 500;
/// How long each body is decided.
const EACH: Duration = Duration::from_secs(4);
/// How often the gate settles, as its server does.
const SETTLE: Duration = Duration::from_millis(200);

struct Case {
    what: &'static str,
    body: String,
    allowed: Option<Duration>,
}

/// Prints a table.
pub(crate) fn measure() -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let (store, secrets) = runtime.block_on(setting::store_with(&folder.path().join("state.db"), KEYS))?;
    let config = Arc::new(setting::read_config(&setting::config(true, Ports { proxy: 1, admin: 2, redis: None }))?);
    let gate = Arc::new(Gate::new(config, store, "bench".parse()?, Ages::default()));

    let case = |what, body, allowed: Option<u64>| Case { what, body, allowed: allowed.map(Duration::from_micros) };
    let cases = [
        case("single eth_call", setting::single(), Some(3)),
        case("batch of 20", setting::batch(), Some(15)),
        case("single, 1 KiB of params", setting::single_with(1 << 10), None),
        case("single, 10 KiB of params", setting::single_with(10 << 10), None),
        case("single, 100 KiB of params", setting::single_with(100 << 10), None),
        case("single, 1,000 KiB of params", setting::single_with(1000 << 10), None),
    ];
    println!("the decision, in process, warm keys, one thread ({})", calm());
    println!(
        "  {:<28} {:>9} {:>10} {:>10} {:>10} {:>9} {:>8} {:>10}",
        "", "body", "median", "fastest", "p95", "per byte", "allocs", "bytes"
    );
    for Case { what, body, allowed } in cases {
        let timed = times(&runtime, &gate, &secrets, body.as_bytes())?;
        let (count, bytes) = allocated(&runtime, &gate, &secrets[0], body.as_bytes())?;
        let middle = median(&timed);
        let at = |part: usize| timed[(timed.len() * part / 100).min(timed.len() - 1)];
        let verdict = match allowed {
            Some(allowed) if middle <= allowed => format!("   allowed {:.0} us: kept", us(allowed)),
            Some(allowed) => format!("   allowed {:.0} us: MISSED", us(allowed)),
            None => String::new(),
        };
        println!(
            "  {what:<28} {:>7} B {:>7.2} us {:>7.2} us {:>7.2} us {:>6.2} ns {count:>8} {bytes:>8} B{verdict}",
            body.len(),
            us(middle),
            us(at(0)),
            us(at(95)),
            us(middle) * 1000.0 / body.len() as f64,
        );
    }
    println!();
    Ok(())
}

fn question<'a>(secret: &'a Secret, body: &'a [u8]) -> Question<'a> {
    Question {
        is_websocket: false,
        network: NETWORK,
        path_key: secret.reveal(),
        api_key: "",
        authorization: "",
        origin: "https://app.example.com",
        address: "192.0.2.7",
        body,
    }
}

/// Times of one decision, means of chunks, sorted.
fn times(
    runtime: &Runtime,
    gate: &Arc<Gate<SqliteStore>>,
    secrets: &[Secret],
    body: &[u8],
) -> anyhow::Result<Vec<Duration>> {
    let chunk = if body.len() > 10_000 { CHUNK / 50 } else { CHUNK };
    let mut keys = secrets.iter().cycle();
    runtime.block_on(async {
        let mut times = Vec::new();
        let (begun, mut settled) = (Instant::now(), Instant::now());
        while begun.elapsed() < EACH {
            let start = Instant::now();
            for secret in keys.by_ref().take(chunk) {
                let verdict = gate.ask(black_box(&question(secret, body))).await;
                anyhow::ensure!(matches!(black_box(verdict), Verdict::Pass { .. }), "everything is to pass");
            }
            times.push(start.elapsed() / u32::try_from(chunk)?);
            if settled.elapsed() >= SETTLE {
                gate.settle(false).await;
                settled = Instant::now();
            }
        }
        // The first have found their keys in the store.
        times.drain(..times.len() / 10);
        times.sort_unstable();
        Ok(times)
    })
}

/// How often one decision asks for memory, and for how many bytes in all.
fn allocated(runtime: &Runtime, gate: &Gate<SqliteStore>, secret: &Secret, body: &[u8]) -> anyhow::Result<(u64, u64)> {
    let question = question(secret, body);
    // Twice, of which the first may wait for a lease.
    let mut passes = true;
    let mut measured = Vec::new();
    for _ in 0..5 {
        measured.push(allocation_counter::measure(|| {
            runtime.block_on(async { passes &= matches!(gate.ask(&question).await, Verdict::Pass { .. }) });
        }));
    }
    anyhow::ensure!(passes, "everything is to pass");
    let least = measured.iter().map(|of| (of.count_total, of.bytes_total)).min();
    Ok(least.unwrap_or_default())
}
