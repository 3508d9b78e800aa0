//! Usage: what is read from a log counts once, by the minute and later by the day.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::usage::{Ahead, LogCursor, UsageCounts, UsageKey, UsageRow, day};
use nodeweir_store::{GateStore, StoreError, USAGE_ROWS, Written};

use crate::samples::gate::{key, log, project_id, usage};
use crate::samples::{at, network};
use crate::{Place, Row};

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

fn cursor(offset: u64) -> LogCursor {
    LogCursor::at(u64::MAX - 3, offset)
}

/// Records from wherever the log stands.
async fn record(store: &impl GateStore, rows: &[UsageRow]) {
    for rows in rows.chunks(USAGE_ROWS) {
        let seen = store.log_cursor(&log()).await.unwrap();
        let now = cursor(seen.map_or(0, |seen| seen.offset) + 1);
        assert_eq!(store.record_usage(&log(), seen, now, rows).await.unwrap(), Written::Done);
    }
}

async fn all(store: &impl GateStore) -> Vec<UsageRow> {
    store.usage(&project_id("shop"), Timestamp::MIN, Timestamp::MAX).await.unwrap()
}

fn sum(rows: &[UsageRow]) -> UsageCounts {
    rows.iter().fold(UsageCounts::default(), |mut sum, row| {
        sum += row.counts;
        sum
    })
}

pub(crate) async fn a_cursor_is_kept_with_what_is_under_way(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let ahead = |rows| Some(Ahead { file: u64::MAX, offset: 9, rows });
    let steps = [
        LogCursor { ahead: ahead(49), ..cursor(1) },
        LogCursor { ahead: ahead(u64::MAX), ..cursor(1) },
        LogCursor { ahead: None, ..cursor(1) },
    ];
    let mut seen = None;
    for now in steps {
        let written = one.record_usage(&log(), seen, now, &[usage(0, "eth_call", 1)]).await.unwrap();
        assert_eq!((written, other.log_cursor(&log()).await.unwrap()), (Written::Done, Some(now)));
        // Somebody who has seen less.
        let again = other.record_usage(&log(), seen, now, &[usage(0, "eth_call", 1)]).await.unwrap();
        assert_eq!(again, Written::Lost);
        seen = Some(now);
    }
}

pub(crate) async fn what_is_counted_adds_up_by_minute_and_kind(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!(all(&one).await, []);
    record(&one, &[usage(0, "eth_call", 1), usage(0, "eth_call", 2)]).await;
    // Whatever part of its minute a row names, and whoever counts it.
    let mut inside = usage(0, "eth_call", 4);
    inside.of.start += Duration::from_secs(7);
    record(&other, &[inside]).await;
    let same = UsageRow { of: usage(0, "eth_call", 1).of, counts: sum(&[1, 2, 4].map(|n| usage(0, "eth_call", n))) };
    assert_eq!(all(&other).await, std::slice::from_ref(&same));

    let row = |change: fn(&mut UsageKey)| {
        let mut row = usage(0, "eth_call", 1);
        change(&mut row.of);
        row
    };
    let mut rows = vec![
        row(|of| of.start += Duration::from_secs(MINUTE)),
        row(|of| of.key = key(2).id()),
        row(|of| of.network = network("polygon")),
        row(|of| of.method.push_str("näch\n\"ste'")),
        row(|of| of.status = 429),
    ];
    let elsewhere = row(|of| of.project = project_id("shop-2"));
    record(&one, &rows).await;
    record(&one, std::slice::from_ref(&elsewhere)).await;
    rows.push(same);
    rows.sort_by(|a, b| a.of.cmp(&b.of));
    assert_eq!(all(&other).await, rows);
    assert_eq!(other.usage(&project_id("shop-2"), at(0), at(1)).await.unwrap(), [elsewhere]);
}

pub(crate) async fn usage_is_recorded_only_where_the_cursor_was_seen(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let rows = [usage(0, "eth_call", 1)];
    let record = async |seen: Option<u64>, now: u64| {
        one.record_usage(&log(), seen.map(cursor), cursor(now), &rows).await.unwrap()
    };
    assert_eq!(one.log_cursor(&log()).await.unwrap(), None);
    assert_eq!(record(Some(0), 10).await, Written::Lost, "nothing was counted yet");
    assert_eq!(all(&one).await, []);
    assert_eq!(record(None, 10).await, Written::Done);
    assert_eq!(other.log_cursor(&log()).await.unwrap(), Some(cursor(10)));
    // Whoever does not know whether it was written does it again.
    assert_eq!(record(None, 10).await, Written::Lost);
    assert_eq!(record(Some(9), 20).await, Written::Lost);
    let file = LogCursor::at(1, 10);
    assert_eq!(one.record_usage(&log(), Some(file), cursor(20), &rows).await.unwrap(), Written::Lost, "another file");
    assert_eq!(all(&other).await, rows, "lost writes left no trace");
    assert_eq!(record(Some(10), 20).await, Written::Done);
    // A cursor may go back, to the start of the next file, and on without anything that counts.
    assert_eq!(one.record_usage(&log(), Some(cursor(20)), file, &[]).await.unwrap(), Written::Done);
    assert_eq!(other.log_cursor(&log()).await.unwrap(), Some(file));
    assert_eq!(sum(&all(&other).await).calls, 2);
    // Each log is counted by itself.
    let second = "proxy-2".parse().unwrap();
    assert_eq!(other.log_cursor(&second).await.unwrap(), None);
    assert_eq!(other.record_usage(&second, None, cursor(1), &rows).await.unwrap(), Written::Done);
    assert_eq!(one.log_cursor(&log()).await.unwrap(), Some(file));
    assert_eq!(sum(&all(&one).await).calls, 3);
}

