//! Gates that die or stand still, and a store that does not answer, in all its ways; under load.

use std::time::Duration;

use nodeweir_domain::gate::account::Account;
use nodeweir_emulator::{Fault, On};
use rustix::process::Signal;

use crate::client::Connection;
use crate::load::Load;
use crate::process::until;
use crate::world::{Task, World};

fn is_long() -> bool {
    std::env::var("NODEWEIR_MANY").is_ok_and(|form| form == "long")
}

/// The quick form of a time, or the long one.
fn form(quick: u64, long: u64) -> Duration {
    Duration::from_secs(if is_long() { long } else { quick })
}

fn identity(account: &Account) {
    let left = i128::from(account.granted) - i128::from(account.spent) - i128::from(account.written_off);
    assert_eq!(left - i128::try_from(account.leased()).unwrap(), account.left(), "{account:?}");
    assert!(account.left() >= 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nothing_is_spent_twice_and_nobody_is_told_that_nothing_is_left() {
    let mut world = World::with(3).await;
    let key = world.key("shop", "big").await;
    let ports: Vec<u16> = world.tasks.iter().map(Task::port).collect();
    // So slow in the long form that the overdraft lasts: 6,666 credits at each gate.
    let load =
        Load::start(&ports, &key, if is_long() { Duration::from_millis(150) } else { Duration::from_millis(20) });
    load.passes(100).await;

    // A gate dies with its lease, and another one stands in its place.
    let killed = world.tasks[0].gate().await;
    world.tasks[0].signal_gate(Signal::KILL).await;
    until("another gate is there", async || (world.tasks[0].gate().await != killed).then_some(())).await;
    load.passes(100).await;
    identity(&world.account("shop").await);

    // The store refuses every second call, and then takes 2 s for each.
    world.tasks.iter().for_each(|task| task.rig.aws.fault(On::service("dynamodb").every_second(), Fault::Throttled));
    load.lasts(form(8, 60)).await;
    load.passes(100).await;
    world.heal_all();
    world.fault_all(&Fault::Late(Duration::from_secs(2)));
    load.lasts(form(10, 60)).await;
    load.passes(100).await;
    identity(&world.account("shop").await);

    // It is away; what was leased is spent, then the overdraft.
    world.heal_all();
    let before = load.counts();
    world.fault_all(&Fault::Refused);
    load.lasts(form(12, 600)).await;
    load.passes(100).await;
    // An overdraft of 20,000 lasts for longer; but a gate that gets no time may answer too late for nginx.
    let (away, unavailable) = (load.counts(), load.counts().of(503) - before.of(503));
    assert!(unavailable * 50 <= away.passed() - before.passed(), "{before:?}, then {away:?}");
    world.heal_all();
    load.passes(100).await;

    // One stands still: beyond its lease in the long form, until that is written off.
    world.tasks[1].signal_gate(Signal::STOP).await;
    load.lasts(form(8, 100)).await;
    world.tasks[1].signal_gate(Signal::CONT).await;
    load.passes(100).await;
    world.know_each_other().await;

    let (counts, took) = load.end().await;
    println!("{counts:?} in {took:.0?}");
    let told: u64 = [401, 402, 403, 429].into_iter().map(|status| counts.of(status)).sum();
    assert_eq!(told, 0, "nobody is told that it may not: {counts:?}");
    // After a moment without calls nobody holds anything but the dead, whose lease ends by itself.
    for task in &world.tasks {
        let answer = Connection::call(task.port(), &format!("/ethereum/v3/{key}"), "eth_blockNumber").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let passed = counts.passed() + 3;
    world.stop().await;
    let account = world.account("shop").await;
    identity(&account);
    let (held, leased) = (account.written_off + u64::try_from(account.leased()).unwrap(), account.leased());
    println!("passed {passed}, {account:?}");
    // What the dead gate had not reported is in its lease; what was charged and not answered is at most what broke.
    assert!(account.spent <= passed + counts.broken + counts.of(500) + counts.of(503), "spent for nothing: {passed}");
    assert!(account.spent + held >= passed, "passed without being paid: {passed}, {leased} leased");
}

/// Both were counted by nginx, whatever became of the gates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_of_all_adds_up_also_when_a_gate_is_killed_while_it_counts() {
    let mut world = World::with(3).await;
    let key = world.key("shop", "big").await;
    let ports: Vec<u16> = world.tasks.iter().map(Task::port).collect();
    let load = Load::start(&ports, &key, Duration::from_millis(5));
    load.passes(300).await;
    world.tasks[0].signal_gate(Signal::KILL).await;
    load.passes(300).await;
    let (counts, _) = load.end().await;
    world.stop().await;
    // A request that the dead gate could not decide has no project in the log; one that was told to come again costs nothing.
    let (calls, credits) = world.used("shop").await;
    assert!((counts.passed()..=counts.passed() + counts.broken).contains(&credits), "{credits}: {counts:?}");
    assert!((credits..=credits + counts.of(503)).contains(&calls), "{calls}: {counts:?}");
}
