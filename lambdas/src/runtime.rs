//! What the three programs have in common: log, settings, the loop of events, and whether a run went well.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use aws_config::SdkConfig;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use nodeweir_aws::metrics::Line;
use serde_json::Value;
use tokio::runtime::Builder;
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::error::RunError;
use crate::settings::Settings;

/// One of the flows, as a function.
pub trait Function: Send + Sync + 'static {
    /// Its name in metrics.
    const NAME: &'static str;

    /// Runs once. `deadline` is when Lambda ends it.
    fn run(&self, event: Value, deadline: Timestamp) -> impl Future<Output = Result<Value, RunError>> + Send;

    /// What Lambda is answered instead of the outcome, where an event's source wants that.
    fn answer(&self, _event: &Value, _outcome: &Result<Value, RunError>) -> Option<Value> {
        None
    }
}

/// Serves events until Lambda ends the process.
pub fn serve<F: Function>(make: fn(&SdkConfig, &Settings) -> Result<F>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // The request's id is a field of the span that the runtime opens around each event.
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    log.with_target(false).with_env_filter(filter).init();
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the program cannot start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve_events(make)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the function cannot start: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve_events<F: Function>(make: fn(&SdkConfig, &Settings) -> Result<F>) -> Result<()> {
    let settings = Settings::read()?;
    let sdk = nodeweir_aws::connect(None).await;
    let (function, stage) = (Arc::new(make(&sdk, &settings)?), Arc::new(settings.stage));
    let handle = |event: LambdaEvent<Value>| {
        let (function, stage) = (Arc::clone(&function), Arc::clone(&stage));
        async move { run(&*function, &stage, event).await }
    };
    lambda_runtime::run(service_fn(handle)).await.map_err(|error| anyhow::anyhow!(error))
}

async fn run<F: Function>(function: &F, stage: &str, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let deadline = i64::try_from(event.context.deadline).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let outcome = function.run(event.payload.clone(), deadline.unwrap_or(Timestamp::MAX)).await;
    Line::about(stage, &[("Flow", F::NAME)])
        .put_if("Succeeded", outcome.is_ok())
        .put_if("Failed", outcome.is_err())
        .print(Timestamp::now());
    let answer = function.answer(&event.payload, &outcome);
    let outcome = outcome.map_err(|error| {
        let told = Diagnostic::from(error);
        error!(kind = told.error_type, "the run failed: {}", told.error_message);
        told
    });
    answer.map_or(outcome, Ok)
}
