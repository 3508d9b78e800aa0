//! Each way through a proxy beside plain nginx: throughput, latency at rates that all of them stand, memory.

use std::time::Duration;

use super::{Extent, Missed, head, row};
use crate::gate::child::{Kind, Threads};
use crate::gate::setting::{self, us};
use crate::lanes::paced::{self, Latency, Load};
use crate::lanes::{Cost, Lane, Lanes, Run, Runs, Shape, Way};
use crate::rounds::{Round, Spread, most_of_others};
use crate::sample::ms;

/// What is measured, how it is called, and the least that is allowed of [`per_core`] beside the limit over the fewer
/// connections: a bound for what a change may break, below what was measured on an idle machine and on a busy one. The first
/// is the limit.
const WAYS: [(Way, &str, f64); 5] = [
    (Way::Plain, "plain nginx: the limit", 1.0),
    (Way::Off, "nginx, gate off", 0.55),
    (Way::Gate(Kind::Full, Threads::Many), "nginx, gate on", 0.25),
    (Way::Gate(Kind::Shared, Threads::Many), "nginx, gate on, rates in Redis", 0.2),
    (Way::Haproxy, "HAProxy", 0.45),
];
const CONNECTIONS: [u32; 2] = [32, 256];

pub(super) fn measure(extent: Extent, missed: &mut Missed) -> anyhow::Result<()> {
    let lanes = Lanes::start(&WAYS.map(|(way, ..)| way), Shape::SMALL)?;
    println!("\n## Ways\n\n{}; each proxy with one worker.", lanes.programs);
    let mut least = f64::INFINITY;
    for connections in CONNECTIONS {
        let rounds = throughput(&lanes, connections, extent)?;
        if connections == CONNECTIONS[0] {
            for (way, (_, name, allowed)) in WAYS.into_iter().enumerate() {
                let to_limit = spread(&rounds, |runs| per_core(runs, way) / per_core(runs, 0));
                missed.below(&format!("{name}: requests per CPU second, to the limit"), to_limit.median, allowed);
            }
            least =
                (0..WAYS.len()).map(|way| spread(&rounds, |runs| per_second(runs, way)).median).fold(least, f64::min);
        }
    }
    for (part, of) in [("Half", 2.0), ("A quarter", 4.0)] {
        latency(&lanes, part, least / of, extent)?;
    }
    memory(&lanes)?;
    lanes.check()
}

/// One way after the other; who is first changes from round to round.
fn in_turns<T>(
    lanes: &Lanes,
    round: usize,
    mut measure: impl FnMut(&Lane) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let count = lanes.all.len();
    let mut all = Vec::new();
    for turn in 0..count {
        let index = (round + turn) % count;
        all.push((index, measure(&lanes.all[index])?));
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, came)| came).collect())
}

fn spread<T>(rounds: &[Round<T>], of: impl Fn(&T) -> f64) -> Spread {
    Spread::of(rounds.iter().map(|round| of(&round.came)))
}

fn per_second(runs: &Runs, way: usize) -> f64 {
    runs[way].0.per_second
}

/// Of one core that does nothing but serve: the CPU time of node and client is not in it.
fn per_core(runs: &Runs, way: usize) -> f64 {
    1.0 / runs[way].1.serving().as_secs_f64()
}

fn throughput(lanes: &Lanes, connections: u32, extent: Extent) -> anyhow::Result<Vec<Round<Runs>>> {
    let (body, pace) = (setting::single(), extent.pace);
    let load = |round| in_turns(lanes, round, |lane| lanes.load(lane, &body, connections, pace.load));
    let rounds = pace.rounds(lanes, load, |_, _| {})?;
    println!(
        "\n### Throughput, single calls over {connections} connections\n\nMedian (least to most) of {} rounds; others took at \
         most {} of the machine.",
        rounds.len(),
        most_of_others(&rounds)
    );
    head(["", "requests a second", "to the limit", "p50, ms", "p99", "p99.9"]);
    for (way, (_, name, _)) in WAYS.iter().enumerate() {
        let run = |of: fn(&Run) -> Duration| format!("{:.2}", spread(&rounds, |runs| ms(of(&runs[way].0))).median);
        let to_limit = spread(&rounds, |runs| per_second(runs, way) / per_second(runs, 0));
        row([
            (*name).to_owned(),
            format!("{:.0}", spread(&rounds, |runs| per_second(runs, way))),
            format!("{to_limit:.2}"),
            run(|run| run.p50),
            run(|run| run.p99),
            run(|run| run.p999),
        ]);
    }
    head([
        "CPU time",
        "proxy, us a request",
        "gate",
        "Redis",
        "node",
        "client",
        "requests per CPU second of proxy, gate, Redis",
        "to the limit",
    ]);
    for (way, (_, name, _)) in WAYS.iter().enumerate() {
        let cost = |of: fn(&Cost) -> Duration| format!("{:.1}", spread(&rounds, |runs| us(of(&runs[way].1))).median);
        let to_limit = spread(&rounds, |runs| per_core(runs, way) / per_core(runs, 0));
        row([
            (*name).to_owned(),
            cost(|cost| cost.proxy),
            cost(|cost| cost.gate),
            cost(|cost| cost.redis),
            cost(|cost| cost.node),
            cost(|cost| cost.wrk),
            format!("{:.0}", spread(&rounds, |runs| per_core(runs, way))),
            format!("{to_limit:.2}"),
        ]);
    }
    Ok(rounds)
}

fn latency(lanes: &Lanes, part: &str, rate: f64, extent: Extent) -> anyhow::Result<()> {
    let (body, pace, connections) = (setting::single(), extent.pace, CONNECTIONS[0]);
    let run = |lane: &Lane| {
        let request = paced::post(&lane.paths[0], "", &body);
        let request = &|| Ok(request.clone());
        Load { port: lane.port, connections, per_second: rate, time: pace.paced, request, statuses: &[200] }.run()
    };
    let rounds = pace.rounds(lanes, |round| in_turns(lanes, round, run), |_, _| {})?;
    println!(
        "\n### {part} of saturation: {rate:.0} single calls a second over {connections} connections\n\nMilliseconds from when \
         each request was due, and what is added to the limit in the same round; median (least to most) of {} rounds, others \
         took at most {} of the machine.",
        rounds.len(),
        most_of_others(&rounds)
    );
    head(["", "p50", "p99", "p99.9", "added p50", "added p99", "added p99.9"]);
    let quantiles: [fn(&Latency) -> Duration; 3] = [|all| all.p50, |all| all.p99, |all| all.p999];
    for (way, (_, name, _)) in WAYS.iter().enumerate() {
        let own = quantiles.map(|of| format!("{:.2}", spread(&rounds, |all| ms(of(&all[way]))).median));
        let added = quantiles.map(|of| format!("{:.2}", spread(&rounds, |all| ms(of(&all[way])) - ms(of(&all[0])))));
        row([(*name).to_owned()].into_iter().chain(own).chain(added));
    }
    Ok(())
}

fn memory(lanes: &Lanes) -> anyhow::Result<()> {
    println!("\n### Memory after all of that, MiB\n\nWhat several processes share is divided among them.");
    head(["", "proxy, master and worker", "gate"]);
    for (lane, (_, name, _)) in lanes.all.iter().zip(WAYS) {
        let memory = lane.memory()?;
        row([name.to_owned(), format!("{:.1}", memory.proxy), format!("{:.1}", memory.gate)]);
    }
    Ok(())
}
