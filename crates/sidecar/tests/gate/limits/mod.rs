//! Rates counted in a real Redis for several gates, which is away at times.

mod oracle;

use std::time::{Duration, Instant};

use nodeweir_domain::gate::rate::advance::TERM;
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_sidecar::{Ages, PATIENCE};
use redis::Value;

use crate::redis::Redis;
use crate::rig::{PASSWORD, Rig, call, until};
use crate::steady::steadily;

const TIERS: &str = ", tiers: {slow: {requests_per_second: 1, credits_per_month: 1000000}, \
                     fast: {requests_per_second: 50, credits_per_month: 1000000}, \
                     busy: {requests_per_second: 140, credits_per_month: 1000000}, \
                     poor: {requests_per_second: 1000, credits_per_month: 10}}";

const AWAY: &str = "nodeweir_gate_limits_away";
const LOCAL: &str = "nodeweir_gate_limits_local_total";

async fn gate(redis: &Redis) -> Rig {
    Rig::start(&format!("{}{TIERS}", redis.limits())).await
}

fn outcome(of: &str) -> String {
    format!("nodeweir_gate_limits_calls_total{{outcome=\"{of}\"}}")
}

/// Waits until the gate counts there again, or not any more.
async fn is_away(rig: &Rig, away: u64) {
    until("the gate notices", async || (rig.metric(AWAY).await == away).then_some(())).await;
}

/// How many of so many pass, one after the other.
async fn passed(rig: &Rig, key: &str, count: usize) -> u64 {
    let mut passed = 0;
    for _ in 0..count {
        let said = rig.gate(key, &call("eth_call")).await;
        assert!(said.status == 204 || said.refusal().contains("RATE_LIMIT"), "{said:?}");
        passed += u64::from(said.status == 204);
    }
    passed
}

/// The names of the keys that the server holds, but for the one by which it is tried.
async fn held(redis: &Redis) -> Vec<String> {
    let names: Vec<String> = redis::from_redis_value(redis.say(&["KEYS", "*"]).await.unwrap()).unwrap();
    names.into_iter().filter(|name| !name.ends_with(":000000000000")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gates_together_let_through_what_one_may() {
    let redis = Redis::start(&[]).await;
    let rigs = [gate(&redis).await, gate(&redis).await, gate(&redis).await];
    let mut keys = Vec::new();
    for rig in &rigs {
        is_away(rig, 0).await;
        keys.push(rig.key("shop", "fast", 1, Restrictions::default()).await);
    }
    let begun = Instant::now();
    let spam = async |rig: &Rig, key: &str| {
        let mut count = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            count += passed(rig, key, 1).await;
        }
        count
    };
    let [a, b, c] = &rigs;
    let (a, b, c) = tokio::join!(spam(a, &keys[0]), spam(b, &keys[1]), spam(c, &keys[2]));
    let (all, took) = (a + b + c, begun.elapsed());
    let mut local = 0;
    for rig in &rigs {
        local += rig.metric(LOCAL).await;
    }
    println!("{a} + {b} + {c} in {took:?}, at most {local} of them not counted together");
    let most = |time: Duration| 100 + 50 * u64::try_from(time.as_millis()).unwrap() / 1000;
    assert!(all <= most(took + 2 * TERM) + 1 + local, "more than one gate would let through");
    assert!(all >= most(took.saturating_sub(Duration::from_millis(500))), "less than one gate would let through");
}

/// What the server keeps of the only key: millionths of a token that were missing, and when, by its own clock.
async fn kept(redis: &Redis) -> (u64, Duration) {
    let names = held(redis).await;
    let Some(name) = names.first() else { panic!("its bucket is full again: this machine has too little time") };
    let kept: String = redis::from_redis_value(redis.say(&["GET", name]).await.unwrap()).unwrap();
    let mut numbers = kept.split(' ').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), Duration::from_micros(numbers.next().unwrap()))
}