pub(crate) async fn of_concurrent_readers_of_a_log_each_line_counts_once(place: &impl Place<Store: GateStore>) {
    const LINES: u64 = 60;
    let (one, other) = (place.open().await, place.open().await);
    let read = async |index: u64| {
        let store = if index.is_multiple_of(2) { &one } else { &other };
        loop {
            let seen = store.log_cursor(&log()).await.unwrap();
            let line = seen.map_or(0, |seen| seen.offset);
            if line == LINES {
                break;
            }
            let _ =
                store.record_usage(&log(), seen, cursor(line + 1), &[usage(line * 30, "eth_call", 1)]).await.unwrap();
        }
    };
    futures_util::future::join_all((0..6).map(read)).await;
    assert_eq!(sum(&all(&one).await).calls, LINES);
}

pub(crate) async fn too_many_rows_are_refused_whole(place: &impl Place<Store: GateStore>) {
    let store = place.open().await;
    let rows: Vec<_> = (0..=USAGE_ROWS as u64).map(|minute| usage(minute * MINUTE, "eth_call", 1)).collect();
    let error = store.record_usage(&log(), None, cursor(1), &rows).await.unwrap_err();
    assert!(matches!(error, StoreError::TooMany { given, most } if given == most + 1), "{error:?}");
    assert_eq!((all(&store).await, store.log_cursor(&log()).await.unwrap()), (vec![], None));
    assert_eq!(store.record_usage(&log(), None, cursor(1), &rows[1..]).await.unwrap(), Written::Done);
    assert_eq!(all(&store).await, rows[1..]);
}

pub(crate) async fn folding_keeps_every_sum(place: &impl Place<Store: GateStore>) {
    let (store, other) = (place.open().await, place.open().await);
    // Three days of minutes, more rows than any page holds.
    let methods = ["eth_call", "eth_getLogs"];
    let minutes = (0..3 * DAY / MINUTE / 2).map(|minute| minute * 2 * MINUTE);
    let rows: Vec<_> = minutes.flat_map(|second| methods.map(|method| usage(second, method, 1 + second % 7))).collect();
    record(&store, &rows).await;
    assert_eq!(all(&store).await.len(), rows.len());
    assert_eq!(sum(&all(&store).await), sum(&rows));

    let by_method = |rows: &[UsageRow]| {
        let mut sums: BTreeMap<String, UsageCounts> = BTreeMap::new();
        for row in rows {
            *sums.entry(row.of.method.clone()).or_default() += row.counts;
        }
        sums
    };
    // Two days have ended by then, the first of them in part before the first row.
    let before = at(2 * DAY);
    let looking = async {
        loop {
            let seen = all(&other).await;
            assert_eq!(by_method(&seen), by_method(&rows), "read while it is folded");
            if !seen.iter().any(|row| row.of.start < day(before) && row.of.start != day(row.of.start)) {
                break;
            }
        }
    };
    let (folded, ()) = tokio::join!(store.fold_usage(before), looking);
    let in_days: Vec<_> = rows.iter().filter(|row| row.of.start < day(before)).collect();
    assert_eq!(folded.unwrap(), in_days.len() as u64);
    let after = all(&store).await;
    assert_eq!(by_method(&after), by_method(&rows));
    let (days, minutes): (Vec<_>, Vec<_>) = after.iter().partition(|row| row.of.start < day(before));
    assert_eq!(days.len(), 2 * methods.len());
    assert!(days.iter().all(|row| row.of.start == day(row.of.start)));
    assert_eq!(minutes.len(), rows.len() - in_days.len());

    assert_eq!(store.fold_usage(before).await.unwrap(), 0, "a second time changes nothing");
    assert_eq!(all(&store).await, after);
    // What is counted late is added to its day.
    record(&store, &[usage(0, "eth_call", 100)]).await;
    assert_eq!(store.fold_usage(before).await.unwrap(), 1);
    let late = all(&store).await;
    assert_eq!((late.len(), sum(&late).calls), (after.len(), sum(&after).calls + 100));
}

