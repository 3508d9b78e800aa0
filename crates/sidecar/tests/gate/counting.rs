//! What nginx logged is counted, what no node answered is given back, and a stop leaves the books right.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::gate::usage::UsageRow;
use nodeweir_store::GateStore as _;

use crate::rig::{Rig, call, until};

fn line(project: &str, methods: &str, cost: u64, status: u16) -> String {
    line_at(Timestamp::now(), project, methods, cost, status)
}

fn line_at(at: Timestamp, project: &str, methods: &str, cost: u64, status: u16) -> String {
    let (second, ms) = (at.as_second(), at.subsec_millisecond());
    format!(
        "{{\"time\":{second}.{ms:03},\"project\":\"{project}\",\"key\":\"0123456789ab\",\"network\":\"ethereum\",\
         \"methods\":\"{methods}\",\"cost\":{cost},\"status\":{status},\"seconds\":0.010,\"bytes_in\":100,\
         \"bytes_out\":200}}\n"
    )
}

fn append(rig: &Rig, text: &str) {
    let mut file = File::options().create(true).append(true).open(rig.log()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

async fn used(rig: &Rig, project: &str) -> Vec<UsageRow> {
    let now = Timestamp::now();
    let hour = 1.hours();
    rig.store.inner.usage(&project.parse().unwrap(), now - hour, now + hour).await.unwrap()
}

fn calls(rows: &[UsageRow]) -> u64 {
    rows.iter().map(|row| row.counts.calls).sum()
}

#[tokio::test]
async fn lines_become_rows_once_across_renamed_files() {
    let rig = Rig::start("").await;
    append(&rig, &line("shop", "eth_call:2:2,eth_getLogs:1:5", 7, 200));
    append(&rig, "garbage\n");
    append(&rig, &line("shop", "eth_call:1:1", 1, 429)[..40]);
    let rows = until("the first line", async || Some(used(&rig, "shop").await).filter(|rows| !rows.is_empty())).await;
    let of = |method: &str| rows.iter().find(|row| row.of.method == method).unwrap().counts;
    assert_eq!((of("eth_call").requests, of("eth_call").calls, of("eth_call").credits), (1, 2, 2));
    assert_eq!((of("eth_getLogs").requests, of("eth_getLogs").calls, of("eth_getLogs").credits), (0, 1, 5));
    assert_eq!((of("eth_call").milliseconds, of("eth_call").bytes_out), (10, 200));
    append(&rig, &line("shop", "eth_call:1:1", 1, 429)[40..]);
    fs::rename(rig.log(), rig.log().with_extension("log.000001")).unwrap();
    append(&rig, &line("shop", "eth_call:10:10", 10, 200));
    until("all of them", async || (calls(&used(&rig, "shop").await) == 14).then_some(())).await;
    assert_eq!(rig.metric("nodeweir_gate_log_bad_lines_total").await, 1);
    // More kinds of rows than one write takes.
    for index in 0..300 {
        append(&rig, &line(&format!("p{index}"), "eth_call:1:1", 1, 200));
    }
    until("the last of many", async || (calls(&used(&rig, "p299").await) == 1).then_some(())).await;
    for index in 0..300 {
        assert_eq!(calls(&used(&rig, &format!("p{index}")).await), 1);
    }
}

#[tokio::test]
async fn a_store_that_fails_loses_and_doubles_nothing() {
    let rig = Rig::start("").await;
    for round in 0..6 {
        rig.store.fails(round % 2 == 0);
        for _ in 0..50 {
            append(&rig, &line("shop", "eth_call:1:1", 1, 200));
        }
        if round % 2 == 1 {
            until("what is there so far", async || {
                (calls(&used(&rig, "shop").await) == (round + 1) * 50).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn what_no_node_answered_is_given_back_and_a_stop_returns_the_rest() {
    let rig = Rig::start("").await;
    let key = rig.key("shop", "business", 1, Restrictions::default()).await;
    for _ in 0..10 {
        assert_eq!(rig.gate(&key, &call("eth_getLogs")).await.status, 204);
    }
    // At once, so that all are counted when the first is.
    append(&rig, &[502, 504, 500, 200].map(|status| line("shop", "eth_getLogs:1:5", 5, status)).concat());
    until("the refunds", async || (rig.metric("nodeweir_gate_refunded_credits_total").await == 10).then_some(())).await;
    let credits: u64 = used(&rig, "shop").await.iter().map(|row| row.counts.credits).sum();
    assert_eq!(credits, 10, "what was given back is not counted as used");
    // The last line comes when the gate is already told to stop.
    append(&rig, &line("shop", "eth_getLogs:1:5", 5, 503));
    let store = rig.stop().await;
    let account = store.inner_account("shop").await;
    assert_eq!((account.spent, account.leased(), account.written_off), (35, 0, 0), "{account:?}");
    assert_eq!(i128::from(account.granted), 35 + account.left());
}

/// Once it listened no more from the moment it was told to stop, and nobody could pass for the second and a half in which
/// its successor had to wait for it.
#[tokio::test]
async fn a_gate_that_stops_lets_pass_until_it_has_counted_the_last_lines() {
    let rig = Rig::start("").await;
    let key = rig.key("shop", "business", 1, Restrictions::default()).await;
    assert_eq!(rig.gate(&key, &call("eth_getLogs")).await.status, 204);
    rig.store.is_slow(Duration::from_secs(3600));
    append(&rig, &line("shop", "eth_getLogs:1:5", 5, 200));
    rig.tell_to_stop();
    until("it stops", async || rig.admin("/readyz").await.filter(|said| said.status == 503)).await;
    assert_eq!(rig.gate(&key, &call("eth_getLogs")).await.status, 204, "the lines are not counted yet");
    rig.store.is_slow(Duration::ZERO);
    let store = rig.stop().await;
    let account = store.inner_account("shop").await;
    assert_eq!((account.spent, account.leased(), account.written_off), (10, 0, 0), "{account:?}");
}

#[tokio::test]
async fn what_cannot_be_given_back_does_not_count_as_given_back() {
    let rig = Rig::start("").await;
    rig.key("shop", "business", 1, Restrictions::default()).await;
    let long_ago = Timestamp::now() - (24 * 40).hours();
    append(
        &rig,
        &[
            line_at(long_ago, "shop", "eth_call:7:7", 7, 502),
            line("nobody", "eth_call:3:3", 3, 502),
            line("shop", "eth_call:5:5", 5, 502),
        ]
        .concat(),
    );
    let refunded = async || rig.metric("nodeweir_gate_refunded_credits_total").await;
    // Projects and months are taken in their order: the others came before.
    until("a refund", async || (refunded().await >= 5).then_some(())).await;
    assert_eq!(refunded().await, 5);
    rig.stop().await;
}
