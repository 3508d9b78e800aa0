use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn quota(per_second: u32) -> Quota {
    Quota::of(NonZeroU32::new(per_second).unwrap())
}

/// Takes if it may.
fn ask(bucket: &mut Bucket, quota: Quota, n: u32, now: u64) -> Result<Level, Limited> {
    bucket.look(quota, n, Nanos(now))?;
    Ok(bucket.take(quota, n, Nanos(now)))
}

fn admitted(bucket: &mut Bucket, quota: Quota, times: impl IntoIterator<Item = u64>) -> usize {
    times.into_iter().filter(|now| ask(bucket, quota, 1, *now).is_ok()).count()
}

#[test]
fn a_bucket_is_small() {
    assert_eq!(size_of::<Bucket>(), 24);
}

#[test]
fn the_burst_passes_at_once_and_then_the_rate() {
    let mut bucket = Bucket::default();
    assert_eq!(admitted(&mut bucket, quota(10), [5; 100]), 20);
    // A tenth of a second brings one back, and not a nanosecond less.
    assert!(ask(&mut bucket, quota(10), 1, 5 + SECOND / 10 - 1).is_err());
    assert!(ask(&mut bucket, quota(10), 1, 5 + SECOND / 10).is_ok());
    assert!(ask(&mut bucket, quota(10), 1, 5 + SECOND / 10).is_err());
}

#[test]
fn a_first_second_lets_three_times_the_rate_through() {
    let mut bucket = Bucket::default();
    assert_eq!(admitted(&mut bucket, quota(50), (0..=10_000).map(|i| i * SECOND / 10_000)), 150);
    assert_eq!(admitted(&mut bucket, quota(50), (1..=10_000).map(|i| SECOND + i * SECOND / 10_000)), 50);
}

#[test]
fn sidecars_admit_together_what_one_would() {
    let live = |live| NonZeroU32::new(live).unwrap();
    // 10 is no multiple of 3, and 20 is no multiple of 6.
    for (rate, sidecars, of_burst, of_rate) in [(10, 3, 18, 102), (10, 6, 18, 102), (50, 10, 100, 500), (1, 1, 2, 10)] {
        let (mut burst, mut later) = (0, 0);
        for _ in 0..sidecars {
            let mut bucket = Bucket::default();
            let mut ask = |now| ask(&mut bucket, quota(rate), quota(rate).tokens(1, live(sidecars)), now).is_ok();
            burst += (0..100).filter(|_| ask(0)).count();
            later += (1..=10_000).filter(|i| ask(i * SECOND / 1000)).count();
        }
        assert_eq!((burst, later), (of_burst, of_rate), "{rate} among {sidecars}");
    }
    // A share is never below one per second, whatever comes of the sum.
    assert_eq!(quota(3).tokens(2, live(10)), 6);
}

#[test]
fn who_keeps_to_the_rate_is_never_refused() {
    // Rates whose interval is no whole number of nanoseconds lose nothing either.
    for rate in [1, 3, 7, 999, 3_000_000] {
        let mut bucket = Bucket::default();
        let times = (0..20_000_u64).map(|i| (u128::from(i) * u128::from(SECOND)).div_ceil(u128::from(rate)));
        let all = admitted(&mut bucket, quota(rate), times.map(|now| u64::try_from(now).unwrap()));
        assert_eq!(all, 20_000, "at {rate}");
    }
}

#[test]
fn clients_are_told_what_remains() {
    let mut bucket = Bucket::default();
    let level = bucket.look(quota(10), 1, Nanos(0)).unwrap();
    assert_eq!(level, Level { limit: 10, remaining: 10, reset_after: Duration::ZERO, burst: 20 });
    let level = bucket.take(quota(10), 15, Nanos(0));
    assert_eq!(level, Level { limit: 10, remaining: 5, reset_after: Duration::from_millis(1500), burst: 20 });
    let limited = bucket.look(quota(10), 6, Nanos(0)).unwrap_err();
    assert_eq!(limited, Limited { retry_after: 1, current_rps: 21, allowed_rps: 10, level });
}