pub(crate) async fn a_range_begins_with_the_minute_or_day_that_holds_its_start(place: &impl Place<Store: GateStore>) {
    let store = place.open().await;
    let start = day(at(10 * DAY));
    let second = |offset: u64| start.duration_since(at(0)).unsigned_abs().as_secs() + 1 + offset;
    let [a, b, c] = [0, MINUTE, DAY].map(|offset| usage(second(offset), "eth_call", 1));
    assert_eq!([a.of.start, c.of.start], [start, start + Duration::from_secs(DAY)]);
    record(&store, &[a.clone(), b.clone(), c.clone()]).await;
    let after = |offset: u64| start + Duration::from_secs(offset);
    let between = async |from: Timestamp, to: Timestamp| store.usage(&project_id("shop"), from, to).await.unwrap();
    assert_eq!(between(after(0), after(MINUTE)).await, std::slice::from_ref(&a));
    assert_eq!(between(after(59), after(MINUTE)).await, std::slice::from_ref(&a));
    let just_after = after(MINUTE) + Duration::from_nanos(1);
    assert_eq!(between(after(59), just_after).await, [a.clone(), b.clone()]);
    assert_eq!(between(after(MINUTE), after(2 * DAY)).await, [b.clone(), c.clone()]);
    assert_eq!(between(after(2 * DAY), after(0)).await, []);

    assert_eq!(store.fold_usage(after(DAY)).await.unwrap(), 2);
    let whole = UsageRow { of: a.of.clone(), counts: sum(&[a, b]) };
    assert_eq!(between(after(0), after(1)).await, std::slice::from_ref(&whole));
    assert_eq!(between(after(DAY - 1), after(2 * DAY)).await, [whole, c.clone()], "a day counts whole");
    assert_eq!(between(after(DAY), after(2 * DAY)).await, [c]);
}

pub(crate) async fn days_are_forgotten(place: &impl Place<Store: GateStore>) {
    let store = place.open().await;
    let mut rows: Vec<_> = (0..5).map(|number| usage(number * DAY, "eth_call", 1)).collect();
    rows.push(UsageRow { of: UsageKey { project: project_id("other"), ..rows[0].of.clone() }, ..rows[0].clone() });
    record(&store, &rows).await;
    store.forget_usage(at(3 * DAY)).await.unwrap();
    assert_eq!(sum(&all(&store).await).calls, 5, "minutes are folded first");
    store.fold_usage(at(4 * DAY)).await.unwrap();
    store.forget_usage(at(3 * DAY)).await.unwrap();
    let left: Vec<_> = all(&store).await.iter().map(|row| row.of.start).collect();
    assert_eq!(left, [day(at(3 * DAY)), rows[4].of.start]);
    assert_eq!(store.usage(&project_id("other"), Timestamp::MIN, Timestamp::MAX).await.unwrap(), []);
}

pub(crate) async fn counts_stop_at_the_most(place: &impl Place<Store: GateStore>) {
    let store = place.open().await;
    let mut huge = usage(0, "eth_call", 1);
    huge.counts.credits = u64::MAX;
    huge.counts.bytes_out = i64::MAX.unsigned_abs();
    for _ in 0..2 {
        record(&store, std::slice::from_ref(&huge)).await;
    }
    store.fold_usage(at(2 * DAY)).await.unwrap();
    let counted = sum(&all(&store).await);
    assert!(counted.credits >= i64::MAX.unsigned_abs() && counted.bytes_out >= i64::MAX.unsigned_abs(), "{counted:?}");
    assert_eq!((counted.calls, counted.requests), (2, 2));
}

pub(crate) async fn usage_that_cannot_be_read_hides_no_other<P: Place<Store: GateStore>>(place: &P) {
    let store = place.open().await;
    record(&store, &[usage(0, "eth_call", 1)]).await;
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Usage, damage).await;
    }
    assert_eq!(all(&store).await, [usage(0, "eth_call", 1)]);
    assert_eq!(store.fold_usage(at(2 * DAY)).await.unwrap(), 1 + P::DAMAGES as u64);
    assert_eq!(store.fold_usage(at(2 * DAY)).await.unwrap(), 0);
    assert_eq!(sum(&all(&store).await).calls, 1);
    store.forget_usage(at(9 * DAY)).await.unwrap();
    for damage in 0..P::DAMAGES {
        place.spoil(Row::LogCursor, damage).await;
        // From the start once more would count twice.
        let error = store.log_cursor(&log()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }) && error.to_string().contains("proxy-1"), "{error}");
        let recorded = store.record_usage(&log(), None, cursor(1), &[usage(0, "eth_call", 1)]).await;
        assert!(matches!(recorded, Err(StoreError::Unreadable { .. })), "{recorded:?}");
    }
    assert_eq!(all(&store).await, []);
}
