//! The gate behind real nginx: how much it costs in throughput, and in latency at half of that.

mod floods;

use std::time::Duration;

use super::child::{Kind, Threads};
use super::setting::{self, calm};
use crate::lanes::paced::{self, Latency, Load};
use crate::lanes::{Cost, Lane, Lanes, Run, Runs, Shape, Way};
use crate::rounds::{Pace, Round, Spread, most_of_others};
use crate::sample::{median, ms};

pub(crate) use floods::measure as measure_floods;

const PACE: Pace = Pace { rounds: 5, tries: 15, load: Duration::from_secs(3), paced: Duration::from_secs(5) };
const CONNECTIONS: [u32; 2] = [32, 256];
const KEYS: [usize; 3] = [1, MOST_BUSY, 2_000];
/// So many keys have at least 30 requests a second each.
const MOST_BUSY: usize = 100;

const ALLOWED_RATIO: f64 = 0.95;
const ALLOWED_SHARED: f64 = 0.8;
const ALLOWED_P50: Duration = Duration::from_micros(200);
const ALLOWED_P99: Duration = Duration::from_millis(1);

/// Nginx without gate, with one that does nothing, and with the real one.
pub(crate) fn measure() -> anyhow::Result<()> {
    let ways = [Way::Off, Way::Gate(Kind::Nothing, Threads::One), Way::Gate(Kind::Full, Threads::One)];
    let lanes = Lanes::start(&ways, Shape::SMALL)?;
    println!("through nginx with one worker ({}; {})", lanes.programs, calm());
    let mut saturation = f64::INFINITY;
    for (what, body) in [("single", setting::single()), ("batch of 20", setting::batch())] {
        for connections in CONNECTIONS {
            let rounds = rounds(&lanes, &body, connections)?;
            print(&format!("{what} call, {} B, {connections} connections", body.len()), &lanes, &rounds);
            let [off, nothing, full] = [0, 1, 2].map(|lane| ratios(&rounds, lane, 0));
            let to_nothing = ratios(&rounds, 2, 1);
            println!("    to gate off: does nothing {nothing}, full {full} (itself {off})");
            let verdict = if to_nothing.median >= ALLOWED_RATIO { "kept" } else { "MISSED" };
            println!("    full to does-nothing: {to_nothing}, allowed {ALLOWED_RATIO}: {verdict}");
            if what == "single" && connections == CONNECTIONS[0] {
                saturation = per_second(&rounds, 2);
            }
        }
    }
    println!();
    latency(&lanes, "half", saturation / 2.0)?;
    latency(&lanes, "a quarter", saturation / 4.0)?;
    lanes.check()
}

/// On how many threads the gate is best run.
pub(crate) fn measure_threads() -> anyhow::Result<()> {
    let ways = [
        Way::Gate(Kind::Nothing, Threads::One),
        Way::Gate(Kind::Nothing, Threads::Many),
        Way::Gate(Kind::Full, Threads::One),
        Way::Gate(Kind::Full, Threads::Many),
    ];
    let lanes = Lanes::start(&ways, Shape::SMALL)?;
    println!("threads of the gate, through nginx with one worker ({}; {})", lanes.programs, calm());
    for (what, body) in [("single", setting::single()), ("batch of 20", setting::batch())] {
        for connections in CONNECTIONS {
            let rounds = rounds(&lanes, &body, connections)?;
            print(&format!("{what} call, {} B, {connections} connections", body.len()), &lanes, &rounds);
            let [nothing, full] = [(1, 0), (3, 2)].map(|(lane, to)| ratios(&rounds, lane, to));
            println!("    many threads to one: does nothing {nothing}, full {full}");
        }
    }
    println!();
    lanes.check()
}

/// What is left of the gate's throughput when rates are counted in Redis, on the same machine: for one key, for as many as
/// a busy stage has, and for so many that each is asked for too seldom to take something in advance, which nothing is
/// demanded of.
pub(crate) fn measure_limits() -> anyhow::Result<()> {
    let ways = [Way::Gate(Kind::Full, Threads::Many), Way::Gate(Kind::Shared, Threads::Many)];
    for keys in KEYS {
        let lanes = Lanes::start(&ways, Shape { keys, ..Shape::SMALL })?;
        println!("rates in Redis, keys: {keys}, through nginx with one worker ({}; {})", lanes.programs, calm());
        for (what, body) in [("single", setting::single()), ("batch of 20", setting::batch())] {
            for connections in CONNECTIONS {
                let before = lanes.all[1].counted_locally()?;
                let rounds = rounds(&lanes, &body, connections)?;
                print(&format!("{what} call, {} B, {connections} connections", body.len()), &lanes, &rounds);
                let kept = ratios(&rounds, 1, 0);
                let verdict = match kept.median >= ALLOWED_SHARED {
                    _ if keys > MOST_BUSY => String::new(),
                    true => format!(", allowed {ALLOWED_SHARED}: kept"),
                    false => format!(", allowed {ALLOWED_SHARED}: MISSED"),
                };
                let local = lanes.all[1].counted_locally()? - before;
                println!("    Redis to full: {kept}{verdict}; {local} requests not counted there");
                // What is kept where Redis, node and client are on other machines.
                let own = |runs: &Runs, lane: usize| runs[lane].1.proxy + runs[lane].1.gate;
                let by_cpu = |runs: &Runs| own(runs, 0).as_secs_f64() / own(runs, 1).as_secs_f64();
                let by_cpu = Spread::of(rounds.iter().map(|round| by_cpu(&round.came)));
                println!("    by the CPU time of nginx and the gate: {by_cpu}");
            }
        }
        println!();
        lanes.check()?;
    }
    Ok(())
}

