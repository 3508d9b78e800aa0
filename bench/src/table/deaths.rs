//! A node is killed while clients call: which requests fail, and when the roster is without it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeweir_domain::config::ProxyKind;

use super::clients::{Clients, Tried};
use super::rig::{Rig, name, node};
use super::{Extent, Missed, head, row};
use crate::gate::setting;
use crate::lanes::paced::post;
use crate::rounds::Spread;
use crate::sample::ms;

/// Between two ticks. By default it is a minute.
const TICK: Duration = Duration::from_secs(1);
/// From the tick that saw a death until the proxy runs a roster without the node. Half a second is usual.
const ALLOWED: Duration = Duration::from_secs(5);
const OWN_NODES: usize = 2;
const CONNECTIONS: u32 = 8;
const PER_SECOND: u32 = 400;

/// One death.
struct Death {
    at: Instant,
    /// Until the tick began that saw it; nothing if that was under way.
    to_tick: Duration,
    /// From then until the proxy ran a roster without the node.
    tick_to_running: Duration,
    to_running: Duration,
    /// Until both nodes serve again.
    end: Instant,
}

pub(super) fn measure(extent: Extent, missed: &mut Missed) -> anyhow::Result<()> {
    println!(
        "\n## Deaths\n\n`nodeweir up` with a tick every {} s and {OWN_NODES} own nodes; nginx with the gate, HAProxy without; \
         {PER_SECOND} reads a second over {CONNECTIONS} connections. One node is killed (`kill -9`) at a random moment, and \
         started again when the roster is without it.",
        TICK.as_secs()
    );
    head([
        "",
        "deaths",
        "requests",
        "failed",
        "death to the last failed request, ms",
        "slowest request after a death, ms",
        "death to tick, ms",
        "tick to the new roster running",
        "death to the new roster running",
    ]);
    let runtime = tokio::runtime::Runtime::new()?;
    for kind in ProxyKind::ALL {
        let (deaths, tried) = runtime.block_on(kill_often(kind, extent.deaths))?;
        print(kind, &deaths, &tried, missed);
    }
    Ok(())
}

async fn kill_often(kind: ProxyKind, deaths: usize) -> anyhow::Result<(Vec<Death>, Vec<Tried>)> {
    let leader = node(None)?;
    let mut own = (0..OWN_NODES).map(|_| node(None)).collect::<anyhow::Result<Vec<_>>>()?;
    let ports: Vec<u16> = own.iter().map(|node| node.ports[0]).collect();
    let mut rig = Rig::start(kind, &format!("{}s", TICK.as_secs()), leader.ports[0], &ports).await?;
    let clients = Clients::start(rig.port, &post(&rig.path, "", &setting::single()), CONNECTIONS, PER_SECOND);
    let mut all = Vec::new();
    let everybody = (0..OWN_NODES).map(name).collect();
    for turn in 0..deaths {
        let victim = turn % OWN_NODES;
        // A moment like any other between two ticks.
        tokio::time::sleep(TICK.mul_f64(fastrand::f64())).await;
        let (at, clock) = (Instant::now(), Timestamp::now());
        own[victim].kill()?;
        rig.until_served_by(&(0..OWN_NODES).filter(|index| *index != victim).map(name).collect()).await?;
        let to_running = at.elapsed();
        let to_tick = Duration::try_from(rig.judged_at(&name(victim)).await?.duration_since(clock)).unwrap_or_default();
        own[victim] = node(Some(ports[victim]))?;
        rig.until_served_by(&everybody).await?;
        let tick_to_running = to_running.saturating_sub(to_tick);
        all.push(Death { at, to_tick, tick_to_running, to_running, end: Instant::now() });
    }
    Ok((all, clients.end()?))
}

fn print(kind: ProxyKind, deaths: &[Death], tried: &[Tried], missed: &mut Missed) {
    let after = |death: &Death| {
        let (from, to) = (death.at, death.end);
        tried.iter().filter(move |tried| (from..to).contains(&tried.ended))
    };
    let faults: Vec<&str> = tried.iter().filter_map(|tried| tried.fault.as_deref()).collect();
    let last = |death: &Death| {
        let last = after(death).rfind(|tried| tried.fault.is_some())?;
        Some(ms(last.ended - death.at))
    };
    let last: Vec<f64> = deaths.iter().filter_map(last).collect();
    let times = |of: fn(&Death) -> Duration| format!("{:.0}", Spread::of(deaths.iter().map(|death| ms(of(death)))));
    let slowest = |death: &Death| after(death).map(|tried| ms(tried.took)).fold(0.0, f64::max);
    row([
        kind.as_str().to_owned(),
        deaths.len().to_string(),
        tried.len().to_string(),
        faults.len().to_string(),
        if last.is_empty() {
            "none failed".to_owned()
        } else {
            format!("{:.0}, after {} deaths", Spread::of(last.iter().copied()), last.len())
        },
        format!("{:.0}", Spread::of(deaths.iter().map(slowest))),
        times(|death| death.to_tick),
        times(|death| death.tick_to_running),
        times(|death| death.to_running),
    ]);
    for fault in faults.iter().take(3) {
        println!("\n{kind}: a request failed: {fault}");
    }
    let slowest = deaths.iter().map(|death| ms(death.tick_to_running)).fold(0.0, f64::max);
    missed.above(&format!("{kind}: from a tick to the new roster, ms"), slowest, ms(ALLOWED));
    missed.above(&format!("{kind}: requests that failed because a node died"), faults.len() as f64, 0.0);
}