#[tokio::test]
async fn a_busy_key_needs_few_calls_and_gives_back_what_it_does_not_use() {
    steadily(async || {
        let redis = Redis::start(&[]).await;
        let rig = gate(&redis).await;
        let key = rig.key("shop", "busy", 1, Restrictions::default()).await;
        is_away(&rig, 0).await;
        let calls = async || rig.metric(&outcome("ok")).await;
        // Nothing is known of the key, so nothing is taken along. The bucket is full again after 0.7 s.
        let batch = format!("[{}]", vec![call("eth_call"); 100].join(","));
        assert_eq!(rig.gate(&key, &batch).await.status, 204);
        let (missing, at) = kept(&redis).await;
        assert_eq!(missing, 100_000_000);
        // Until one passes that nobody was asked for: then the gate holds what was taken along.
        let mut used = 0;
        loop {
            let asked = calls().await;
            assert_eq!(passed(&rig, &key, 1).await, 1);
            used += 1;
            if calls().await == asked {
                break;
            }
            assert!(used < 30, "each request was asked for");
        }
        until("the rest is given back, and no more", async || {
            let (now, last) = kept(&redis).await;
            let refilled = u64::try_from(last.saturating_sub(at).as_micros()).unwrap() * 140;
            assert!(now + refilled >= missing + used * 1_000_000, "more than it took: {now}, {used} used, {refilled}");
            (now + refilled == missing + used * 1_000_000).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn whoever_is_refused_asks_once_in_a_term() {
    let redis = Redis::start(&[]).await;
    let rig = gate(&redis).await;
    let key = rig.key("shop", "slow", 1, Restrictions::default()).await;
    is_away(&rig, 0).await;
    let (begun, before) = (Instant::now(), rig.metric(&outcome("ok")).await);
    let refused = 300 - passed(&rig, &key, 300).await;
    let (calls, took) = (rig.metric(&outcome("ok")).await - before, begun.elapsed());
    // Those that pass, one in each term, and the one in each second that nobody waits for.
    let most =
        300 - refused + u64::try_from(took.as_millis() / TERM.as_millis() + took.as_millis() / 1000).unwrap() + 3;
    assert!(calls <= most, "{calls} calls for {refused} refusals in {took:?}");
    assert_eq!(rig.metric(LOCAL).await, 0);
}

#[tokio::test]
async fn a_bucket_is_the_same_at_each_gate_and_vanishes_by_itself() {
    steadily(async || {
        let redis = Redis::start(&[]).await;
        let (one, other) = (gate(&redis).await, gate(&redis).await);
        let key = one.key("shop", "slow", 1, Restrictions::default()).await;
        other.key("shop", "slow", 1, Restrictions::default()).await;
        let batch = |count: usize| format!("[{}]", vec![call("eth_call"); count].join(","));
        let said = one.gate(&key, &batch(2)).await;
        assert_eq!((said.status, said.header("x-gate-remaining")), (204, Some("0")), "{said:?}");
        let said = other.gate(&key, &batch(2)).await;
        assert!(said.refusal().contains("RATE_LIMIT"), "{said:?}");
        assert_eq!(
            (said.header("x-gate-burst"), said.header("x-gate-retry-after")),
            (Some("2"), Some("02")),
            "{said:?}"
        );
        // Whoever is refused for something else is told the same.
        let said = other.gate(&key, &call("debug_traceCall")).await;
        assert!(said.refusal().contains("METHOD"), "{said:?}");
        assert_eq!(said.header("x-gate-remaining"), Some("0"), "{said:?}");
        assert_eq!(held(&redis).await.len(), 1);
        let key = &held(&redis).await[0];
        assert!(key.starts_with("nodeweir:rate:"), "{key}");
        let Value::Int(lasts) = redis.say(&["PTTL", key]).await.unwrap() else { panic!("no time") };
        assert!((1..=2000).contains(&lasts), "until it is full: {lasts}");
        until("it vanishes", async || held(&redis).await.is_empty().then_some(())).await;
    })
    .await;
}

#[tokio::test]
async fn while_it_is_dead_the_gate_counts_by_itself_and_then_there_again() {
    steadily(async || {
        let mut redis = Redis::start(&[]).await;
        let rig = gate(&redis).await;
        let key = rig.key("shop", "slow", 1, Restrictions::default()).await;
        assert_eq!(passed(&rig, &key, 3).await, 2);
        assert_eq!(rig.metric(LOCAL).await, 0);

        redis.kill();
        // What was last seen of the first key may refuse it until somebody asks.
        let other = rig.key("shop", "slow", 2, Restrictions::default()).await;
        let begun = Instant::now();
        assert_eq!(passed(&rig, &other, 20).await, 2);
        assert!(begun.elapsed() < Duration::from_millis(500), "requests waited: {:?}", begun.elapsed());
        is_away(&rig, 1).await;
        // The gate has counted nothing by itself so far.
        assert_eq!(passed(&rig, &key, 20).await, 2);
        assert_eq!(rig.metric(LOCAL).await, 40);

        redis.restart().await;
        is_away(&rig, 0).await;
        // It had forgotten all.
        assert_eq!(passed(&rig, &key, 3).await, 2);
        assert_eq!((rig.metric(LOCAL).await, held(&redis).await.len()), (40, 1));
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_longer_than_the_budget_for_one_that_stands_still() {
    steadily(async || {
        let redis = Redis::start(&[]).await;
        let rig = Rig::start_patient(&format!("{}{TIERS}", redis.limits()), Ages::default(), PATIENCE).await;
        let key = rig.key("shop", "fast", 1, Restrictions::default()).await;
        assert_eq!(passed(&rig, &key, 1).await, 1);
        is_away(&rig, 0).await;
        let before = rig.metric(LOCAL).await;
        redis.pause();
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let begun = Instant::now();
            assert_eq!(passed(&rig, &key, 1).await, 1);
            longest = longest.max(begun.elapsed());
        }
        assert!(longest < Duration::from_millis(50), "5 ms, and what this machine adds: {longest:?}");
        assert_eq!((rig.metric(AWAY).await, rig.metric(LOCAL).await), (1, before + 50));
        assert!(rig.metric(&outcome("late")).await >= 1);
        redis.go_on();
        until("it counts there again", async || {
            let before = rig.metric(LOCAL).await;
            passed(&rig, &key, 1).await;
            (rig.metric(LOCAL).await == before).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_forgot_the_script_is_given_it_again() {
    steadily(async || {
        let redis = Redis::start(&[]).await;
        let rig = gate(&redis).await;
        let key = rig.key("shop", "slow", 1, Restrictions::default()).await;
        assert_eq!(passed(&rig, &key, 1).await, 1);
        redis.say(&["SCRIPT", "FLUSH"]).await.unwrap();
        assert_eq!(passed(&rig, &key, 2).await, 1);
        assert_eq!((rig.metric(LOCAL).await, rig.metric(&outcome("failed")).await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_as_good_as_no_server_until_it_is_right() {
    let redis = Redis::start(&["--requirepass", "another"]).await;
    let store = format!(", limits: {{store: 'redis://:${{REDIS}}@127.0.0.1:{}'}}{TIERS}", redis.port);
    let rig = Rig::start(&store).await;
    let key = rig.key("shop", "slow", 1, Restrictions::default()).await;
    assert_eq!(passed(&rig, &key, 2).await, 2);
    assert_eq!((rig.metric(AWAY).await, rig.metric(LOCAL).await), (1, 2));
    let client = redis::Client::open(format!("redis://:another@127.0.0.1:{}", redis.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("CONFIG");
    set.arg(&["SET", "requirepass", PASSWORD]).exec_async(&mut connection).await.unwrap();
    is_away(&rig, 0).await;
}

/// As docs/operations.md has it.
#[tokio::test]
async fn a_user_who_may_do_no_more_than_that_is_enough() {
    let redis = Redis::start(&[]).await;
    let rules = format!("gate on >{PASSWORD} ~nodeweir:rate:* +eval +evalsha +get +set +time");
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rules.split(' ')).collect();
    redis.say(&words).await.unwrap();
    redis.say(&["ACL", "SETUSER", "default", "off"]).await.unwrap();
    let store = format!(", limits: {{store: 'redis://gate:${{REDIS}}@127.0.0.1:{}'}}{TIERS}", redis.port);
    let rig = Rig::start(&store).await;
    is_away(&rig, 0).await;
    let key = rig.key("shop", "fast", 1, Restrictions::default()).await;
    assert_eq!(passed(&rig, &key, 2).await, 2);
    assert_eq!((rig.metric(LOCAL).await, rig.metric(&outcome("failed")).await), (0, 0));
}

#[tokio::test]
async fn who_has_no_credits_takes_nothing_of_the_rate() {
    steadily(async || {
        let redis = Redis::start(&[]).await;
        let rig = gate(&redis).await;
        let key = rig.key("shop", "poor", 1, Restrictions::default()).await;
        for _ in 0..10 {
            let said = rig.gate(&key, &call("eth_blockNumber")).await;
            assert_eq!(said.status, 204, "{said:?}");
        }
        for _ in 0..10 {
            let said = rig.gate(&key, &call("eth_blockNumber")).await;
            assert!(said.refusal().contains("INSUFFICIENT_CREDITS"), "{said:?}");
        }
        let kept = redis.say(&["GET", &held(&redis).await[0]]).await.unwrap();
        let kept: String = redis::from_redis_value(kept).unwrap();
        let recent: u64 = kept.split(' ').next_back().unwrap().parse().unwrap();
        assert!(recent <= 10 * 256, "{kept}");
        assert_eq!(rig.metric(LOCAL).await, 0);
    })
    .await;
}

/// Each look and each spending were once apart by a call, and whoever was faster left too little for the others: those
/// were told 503.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_a_lease_that_has_yet_to_grow() {
    let redis = Redis::start(&[]).await;
    let rig = Rig::start(&format!(
        "{}, tiers: {{most: {{requests_per_second: 100000, credits_per_month: 1000000}}}}",
        redis.limits()
    ))
    .await;
    is_away(&rig, 0).await;
    let key = rig.key("shop", "most", 1, Restrictions::default()).await;
    let ask = async || {
        for _ in 0..12 {
            let said = rig.gate(&key, &call("eth_blockNumber")).await;
            assert_eq!(said.status, 204, "{said:?}");
        }
    };
    futures_util::future::join_all((0..64).map(|_| ask())).await;
}
