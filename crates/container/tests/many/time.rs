//! Clocks that are apart, and a month that ends.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::gate::account::Period;

use crate::load::Load;
use crate::process::until;
use crate::world::{Task, World};

/// The library that gives a program another clock, of the package `libfaketime`.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let files = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketime.so.1"));
    files.into_iter().find(|file| file.exists()).expect("libfaketime is installed: scripts/test does it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_ends_for_one_after_the_other_and_no_credit_is_lost_or_spent_twice() {
    let mut world = World::new().await;
    let ending = Period::of(Timestamp::now());
    let beginning = Period::of(ending.ends());
    // The clocks are apart by a minute, and the middle one's month ends in half a minute.
    let until_end = ending.ends().as_second() - Timestamp::now().as_second() - 30;
    let preload = format!("LD_PRELOAD={}", library().display());
    for apart in [-30, 0, 30] {
        let clock = format!("FAKETIME={:+}", until_end + apart);
        let words = ["/usr/bin/env", &preload, &clock, "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"];
        let task = world.start(&words).await;
        world.tasks.push(task);
    }
    world.know_each_other().await;
    let key = world.key("shop", "big").await;
    let ports: Vec<u16> = world.tasks.iter().map(Task::port).collect();
    let load = Load::start(&ports, &key, Duration::from_millis(10));
    until("all are in the new month", async || {
        let (old, new) = (world.account_in("shop", ending).await?, world.account_in("shop", beginning).await?);
        assert!(old.left() >= 0 && new.left() >= 0, "{old:?} {new:?}");
        (new.leases.len() == 3 && old.leased() == 0).then_some(())
    })
    .await;
    load.passes(200).await;
    let (counts, _) = load.end().await;
    world.stop().await;
    // Where the store was slow to answer, a request may have been told to come again.
    assert_eq!((counts.passed() + counts.of(503), counts.broken), (counts.all(), 0), "{counts:?}");
    let [old, new] = [ending, beginning].map(async |period| world.account_in("shop", period).await.unwrap());
    let (old, new) = (old.await, new.await);
    for account in [&old, &new] {
        assert_eq!((account.granted, account.leased(), account.written_off), (1_000_000, 0, 0), "{account:?}");
    }
    assert!(old.spent > 0 && new.spent > 0, "{old:?} {new:?}");
    assert_eq!(old.spent + new.spent, counts.passed());
    // What is known by the minute is known by the calls' own month.
    let (calls, credits) = world.used("shop").await;
    assert!(calls >= counts.passed() && credits == counts.passed(), "{calls}, {credits}: {counts:?}");
}
