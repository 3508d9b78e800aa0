//! Floods, and what others notice of them: a key that calls at a steady rate, alone and beside each flood.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nodeweir_domain::gate::key::Key;
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{GateStore as _, Written};
use tokio::runtime::Builder;

use super::PACE;
use crate::gate::child::{Kind, STORE, Threads};
use crate::gate::setting::{self, calm};
use crate::lanes::paced::{Latency, Load, post};
use crate::lanes::{Lane, Lanes, Shape, Way};
use crate::machine::resident_mib;
use crate::rounds::{Round, most_of_others};
use crate::sample::{median, ms};

/// How long each flood lasts.
const TIME: Duration = Duration::from_secs(5);
/// Requests a second of the key that is watched.
const STEADY: f64 = 500.0;
/// Requests a second of a flood.
const FLOOD: f64 = 2_000.0;
/// Requests a second that the limited key may; its flood is ten times that.
const LIMIT: u32 = 200;

/// Numbers of keys from here on are nobody's: each makes the gate look up one that it has never seen.
const FIRST_UNKNOWN: usize = 1_000_000_000;

const ALLOWED_RATIO: f64 = 2.0;
const ALLOWED_MIB: f64 = 64.0;

/// What is sent, how it is answered.
struct Flood<'a> {
    name: &'a str,
    statuses: &'a [u16],
    request: &'a (dyn Fn() -> anyhow::Result<Vec<u8>> + Sync),
}

/// Latency of one key while others misbehave. The shield, which cuts off a flood of one address before the gate sees
/// it, lets everything through here: so would it if the flood came from many.
pub(crate) fn measure() -> anyhow::Result<()> {
    let lanes = Lanes::start(&[Way::Gate(Kind::Full, Threads::Many)], Shape::SMALL)?;
    let [lane] = lanes.all.as_slice() else { anyhow::bail!("one way is expected") };
    let Some(gate) = &lane.gate else { anyhow::bail!("a gate is expected") };
    let [restricted, limited] = others(lane)?;
    let body = setting::single();
    let many = (0..110).map(|number| format!("X-Anything-{number}: {number}\r\n")).collect::<Vec<_>>().concat();
    let count = AtomicUsize::new(FIRST_UNKNOWN);
    let unknown = || setting::secret(count.fetch_add(1, Ordering::Relaxed));
    let floods = [
        Flood {
            name: "keys that nobody has",
            statuses: &[401],
            request: &|| Ok(post(&format!("/v3/{}", unknown()?.reveal()), "", &body)),
        },
        Flood { name: "a key that is refused", statuses: &[403], request: &|| Ok(post(&restricted, "", &body)) },
        Flood {
            name: "a key at ten times its limit",
            statuses: &[200, 429],
            request: &|| Ok(post(&limited, "", &body)),
        },
        Flood { name: "110 headers, and no key", statuses: &[401], request: &|| Ok(post("/v3", &many, &body)) },
    ];
    println!(
        "a key that calls {STEADY:.0} times a second, beside floods of {FLOOD:.0} a second without the shield ({})",
        calm()
    );
    let mut most = 0.0_f64;
    let measure = |_| {
        let quiet = steady(lane, &body)?;
        let mut beside = Vec::new();
        for flood in &floods {
            beside.push(flooded(lane, &body, flood)?);
            most = most.max(resident_mib(gate.pid())?);
        }
        Ok(Latencies { quiet, beside })
    };
    let rounds = PACE.rounds(&lanes, measure, |_, _| {})?;
    print(&floods, &rounds);
    let verdict = if most < ALLOWED_MIB { "kept" } else { "MISSED" };
    println!("  resident, the gate at most: {most:.1} MiB, allowed {ALLOWED_MIB}: {verdict}\n");
    lanes.check()
}

/// Of the key that is watched, in one round.
struct Latencies {
    quiet: Latency,
    /// Of each flood.
    beside: Vec<Latency>,
}

fn print(floods: &[Flood<'_>], rounds: &[Round<Latencies>]) {
    let of = |latency: &dyn Fn(&Latencies) -> Duration| {
        median(&rounds.iter().map(|round| latency(&round.came)).collect::<Vec<_>>())
    };
    let most = most_of_others(rounds);
    println!("  medians of {} rounds; others took at most {most} of the machine", rounds.len());
    let quiet = of(&|came| came.quiet.p99);
    println!("  {:<30} p50 {:.3} ms, p99 {:.3} ms", "quiet", ms(of(&|came| came.quiet.p50)), ms(quiet));
    for (index, flood) in floods.iter().enumerate() {
        let [p50, p99] = [of(&|came| came.beside[index].p50), of(&|came| came.beside[index].p99)];
        let ratio = p99.as_secs_f64() / quiet.as_secs_f64();
        let verdict = if ratio <= ALLOWED_RATIO { "kept" } else { "MISSED" };
        println!(
            "  {:<30} p50 {:.3} ms, p99 {:.3} ms: {ratio:.2} of quiet, allowed {ALLOWED_RATIO}: {verdict}",
            flood.name,
            ms(p50),
            ms(p99)
        );
    }
}

/// The key that is watched.
fn steady(lane: &Lane, body: &str) -> anyhow::Result<Latency> {
    let request = post(&lane.paths[0], "", body);
    let request = &|| Ok(request.clone());
    Load { port: lane.port, connections: 8, per_second: STEADY, time: TIME, request, statuses: &[200] }.run()
}

fn flooded(lane: &Lane, body: &str, flood: &Flood<'_>) -> anyhow::Result<Latency> {
    let &Flood { request, statuses, .. } = flood;
    let load = Load { port: lane.port, connections: 16, per_second: FLOOD, time: TIME, request, statuses };
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| load.run());
        let watched = steady(lane, body);
        match flooding.join() {
            Ok(flooded) => flooded.and(watched),
            Err(_) => anyhow::bail!("the flood ended abnormally"),
        }
    })
}

/// Makes a key that may call another network only, and one that is limited; tells the paths that name them.
fn others(lane: &Lane) -> anyhow::Result<[String; 2]> {
    let store = SqliteStore::open(&lane.folder.path().join(STORE))?;
    let (free, mut slow) = (setting::project(1)?, setting::project(2)?);
    slow.requests_per_second = NonZeroU32::new(LIMIT);
    let only = Restrictions { networks: vec!["polygon".parse()?], ..Restrictions::default() };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut paths = Vec::new();
    for (index, project, restrictions) in [(1, free, only), (2, slow, Restrictions::default())] {
        let secret = setting::secret(index)?;
        let key = Key { restrictions, ..setting::key(&secret, index, &project)? };
        anyhow::ensure!(runtime.block_on(store.put_project(None, &project))? == Written::Done);
        anyhow::ensure!(runtime.block_on(store.put_key(None, &key))? == Written::Done);
        paths.push(format!("/v3/{}", secret.reveal()));
    }
    paths.try_into().map_err(|_| anyhow::anyhow!("two keys are expected"))
}
