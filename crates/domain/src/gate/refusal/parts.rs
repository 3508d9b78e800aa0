//! What refusals are made of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a known key is no longer good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inactive {
    /// Somebody revoked it.
    Revoked,
    /// Its time is over.
    Expired,
}

/// How fast a key is, and how fast it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// When to try again.
    pub backoff_seconds: Backoff,
    /// Requests per second that came.
    pub current_rps: u32,
    /// Requests per second that are allowed.
    pub allowed_rps: u32,
}

/// Whole seconds to wait, 1 to 5: hardhat gives up above, and 0 would be no wait at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "u64")]
pub struct Backoff(u8);

impl Backoff {
    /// The seconds.
    pub fn seconds(self) -> u8 {
        self.0
    }
}

impl From<u64> for Backoff {
    /// The nearest that is allowed.
    fn from(seconds: u64) -> Self {
        Self(seconds.clamp(1, 5).to_le_bytes()[0])
    }
}

/// A text of the client's, cut so that a refusal fits into a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Text(String);

impl Text {
    /// Characters that are kept: the longest method is shown whole.
    const MOST: usize = 128;

    /// The text as it was kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        match text.char_indices().nth(Self::MOST) {
            Some((end, _)) => Self(format!("{}…", &text[..end])),
            None => Self(text.to_owned()),
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
