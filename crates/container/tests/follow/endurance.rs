//! What goes on for long, or happens often, is served through, and costs no more memory in the end than at first.

use std::fs;
use std::time::Instant;

use nodeweir_emulator::{Answer, Fault, On};
use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Load, failures};
use crate::nodes::Anvil;
use crate::process::{send, until, until_or};
use crate::rig::Rig;

/// How many reloads there are in the long form, which also tries what takes a minute.
const VARIABLE: &str = "NODEWEIR_RELOADS";
const USUAL: usize = 40;
/// Reloads until memory is what it will be.
const WARM_UP: usize = 20;
/// KiB that a process may yet grow by, however many reloads follow.
const GROWTH: u64 = 2048;

fn long_form() -> Option<usize> {
    let text = std::env::var(VARIABLE).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is not a number: {text}")))
}

/// KiB of memory that a process has.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn reload_after_reload_loses_no_request_and_grows_no_memory() {
    let (leader, one, other) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let mut rig = Rig::new(leader.port).await;
    rig.look = "50ms";
    // However long the machine stands still, no old worker ends before its clients have left it.
    rig.timeouts = "connect: 500ms, attempt: 5s, total: 20s, keepalive_min: 20s, shutdown: 60s, drain: 1s";
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    let mut container = rig.start();
    container.serves("one").await;
    let usual = container.proxy.all().len();
    let master = u32::try_from(container.proxy.master().unwrap()).unwrap();
    let memory = || [container.child.0.id(), master].map(resident);
    let load = Load::start(rig.port, 8);
    let (start, mut warm, reloads) = (Instant::now(), None, long_form().unwrap_or(USUAL));
    for round in 0..reloads {
        let (name, port) = if round % 2 == 0 { ("other", other.port) } else { ("one", one.port) };
        let revision = rig.revision(u64::try_from(round).unwrap() + 2, name, port);
        rig.publish(&revision.compose()).await;
        let look = async || (container.running().await? == revision.name()).then_some(());
        until_or(look, || format!("{} does not run; it says: {}", revision.name(), container.said())).await;
        if round == WARM_UP {
            warm = Some(memory());
        }
    }
    let took = start.elapsed();
    let (warm, end) = (warm.expect("more reloads than warm-up"), memory());
    let tried = load.end().await;
    println!(
        "{reloads} reloads in {took:?}, {} requests, {} failed; KiB of nodeweir-proxy and nginx's master {warm:?} after \
         {WARM_UP} reloads, {end:?} after all",
        tried.len(),
        failures(&tried).len()
    );
    assert_eq!(failures(&tried), Vec::<&str>::new(), "of {}", tried.len());
    assert!(tried.len() > reloads, "{} requests are no load", tried.len());
    for (warm, end) in warm.into_iter().zip(end) {
        assert!(end <= warm + GROWTH, "from {warm} to {end} KiB");
    }
    until("the old workers are gone", async || (container.proxy.all().len() <= usual).then_some(())).await;
    assert_eq!(container.proxy.master(), i32::try_from(master).ok());
    assert_eq!(container.stop().await, 0);
}

/// How many failures in a row were told, each time.
fn told(said: &str) -> Vec<u64> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["failures"].as_u64()).collect()
}

#[tokio::test]
async fn while_s3_is_away_what_runs_goes_on_and_it_is_told_less_and_less_often() {
    let (leader, one, other) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let mut rig = Rig::new(leader.port).await;
    rig.look = "100ms";
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    let mut container = rig.start();
    container.serves("one").await;
    container.says(r#""message":"runs""#).await;
    let load = Load::start(rig.port, 4);
    let away = [Fault::Refused, Fault::Failed, Fault::Instead(Answer::error(403, "AccessDenied"))];
    for (seq, fault) in (2..).zip(away) {
        let before = container.said().len();
        let said = || container.said().split_off(before);
        rig.aws.fault(On::service("s3").by("task"), fault);
        let (name, port) = if seq % 2 == 0 { ("other", other.port) } else { ("one", one.port) };
        rig.publish(&rig.revision(seq, name, port).compose()).await;
        until_or(
            async || told(&said()).contains(&16).then_some(()),
            || format!("not often enough, or not told: {}", said()),
        )
        .await;
        assert_ne!(load.tried().last().unwrap().outcome.as_deref(), Ok(name), "nobody can know of it yet");
        let (told, mut expected) = (told(&said()), vec![1, 2, 4, 8, 16, 32, 64]);
        expected.truncate(told.len());
        assert_eq!(told, expected);
        rig.aws.heal();
        load.until_answered_by(&[name]).await;
        assert!(said().contains("what is published can be read again"), "{}", said());
    }
    let tried = load.end().await;
    assert_eq!(failures(&tried), Vec::<&str>::new(), "of {}", tried.len());
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn a_proxy_that_never_stays_up_ends_the_container() {
    if long_form().is_none() {
        return println!("skipped: the pauses between seven restarts take a minute; {VARIABLE} asks for the long form");
    }
    let leader = Anvil::start().await;
    let rig = Rig::new(leader.port).await;
    let mut container = rig.start();
    container.serves("leader").await;
    container.says("the leaders serve alone").await;
    // A restart takes the file as it is.
    fs::write(container.proxy.0.join("nginx.conf"), "nonsense;\n").unwrap();
    send(container.proxy.master().unwrap(), Signal::KILL);
    assert_eq!(container.ends().await, 1);
    container.says("nginx does not stay up, although it was started 7 times in a row").await;
    assert_eq!(container.said().matches("the proxy cannot be started").count(), 7, "{}", container.said());
    assert_eq!(container.proxy.all(), [0; 0]);
}
