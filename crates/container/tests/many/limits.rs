//! One project's rate among several gates, and what an operator changes.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use nodeweir_domain::gate::key::{Key, KeyDigest};
use nodeweir_store::{GateStore as _, Written};
use rustix::process::Signal;

use crate::client::Connection;
use crate::load::{Counts, Load};
use crate::process::{send, until};
use crate::redis::Redis;
use crate::steady::steadily;
use crate::world::{Task, World};

/// Of the tier `slow`.
const RATE: f64 = 50.0;

/// The calls that the rate lets pass in that time.
fn part_of_rate(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap() * 50 / 1000
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn part(passed: u64, took: Duration) -> f64 {
    passed as f64 / (RATE * took.as_secs_f64())
}

/// Calls that gates counted by themselves because the Redis answered too late, or not.
async fn counted_here(world: &World) -> u64 {
    let mut sum = 0;
    for task in &world.tasks {
        sum += task.metric("nodeweir_gate_limits_local_total").await.unwrap_or(0);
    }
    sum
}

/// What all tasks admit together while their number stays, in parts of the rate; the burst is gone before.
async fn admitted(world: &World, key: &str) -> f64 {
    let start = |task: &Task| Load::start(&[task.port(); 2], key, Duration::from_millis(5));
    let loads: Vec<Load> = world.tasks.iter().map(start).collect();
    let is_spent = async || loads.iter().all(|load| load.counts().of(429) > 20).then_some(());
    until("the burst of each is used up", is_spent).await;
    let passed = || loads.iter().map(|load| load.counts().passed()).sum::<u64>();
    let here = counted_here(world).await;
    let (before, began) = (passed(), Instant::now());
    loads[0].lasts(Duration::from_secs(4)).await;
    let (after, took) = (passed(), began.elapsed());
    // Of these, each may have passed beside those that the Redis let pass, up to a rate once more.
    let here = (counted_here(world).await - here).min(part_of_rate(took));
    join_all(loads.into_iter().map(Load::end)).await;
    let share = part((after - before).saturating_sub(here).max((after - before).min(part_of_rate(took))), took);
    println!("{} tasks admitted {share:.3} of the rate", world.tasks.len());
    share
}

/// Somebody else's calls of each task, as long as there is one.
struct Meanwhile {
    key: String,
    loads: Vec<Load>,
    ended: Vec<Counts>,
}

impl Meanwhile {
    fn follow(&mut self, world: &World) {
        for task in &world.tasks[self.loads.len()..] {
            self.loads.push(Load::start(&[task.port()], &self.key, Duration::from_millis(50)));
        }
    }

    /// As a load balancer does before it lets a task go.
    async fn leave(&mut self, tasks: usize) {
        for load in self.loads.split_off(tasks.min(self.loads.len())) {
            self.ended.push(load.end().await.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn together_they_admit_what_one_would_however_many_they_are() {
    let mut world = World::with(1).await;
    let (key, key_of_other) = (world.key("shop", "slow").await, world.key("other", "big").await);
    let mut meanwhile = Meanwhile { key: key_of_other, loads: Vec::new(), ended: Vec::new() };
    let mut shares = Vec::new();
    for tasks in [1, 3, 10, 2] {
        meanwhile.leave(tasks).await;
        world.scale(tasks).await;
        meanwhile.follow(&world);
        shares.push(admitted(&world, &key).await);
    }
    meanwhile.leave(0).await;
    // One is killed, and nobody says goodbye for it.
    let mut killed = world.tasks.pop().unwrap();
    let gate = killed.gate().await;
    killed.container.child.kill();
    send(gate, Signal::KILL);
    drop(killed);
    world.know_each_other().await;
    shares.push(admitted(&world, &key).await);
    // A call for each gate may fall into the time or out of it, and the machine may stand still for a while.
    assert!(shares.iter().all(|share| (0.75..1.1).contains(share)), "{shares:?}");
    world.stop().await;

    // They came and went, and each call of the other project was paid for once.
    let passed: u64 = meanwhile.ended.iter().map(Counts::passed).sum();
    let is_well = |counts: &Counts| counts.passed() + counts.of(503) == counts.all() && counts.broken == 0;
    assert!(meanwhile.ended.iter().all(is_well), "{:?}", meanwhile.ended);
    let account = world.account("other").await;
    let paid = account.spent + account.written_off + u64::try_from(account.leased()).unwrap();
    // The one that was killed may have had a lease.
    assert!(account.spent <= passed && passed <= paid, "{passed}: {account:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_redis_counts_for_all_and_each_takes_its_share_while_it_is_dead() {
    let mut redis = Redis::start().await;
    let mut world = World::counted_by(redis.port, 3).await;
    let key = world.key("shop", "slow").await;
    let away = async |expected: u64| {
        for task in &world.tasks {
            let look = async || task.metric("nodeweir_gate_limits_away").await.filter(|away| *away == expected);
            until("the gates notice", look).await;
        }
    };
    let mut shares = vec![admitted(&world, &key).await];
    // Whoever meets one gate only has the whole rate.
    let one = Load::start(&[world.tasks[0].port(); 4], &key, Duration::from_millis(5));
    until("the burst is used up", async || (one.counts().of(429) > 20).then_some(())).await;
    let (here, before, began) = (counted_here(&world).await, one.counts().passed(), Instant::now());
    one.lasts(Duration::from_secs(3)).await;
    let (passed, took) = (one.counts().passed() - before, began.elapsed());
    let here = counted_here(&world).await - here;
    shares.push(part(passed.saturating_sub(here).max(passed.min(part_of_rate(took))), took));
    redis.kill();
    // It is noticed by whoever asks.
    let ports: Vec<u16> = world.tasks.iter().map(Task::port).collect();
    let asking = Load::start(&ports, &key, Duration::from_millis(50));
    away(1).await;
    let (counts, _) = asking.end().await;
    assert_eq!((counts.of(503), counts.of(500), counts.broken), (0, 0, 0), "{counts:?}");
    one.end().await;
    shares.push(admitted(&world, &key).await);
    redis.restart().await;
    away(0).await;
    shares.push(admitted(&world, &key).await);
    assert!(shares.iter().all(|share| (0.75..1.1).contains(share)), "{shares:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_every_gate_within_half_a_minute() {
    steadily(revoke).await;
}

async fn revoke() {
    let mut world = World::with(3).await;
    let key = world.key("shop", "big").await;
    let ports: Vec<u16> = world.tasks.iter().map(Task::port).collect();
    let load = Load::start(&ports, &key, Duration::from_millis(20));
    load.passes(30).await;
    let digest = KeyDigest::of(&key);
    let seen = world.store.key(&digest).await.unwrap().unwrap();
    let revoked = Key { revoked: Some(Timestamp::now()), ..seen.clone() };
    assert_eq!(world.store.put_key(Some(&seen), &revoked).await.unwrap(), Written::Done);
    let began = Instant::now();
    for port in ports {
        let refuses = async || {
            let path = format!("/ethereum/v3/{key}");
            let answer = Connection::call(port, &path, "eth_blockNumber").await.ok()?;
            (answer.status == 401).then_some(())
        };
        until("the key is refused", refuses).await;
    }
    let took = began.elapsed();
    println!("the revocation took {took:.1?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    load.end().await;
    world.stop().await;
}
