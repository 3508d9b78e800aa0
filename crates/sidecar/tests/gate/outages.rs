//! The store is away, slow, or flooded with questions.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nodeweir_domain::gate::key::Secret;
use nodeweir_domain::gate::restrict::Restrictions;

use crate::rig::{Rig, call, until};

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
    until("the new one passes", async || (rig.gate(&late, &call("eth_call")).await.status == 204).then_some(())).await;
}

#[tokio::test]
async fn a_key_is_looked_up_once_however_many_ask() {
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
