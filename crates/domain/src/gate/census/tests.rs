use jiff::SignedDuration;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_796_083_110, 0);

fn beat(sidecar: &str, number: u64, seconds: i64) -> Beat {
    let at = NOW.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    Beat { sidecar: sidecar.parse().unwrap(), number, at }
}

fn count(census: &mut Census, beats: &[Beat]) -> u32 {
    census.count(&"own".parse().unwrap(), beats, NOW).get()
}

#[test]
fn who_beats_is_counted_and_so_is_who_counts() {
    let mut census = Census::default();
    assert_eq!(count(&mut census, &[]), 1);
    assert_eq!(count(&mut census, &[beat("own", 1, 0), beat("a", 1, 0)]), 2);
    assert_eq!(count(&mut census, &[beat("own", 2, 0), beat("a", 2, 0), beat("b", 9, 0)]), 3);
}

#[test]
fn who_stops_beating_counts_for_some_looks_and_again_when_it_goes_on() {
    let mut census = Census::default();
    for _ in 0..MISSED {
        assert_eq!(count(&mut census, &[beat("a", 7, 0)]), 2);
    }
    assert_eq!(count(&mut census, &[beat("a", 7, 0)]), 1);
    assert_eq!(count(&mut census, &[beat("a", 8, 0)]), 2);
}

#[test]
fn who_says_goodbye_is_gone_at_once() {
    let mut census = Census::default();
    assert_eq!(count(&mut census, &[beat("a", 1, 0)]), 2);
    assert_eq!(count(&mut census, &[]), 1);
}

#[test]
fn clocks_may_be_apart() {
    for apart in [-60, 60] {
        let mut census = Census::default();
        for number in 0..10 {
            assert_eq!(count(&mut census, &[beat("a", number, apart)]), 2);
        }
    }
}

#[test]
fn the_dead_of_long_ago_never_count_unless_they_were_not() {
    for apart in [-301, 301] {
        let mut census = Census::default();
        assert_eq!(count(&mut census, &[beat("a", 1, apart)]), 1);
        assert_eq!(count(&mut census, &[beat("a", 1, apart)]), 1);
        assert_eq!(count(&mut census, &[beat("a", 2, apart)]), 2);
    }
}
