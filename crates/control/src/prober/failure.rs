//! From the HTTP client's errors to the words of an observation.

use std::error::Error;
use std::io;

use nodeweir_domain::fleet::probe::Failure;
use rustix::io::Errno;

use super::resolver::BadName;

/// Finds the cause that a person can act on. The client's own words about the URL, which would hold a secret, are
/// never used.
pub(super) fn classify(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    let error = error.without_url();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    let mut last = String::new();
    while let Some(this) = cause {
        if let Some(name) = this.downcast_ref::<BadName>() {
            return match name {
                BadName::NotFound => Failure::Dns,
                BadName::Forbidden(ip) => Failure::ForbiddenAddress(*ip),
            };
        }
        if let Some(tls) = this.downcast_ref::<rustls::Error>() {
            let hint = if matches!(tls, rustls::Error::InvalidMessage(_)) { " (does it speak TLS?)" } else { "" };
            return Failure::Tls(format!("{}{hint}", shorten(&tls.to_string())));
        }
        last = this.to_string();
        // An io error does not name what it carries as its source, but the source of that; and it may carry another.
        cause = match this.downcast_ref::<io::Error>() {
            Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => return Failure::Refused,
            // No more files may be opened here, which says nothing about the node.
            Some(io) if matches!(Errno::from_io_error(io), Some(Errno::MFILE | Errno::NFILE)) => {
                return Failure::Starved;
            }
            Some(io) => io.get_ref().map(|carried| carried as &(dyn Error + 'static)),
            None => this.source(),
        };
    }
    Failure::Connection(shorten(&last))
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
