//! One scenario, both proxies.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use nodeweir_domain::config::ProxyKind;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Fleets at the same time, over all tests, and tests of client libraries, which keep as busy: two cores carry about so
/// many before probes time out for want of them.
static FLEETS: Semaphore = Semaphore::const_new(4);

/// A place for one fleet. Whoever has one does not ask for another.
pub(crate) async fn place() -> SemaphorePermit<'static> {
    FLEETS.acquire().await.unwrap()
}

/// Runs `scenario` with every proxy there is, side by side, and says with which it failed.
pub(crate) async fn with_both(scenario: impl AsyncFn(ProxyKind)) {
    let each = ProxyKind::ALL.map(|kind| {
        let scenario = &scenario;
        async move {
            let _fleet = FLEETS.acquire().await.unwrap();
            // Caught, so that the other one is cleaned up in order too.
            let ended = AssertUnwindSafe(scenario(kind)).catch_unwind().await;
            ended.err().map(|_| kind.to_string())
        }
    });
    let failed: Vec<String> = join_all(each).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "failed with {}; what was wrong stands above", failed.join(" and "));
}

/// Runs a scenario in which the proxy plays no part.
pub(crate) async fn with_one(scenario: impl AsyncFnOnce(ProxyKind)) {
    let _fleet = FLEETS.acquire().await.unwrap();
    scenario(ProxyKind::Nginx).await;
}
