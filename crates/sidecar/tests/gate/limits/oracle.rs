//! The script in a real server does what `Bucket` does. Only here is it told the time.

use std::num::NonZeroU32;
use std::time::Duration;

use nodeweir_domain::gate::clock::Nanos;
use nodeweir_domain::gate::rate::advance::Advance;
use nodeweir_domain::gate::rate::{Bucket, Quota};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::redis::Redis;

const SECOND: i64 = 1_000_000;

/// What stands before the script here instead of the server's clock: the last argument.
const SCRIPT: &str =
    concat!("local now = tonumber(table.remove(ARGV))\n", include_str!("../../../src/limits/take.lua"));

/// Rate, tokens wanted, and when, in microseconds. None are to be taken along.
type Step = (u32, i64, u64);

fn quota(per_second: u32) -> Quota {
    Quota::of(NonZeroU32::new(per_second).unwrap())
}

/// What the script is told for one request.
fn numbers(rate: u32, tokens: i64, ahead: u32) -> [i64; 4] {
    [rate.into(), quota(rate).burst.get().into(), tokens, ahead.into()]
}

/// Runs all steps at one moment of the server's own clock, so that nothing expires in between. What each saw.
async fn run(connection: &mut MultiplexedConnection, steps: &[Step]) -> Vec<[i64; 3]> {
    let mut all = redis::pipe();
    all.atomic().del("key").ignore();
    for (rate, tokens, now) in steps {
        all.cmd("EVAL").arg(SCRIPT).arg(1).arg("key").arg(&numbers(*rate, *tokens, 0)).arg(now);
    }
    all.query_async(connection).await.unwrap()
}

fn bucket(seen: [i64; 3], rate: u32, now: u64) -> Bucket {
    let [missing, recent, behind] = seen.map(|number| u64::try_from(number).unwrap());
    let recent = u32::try_from(recent).unwrap();
    Bucket::seen(quota(rate), missing, recent, Duration::from_micros(behind), nanos(now))
}

fn nanos(micros: u64) -> Nanos {
    Nanos(micros * 1000)
}

/// Tokens wanted, and time since the last step; the clock may go backwards.
fn wishes() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let tokens = prop_oneof![6 => Just(1), 2 => 0..=300_i64, 1 => 300..=1000_i64];
    let step = prop_oneof![4 => 0..SECOND / 10, 1 => 0..3 * SECOND, 1 => -SECOND..0, 2 => Just(0)];
    proptest::collection::vec((tokens, step), 1..150)
}

fn rate() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1..2000_u32, 1 => 1..=1_000_000_u32]
}

/// Begins late enough for a clock that goes backwards.
fn steps(rates: &[u32], wishes: Vec<(i64, i64)>) -> Vec<Step> {
    let mut now = 1_800_000_000 * SECOND.unsigned_abs();
    let step = |(index, (tokens, by)): (usize, (i64, i64))| {
        now = now.saturating_add_signed(by);
        (rates[index / 10 % rates.len()], tokens, now)
    };
    wishes.into_iter().enumerate().map(step).collect()
}

/// Hands random cases to `check` with a connection to a server.
fn for_all<S: Strategy>(strategy: &S, check: &impl AsyncFn(&mut MultiplexedConnection, S::Value)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let redis = runtime.block_on(Redis::start(&[]));
    let client = redis::Client::open(("127.0.0.1", redis.port)).unwrap();
    let connection = runtime.block_on(client.get_multiplexed_async_connection()).unwrap();
    let done = TestRunner::default().run(strategy, |case| {
        runtime.block_on(check(&mut connection.clone(), case));
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn with_one_quota_it_says_exactly_the_same() {
    for_all(&(rate(), wishes()), &async |connection, (rate, wishes)| {
        let steps = steps(&[rate], wishes);
        let mut expected = Bucket::default();
        for (seen, (rate, tokens, now)) in run(connection, &steps).await.into_iter().zip(steps) {
            let (quota, n) = (quota(rate), u32::try_from(tokens).unwrap());
            let looked = expected.look(quota, n, nanos(now));
            assert_eq!(bucket(seen, rate, now).look(quota, n, nanos(now)), looked, "{seen:?}");
            if n > 0 && looked.is_ok() {
                expected.take(quota, n, nanos(now));
            }
        }
    });
}

/// It rounds to a millionth of a token, and never in favour of the client.
#[test]
fn with_changing_quotas_it_says_the_same_but_for_rounding() {
    for_all(&(proptest::collection::vec(rate(), 2..5), wishes()), &async |connection, (rates, wishes)| {
        let steps = steps(&rates, wishes);
        // From each take to the next.
        let mut expected = Bucket::default();
        for (seen, (rate, tokens, now)) in run(connection, &steps).await.into_iter().zip(steps) {
            let (quota, n) = (quota(rate), u32::try_from(tokens).unwrap());
            let mut found = bucket(seen, rate, now);
            let reset = |bucket: &Bucket| bucket.look(quota, 0, nanos(now)).unwrap().reset_after;
            let (least, is) = (reset(&expected), reset(&found));
            assert!(least <= is && is <= least + Duration::from_micros(1), "{least:?} {is:?}");
            if n > 0 && found.look(quota, n, nanos(now)).is_ok() {
                found.take(quota, n, nanos(now));
                expected = found;
            }
        }
    });
}

/// And what is given back later than it was taken never makes more than a full bucket.
#[test]
fn what_is_given_back_is_as_if_it_had_not_been_taken() {
    for_all(&(rate(), wishes(), 1..=1000_i64), &async |connection, (rate, wishes, more)| {
        let mut steps = steps(&[rate], wishes);
        let (_, _, now) = steps[steps.len() - 1];
        steps.extend([(rate, 0, now), (rate, more, now), (rate, 0, now)]);
        let seen = run(connection, &steps).await;
        let (before, after) = (seen[seen.len() - 3], seen[seen.len() - 1]);
        let given = if before == after { 0 } else { -more };
        steps.extend([(rate, given, now), (rate, 0, now), (rate, -1000, now), (rate, 1, now + 1)]);
        let seen = run(connection, &steps).await;
        assert_eq!(seen[seen.len() - 3], before, "{more} taken and given back");
        assert!(seen.iter().all(|[missing, recent, _]| *missing >= 0 && *recent >= 0));
    });
}

fn ahead() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0_u32), 2 => 1..100_u32, 1 => 1..=200_000_u32]
}

