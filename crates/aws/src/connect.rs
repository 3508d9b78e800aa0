//! Ways to AWS's services.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// How often a call is tried in all.
const ATTEMPTS: u32 = 3;
/// Between two tries, at first and at most; the next pauses are longer.
const PAUSE: Duration = Duration::from_millis(100);
/// For one try, answer and all.
const ATTEMPT: Duration = Duration::from_secs(5);
/// For a call with all its tries.
const CALL: Duration = Duration::from_secs(15);

/// What all clients share: credentials and region as every AWS program finds them (environment, profile, role), the
/// endpoint of `AWS_ENDPOINT_URL` where that is set, and bounds on time and tries.
pub async fn connect(region: Option<&str>) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(PAUSE))
        .timeout_config(timeouts);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    loader.load().await
}

/// Why a call failed, in a line: what the service said, or what kept the call from it; and what to do, where that is
/// known.
pub(crate) fn why<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    if let Some(error) = error.as_service_error() {
        let said = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => error.to_string(),
        };
        return match error.code().and_then(remedy) {
            Some(remedy) => format!("{}; {remedy}", said.trim_end_matches('.')),
            None => said,
        };
    }
    let mut causes = vec![match error {
        SdkError::DispatchFailure(_) => "AWS cannot be reached".to_owned(),
        _ => error.to_string(),
    }];
    let mut source = std::error::Error::source(error);
    let mut is_about_credentials = false;
    while let Some(cause) = source {
        match cause.downcast_ref() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => return NO_CREDENTIALS.to_owned(),
            Some(_) => {
                // Nothing was sent yet, whatever stands around it.
                causes.clear();
                is_about_credentials = true;
            }
            None => {}
        }
        causes.push(cause.to_string());
        source = cause.source();
    }
    // Most of a chain of errors repeats the next one.
    causes.dedup();
    let text = causes.join(": ");
    if is_about_credentials { format!("{text}; {SIGN_IN}") } else { text }
}

const NO_CREDENTIALS: &str = "there are no credentials for AWS: name a profile in AWS_PROFILE, and sign in with `aws sso \
                              login` if it is one of SSO";
const SIGN_IN: &str = "sign in again, such as with `aws sso login`, or correct the profile that AWS_PROFILE names";

/// What a person does about an error of this code.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            "sign in again, such as with `aws sso login`, or get new credentials"
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "AuthFailure"
        | "IncompleteSignature" => "AWS does not know these credentials: see AWS_PROFILE and AWS_ACCESS_KEY_ID",
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
            "the credentials in use lack this permission: use others, or have it granted"
        }
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "SlowDown" => "AWS is asked too often now: try again in a moment",
        _ => return None,
    })
}

/// Whether the service answered with this error code.
pub(crate) fn is_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
}
