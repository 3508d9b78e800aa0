//! The HTTP clients that ask.

use std::sync::Arc;
use std::time::Duration;

use nodeweir_domain::fleet::node::Host;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::resolver::{GuardedResolver, Lookup};

/// Why nobody can be asked at all.
#[derive(Debug, thiserror::Error)]
#[error("nodes cannot be asked over HTTP: {0}")]
pub struct ProberError(String);

/// Makes clients that differ only in where their names lead.
#[derive(Clone)]
pub(super) struct Clients {
    /// Read once: the machine's certificates are many.
    tls: rustls::ClientConfig,
    lookup: Lookup,
    allow_link_local: bool,
}

impl Clients {
    pub(super) fn new(lookup: Lookup, allow_link_local: bool) -> Result<Self, ProberError> {
        let failed = |error: rustls::Error| ProberError(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = builder.map_err(failed)?.with_platform_verifier().map_err(failed)?.with_no_client_auth();
        Ok(Self { tls, lookup, allow_link_local })
    }

    /// For nodes whose URL says it all.
    pub(super) fn usual(&self) -> Result<reqwest::Client, ProberError> {
        self.build(None)
    }

    /// For one node: whatever the name in the URL, the connection goes to `host`.
    pub(super) fn leading_to(&self, host: Host) -> Result<reqwest::Client, ProberError> {
        self.build(Some(host))
    }

    fn build(&self, instead: Option<Host>) -> Result<reqwest::Client, ProberError> {
        let Self { tls, lookup, allow_link_local } = self.clone();
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("nodeweir/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            // One connection serves both questions of a probe; one whose second question never came is not kept for long.
            .pool_idle_timeout(Duration::from_secs(5))
            .dns_resolver(GuardedResolver { lookup, allow_link_local, instead })
            .build()
            .map_err(|error| ProberError(error.to_string()))
    }
}
