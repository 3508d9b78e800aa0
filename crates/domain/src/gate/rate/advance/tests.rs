use proptest::prelude::*;

use super::*;
use crate::gate::rate::tests::no_window_lets_more_through;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn quota(per_second: u32) -> Quota {
    Quota::of(NonZeroU32::new(per_second).unwrap())
}

fn live(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// The one bucket, as its keeper does what is asked of it.
#[derive(Default)]
struct Kept {
    bucket: Bucket,
    calls: usize,
}

impl Kept {
    /// What it held before, as the script has it.
    fn ask(&mut self, quota: Quota, n: u32, errand: Errand, now: Nanos) -> Bucket {
        self.calls += 1;
        self.give_back(quota, errand.rest, now);
        let before = self.bucket;
        if n > 0 && before.look(quota, n, now).is_ok() {
            self.bucket.take(quota, n, now);
            if 2 * (self.bucket.missing(quota, now) + tokens(errand.ahead)) <= full(quota) {
                self.bucket.take(quota, errand.ahead, now);
            }
        }
        before
    }

    fn give_back(&mut self, quota: Quota, n: u32, now: Nanos) {
        let missing = self.bucket.missing(quota, now).saturating_sub(tokens(n));
        let recent = self.bucket.recent(now).saturating_sub(n * u32::try_from(PART).unwrap());
        let at = self.bucket.at.max(now);
        self.bucket = Bucket { missing, at, rate: Some(quota.per_second), recent };
    }
}

/// One gate, whose errands are done at once.
#[derive(Default)]
struct Gate(Option<Advance>);

impl Gate {
    fn passes(&mut self, kept: &mut Kept, live: NonZeroU32, quota: Quota, n: u32, now: u64) -> bool {
        let now = Nanos(now);
        let found = self.0.as_mut().map_or(Err(Errand::default()), |of| of.take(quota, n, live, now));
        let before = found.unwrap_or_else(|errand| {
            let before = kept.ask(quota, n, errand, now);
            let brought = Advance::new(quota, before, n, errand.ahead, now);
            match &mut self.0 {
                Some(advance) => advance.see(brought, errand.renews),
                none => *none = Some(brought),
            }
            before
        });
        before.look(quota, n, now).is_ok()
    }

    fn end(&mut self, kept: &mut Kept, now: u64) {
        if let Some((quota, left)) = self.0.and_then(|of| of.ended(Nanos(now))) {
            kept.give_back(quota, left, Nanos(now));
            self.0 = None;
        }
    }
}

#[test]
fn a_busy_key_is_asked_for_some_ten_times_a_second() {
    let (mut kept, mut gate, quota) = (Kept::default(), Gate::default(), quota(100_000));
    let second = |from: u64| (0..5_000).map(move |i| from * SECOND + i * SECOND / 5_000);
    assert!(second(10).all(|now| gate.passes(&mut kept, live(1), quota, 1, now)));
    assert!(kept.calls < 100, "until its rate is known: {}", kept.calls);
    kept.calls = 0;
    assert!(second(11).all(|now| gate.passes(&mut kept, live(1), quota, 1, now)));
    assert!((10..=20).contains(&kept.calls), "{}", kept.calls);
    // And one of ten gates that are asked as much: as often.
    let (mut kept, mut gates) = (Kept::default(), [(); 10].map(|()| Gate::default()));
    for now in second(10).chain(second(11)) {
        if now == 11 * SECOND {
            kept.calls = 0;
        }
        let index = usize::try_from(now / (SECOND / 5_000) % 10).unwrap();
        assert!(gates[index].passes(&mut kept, live(10), quota, 1, now));
    }
    assert!((100..=200).contains(&kept.calls), "{}", kept.calls);
}

#[test]
fn a_key_that_is_not_busy_takes_nothing_in_advance() {
    let (mut kept, mut gate) = (Kept::default(), Gate::default());
    for now in (0..50).map(|i| 10 * SECOND + i * 101 * MS) {
        assert!(gate.passes(&mut kept, live(1), quota(10), 1, now));
        assert_eq!(gate.0.unwrap().left, 0);
    }
    assert_eq!(kept.calls, 50);
}

#[test]
fn below_half_of_the_bucket_each_request_takes_its_own() {
    let (mut kept, mut gate, quota) = (Kept::default(), Gate::default(), quota(100));
    for i in 0..200 {
        assert!(gate.passes(&mut kept, live(1), quota, 1, 10 * SECOND + i));
        let held = gate.0.unwrap().left;
        assert!(held == 0 || i < 100, "{held} after {i}");
    }
    assert_eq!(kept.bucket.missing(quota, Nanos(10 * SECOND + 199)), tokens(200) - 199 * 100);
    // What was seen last refuses for a term, and then what is seen then.
    kept.calls = 0;
    let refused = |gate: &mut Gate, kept: &mut Kept, from: u64| {
        (0..1000).filter(|i| !gate.passes(kept, live(1), quota, 50, from + i)).count()
    };
    assert_eq!((refused(&mut gate, &mut kept, 10 * SECOND + 200), kept.calls), (1000, 0));
    assert_eq!((refused(&mut gate, &mut kept, 10 * SECOND + 101 * MS), kept.calls), (1000, 1));
    assert!(gate.passes(&mut kept, live(1), quota, 5, 10 * SECOND + 102 * MS), "fewer than that are there");
}

/// Passes many at nearly one moment, until some are held. So many have passed.
fn hold(gate: &mut Gate, kept: &mut Kept, quota: Quota, now: u64) -> u32 {
    let mut passed = 0;
    while passed < 100 || gate.0.unwrap().left < 5 {
        assert!(gate.passes(kept, live(1), quota, 1, now));
        passed += 1;
    }
    passed
}

#[test]
fn what_was_not_used_goes_back() {
    let (mut kept, mut gate, quota) = (Kept::default(), Gate::default(), quota(1000));
    let missing = |kept: &Kept, now| kept.bucket.missing(quota, Nanos(now));
    let passed = hold(&mut gate, &mut kept, quota, 10 * SECOND);
    let held = gate.0.unwrap().left;
    let now = 10 * SECOND + 50 * MS;
    gate.end(&mut kept, now);
    assert_eq!(missing(&kept, now), tokens(passed + held - 50), "its term is not over");
    let now = 10 * SECOND + 100 * MS;
    gate.end(&mut kept, now);
    assert_eq!(missing(&kept, now), tokens(passed - 100));
    assert!(gate.0.is_none());
    // Or with the next request.
    let passed = hold(&mut gate, &mut kept, quota, 20 * SECOND);
    let now = 20 * SECOND + 100 * MS;
    assert!(gate.passes(&mut kept, live(1), quota, 1, now));
    assert_eq!(missing(&kept, now), tokens(passed + 1 + gate.0.unwrap().left - 100));
}

/// As with a gate that stood still: the bucket has come back without it.
#[test]
fn what_would_go_back_too_late_is_lost() {
    let (mut kept, mut gate, quota) = (Kept::default(), Gate::default(), quota(1000));
    hold(&mut gate, &mut kept, quota, 10 * SECOND);
    let advance = gate.0.unwrap();
    let at = |millis: u64| Nanos(10 * SECOND + millis * MS);
    assert_eq!(advance.ended(at(199)), Some((quota, advance.left())));
    assert_eq!(advance.ended(at(200)), Some((quota, 0)));
    let rest = |at| {
        let mut advance = advance;
        advance.take(quota, 1, live(1), at).unwrap_err().rest
    };
    assert_eq!((rest(at(199)), rest(at(200))), (advance.left(), 0));
}

#[test]
fn only_one_request_at_a_time_is_sent_for_more() {
    let (quota, now) = (quota(1000), Nanos(10 * SECOND));
    let mut bucket = Bucket::default();
    bucket.take(quota, 300, now);
    let mut advance = Advance::new(quota, bucket, 1, 0, now);
    let errand = advance.take(quota, 1, live(2), now).unwrap_err();
    assert_eq!(errand, Errand { rest: 0, ahead: 15, renews: true });
    assert_eq!(advance.take(quota, 1, live(2), now).unwrap_err(), Errand::default());
    assert_eq!(advance.ended(now.plus(TERM)), None, "somebody is on the way");
    // Whoever comes back first says what is there, but is not waited for.
    bucket.take(quota, 1, now);
    advance.see(Advance::new(quota, bucket, 1, 0, now), false);
    assert_eq!(advance.take(quota, 1, live(2), now).unwrap_err(), Errand::default());
    bucket.take(quota, 1, now);
    advance.see(Advance::new(quota, bucket, 1, 15, now), true);
    // And who comes back last does not know what was taken along.
    advance.see(Advance::new(quota, bucket, 1, 0, now), false);
    assert!(advance.take(quota, 15, live(2), now).is_ok());
    assert!(advance.take(quota, 1, live(2), now).unwrap_err().renews);
}

#[test]
fn clients_are_told_what_remains_as_if_only_what_passed_was_taken() {
    let (quota, now) = (quota(1000), Nanos(10 * SECOND));
    let mut bucket = Bucket::default();
    bucket.take(quota, 949, now);
    let mut advance = Advance::new(quota, bucket, 1, 50, now);
    assert_eq!(advance.left(), 50);
    for used in 0..50_u64 {
        let seen = advance.take(quota, 1, live(1), now).unwrap().look(quota, 1, now).unwrap();
        assert_eq!(seen.reset_after, Duration::from_millis(950 + used));
    }
}

#[test]
fn a_change_of_tier_ends_it() {
    let (mut kept, mut gate, now) = (Kept::default(), Gate::default(), 10 * SECOND);
    let passed = hold(&mut gate, &mut kept, quota(1000), now);
    let held = gate.0.unwrap().left;
    kept.calls = 0;
    assert!(gate.passes(&mut kept, live(1), quota(2000), 1, now));
    assert_eq!(kept.calls, 1);
    // The time until it is full stays: so many of 1,000 a second are twice as many of 2,000. What goes back does so in
    // tokens of the new rate.
    let missing = kept.bucket.missing(quota(2000), Nanos(now));
    assert_eq!(missing, tokens(2 * passed + held + 1 + gate.0.unwrap().left));
}

/// Which gate, members, time since the last one, and which gates look after what has ended.
type Request = (usize, u32, u64, [bool; 4]);

fn requests(looks: impl Strategy<Value = bool> + Clone) -> impl Strategy<Value = Vec<Request>> {
    let n = prop_oneof![8 => Just(1_u32), 1 => 1..300_u32];
    let step = prop_oneof![8 => 0..10 * MS, 1 => 0..3 * SECOND, 2 => Just(0)];
    let looks = [looks.clone(), looks.clone(), looks.clone(), looks];
    proptest::collection::vec((0..4_usize, n, step, looks), 1..400)
}

/// What passes, when and with how many, at so many gates that look twice in a term; the bucket half a term later, when all
/// have looked, and the last moment.
fn play(quota: Quota, gates: usize, requests: Vec<Request>) -> (Vec<(u64, u32)>, Bucket, u64) {
    let (mut kept, mut all) = (Kept::default(), [(); 4].map(|()| Gate::default()));
    let (mut now, mut looked) = (10 * SECOND, 10 * SECOND);
    let mut passed = Vec::new();
    for (gate, n, by, looks) in requests {
        now += by;
        while now - looked >= 50 * MS {
            looked += 50 * MS;
            for (gate, _) in all.iter_mut().zip(looks).filter(|(_, looks)| *looks) {
                gate.end(&mut kept, looked);
            }
        }
        if all[gate % gates].passes(&mut kept, live(u32::try_from(gates).unwrap()), quota, n, now) {
            passed.push((now, n));
        }
    }
    let end = now + 150 * MS;
    for gate in &mut all {
        gate.end(&mut kept, end);
    }
    (passed, kept.bucket, end)
}

proptest! {
    /// Also if gates stand still now and then.
    #[test]
    fn no_window_lets_more_through_than_stated(
        rate in 1..3000_u32,
        gates in 1..=4_usize,
        requests in requests(prop::bool::weighted(0.7)),
    ) {
        let (passed, ..) = play(quota(rate), gates, requests);
        no_window_lets_more_through(quota(rate), &passed, 2 * 100 * MS)?;
    }

    #[test]
    fn nothing_is_lost_where_no_gate_stands_still(
        rate in 1..3000_u32,
        gates in 1..=4_usize,
        requests in requests(Just(true)),
    ) {
        let (passed, bucket, end) = play(quota(rate), gates, requests);
        let used: u64 = passed.iter().map(|(_, n)| u64::from(*n)).sum();
        prop_assert!(bucket.missing(quota(rate), Nanos(end)) <= used * SECOND);
    }

    /// Alone, nobody gets less than by a bucket without advances.
    #[test]
    fn who_is_alone_gets_what_the_bucket_has(rate in 1..3000_u32, requests in requests(Just(true))) {
        let quota = quota(rate);
        let (mut kept, mut gate, mut plain) = (Kept::default(), Gate::default(), Bucket::default());
        let (mut now, mut passed, mut of_plain) = (10 * SECOND, 0, 0);
        for (_, _, by, _) in requests {
            now += by;
            passed += u32::from(gate.passes(&mut kept, live(1), quota, 1, now));
            if plain.look(quota, 1, Nanos(now)).is_ok() {
                plain.take(quota, 1, Nanos(now));
                of_plain += 1;
            }
            prop_assert!(passed >= of_plain, "{passed} of {of_plain}");
        }
    }

    /// Whichever gates it meets.
    #[test]
    fn who_keeps_to_the_rate_is_never_refused(rate in 1..3000_u32, gates in proptest::collection::vec(0..4_usize, 1..2000)) {
        let (mut kept, mut all, mut looked) = (Kept::default(), [(); 4].map(|()| Gate::default()), 0);
        for (index, gate) in (0_u64..).zip(gates) {
            let now = 10 * SECOND + (index * SECOND).div_ceil(rate.into());
            if now - looked >= 100 * MS {
                looked = now;
                for gate in &mut all {
                    gate.end(&mut kept, now);
                }
            }
            prop_assert!(all[gate].passes(&mut kept, live(4), quota(rate), 1, now), "after {index}");
        }
    }
}
