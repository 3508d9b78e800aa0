//! What the proxy itself says to clients, the same words from either program.

use serde_json::json;

/// An error that the proxy makes. The gate does not see it, so its `id` is `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its name in the configuration file.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// The product's code, `error.data.code`.
    pub code: &'static str,
    /// `error.code`.
    pub rpc_code: i32,
    /// `error.message`.
    pub message: &'static str,
    /// Statuses that nginx finds by itself and for which this is the answer.
    pub nginx: &'static [u16],
    /// The same for HAProxy.
    pub haproxy: &'static [u16],
    /// Requests per second that are allowed, if the answer is about that. How many came is not known to the proxy.
    pub allowed_rps: Option<u32>,
}

impl Answer {
    /// The body. It holds neither a quote of the kind `'` nor a `$`, a `%`, a backslash or a line break, so that it
    /// can stand between single quotes in either file.
    pub fn body(&self) -> String {
        let mut data = json!({"code": self.code});
        if let Some(allowed_rps) = self.allowed_rps {
            data["rate"] = json!({"backoff_seconds": 1, "allowed_rps": allowed_rps});
        }
        let error = json!({"code": self.rpc_code, "message": self.message, "data": data});
        format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#)
    }
}

const fn refusal(name: &'static str, status: u16, message: &'static str) -> Answer {
    Answer {
        name,
        status,
        code: "INVALID_REQUEST",
        rpc_code: -32600,
        message,
        nginx: &[],
        haproxy: &[],
        allowed_rps: None,
    }
}

/// Every answer there is.
pub const ANSWERS: [Answer; 14] = [
    Answer {
        nginx: &[400, 501, 505],
        haproxy: &[400],
        ..refusal("malformed", 400, "the request is not well-formed HTTP")
    },
    refusal("empty", 400, "the body is missing: send a JSON-RPC request in a POST"),
    refusal("not-websocket", 400, "a WebSocket handshake is expected at this address"),
    Answer { nginx: &[403, 404], ..refusal("not-found", 404, "no such address or network: use /{network}/v3/{key}") },
    Answer { nginx: &[405], ..refusal("not-post", 405, "method not allowed: use POST") },
    refusal("not-get", 405, "method not allowed: open a WebSocket with GET"),
    Answer { nginx: &[408], haproxy: &[408], ..refusal("slow", 408, "the request took too long to arrive") },
    Answer { nginx: &[411], ..refusal("no-length", 411, "a body of this size needs a Content-Length header") },
    Answer {
        code: "REQUEST_TOO_LARGE",
        nginx: &[413],
        haproxy: &[413],
        ..refusal("too-large", 413, "the request body is too large")
    },
    Answer { nginx: &[414], ..refusal("long-address", 414, "the address is too long") },
    Answer {
        nginx: &[415],
        ..refusal("media-type", 415, "unsupported body: send application/json without Content-Encoding")
    },
    Answer { nginx: &[431, 494], ..refusal("long-headers", 431, "the request headers are too large") },
    Answer {
        name: "unavailable",
        status: 503,
        code: "UPSTREAM_UNAVAILABLE",
        rpc_code: -32603,
        message: "no node answers for this network now, try again",
        nginx: &[500, 502, 503],
        haproxy: &[500, 502, 503],
        allowed_rps: None,
    },
    Answer {
        name: "late",
        status: 504,
        code: "UPSTREAM_TIMEOUT",
        rpc_code: -32054,
        message: "no node answered in time",
        nginx: &[504],
        haproxy: &[504],
        allowed_rps: None,
    },
];

/// What nginx says beside those while the gate is on: before it is asked, or because it cannot be asked. `allowed_rps`
/// are the requests per second that the shield lets one address make.
pub const fn gate_answers(allowed_rps: u32) -> [Answer; 2] {
    [
        Answer {
            name: "limited",
            status: 429,
            code: "RATE_LIMIT_EXCEEDED",
            rpc_code: -32005,
            message: "rate limit exceeded, try again in 1s",
            nginx: &[429],
            haproxy: &[],
            allowed_rps: Some(allowed_rps),
        },
        Answer {
            name: "gate-unavailable",
            status: 503,
            code: "GATE_UNAVAILABLE",
            rpc_code: -32603,
            message: "requests cannot be authorised now, try again",
            nginx: &[],
            haproxy: &[],
            allowed_rps: None,
        },
    ]
}

/// Statuses of a node that are no answer to the client's request but a fault of the node, of its credentials or of
/// its address: the next one is tried, and the client never sees them. A 400 or 500 is not among them, because some
/// nodes send JSON-RPC errors so; 413 and 415 are shown in our own words. A 408 passes, because nginx drops the
/// client's connection when it is told to replace one.
pub(super) const FAILED: [u16; 16] = [301, 302, 303, 307, 308, 401, 402, 403, 404, 405, 407, 421, 425, 429, 502, 503];