/// Loads one lane after the other.
fn rounds(lanes: &Lanes, body: &str, connections: u32) -> anyhow::Result<Vec<Round<Runs>>> {
    let load = |_| lanes.all.iter().map(|lane| lanes.load(lane, body, connections, PACE.load)).collect();
    PACE.rounds(lanes, load, |_, _| {})
}

fn print(what: &str, lanes: &Lanes, rounds: &[Round<Runs>]) {
    let most = most_of_others(rounds);
    println!("  {what}; {} rounds, others took at most {most} of the machine", rounds.len());
    println!(
        "    {:<26} {:>10} {:>9} {:>9}   CPU per request: {:>8} {:>8} {:>8} {:>8}",
        "", "req/s", "p50", "p99", "nginx", "gate", "node", "wrk"
    );
    for (index, Lane { name, .. }) in lanes.all.iter().enumerate() {
        let runs = || rounds.iter().map(|round| round.came[index]);
        let times = |of: fn((Run, Cost)) -> Duration| median(&runs().map(of).collect::<Vec<_>>());
        let [nginx, gate, node, wrk] = [
            times(|(_, cost)| cost.proxy),
            times(|(_, cost)| cost.gate),
            times(|(_, cost)| cost.node),
            times(|(_, cost)| cost.wrk),
        ]
        .map(setting::us);
        println!(
            "    {name:<26} {:>10.0} {:>6.2} ms {:>6.2} ms {:>17} {nginx:>5.1} us {gate:>5.1} us {node:>5.1} us {wrk:>5.1} us",
            per_second(rounds, index),
            ms(times(|(run, _)| run.p50)),
            ms(times(|(run, _)| run.p99)),
            "",
        );
    }
}

fn per_second(rounds: &[Round<Runs>], lane: usize) -> f64 {
    Spread::of(rounds.iter().map(|round| round.came[lane].0.per_second)).median
}

/// The throughput of one lane to that of another in the same round.
fn ratios(rounds: &[Round<Runs>], lane: usize, to: usize) -> Spread {
    Spread::of(rounds.iter().map(|round| round.came[lane].0.per_second / round.came[to].0.per_second))
}

/// What the gate adds to each request when there is no crowd, and how much of it one that does nothing adds.
fn latency(lanes: &Lanes, part: &str, rate: f64) -> anyhow::Result<()> {
    let connections = CONNECTIONS[0];
    println!(
        "latency at {part} of saturation: {rate:.0} single calls a second over {connections} connections, from when \
         each was due ({})",
        calm()
    );
    println!(
        "  {:>5} {:>10} {:>10} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>8}",
        "round", "off p50", "p99", "nothing p50", "p99", "full p50", "p99", "added p50", "p99", "others"
    );
    let body = setting::single();
    let run = |lane: &Lane| {
        let request = paced::post(&lane.paths[0], "", &body);
        let request = &|| Ok(request.clone());
        let port = lane.port;
        Load { port, connections, per_second: rate, time: PACE.paced, request, statuses: &[200] }.run()
    };
    let measure = |_| Ok([run(&lanes.all[0])?, run(&lanes.all[1])?, run(&lanes.all[2])?]);
    let tell = |before: usize, round: &Round<[Latency; 3]>| {
        let ([off, nothing, full], others) = (round.came, round.others);
        let added = [full.p50.saturating_sub(off.p50), full.p99.saturating_sub(off.p99)];
        println!(
            "  {:>5} {:>7.3} ms {:>7.3} ms {:>9.3} ms {:>7.3} ms {:>7.3} ms {:>7.3} ms {:>7.3} ms {:>7.3} ms {:>8}",
            before + 1,
            ms(off.p50),
            ms(off.p99),
            ms(nothing.p50),
            ms(nothing.p99),
            ms(full.p50),
            ms(full.p99),
            ms(added[0]),
            ms(added[1]),
            others.to_string(),
        );
    };
    let rounds = PACE.rounds(lanes, measure, tell)?;
    let added = |lane: usize, to: usize| {
        let [p50, p99] = [|latency: &Latency| latency.p50, |latency: &Latency| latency.p99];
        [p50, p99].map(|of| {
            let added = |round: &Round<[Latency; 3]>| of(&round.came[lane]).saturating_sub(of(&round.came[to]));
            median(&rounds.iter().map(added).collect::<Vec<_>>())
        })
    };
    let ([p50, p99], of_nothing) = (added(2, 0), added(1, 0));
    let verdict = if p50 < ALLOWED_P50 && p99 < ALLOWED_P99 { "kept" } else { "MISSED" };
    println!(
        "  added, medians of {}: p50 {:.3} ms, allowed {:.1}; p99 {:.3} ms, allowed {:.1}: {verdict} (by a gate that does \
         nothing: {:.3} and {:.3} ms)\n",
        rounds.len(),
        ms(p50),
        ms(ALLOWED_P50),
        ms(p99),
        ms(ALLOWED_P99),
        ms(of_nothing[0]),
        ms(of_nothing[1]),
    );
    Ok(())
}
