//! What is wrong with a body, in sentences for who sent it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A field of a request object that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// `jsonrpc`
    Jsonrpc,
    /// `id`
    Id,
    /// `method`
    Method,
    /// `params`
    Params,
}

impl Field {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Jsonrpc, Self::Id, Self::Method, Self::Params];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonrpc => "jsonrpc",
            Self::Id => "id",
            Self::Method => "method",
            Self::Params => "params",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why JSON is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The body is neither an object nor an array.
    #[error("a request object or an array of them is expected")]
    NotRequest,
    /// The body is `[]`.
    #[error("the batch is empty: at least one request object is expected")]
    EmptyBatch,
    /// A member of a batch is no object.
    #[error("a request object is expected")]
    NotObject,
    /// A field stands there more than once; readers take the first or the last.
    #[error("{0} stands there more than once")]
    Twice(Field),
    /// A key that readers which ignore case take for a field.
    #[error("a key differs from {0} only in case: write {0}")]
    Spelling(Field),
    /// `jsonrpc` is missing or another version.
    #[error("jsonrpc must be the string 2.0")]
    Version,
    /// `id` is an array, an object, a boolean, or half of a surrogate pair.
    #[error("id must be a number, a string or null")]
    Id,
    /// `method` is missing.
    #[error("method is missing")]
    NoMethod,
    /// `method` is no name.
    #[error("method must be a string of 1 to 128 letters, digits, _ and .")]
    Method,
    /// `params` is a number, a string or a boolean.
    #[error("params must be an array or an object")]
    Params,
    /// More arrays and objects stand inside each other than this many, the batch and the request object included.
    #[error("arrays and objects are nested more than {0} deep")]
    TooDeep(usize),
}

/// A fault and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// The member of the batch, counted from 0; none when it is the body itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<usize>,
    /// What is wrong.
    pub fault: Fault,
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(member) = self.member {
            write!(f, "batch[{member}]: ")?;
        }
        self.fault.fmt(f)
    }
}

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is not JSON.
    #[error("parse error: {what}")]
    Parse {
        /// What was found where.
        what: String,
    },
    /// It is JSON, but a member, or the whole, is no request.
    #[error("invalid request: {0}")]
    Invalid(#[from] Invalid),
    /// The batch has more members than are allowed.
    #[error("the batch is too large: at most {most} requests are allowed")]
    BatchTooLarge {
        /// How many are.
        most: usize,
    },
}