#[test]
fn a_batch_larger_than_the_bucket_passes_when_it_is_full_and_leaves_debt() {
    let mut bucket = Bucket::default();
    let level = ask(&mut bucket, quota(10), 100, 0).unwrap();
    assert_eq!((level.remaining, level.reset_after), (0, Duration::from_secs(10)));
    // 8.1 s until one token is there: told 5, and then 4.
    assert_eq!(ask(&mut bucket, quota(10), 1, 0).unwrap_err().retry_after, 5);
    assert_eq!(ask(&mut bucket, quota(10), 1, 5 * SECOND).unwrap_err().retry_after, 4);
    assert!(ask(&mut bucket, quota(10), 1, 8 * SECOND + SECOND / 10 - 1).is_err());
    assert!(ask(&mut bucket, quota(10), 1, 8 * SECOND + SECOND / 10).is_ok());
    // The next large one waits until the bucket is full.
    assert!(ask(&mut bucket, quota(10), 100, 10 * SECOND + SECOND / 10 - 1).is_err());
    assert!(ask(&mut bucket, quota(10), 100, 10 * SECOND + SECOND / 10).is_ok());
}

#[test]
fn the_current_rate_is_what_was_let_through_of_late_and_the_one_refused() {
    let mut bucket = Bucket::default();
    for i in 0..4_000 {
        ask(&mut bucket, quota(100), 1, i * SECOND / 400).ok();
    }
    let limited = bucket.look(quota(100), 1, Nanos(10 * SECOND - SECOND / 400)).unwrap_err();
    assert!((100..=102).contains(&limited.current_rps), "{limited:?}");
}

#[test]
fn a_change_of_tier_keeps_the_time_until_full() {
    let mut bucket = Bucket::default();
    bucket.take(quota(1000), 2000, Nanos(0));
    for rate in [1, 10, 5000] {
        let level = bucket.look(quota(rate), 0, Nanos(SECOND / 2)).unwrap();
        assert_eq!(level.reset_after, Duration::from_millis(1500), "at {rate}");
    }
    // Who moved up may use the new tier's rate at once.
    assert!(ask(&mut bucket, quota(5000), 2000, SECOND / 2).is_ok());
}

#[test]
fn a_clock_that_goes_backwards_gives_nothing() {
    let mut bucket = Bucket::default();
    assert_eq!(admitted(&mut bucket, quota(10), [100 * SECOND; 30]), 20);
    assert_eq!(admitted(&mut bucket, quota(10), (0..100).map(|i| i * SECOND)), 0);
    let limited = ask(&mut bucket, quota(10), 1, 98 * SECOND).unwrap_err();
    assert_eq!(limited.retry_after, 3);
    assert_eq!(admitted(&mut bucket, quota(10), [101 * SECOND; 30]), 10);
}

/// Members of a request, and nanoseconds from the last one; negative ones are a clock that goes backwards.
fn requests(most: u32) -> impl Strategy<Value = Vec<(u32, i64)>> {
    let n = prop_oneof![3 => Just(1), 1 => 1..=most];
    let second = SECOND.cast_signed();
    let step = prop_oneof![4 => 0..second / 10, 1 => 0..3 * second, 1 => -second..0, 2 => Just(0)];
    proptest::collection::vec((n, step), 1..200)
}

fn step(now: u64, step: i64) -> u64 {
    now.saturating_add_signed(step)
}

