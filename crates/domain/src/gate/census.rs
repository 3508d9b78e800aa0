//! How many sidecars serve together, which is what limits are shared among and leases are bounded by.
//!
//! Each writes a [`Beat`] every [`BEAT_EVERY`] and then looks at everybody's. Whether another one lives is told by its
//! beats going on from look to look, and not by their time: clocks may be apart. Only looks that succeeded count, so that
//! nobody takes the others for dead because the store is away: the last count stays.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::SidecarId;

/// How often a sidecar says that it is there, and looks who else is. A new one is known to all so long after its start.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);

/// After so many looks without a new beat a sidecar counts no more. Of four tries at a store that fails half of its calls,
/// one gets through as good as always.
pub const MISSED: u32 = 4;

/// A beat that is older when it is first seen is of a sidecar that died before: clocks are not that far apart.
pub const LONG_DEAD: Duration = Duration::from_secs(300);

/// A sidecar says that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Who.
    pub sidecar: SidecarId,
    /// Another one than that of its last beat.
    pub number: u64,
    /// When, by its own clock.
    pub at: Timestamp,
}

/// What one sidecar knows of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census(BTreeMap<SidecarId, Other>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Other {
    number: u64,
    /// Looks since it was another one.
    missed: u32,
}

impl Census {
    /// How many live, `own` included, given everybody's last beats. Who says goodbye has none any more.
    pub fn count(&mut self, own: &SidecarId, beats: &[Beat], now: Timestamp) -> NonZeroU32 {
        let others = beats.iter().filter(|beat| beat.sidecar != *own).map(|beat| {
            let missed = match self.0.get(&beat.sidecar) {
                Some(before) if before.number == beat.number => before.missed.saturating_add(1),
                None if now.duration_since(beat.at).unsigned_abs() > LONG_DEAD => MISSED,
                Some(_) | None => 0,
            };
            (beat.sidecar.clone(), Other { number: beat.number, missed })
        });
        self.0 = others.collect();
        let live = self.0.values().filter(|other| other.missed < MISSED).count();
        NonZeroU32::MIN.saturating_add(u32::try_from(live).unwrap_or(u32::MAX))
    }
}
