//! Answers that do not come from the emulator, in the form of the service that was called.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};

use super::call::{Call, Protocol};
use crate::background::respond;

/// An answer in place of the emulator's.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Status 200 with this body, of a service that speaks JSON.
    Json(Value),
    /// An error by its code, for instance 409 `ConditionalRequestConflict`; the service called says how it is written.
    Error(u16, String),
    /// Anything at all: status, headers, body.
    Raw(u16, Vec<(String, String)>, Bytes),
}

impl Answer {
    /// An error by its code.
    pub fn error(status: u16, code: &str) -> Self {
        Self::Error(status, code.to_owned())
    }

    /// What the service called says to those who call too often.
    pub(super) fn throttled(call: &Call) -> Self {
        match (call.service.as_str(), call.protocol()) {
            ("dynamodb", _) => Self::error(400, "ProvisionedThroughputExceededException"),
            (_, Protocol::S3) => Self::error(503, "SlowDown"),
            (_, Protocol::RestJson) => Self::error(429, "TooManyRequestsException"),
            (_, Protocol::Query) => Self::error(400, "Throttling"),
            (_, Protocol::Json) => Self::error(400, "ThrottlingException"),
        }
    }

    /// What the service called says to those who may not.
    pub(super) fn denied(call: &Call) -> Self {
        match call.protocol() {
            Protocol::S3 | Protocol::Query => Self::error(403, "AccessDenied"),
            Protocol::RestJson => Self::error(403, "AccessDeniedException"),
            Protocol::Json => Self::error(400, "AccessDeniedException"),
        }
    }

    /// What the service called says when it is out of order.
    pub(super) fn failed(call: &Call) -> Self {
        let code = match call.service.as_str() {
            "dynamodb" => "InternalServerError",
            "s3" => "InternalError",
            "ecs" => "ServerException",
            "secretsmanager" => "InternalServiceError",
            "lambda" => "ServiceException",
            _ => "InternalFailure",
        };
        Self::error(500, code)
    }

    pub(super) fn write(self, call: &Call) -> Response<Full<Bytes>> {
        let id = ("x-amzn-requestid", "00000000-0000-0000-0000-000000000000");
        match self {
            Self::Json(body) => respond(200, &[("content-type", "application/x-amz-json-1.0"), id], body.to_string()),
            Self::Raw(status, headers, body) => {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                respond(status, &headers, body)
            }
            Self::Error(status, code) => {
                let message = format!("{code}, said the test");
                match call.protocol() {
                    Protocol::Json => {
                        let body = json!({"__type": format!("com.amazonaws.test#{code}"), "message": message});
                        respond(status, &[("content-type", "application/x-amz-json-1.0"), id], body.to_string())
                    }
                    Protocol::RestJson => {
                        let headers = [("content-type", "application/json"), ("x-amzn-errortype", &code), id];
                        respond(status, &headers, json!({"Type": "Service", "Message": message}).to_string())
                    }
                    Protocol::S3 if call.operation.starts_with("Head") => respond(status, &[], ""),
                    Protocol::S3 => respond(
                        status,
                        &[("content-type", "application/xml"), ("x-amz-request-id", "0000000000000000")],
                        format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"),
                    ),
                    Protocol::Query => {
                        let kind = if status < 500 { "Sender" } else { "Receiver" };
                        let error = format!("<Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message>");
                        let body = format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>");
                        respond(status, &[("content-type", "text/xml"), id], body)
                    }
                }
            }
        }
    }
}
