//! The gate behind real nginx: how much it costs in throughput, and in latency at half of that.

mod floods;
mod lanes;
mod nginx;
mod paced;
mod redis;
mod wrk;

use std::time::Duration;

use super::child::{Kind, Threads};
use super::machine::{Calm, Share};
use super::setting::{self, calm};
use crate::sample::{median, ms};
use lanes::{Cost, Lane, Lanes};
use paced::{Latency, Load};

pub(crate) use floods::measure as measure_floods;
pub(crate) use nginx::free_port;

/// How long `wrk` loads one way at a time.
const EACH: Duration = Duration::from_secs(3);
/// Rounds that count, of each case.
const ROUNDS: usize = 5;
/// Rounds that are tried until so many were calm.
const TRIES: usize = 15;
/// What other programs may take of the machine in a round that counts.
const CALM: Share = Share::percent(5);
/// How long requests come at a fixed rate.
const PACED: Duration = Duration::from_secs(5);
const CONNECTIONS: [u32; 2] = [32, 256];

const ALLOWED_RATIO: f64 = 0.95;
const ALLOWED_SHARED: f64 = 0.8;
const ALLOWED_P50: Duration = Duration::from_micros(200);
const ALLOWED_P99: Duration = Duration::from_millis(1);

/// Nginx without gate, with one that does nothing, and with the real one.
pub(crate) fn measure() -> anyhow::Result<()> {
    let ways = [None, Some((Kind::Nothing, Threads::One)), Some((Kind::Full, Threads::One))];
    let lanes = Lanes::start(&ways)?;
    println!("through nginx with one worker ({}; {})", lanes.nginx_version, calm());
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
        Some((Kind::Nothing, Threads::One)),
        Some((Kind::Nothing, Threads::Many)),
        Some((Kind::Full, Threads::One)),
        Some((Kind::Full, Threads::Many)),
    ];
    let lanes = Lanes::start(&ways)?;
    println!("threads of the gate, through nginx with one worker ({}; {})", lanes.nginx_version, calm());
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

/// What is left of the gate's throughput when rates are counted in Redis, on the same machine.
pub(crate) fn measure_limits() -> anyhow::Result<()> {
    let lanes = Lanes::start(&[Some((Kind::Full, Threads::Many)), Some((Kind::Shared, Threads::Many))])?;
    println!("rates in Redis, through nginx with one worker ({}; {})", lanes.nginx_version, calm());
    for (what, body) in [("single", setting::single()), ("batch of 20", setting::batch())] {
        for connections in CONNECTIONS {
            let before = Lanes::local(&lanes.all[1])?;
            let rounds = rounds(&lanes, &body, connections)?;
            print(&format!("{what} call, {} B, {connections} connections", body.len()), &lanes, &rounds);
            let kept = ratios(&rounds, 1, 0);
            let verdict = if kept.median >= ALLOWED_SHARED { "kept" } else { "MISSED" };
            let local = Lanes::local(&lanes.all[1])? - before;
            println!(
                "    Redis to full: {kept}, allowed {ALLOWED_SHARED}: {verdict}; {local} requests not counted there"
            );
        }
    }
    println!();
    lanes.check()
}

/// What was measured once, and what others took of the machine meanwhile.
struct Round<T> {
    came: T,
    others: Share,
}

/// Measures again and again, until enough rounds were calm; without enough of them, all count. `tell` is told of each,
/// and how many there were before.
fn calm_rounds<T>(
    lanes: &Lanes,
    mut measure: impl FnMut() -> anyhow::Result<T>,
    tell: impl Fn(usize, &Round<T>),
) -> anyhow::Result<Vec<Round<T>>> {
    let mut rounds: Vec<Round<T>> = Vec::new();
    let is_calm = |round: &Round<T>| round.others <= CALM;
    let is_enough = |rounds: &[Round<T>]| rounds.iter().filter(|round| is_calm(round)).count() >= ROUNDS;
    while rounds.len() < TRIES && !is_enough(&rounds) {
        let before = Calm::now(&lanes.pids()?)?;
        let came = measure()?;
        let round = Round { came, others: before.others_since(&lanes.pids()?)? };
        tell(rounds.len(), &round);
        rounds.push(round);
    }
    if is_enough(&rounds) {
        rounds.retain(is_calm);
    }
    Ok(rounds)
}

/// What others took in the worst round.
fn most_of_others<T>(rounds: &[Round<T>]) -> Share {
    rounds.iter().map(|round| round.others).max().unwrap_or_default()
}

/// One load of each lane, in the order of the lanes.
type Runs = Vec<(wrk::Run, Cost)>;

/// Loads one lane after the other.
fn rounds(lanes: &Lanes, body: &str, connections: u32) -> anyhow::Result<Vec<Round<Runs>>> {
    let load = || lanes.all.iter().map(|lane| lanes.load(lane, body, connections, EACH)).collect();
    calm_rounds(lanes, load, |_, _| {})
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
        let times = |of: fn((wrk::Run, Cost)) -> Duration| median(&runs().map(of).collect::<Vec<_>>());
        let [nginx, gate, node, wrk] = [
            times(|(_, cost)| cost.nginx),
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

/// Several measurements of one thing.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { least: at(0), median: at(values.len() / 2), most: at(values.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.least, self.most)
    }
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
        let request = paced::post(&lane.path, "", &body);
        let request = &|| Ok(request.clone());
        let port = lane.nginx.port;
        Load { port, connections, per_second: rate, time: PACED, request, statuses: &[200] }.run()
    };
    let measure = || Ok([run(&lanes.all[0])?, run(&lanes.all[1])?, run(&lanes.all[2])?]);
    let tell = |before: usize, round: &Round<[Latency; 3]>| {
        let ([off, nothing, full], others) = (round.came, round.others);
        let added = full.less(off);
        println!(
            "  {:>5} {:>7.3} ms {:>7.3} ms {:>9.3} ms {:>7.3} ms {:>7.3} ms {:>7.3} ms {:>7.3} ms {:>7.3} ms {:>8}",
            before + 1,
            ms(off.p50),
            ms(off.p99),
            ms(nothing.p50),
            ms(nothing.p99),
            ms(full.p50),
            ms(full.p99),
            ms(added.p50),
            ms(added.p99),
            others.to_string(),
        );
    };
    let rounds = calm_rounds(lanes, measure, tell)?;
    let added = |lane: usize, to: usize| {
        let all: Vec<_> = rounds.iter().map(|round| round.came[lane].less(round.came[to])).collect();
        let [p50, p99] = [|added: &Latency| added.p50, |added: &Latency| added.p99];
        [p50, p99].map(|of| median(&all.iter().map(of).collect::<Vec<_>>()))
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
