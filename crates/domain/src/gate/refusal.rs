//! Turns refusals into what clients read: the only place that knows HTTP statuses, JSON-RPC codes and messages.
//!
//! A refusal goes from the gate to nginx in a header and comes back to be answered, because `auth_request` cannot
//! carry a body. Why each number is as it is: what ethers, viem, web3.js, web3.py, alloy and hardhat do with it.

mod answer;
mod parts;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::answer::Answer;
pub use self::parts::{Backoff, Inactive, Rate, Text};
use super::request::{Fault, Invalid, Malformed};
use crate::text::show_size;

/// A denied request, with its reason and numbers. Its JSON form is the `data` of the error that clients get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Refusal {
    /// The key is missing, garbage or unknown.
    InvalidApiKey,
    /// The key is known and no longer good.
    KeyInactive {
        /// Since what.
        reason: Inactive,
    },
    /// The key is not for this network.
    NetworkNotAllowed {
        /// Which was asked for.
        network: Text,
    },
    /// The key is for some origins only.
    DomainNotAllowed {
        /// What the request's `Origin` header says, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Text>,
    },
    /// The key is for some addresses only.
    IpNotAllowed {
        /// Where the request came from.
        address: IpAddr,
    },
    /// Nobody may call this method, or the key may not.
    MethodNotAllowed {
        /// The first of the request's methods for which it is so.
        method: Text,
    },
    /// The project's credits do not suffice.
    InsufficientCredits {
        /// Credits that the request costs.
        cost: u64,
        /// Credits that are left.
        remaining: u64,
    },
    /// The key is too fast.
    #[serde(rename = "RATE_LIMIT_EXCEEDED")]
    RateLimited {
        /// How fast, and when to try again.
        rate: Rate,
    },
    /// The body has too many bytes.
    #[serde(rename = "REQUEST_TOO_LARGE")]
    TooLarge {
        /// How many are allowed.
        most_bytes: u64,
    },
    /// The batch has too many members.
    BatchTooLarge {
        /// How many are allowed.
        most: usize,
    },
    /// The body is not JSON.
    #[serde(rename = "PARSE_ERROR")]
    Parse {
        /// What was found where.
        what: Text,
    },
    /// The body is JSON and no request.
    #[serde(rename = "INVALID_REQUEST")]
    Invalid(Invalid),
    /// No node answers.
    UpstreamUnavailable,
    /// A node answered too late.
    UpstreamTimeout,
    /// Nobody can tell whether the request may pass.
    GateUnavailable,
}

/// A header that holds no refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no refusal: {0}; upstream-unavailable, upstream-timeout, gate-unavailable or the JSON of a refusal is expected"
)]
pub struct BadHeader(String);

impl Refusal {
    /// `error.data.code`.
    pub fn code(&self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.row().1
    }

    /// `error.code`. -32005 is for the rate limit alone: viem and alloy retry it whatever the status.
    pub fn rpc_code(&self) -> i32 {
        self.row().2
    }

    fn row(&self) -> (&'static str, u16, i32) {
        match self {
            Self::InvalidApiKey => ("INVALID_API_KEY", 401, -32051),
            Self::KeyInactive { .. } => ("KEY_INACTIVE", 401, -32053),
            Self::NetworkNotAllowed { .. } => ("NETWORK_NOT_ALLOWED", 403, -32002),
            Self::DomainNotAllowed { .. } => ("DOMAIN_NOT_ALLOWED", 403, -32002),
            Self::IpNotAllowed { .. } => ("IP_NOT_ALLOWED", 403, -32002),
            Self::MethodNotAllowed { .. } => ("METHOD_NOT_ALLOWED", 403, -32601),
            Self::InsufficientCredits { .. } => ("INSUFFICIENT_CREDITS", 402, -32052),
            Self::RateLimited { .. } => ("RATE_LIMIT_EXCEEDED", 429, -32005),
            Self::TooLarge { .. } => ("REQUEST_TOO_LARGE", 413, -32600),
            Self::BatchTooLarge { .. } => ("BATCH_TOO_LARGE", 413, -32600),
            Self::Parse { .. } => ("PARSE_ERROR", 400, -32700),
            Self::Invalid(_) => ("INVALID_REQUEST", 400, -32600),
            Self::UpstreamUnavailable => ("UPSTREAM_UNAVAILABLE", 503, -32603),
            Self::UpstreamTimeout => ("UPSTREAM_TIMEOUT", 504, -32054),
            Self::GateUnavailable => ("GATE_UNAVAILABLE", 503, -32603),
        }
    }

    /// The value of `Retry-After`, in seconds. Never on 401, 402 and 403, which alloy and foundry would then retry.
    pub fn retry_after(&self) -> Option<String> {
        match self {
            // ethers v6 takes plain digits for milliseconds; a leading zero makes it use its own back-off, and all
            // others still read seconds.
            Self::RateLimited { rate } => Some(format!("{:02}", rate.backoff_seconds.seconds())),
            Self::UpstreamUnavailable | Self::GateUnavailable => Some("1".to_owned()),
            _ => None,
        }
    }

