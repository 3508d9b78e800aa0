//! Which calls something is done to, and what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::answer::Answer;
use super::call::Call;

/// Which calls. Those that match are counted from 0, from when the rule was made or calls were last forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct On {
    by: Option<String>,
    service: Option<String>,
    operation: Option<String>,
    resource: Option<String>,
    first: usize,
    after: Option<usize>,
    /// One of so many; 0 and 1 are all.
    step: usize,
}

impl On {
    /// Every call.
    pub fn any() -> Self {
        Self::default()
    }

    /// Every call of a service.
    pub fn service(service: &str) -> Self {
        Self { service: Some(service.to_owned()), ..Self::default() }
    }

    /// Every call of one operation, as [`Call`] names both.
    pub fn call(service: &str, operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::service(service) }
    }

    /// Of these, those with a function's or other caller's credentials.
    #[must_use]
    pub fn by(self, caller: &str) -> Self {
        Self { by: Some(caller.to_owned()), ..self }
    }

    /// Of these, those about a resource: a table, `bucket/key`, …
    #[must_use]
    pub fn about(self, resource: &str) -> Self {
        Self { resource: Some(resource.to_owned()), ..self }
    }

    /// Of these, only number `n`.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        Self { first: n, after: Some(n + 1), ..self }
    }

    /// Of these, number `n` and all later ones.
    #[must_use]
    pub fn from(self, n: usize) -> Self {
        Self { first: n, after: None, ..self }
    }

    /// Of these, the first `n`.
    #[must_use]
    pub fn first(self, n: usize) -> Self {
        Self { first: 0, after: Some(n), ..self }
    }

    /// Of these, every second one.
    #[must_use]
    pub fn every_second(self) -> Self {
        Self { step: 2, ..self }
    }

    pub(super) fn matches(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.by, &call.by)
            && is(&self.service, &call.service)
            && is(&self.operation, &call.operation)
            && self.resource.as_ref().is_none_or(|wanted| call.resources.contains(wanted))
    }

    pub(super) fn is_number(&self, number: usize) -> bool {
        self.first <= number
            && self.after.is_none_or(|after| number < after)
            && (number - self.first).is_multiple_of(self.step.max(1))
    }
}

/// What is done to a call.
#[derive(Clone)]
pub enum Fault {
    /// The connection ends before the service sees the call: nothing happened.
    Refused,
    /// The service does it, but the connection ends before the answer.
    Lost,
    /// The service says that it is out of order, and did nothing.
    Failed,
    /// The service says that it is out of order, but did it.
    FailedAfter,
    /// The service says that this is too often, and did nothing.
    Throttled,
    /// The call reaches the service late.
    Late(Duration),
    /// This answer comes, and the service does not see the call.
    Instead(Answer),
    /// The service does it, and its answer, which is JSON, is changed.
    Changed(Arc<dyn Fn(&mut Value) + Send + Sync>),
    /// Of a `BatchWriteItem`, only so many writes are done; the others are given back as unprocessed.
    Unprocessed(usize),
    /// The call waits until the test lets it go; see [`Proxy::hold`](super::Proxy::hold).
    Held(Held),
}

impl Fault {
    /// In how many ways a call can fail: for tests that fail each call in turn in each way.
    pub const FAILURES: [Self; 5] = [Self::Refused, Self::Lost, Self::Failed, Self::FailedAfter, Self::Throttled];

    /// The answer is changed by a function.
    pub fn changed(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Changed(Arc::new(change))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("Refused"),
            Self::Lost => f.write_str("Lost"),
            Self::Failed => f.write_str("Failed"),
            Self::FailedAfter => f.write_str("FailedAfter"),
            Self::Throttled => f.write_str("Throttled"),
            Self::Late(by) => f.debug_tuple("Late").field(by).finish(),
            Self::Instead(answer) => f.debug_tuple("Instead").field(answer).finish(),
            Self::Changed(_) => f.write_str("Changed"),
            Self::Unprocessed(done) => f.debug_tuple("Unprocessed").field(done).finish(),
            Self::Held(_) => f.write_str("Held"),
        }
    }
}

/// Where calls wait.
#[derive(Debug, Clone)]
pub struct Held {
    waiting: Arc<watch::Sender<usize>>,
    open: Arc<watch::Sender<bool>>,
}

impl Held {
    pub(super) fn new() -> Self {
        Self { waiting: Arc::new(watch::Sender::new(0)), open: Arc::new(watch::Sender::new(false)) }
    }

    /// Waits until so many calls have come, those included that were let go.
    pub async fn arrived(&self, calls: usize) {
        let mut waiting = self.waiting.subscribe();
        // The sender is right here.
        let _ = waiting.wait_for(|found| *found >= calls).await;
    }

    /// Lets the calls go, and those that are still to come.
    pub fn release(&self) {
        self.open.send_replace(true);
    }

    pub(super) async fn wait(&self) {
        let mut open = self.open.subscribe();
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _ = open.wait_for(|open| *open).await;
    }
}
