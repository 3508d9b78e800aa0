//! How fast the gate is: the decision itself, the way through nginx, and many keys.

pub(crate) mod child;
mod decide;
#[cfg(feature = "aws")]
mod fleet;
mod http;
mod keys;
mod lease;
pub(crate) mod setting;

use anyhow::bail;

pub(crate) use child::{WORD as BE_GATE, be};

/// Measures one thing and prints it.
type Measure = fn() -> anyhow::Result<()>;

/// Measures the named part, or all of them.
pub(crate) fn measure(part: Option<&str>) -> anyhow::Result<()> {
    let parts: &[(&str, Measure)] = &[
        ("decide", decide::measure),
        ("lease", lease::measure),
        ("http", http::measure),
        ("threads", http::measure_threads),
        ("floods", http::measure_floods),
        ("limits", http::measure_limits),
        ("keys", keys::measure),
        #[cfg(feature = "aws")]
        ("fleet", fleet::measure),
    ];
    if let Some(part) = part
        && !parts.iter().any(|(name, _)| *name == part)
    {
        bail!(
            "there is no part {part:?} of `gate`: decide, lease, http, threads, floods, limits, keys or fleet is expected"
        );
    }
    for (name, measure) in parts {
        if part.is_none_or(|part| part == *name) {
            measure()?;
        }
    }
    Ok(())
}