    /// `error.message`. "rate limit", "request limit" and "credits limited" make alloy retry, so they stand only where
    /// that is right.
    pub fn message(&self) -> String {
        match self {
            Self::InvalidApiKey => {
                "the API key is missing or unknown: send it as /{network}/v3/{key}, in X-API-Key or in \
                 Authorization: Bearer"
                    .to_owned()
            }
            Self::KeyInactive { reason: Inactive::Revoked } => "the API key was revoked".to_owned(),
            Self::KeyInactive { reason: Inactive::Expired } => "the API key has expired".to_owned(),
            Self::NetworkNotAllowed { network } => format!("the API key may not be used for the network {network}"),
            Self::DomainNotAllowed { origin: Some(origin) } => {
                format!("the API key may not be used from the origin {origin}")
            }
            Self::DomainNotAllowed { origin: None } => {
                "the API key may only be used from certain origins, and the request has no Origin header".to_owned()
            }
            Self::IpNotAllowed { address } => format!("the API key may not be used from the address {address}"),
            Self::MethodNotAllowed { method } => format!("the method {method} is not allowed"),
            Self::InsufficientCredits { cost, remaining } => {
                format!("out of credits for this month: the request costs {cost}, and {remaining} are left")
            }
            Self::RateLimited { rate } => {
                format!("rate limit exceeded, try again in {}s", rate.backoff_seconds.seconds())
            }
            Self::TooLarge { most_bytes } => {
                format!("the request body is too large: at most {} is allowed", show_size(*most_bytes))
            }
            Self::BatchTooLarge { most } => Malformed::BatchTooLarge { most: *most }.to_string(),
            Self::Parse { what } => Malformed::Parse { what: what.to_string() }.to_string(),
            Self::Invalid(invalid) => Malformed::from(*invalid).to_string(),
            Self::UpstreamUnavailable => "no node answers for this network now, try again".to_owned(),
            Self::UpstreamTimeout => "no node answered in time".to_owned(),
            Self::GateUnavailable => "requests cannot be authorised now, try again".to_owned(),
        }
    }

    /// Compact JSON that can stand in an HTTP header: printable ASCII, and below 2 KiB because every text in it is a
    /// [`Text`].
    pub fn to_header(&self) -> String {
        let mut header = String::new();
        for c in answer::json(self).chars() {
            // JSON itself is ASCII, so whatever is not stands inside a string.
            match c {
                ' '..='~' => header.push(c),
                _ => header.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
            }
        }
        header
    }

    /// Reads what [`Refusal::to_header`] wrote, or one of the words that nginx says for what it found itself.
    pub fn from_header(text: &str) -> Result<Self, BadHeader> {
        match text {
            "upstream-unavailable" => Ok(Self::UpstreamUnavailable),
            "upstream-timeout" => Ok(Self::UpstreamTimeout),
            "gate-unavailable" => Ok(Self::GateUnavailable),
            json => serde_json::from_str(json).map_err(|error| BadHeader(error.to_string())),
        }
    }

    /// One of each, for tests that should cover them all; where it matters, of each sort.
    pub fn samples() -> Vec<Self> {
        let invalid = |member, fault| Self::Invalid(Invalid { member, fault });
        vec![
            Self::InvalidApiKey,
            Self::KeyInactive { reason: Inactive::Revoked },
            Self::KeyInactive { reason: Inactive::Expired },
            Self::NetworkNotAllowed { network: "polygon".into() },
            Self::DomainNotAllowed { origin: Some("https://app.example".into()) },
            Self::DomainNotAllowed { origin: None },
            Self::IpNotAllowed { address: IpAddr::from([203, 0, 113, 7]) },
            Self::MethodNotAllowed { method: "admin_addPeer".into() },
            Self::InsufficientCredits { cost: 5, remaining: 3 },
            Self::RateLimited { rate: Rate { backoff_seconds: Backoff::from(2), current_rps: 37, allowed_rps: 10 } },
            Self::TooLarge { most_bytes: 1 << 20 },
            Self::BatchTooLarge { most: 100 },
            Self::Parse { what: "expected value at line 1 column 1".into() },
            invalid(None, Fault::NoMethod),
            invalid(Some(3), Fault::Version),
            Self::UpstreamUnavailable,
            Self::UpstreamTimeout,
            Self::GateUnavailable,
        ]
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Parse { what } => Self::Parse { what: what.into() },
            Malformed::Invalid(invalid) => Self::Invalid(invalid),
            Malformed::BatchTooLarge { most } => Self::BatchTooLarge { most },
        }
    }
}
