//! The store is away, slow, or flooded with questions.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use nodeweir_domain::gate::key::{Key, KeyDigest, Secret};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_sidecar::Ages;
use nodeweir_store::{GateStore as _, Written};

use crate::rig::{Rig, call, until};
use crate::steady::steadily;

#[tokio::test]
async fn while_the_store_is_away_who_was_in_stays_in_up_to_the_overdraft() {
    let rig =
        Rig::start(", overdraft_percent: 10, tiers: {small: {requests_per_second: 10000, credits_per_month: 10000}}")
            .await;
    let key = rig.key("shop", "small", 1, Restrictions::default()).await;
    let late = rig.key("shop", "small", 2, Restrictions::default()).await;
    assert_eq!(rig.gate(&key, &call("eth_call")).await.status, 204);
    rig.store.fails(true);
    let (mut passed, mut refused) = (1, None);
    while refused.is_none() && passed < 3000 {
        let said = rig.gate(&key, &call("eth_call")).await;
        if said.status == 204 { passed += 1 } else { refused = Some(said) }
    }
    let refused = refused.expect("the overdraft ends");
    assert!(refused.refusal().contains("GATE_UNAVAILABLE"), "not 402: nobody knows what is left: {refused:?}");
    assert!((1000..1200).contains(&passed), "a tenth of the month, and what was leased: {passed}");
    let unknown = rig.gate(&late, &call("eth_call")).await;
    assert!(unknown.refusal().contains("GATE_UNAVAILABLE"), "not 401: {unknown:?}");
    assert_eq!(rig.metric("nodeweir_gate_store_away").await, 1);

    rig.store.fails(false);
    until("both pass again", async || {
        let both = [rig.gate(&key, &call("eth_call")).await, rig.gate(&late, &call("eth_call")).await];
        passed += both.iter().filter(|said| said.status == 204).count() as u64;
        both.iter().all(|said| said.status == 204).then_some(())
    })
    .await;
    let store = rig.stop().await;
    let account = store.inner_account("shop").await;
    assert_eq!((account.spent, account.leased(), account.written_off), (passed, 0, 0), "{account:?}");
}

