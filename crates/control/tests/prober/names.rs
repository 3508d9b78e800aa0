//! What names resolve to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nodeweir_control::prober::HttpProber;
use nodeweir_domain::fleet::probe::Failure;

use crate::server::{Server, good};
use crate::{PATIENT, address, ask, config, no_secrets, probe};

/// A prober that finds names by `lookup`.
pub(crate) fn prober(
    allow_link_local: bool,
    lookup: impl Fn(&str) -> io::Result<Vec<&'static str>> + Send + Sync + 'static,
) -> HttpProber {
    let mut config = config(PATIENT);
    config.health.allow_link_local = allow_link_local;
    let lookup = Arc::new(move |name: String| {
        let found = lookup(&name).map(|found| found.into_iter().map(|ip| ip.parse().unwrap()).collect());
        let found: futures_util::future::BoxFuture<'static, _> = Box::pin(std::future::ready(found));
        found
    });
    HttpProber::with_lookup(&config, no_secrets(), lookup).unwrap()
}

#[tokio::test]
async fn a_name_is_looked_up_and_asked_at_the_url_s_port() {
    let server = Server::answering(|_, request| good(1, request)).await;
    let prober = prober(false, |name| {
        assert_eq!(name, "node.example");
        Ok(vec!["127.0.0.1"])
    });
    let url = format!("http://node.example:{}", server.port);
    assert_eq!(ask(&prober, &address(&url)).await.unwrap().head, 0x1b4);
    // The system knows this one.
    assert_eq!(probe(PATIENT, &format!("http://localhost:{}", server.port)).await.unwrap().head, 0x1b4);
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    for found in [Err(io::ErrorKind::NotFound), Ok(())] {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let prober = prober(false, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            found.map(|()| Vec::new()).map_err(io::Error::from)
        });
        assert_eq!(ask(&prober, &address("http://node.example:8545")).await, Err(Failure::Dns));
        assert_eq!(count.load(Ordering::SeqCst), 2, "one failed look-up is forgiven");
    }
}

#[tokio::test]
async fn a_name_that_cannot_exist_does_not_resolve_by_the_system_either() {
    let failure = probe(Duration::from_secs(5), "http://node.invalid:8545").await.unwrap_err();
    // Where no name server answers, the system takes its time to say so.
    assert!(matches!(failure, Failure::Dns | Failure::Timeout | Failure::Starved), "{failure:?}");
}

#[tokio::test]
async fn a_name_that_leads_to_where_clouds_keep_credentials_is_not_asked() {
    let server = Server::answering(|_, request| good(1, request)).await;
    let url = format!("http://node.example:{}", server.port);
    for forbidden in ["169.254.169.254", "169.254.0.1", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"] {
        // Also when only one of several addresses is such, and whichever comes first.
        for found in [vec![forbidden], vec!["127.0.0.1", forbidden], vec![forbidden, "127.0.0.1"]] {
            let prober = prober(false, move |_| Ok(found.clone()));
            let failure = ask(&prober, &address(&url)).await.unwrap_err();
            let ip = forbidden.parse().unwrap();
            assert_eq!(failure, Failure::ForbiddenAddress(ip));
            assert!(failure.to_string().contains(forbidden), "{failure}");
        }
    }
    assert_eq!(server.seen.connections(), 0);
}

#[tokio::test]
async fn unless_the_configuration_allows_it() {
    let server = Server::answering(|_, request| good(1, request)).await;
    // The first one answers, so that nobody is really asked at the other.
    let prober = prober(true, |_| Ok(vec!["127.0.0.1", "169.254.169.254"]));
    let outcome = ask(&prober, &address(&format!("http://node.example:{}", server.port))).await;
    assert_eq!(outcome.unwrap().head, 0x1b4);
}