/// What a gate concludes that it holds is what the server let it take.
#[test]
fn what_is_taken_along_is_what_a_gate_concludes() {
    let wishes = proptest::collection::vec((0..300_i64, ahead(), 0..SECOND / 10), 1..60);
    for_all(&(rate(), wishes), &async |connection, (rate, wishes)| {
        let quota = quota(rate);
        let mut all = redis::pipe();
        all.atomic().del("key").ignore();
        let (mut now, mut times) = (1_800_000_000 * SECOND.unsigned_abs(), Vec::new());
        for (tokens, ahead, by) in &wishes {
            now = now.saturating_add_signed(*by);
            all.cmd("EVAL").arg(SCRIPT).arg(1).arg("key").arg(&numbers(rate, *tokens, *ahead)).arg(now);
            times.push(now);
        }
        let seen: Vec<[i64; 3]> = all.query_async(connection).await.unwrap();
        let mut expected = Bucket::default();
        for (((tokens, ahead, _), now), seen) in wishes.into_iter().zip(times).zip(seen) {
            let (n, at) = (u32::try_from(tokens).unwrap(), nanos(now));
            let found = bucket(seen, rate, now);
            let reset = |bucket: &Bucket| bucket.look(quota, 0, at).unwrap().reset_after;
            assert_eq!(reset(&found), reset(&expected), "{seen:?}");
            expected = found;
            if n > 0 && found.look(quota, n, at).is_ok() {
                let left = Advance::new(quota, found, n, ahead, at).left();
                assert!(left == 0 || left == ahead);
                expected.take(quota, n + left, at);
            }
        }
    });
}

/// Requests go to the server many at a time, of one key or of several, whose rates may change in between.
#[test]
fn together_they_are_answered_as_one_after_the_other() {
    let wish = (0..3_usize, rate(), prop_oneof![3 => Just(1_i64), 1 => -300..=1000_i64], ahead());
    let call = (proptest::collection::vec(wish, 1..32), -SECOND..3 * SECOND);
    for_all(&proptest::collection::vec(call, 1..6), &async |connection, calls| {
        let names = |of: &str| [0, 1, 2].map(|key| format!("{of}-{key}"));
        // At one moment of the server's own clock, so that nothing expires in between.
        let mut all = redis::pipe();
        all.atomic().del(&names("alone")).ignore().del(&names("together")).ignore();
        let mut now = 1_800_000_000 * SECOND.unsigned_abs();
        for (wishes, by) in &calls {
            now = now.saturating_add_signed(*by);
            let (mut keys, mut numbers) = (Vec::new(), Vec::new());
            for (key, rate, tokens, ahead) in wishes {
                let of = self::numbers(*rate, *tokens, *ahead);
                all.cmd("EVAL").arg(SCRIPT).arg(1).arg(format!("alone-{key}")).arg(&of).arg(now);
                keys.push(format!("together-{key}"));
                numbers.extend(of);
            }
            all.cmd("EVAL").arg(SCRIPT).arg(keys.len()).arg(keys).arg(numbers).arg(now);
        }
        all.mget(&names("alone")).mget(&names("together"));
        let answers: Vec<Value> = all.query_async(connection).await.unwrap();
        let mut answers = answers.into_iter();
        let mut next = |count: usize| answers.by_ref().take(count).collect::<Vec<_>>();
        for (wishes, _) in &calls {
            let alone = next(wishes.len());
            let alone = alone.iter().flat_map(|one| one.as_sequence().unwrap()).cloned().collect();
            assert_eq!(next(1), [Value::Array(alone)], "{wishes:?}");
        }
        assert_eq!(next(1), next(1), "what is kept of them");
    });
}