#[tokio::test]
async fn a_slow_store_delays_only_who_is_new() {
    steadily(async || {
        let rig = Rig::start("").await;
        let key = rig.key("shop", "business", 1, Restrictions::default()).await;
        let late = rig.key("other", "business", 2, Restrictions::default()).await;
        assert_eq!(rig.gate(&key, &call("eth_call")).await.status, 204);
        rig.store.is_slow(Duration::from_secs(2));
        let began = Instant::now();
        let said = rig.gate(&late, &call("eth_call")).await;
        assert!(said.refusal().contains("GATE_UNAVAILABLE"), "{said:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "nginx would have given up");
        rig.store.is_slow(Duration::ZERO);
        until("the new one passes", async || (rig.gate(&late, &call("eth_call")).await.status == 204).then_some(()))
            .await;
    })
    .await;
}

/// Whatever was read is too old for the next request.
const AT_ONCE: Ages = Ages { fresh: Duration::ZERO, stale: Duration::ZERO, gather: Duration::ZERO };

#[tokio::test]
async fn one_request_waits_for_a_slow_store_and_then_no_other() {
    steadily(async || {
        let rig = Rig::start_with("", AT_ONCE).await;
        let key = rig.key("shop", "professional", 1, Restrictions::default()).await;
        let body = call("eth_chainId");
        assert_eq!(rig.gate(&key, &body).await.status, 204);
        rig.store.is_slow(Duration::from_secs(2));
        let began = Instant::now();
        for _ in 0..200 {
            let said = rig.gate(&key, &body).await;
            assert_eq!(said.status, 204, "{said:?}");
        }
        // Without that, 200 times as long.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(rig.metric("nodeweir_gate_store_away").await, 1);
        rig.store.is_slow(Duration::ZERO);
        until("the store is believed in again", async || {
            assert_eq!(rig.gate(&key, &body).await.status, 204);
            (rig.metric("nodeweir_gate_store_away").await == 0).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_store_that_fails_at_once_is_not_asked_for_each_request() {
    let rig = Rig::start_with("", AT_ONCE).await;
    let key = rig.key("shop", "professional", 1, Restrictions::default()).await;
    let (body, unknown) = (call("eth_chainId"), Secret::from_random(&[9; 64]).unwrap());
    assert_eq!(rig.gate(&key, &body).await.status, 204);
    rig.store.fails(true);
    let (asked, began) = (rig.store.looked_up(), Instant::now());
    for _ in 0..1000 {
        assert_eq!(rig.gate(&key, &body).await.status, 204);
        assert!(rig.gate(unknown.reveal(), &body).await.refusal().contains("GATE_UNAVAILABLE"));
    }
    let quarters = u64::try_from(began.elapsed().as_millis() / 250).unwrap();
    let asked = rig.store.looked_up() - asked;
    assert!(asked <= 4 * (quarters + 2), "{asked} times in {quarters} quarters of a second");
}

/// A flood must not keep a revocation from being seen.
#[tokio::test]
async fn a_revoked_key_is_refused_in_spite_of_a_flood_of_unknown_ones() {
    let rig = Rig::start_with("", AT_ONCE).await;
    let key = rig.key("shop", "professional", 1, Restrictions::default()).await;
    let body = call("eth_chainId");
    assert_eq!(rig.gate(&key, &body).await.status, 204);
    rig.store.is_slow(Duration::from_millis(300));
    let digest = KeyDigest::of(&key);
    let seen = rig.store.inner.key(&digest).await.unwrap().unwrap();
    let revoked = Key { revoked: Some(Timestamp::now()), ..seen.clone() };
    assert_eq!(rig.store.inner.put_key(Some(&seen), &revoked).await.unwrap(), Written::Done);
    let random = |index: usize| {
        let bytes: Vec<u8> =
            (0..64).map(|at| u8::try_from((index * 7 + at * index / 13 + at) % 248).unwrap()).collect();
        Secret::from_random(&bytes).unwrap().reveal().to_owned()
    };
    // More than may wait, and it does not end before the revoked key is refused.
    let (next, is_over) = (Cell::new(0), Cell::new(false));
    let flood = join_all((0..1100).map(async |_| {
        while !is_over.get() {
            let key = random(next.replace(next.get() + 1));
            assert_eq!(rig.gate(&key, &body).await.status, 403);
        }
    }));
    let refused = async {
        until("the revoked key is refused", async || {
            rig.gate(&key, &body).await.refusal().contains("KEY_INACTIVE").then_some(())
        })
        .await;
        is_over.set(true);
    };
    tokio::join!(flood, refused);
    assert!(next.get() > 1100, "{} keys are no flood", next.get());
}

/// What a request needs of the store is bounded as a whole: nginx waits for two seconds.
#[tokio::test]
async fn a_store_that_is_slow_at_each_step_makes_nobody_wait_for_their_sum() {
    steadily(async || {
        let rig = Rig::start("").await;
        let key = rig.key("shop", "professional", 1, Restrictions::default()).await;
        rig.store.is_slow(Duration::from_millis(700));
        let began = Instant::now();
        let said = rig.gate(&key, &call("eth_chainId")).await;
        // Key, project, account and the lease are four, and take 2.8 s.
        assert!(began.elapsed() < Duration::from_millis(2300), "{:?}: {said:?}", began.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_stop_gives_leases_back_also_after_trouble() {
    steadily(async || {
        let rig = Rig::start("").await;
        let mut keys = Vec::new();
        for seed in 1..=40 {
            keys.push(rig.key(&format!("shop-{seed}"), "professional", seed, Restrictions::default()).await);
        }
        let (cheap, dear) = (call("eth_chainId"), call("eth_getLogs"));
        let spent = join_all(keys.iter().map(|key| rig.gate(key, &cheap))).await;
        assert!(spent.iter().all(|said| said.status == 204));
        rig.store.fails(true);
        let spent = join_all(keys.iter().map(|key| rig.gate(key, &dear))).await;
        assert!(spent.iter().all(|said| said.status == 204), "from leases or beyond");
        until("some settling failed", async || (rig.metric("nodeweir_gate_store_away").await == 1).then_some(())).await;
        rig.store.fails(false);
        rig.store.is_slow(Duration::from_millis(100));
        let store = rig.stop().await;
        for seed in 1..=40 {
            let account = store.inner_account(&format!("shop-{seed}")).await;
            assert_eq!((account.spent, account.leased(), account.written_off), (6, 0, 0), "{account:?}");
        }
    })
    .await;
}

/// Near the end the ledger is asked before each request, and once for all that wait.
#[tokio::test]
async fn of_the_last_credits_many_at_once_get_theirs() {
    steadily(async || {
        let rig = Rig::start(", tiers: {last: {requests_per_second: 10000, credits_per_month: 100}}").await;
        let key = rig.key("shop", "last", 1, Restrictions::default()).await;
        let body = call("eth_call");
        let passed = async || {
            let all = join_all((0..64).map(|_| rig.gate(&key, &body))).await;
            let refused: Vec<_> = all.iter().filter(|said| said.status != 204).collect();
            assert!(refused.iter().all(|said| said.refusal().contains("INSUFFICIENT_CREDITS")), "{refused:?}");
            all.len() - refused.len()
        };
        assert_eq!([passed().await, passed().await, passed().await], [64, 36, 0]);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_looked_up_once_however_many_ask() {
    steadily(async || {
        let rig = Rig::start("").await;
        let key = rig.key("shop", "professional", 1, Restrictions::default()).await;
        rig.store.is_slow(Duration::from_millis(100));
        let body = call("eth_call");
        let all = join_all((0..50).map(|_| rig.gate(&key, &body))).await;
        assert!(all.iter().all(|said| said.status == 204), "{all:?}");
        assert_eq!(rig.store.looked_up(), 1);
        // The same for one that is not there.
        let unknown = Secret::from_random(&[9; 64]).unwrap();
        let all = join_all((0..50).map(|_| rig.gate(unknown.reveal(), &body))).await;
        assert!(all.iter().all(|said| said.refusal().contains("INVALID_API_KEY")), "{all:?}");
        assert_eq!(rig.store.looked_up(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_leaves_the_known_alone() {
    let rig = Rig::start("").await;
    let key = rig.key("shop", "professional", 1, Restrictions::default()).await;
    let body = call("eth_call");
    assert_eq!(rig.gate(&key, &body).await.status, 204);
    rig.store.is_slow(Duration::from_millis(50));
    let unknown = |index: u64| {
        let bytes: Vec<u8> =
            (0..64).map(|at| u8::try_from((index * 31 + at * 7 + index / 200) % 248).unwrap()).collect();
        Secret::from_random(&bytes).unwrap().reveal().to_owned()
    };
    let keys: Vec<_> = (0..200).map(unknown).collect();
    let flood = join_all(keys.iter().map(|key| rig.gate(key, &body)));
    let known = async {
        for _ in 0..100 {
            let said = rig.gate(&key, &body).await;
            assert_eq!(said.status, 204, "{said:?}");
        }
    };
    let (flooded, ()) = tokio::join!(flood, known);
    for said in flooded {
        let refusal = said.refusal();
        assert!(refusal.contains("INVALID_API_KEY") || refusal.contains("GATE_UNAVAILABLE"), "{said:?}");
    }
}
