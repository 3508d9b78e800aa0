//! Writes the body that a client gets, with the ids it sent.

use serde::Serialize;

use super::Refusal;
use crate::gate::request::Ids;

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON. None with 204: notifications get no answer, not even a refusal.
    pub body: Option<Vec<u8>>,
}

/// A JSON-RPC error, in the order in which people read it.
#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: &'a str,
    data: &'a Refusal,
}

impl Refusal {
    /// The answer to those who asked: an object for one, an array for a batch, nothing for notifications.
    ///
    /// All members of a refused batch get the same error, but for an invalid request: there, each invalid member gets
    /// its own, and the others are told that they were not carried out because of it.
    pub fn answer(&self, ids: &Ids<'_>) -> Answer {
        let mut body = Vec::new();
        match ids {
            Ids::Nobody => return Answer { status: 204, body: None },
            Ids::One(id) => write(&mut body, *id, &self.error(&self.message())),
            Ids::Many(ids) => {
                let everybodys = match self {
                    Self::Invalid(invalid) => self.error(&format!("another member of the batch is invalid: {invalid}")),
                    _ => self.error(&self.message()),
                };
                body.push(b'[');
                for (at, id) in ids.iter().enumerate() {
                    if at > 0 {
                        body.push(b',');
                    }
                    match (self, id) {
                        (_, Ok(id)) => write(&mut body, Some(id), &everybodys),
                        (Self::Invalid(_), Err(invalid)) => {
                            let own = Self::Invalid(*invalid);
                            write(&mut body, None, &own.error(&own.message()));
                        }
                        (_, Err(_)) => write(&mut body, None, &everybodys),
                    }
                }
                body.push(b']');
            }
        }
        Answer { status: self.status(), body: Some(body) }
    }

    fn error(&self, message: &str) -> String {
        json(&Error { code: self.rpc_code(), message, data: self })
    }
}

fn write(body: &mut Vec<u8>, id: Option<&str>, error: &str) {
    for piece in [r#"{"jsonrpc":"2.0","id":"#, id.unwrap_or("null"), r#","error":"#, error, "}"] {
        body.extend_from_slice(piece.as_bytes());
    }
}

/// Compact JSON of a refusal or its error.
#[expect(clippy::expect_used, reason = "writing to memory cannot fail, and every key is a string")]
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("refusals are JSON")
}
