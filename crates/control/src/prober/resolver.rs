//! Names become addresses by the system's resolver; addresses that no node may have are refused.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use nodeweir_domain::fleet::node::{Host, is_link_local};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Why a name has no usable address.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadName {
    #[error("the name does not resolve")]
    NotFound,
    #[error("the name resolves to {0}")]
    Forbidden(IpAddr),
}

/// Finds the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's resolver.
pub fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            // The port is replaced by the URL's.
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// A resolver with a guard before link-local addresses, where clouds keep credentials.
pub(super) struct GuardedResolver {
    pub(super) lookup: Lookup,
    pub(super) allow_link_local: bool,
    /// Who is looked up, whatever name the URL bears: a node that is verified under a name of its own.
    pub(super) instead: Option<Host>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let finding = match &self.instead {
            None => (self.lookup)(name.as_str().to_owned()),
            Some(Host::Name(name)) => (self.lookup)(name.clone()),
            Some(Host::V4(ip)) => found((*ip).into()),
            Some(Host::V6(ip)) => found((*ip).into()),
        };
        let allow_link_local = self.allow_link_local;
        Box::pin(async move {
            let found = finding.await.map_err(|_| BadName::NotFound)?;
            if let Some(forbidden) = found.iter().find(|ip| !allow_link_local && is_link_local(**ip)) {
                return Err(BadName::Forbidden(*forbidden).into());
            }
            if found.is_empty() {
                return Err(BadName::NotFound.into());
            }
            Ok::<Addrs, _>(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))))
        })
    }
}

fn found(ip: IpAddr) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
    Box::pin(std::future::ready(Ok(vec![ip])))
}