/// Nor than would in a window that is longer by so many nanoseconds. What passed: when, and with how many.
pub(super) fn no_window_lets_more_through(
    quota: Quota,
    passed: &[(u64, u32)],
    longer: u64,
) -> Result<(), TestCaseError> {
    for (first, (start, _)) in passed.iter().enumerate() {
        let (mut sum, mut largest) = (0_u128, 0);
        for (end, n) in &passed[first..] {
            sum += u128::from(*n) * u128::from(SECOND);
            largest = largest.max(*n);
            let most = u128::from(quota.burst.get().max(largest)) * u128::from(SECOND);
            let refilled = u128::from(quota.per_second.get()) * u128::from(end - start + longer);
            prop_assert!(sum <= most + refilled, "{sum} in {}", end - start);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_window_lets_more_through_than_stated(rate in 1..2000_u32, most in 1..300_u32, requests in requests(300)) {
        let quota = quota(rate);
        let (mut bucket, mut now, mut latest) = (Bucket::default(), 10 * SECOND, 0);
        // When each passed, by a clock that stands while it goes backwards, and with how many.
        let mut passed: Vec<(u64, u32)> = Vec::new();
        for (n, by) in requests {
            let n = n.min(most);
            now = step(now, by);
            latest = latest.max(now);
            if ask(&mut bucket, quota, n, now).is_ok() {
                passed.push((latest, n));
            }
        }
        no_window_lets_more_through(quota, &passed, 0)?;
    }

    #[test]
    fn the_wait_is_exact(rate in 1..500_u32, requests in requests(300)) {
        let quota = quota(rate);
        let (mut bucket, mut now) = (Bucket::default(), 10 * SECOND);
        for (n, by) in requests {
            now = step(now, by);
            let Err(limited) = ask(&mut bucket, quota, n, now) else { continue };
            let after = |seconds: u8| bucket.look(quota, n, Nanos(now + u64::from(seconds) * SECOND)).is_ok();
            prop_assert!((1..=LONGEST_WAIT).contains(&limited.retry_after));
            prop_assert!(after(limited.retry_after) || limited.retry_after == LONGEST_WAIT);
            prop_assert!(!after(limited.retry_after - 1));
            // Whatever the debt, who only waits is let in some time.
            prop_assert!(bucket.look(quota, n, Nanos(now + 1000 * SECOND)).is_ok());
        }
    }

    #[test]
    fn dropping_an_idle_bucket_changes_no_answer(rates in proptest::collection::vec(1..200_u32, 3), requests in requests(300)) {
        let (mut kept, mut dropped, mut now) = (Bucket::default(), Bucket::default(), 10 * SECOND);
        for (i, (n, by)) in requests.into_iter().enumerate() {
            now = step(now, by.abs());
            if dropped.is_idle(Nanos(now)) {
                dropped = Bucket::default();
            }
            let quota = quota(rates[i / 10 % 3]);
            prop_assert_eq!(ask(&mut kept, quota, n, now), ask(&mut dropped, quota, n, now));
        }
        prop_assert!(kept.is_idle(Nanos(now + 1000 * SECOND)));
    }

    /// Each single request is worth the time in which its quota brings one back. In all, nobody gets more of it than
    /// has passed, and the two seconds of a full bucket, and one rounding per change.
    #[test]
    fn changing_tiers_back_and_forth_gains_nothing(rates in proptest::collection::vec(1..1000_u32, 1..5), steps in proptest::collection::vec(0..SECOND / 100, 1..2000)) {
        let (mut bucket, mut now, mut used) = (Bucket::default(), 0, 0_u64);
        for (i, by) in steps.into_iter().enumerate() {
            now += by;
            let rate = rates[i / 7 % rates.len()];
            if ask(&mut bucket, quota(rate), 1, now).is_ok() {
                used += SECOND / u64::from(rate);
            }
        }
        prop_assert!(used <= now + 2 * SECOND, "{used} of {now}");
    }

    #[test]
    fn no_number_is_too_large(
        calls in proptest::collection::vec((1..=u32::MAX, 1..=u32::MAX, any::<u32>(), any::<u64>(), any::<bool>()), 1..50),
    ) {
        let mut bucket = Bucket::default();
        for (per_second, burst, n, now, is_asked) in calls {
            let quota =
                Quota { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() };
            let looked = bucket.look(quota, n, Nanos(now));
            if looked.is_ok() || !is_asked {
                let level = bucket.take(quota, n, Nanos(now));
                prop_assert!(level.remaining <= level.limit);
            }
            bucket.is_idle(Nanos(now));
        }
    }
}