/// Response headers of nodes that clients do not see: they speak of another address, another limit or another
/// credential than ours.
pub(super) const HIDDEN: [&str; 36] = [
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Private-Network",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
    "Alt-Svc",
    "CF-Cache-Status",
    "CF-RAY",
    "NEL",
    "RateLimit",
    "RateLimit-Limit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Report-To",
    "Retry-After",
    "Server",
    "Set-Cookie",
    "Strict-Transport-Security",
    "Via",
    "WWW-Authenticate",
    "X-Cache-Status",
    "X-Credits-Cost",
    "X-Credits-Remaining",
    "X-Powered-By",
    "X-RateLimit-Burst",
    "X-RateLimit-Limit",
    "X-RateLimit-Policy",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Retry-After",
    "X-Request-Id",
    "X-RPC-Endpoint",
    "X-RPC-Latency-Ms",
];

/// What the gate and nginx tell each other. None of it is believed of a node.
pub(super) const OF_THE_GATE: [&str; 17] = [
    "X-Gate-Address",
    "X-Gate-Burst",
    "X-Gate-Cost",
    "X-Gate-Credits",
    "X-Gate-Key",
    "X-Gate-Kind",
    "X-Gate-Limit",
    "X-Gate-Methods",
    "X-Gate-Network",
    "X-Gate-Origin",
    "X-Gate-Path-Key",
    "X-Gate-Project",
    "X-Gate-Quiet",
    "X-Gate-Refusal",
    "X-Gate-Remaining",
    "X-Gate-Reset",
    "X-Gate-Retry-After",
];

/// Variables of nginx that keep the gate's verdict, and where in its answer each stands.
pub(super) const VERDICT: [(&str, &str); 12] = [
    ("gate_refusal", "x_gate_refusal"),
    ("gate_project", "x_gate_project"),
    ("gate_key", "x_gate_key"),
    ("gate_methods", "x_gate_methods"),
    ("gate_cost", "x_gate_cost"),
    ("gate_credits", "x_gate_credits"),
    ("gate_limit", "x_gate_limit"),
    ("gate_remaining", "x_gate_remaining"),
    ("gate_reset", "x_gate_reset"),
    ("gate_burst", "x_gate_burst"),
    ("gate_retry_after", "x_gate_retry_after"),
    ("gate_quiet", "x_gate_quiet"),
];

/// What browsers may read of a response.
pub(super) const EXPOSED: &str = "Retry-After, X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, \
     X-RateLimit-Burst, X-Credits-Cost, X-Credits-Remaining, X-RPC-Endpoint, X-RPC-Latency-Ms, X-Cache-Status";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::refusal::Refusal;

    #[test]
    fn bodies_stand_between_quotes_in_either_file() {
        for answer in ANSWERS.into_iter().chain(gate_answers(5000)) {
            let body = answer.body();
            assert!(!body.contains(['\'', '$', '%', '\\', '\n']), "{body}");
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read["error"]["data"]["code"], answer.code);
            assert!(read["id"].is_null());
        }
    }

    #[test]
    fn who_is_too_fast_is_told_what_is_known_of_it() {
        let [limited, _] = gate_answers(40);
        let read: serde_json::Value = serde_json::from_str(&limited.body()).unwrap();
        let rate = json!({"backoff_seconds": 1, "allowed_rps": 40});
        assert_eq!(read["error"]["data"], json!({"code": "RATE_LIMIT_EXCEEDED", "rate": rate}));
    }

    /// Clients see the gate's answer, or this one while the gate is away.
    #[test]
    fn the_gate_says_the_same() {
        let ours: Vec<_> = ANSWERS.into_iter().chain(gate_answers(1)).collect();
        for refusal in [Refusal::UpstreamUnavailable, Refusal::UpstreamTimeout, Refusal::GateUnavailable] {
            let answer = ours.iter().find(|answer| answer.code == refusal.code()).unwrap();
            let of_gate = (refusal.status(), refusal.rpc_code(), refusal.message());
            assert_eq!((answer.status, answer.rpc_code, answer.message.to_owned()), of_gate);
        }
    }

    #[test]
    fn each_status_has_one_answer() {
        for pick in [(|a: &Answer| a.nginx) as fn(&Answer) -> &'static [u16], |a| a.haproxy] {
            let mut all: Vec<_> = ANSWERS.into_iter().chain(gate_answers(1)).flat_map(|answer| pick(&answer)).collect();
            all.sort();
            let count = all.len();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }
}
