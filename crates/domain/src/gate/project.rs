//! Projects, who pay, and tiers, which say how much they may.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::method::MethodPattern;
use crate::name::TierName;

pub use crate::name::ProjectId;

/// Requests per second beyond which a limit would overflow what counts it, and limits nobody.
pub const MOST_RATE: u32 = 1_000_000;

/// Credits beyond which sums would leave 64 bits.
pub const MOST_CREDITS: u64 = 1 << 50;

/// A tier's limits, from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Requests per second of each key; the burst is twice as much. `None`: each project states its own.
    pub requests_per_second: Option<NonZeroU32>,
    /// Credits granted each month, at its first moment in UTC. `None`: each project states its own.
    pub credits_per_month: Option<u64>,
    /// Costly methods it is given: `debug_*`, `trace_*`.
    pub methods: Vec<MethodPattern>,
    /// Whether WebSockets may be opened, whose messages are neither limited nor charged.
    pub websocket: bool,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub id: ProjectId,
    /// Its tier's name.
    pub tier: TierName,
    /// When it was made.
    pub created: Timestamp,
    /// Requests per second of each key, instead of its tier's.
    #[serde(default)]
    pub requests_per_second: Option<NonZeroU32>,
    /// Credits per month, instead of its tier's.
    #[serde(default)]
    pub credits_per_month: Option<u64>,
    /// Costly methods that it is given beyond what its tier has.
    #[serde(default)]
    pub methods: Vec<MethodPattern>,
    /// Whether it may open WebSockets, even if its tier may not.
    #[serde(default)]
    pub websocket: bool,
}

/// What a project may, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests per second of each key.
    pub requests_per_second: NonZeroU32,
    /// Credits granted each month.
    pub credits_per_month: u64,
}

impl Project {
    /// What it may, by its own numbers and its tier's. `None` if neither of them says it.
    pub fn allowance(&self, tier: &Tier) -> Option<Allowance> {
        Some(Allowance {
            requests_per_second: self.requests_per_second.or(tier.requests_per_second)?,
            credits_per_month: self.credits_per_month.or(tier.credits_per_month)?,
        })
    }
}
