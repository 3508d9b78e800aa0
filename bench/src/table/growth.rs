//! How a proxy does in front of more networks and more nodes.

use std::time::{Duration, Instant};

use super::{Extent, Missed, head, row};
use crate::gate::setting::{self, Ports, us};
use crate::lanes::{Fleet, Lane, Lanes, Memory, Runs, Shape, Way};
use crate::rounds::{Round, Spread, most_of_others};
use crate::sample::ms;

/// The first is the limit.
const WAYS: [Way; 3] = [Way::Plain, Way::Off, Way::Haproxy];
const PROXIES: [(usize, &str); 2] = [(1, "nginx, gate off"), (2, "HAProxy")];
const CONNECTIONS: u32 = 32;
const LOAD: Duration = Duration::from_secs(2);

/// Networks, and own nodes of each.
const SHAPES: [(usize, usize); 9] = [(1, 2), (2, 2), (5, 2), (10, 2), (20, 2), (1, 10), (1, 100), (1, 1000), (20, 50)];
const QUICK_SHAPES: [(usize, usize); 3] = [(1, 2), (20, 2), (1, 100)];

/// How many times what a request takes before the smallest fleet one before any other may take, each beside the limit in
/// the same round: in the minutes from one to the other the machine may have become slower for all.
const ALLOWED: f64 = 3.0;

/// What came of one shape.
struct Grown {
    shape: Shape,
    plans: Vec<Duration>,
    bytes: Vec<usize>,
    reloads: Vec<Vec<Duration>>,
    rounds: Vec<Round<Runs>>,
    memory: Vec<Memory>,
}

pub(super) fn measure(extent: Extent, missed: &mut Missed) -> anyhow::Result<()> {
    let shapes = if extent.is_quick { &QUICK_SHAPES[..] } else { &SHAPES[..] };
    let all: Vec<Grown> = shapes
        .iter()
        .map(|(networks, nodes)| grow(Shape { networks: *networks, nodes: *nodes, keys: 1 }, extent))
        .collect::<Result<_, _>>()?;
    let others = all.iter().map(|grown| most_of_others(&grown.rounds)).max().unwrap_or_default();
    println!(
        "\n## Growth\n\nEach network has a leader besides; calls go to one network after the other, {CONNECTIONS} \
         connections, one worker. Median (least to most) of {} rounds or more; others took at most {others} of the machine.",
        extent.pace.rounds
    );
    for (lane, name) in PROXIES {
        println!("\n### {name}");
        head([
            "networks",
            "own nodes of each",
            "throughput to the limit",
            "CPU of the proxy, us a request",
            "to the limit",
            "memory, MiB",
            "plan, ms",
            "file, KiB",
            "reload, checked and confirmed, ms",
        ]);
        for grown in &all {
            print(grown, lane);
        }
        let most = all.iter().map(|grown| cost_to_limit(grown, lane).median).fold(0.0, f64::max);
        let growth = most / all.first().map_or(f64::NAN, |small| cost_to_limit(small, lane).median);
        missed.above(
            &format!("{name}: CPU time of a request to the limit, before the worst fleet to before the smallest"),
            growth,
            ALLOWED,
        );
    }
    Ok(())
}

/// CPU time of the proxy for a request, in microseconds.
fn cost(grown: &Grown, lane: usize) -> Spread {
    Spread::of(grown.rounds.iter().map(|round| us(round.came[lane].1.proxy)))
}

/// How many times the CPU time of the limit that is.
fn cost_to_limit(grown: &Grown, lane: usize) -> Spread {
    Spread::of(grown.rounds.iter().map(|round| us(round.came[lane].1.proxy) / us(round.came[0].1.proxy)))
}

fn print(grown: &Grown, lane: usize) {
    let to_limit = |runs: &Runs| runs[lane].0.per_second / runs[0].0.per_second;
    let to_limit = Spread::of(grown.rounds.iter().map(|round| to_limit(&round.came)));
    row([
        grown.shape.networks.to_string(),
        grown.shape.nodes.to_string(),
        format!("{to_limit:.2}"),
        format!("{:.1}", cost(grown, lane)),
        format!("{:.2}", cost_to_limit(grown, lane)),
        format!("{:.1}", grown.memory[lane].proxy),
        format!("{:.2}", ms(grown.plans[lane])),
        format!("{:.0}", grown.bytes[lane] as f64 / 1024.0),
        format!("{:.0}", Spread::of(grown.reloads[lane].iter().copied().map(ms))),
    ]);
}

fn grow(shape: Shape, extent: Extent) -> anyhow::Result<Grown> {
    let plans = WAYS.iter().map(|way| plan(*way, shape)).collect::<Result<_, _>>()?;
    let lanes = Lanes::start(&WAYS, shape)?;
    let mut reloads = vec![Vec::new(); WAYS.len()];
    for turn in 0..extent.pace.rounds {
        for (lane, reloads) in lanes.all.iter().zip(&mut reloads) {
            reloads.push(lane.reload(&format!("r-{}", turn + 1))?);
        }
    }
    let body = setting::single();
    let load = |_| lanes.all.iter().map(|lane| lanes.load(lane, &body, CONNECTIONS, LOAD)).collect();
    let rounds = extent.pace.rounds(&lanes, load, |_, _| {})?;
    let memory = lanes.all.iter().map(Lane::memory).collect::<Result<_, _>>()?;
    let bytes = lanes.all.iter().map(|lane| lane.bytes).collect();
    Ok(Grown { shape, plans, bytes, reloads, rounds, memory })
}

/// How long it takes to decide what is published: rosters, text, and its inspection.
fn plan(way: Way, shape: Shape) -> anyhow::Result<Duration> {
    let ports = Ports { proxy: 1, admin: 2, redis: None };
    let config = setting::read_config(&setting::config_of(way.kind(), false, ports, shape.networks, 3))?;
    let fleet = Fleet::new(shape, &config, 3)?;
    let mut times = Vec::new();
    for _ in 0..11 {
        let begun = Instant::now();
        std::hint::black_box(fleet.plan()?);
        times.push(begun.elapsed());
    }
    Ok(crate::sample::median(&times))
}
