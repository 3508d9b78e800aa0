//! The refusals as the contract with clients states them, written down here once more: what answers in these tests must
//! not depend on what is tested.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

/// A row of the contract.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    /// `error.data.code`.
    pub(crate) code: &'static str,
    /// HTTP.
    pub(crate) status: u16,
    /// `error.code`.
    pub(crate) rpc: i32,
    pub(crate) message: &'static str,
    pub(crate) retry_after: Option<&'static str>,
}

const fn row(
    code: &'static str,
    status: u16,
    rpc: i32,
    message: &'static str,
    retry_after: Option<&'static str>,
) -> Refusal {
    Refusal { code, status, rpc, message, retry_after }
}

#[rustfmt::skip]
pub(crate) const REFUSALS: [Refusal; 10] = [
    row("INVALID_API_KEY", 401, -32051, "the API key is missing or unknown", None),
    row("KEY_INACTIVE", 401, -32053, "the API key was revoked", None),
    row("NETWORK_NOT_ALLOWED", 403, -32002, "the API key may not be used for the network ethereum", None),
    row("METHOD_NOT_ALLOWED", 403, -32601, "the method eth_blockNumber is not allowed", None),
    row("INSUFFICIENT_CREDITS", 402, -32052, "out of credits for this month: the request costs 5, and 3 are left", None),
    row("BATCH_TOO_LARGE", 413, -32600, "the batch has more than 2 members", None),
    row("INVALID_REQUEST", 400, -32600, "the request has no method", None),
    row("UPSTREAM_TIMEOUT", 504, -32054, "no node answered in time", None),
    row("UPSTREAM_UNAVAILABLE", 503, -32603, "no node answers for this network now, try again", Some("1")),
    row("RATE_LIMIT_EXCEEDED", 429, -32005, "rate limit exceeded, try again in 2s", Some("02")),
];

impl Refusal {
    /// The one with this code.
    pub(crate) fn of(code: &str) -> Self {
        *REFUSALS.iter().find(|one| one.code == code).unwrap_or_else(|| panic!("no refusal {code}"))
    }

    /// The answer to a request or a batch, with the ids that came.
    pub(crate) fn answer(&self, asked: &Value) -> Response {
        let mut data = json!({"code": self.code});
        if self.code == "RATE_LIMIT_EXCEEDED" {
            data["rate"] = json!({"backoff_seconds": 2, "current_rps": 37, "allowed_rps": 10});
        }
        let error = json!({"code": self.rpc, "message": self.message, "data": data});
        let one = |request: &Value| json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
        let body = match asked {
            Value::Array(members) => members.iter().map(one).collect(),
            single => one(single),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.parse().unwrap());
        }
        response
    }
}
