//! What the gate counts, for Prometheus. No key, project or address is ever a label.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// How a request was decided: `pass`, or the refusal's code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    outcome: &'static str,
}

/// A call of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Call {
    pub(crate) call: &'static str,
    pub(crate) outcome: CallOutcome,
}

/// How a call of the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "labels are written in lower case")]
pub(crate) enum CallOutcome {
    ok,
    lost,
    failed,
}

/// A call of who counts keys' rates for all gates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitsCall {
    outcome: LimitsOutcome,
}

/// How such a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "labels are written in lower case")]
pub(crate) enum LimitsOutcome {
    ok,
    late,
    failed,
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Decisions by outcome.
    decisions: Family<Decided, Counter>,
    /// Those that let a request pass; at hand, because finding one among the others takes a lock.
    pub(crate) passed: Counter,
    /// Seconds that a decision took, waiting for the store included.
    pub(crate) seconds: Histogram,
    /// Calls of the store.
    pub(crate) store: Family<Call, Counter>,
    /// Keys held.
    pub(crate) keys: Gauge,
    /// Buckets held: keys that are not idle.
    pub(crate) buckets: Gauge,
    /// Projects held.
    pub(crate) projects: Gauge,
    /// Gates that limits and credits are shared among.
    pub(crate) sidecars: Gauge,
    /// 1 while the store fails.
    store_away: Gauge,
    /// Calls of the store of which the last one failed.
    failing: Mutex<BTreeSet<&'static str>>,
    /// Calls of who counts rates for all gates.
    limits: Family<LimitsCall, Counter>,
    /// 1 while it is away, and this gate counts by itself.
    pub(crate) limits_away: Gauge,
    /// Requests whose rate this gate counted by itself meanwhile.
    pub(crate) limits_local: Counter,
    /// Credits spent beyond leases while the ledger was away.
    pub(crate) overdraft: Counter,
    /// Credits given back for what nodes failed.
    pub(crate) refunded: Counter,
    /// Lines of the access log that were counted.
    pub(crate) lines: Counter,
    /// Lines of it that could not be read.
    pub(crate) bad_lines: Counter,
    /// Bytes of it that wait to be counted.
    pub(crate) behind: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // A decision takes microseconds; what waits for the store takes milliseconds.
        let buckets = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 2.0];
        let decisions = Family::default();
        let passed = decisions.get_or_create_owned(&Decided { outcome: "pass" });
        let mut metrics = Self {
            registry: Registry::with_prefix("nodeweir_gate"),
            decisions,
            passed,
            seconds: Histogram::new(buckets),
            store: Family::default(),
            keys: Gauge::default(),
            buckets: Gauge::default(),
            projects: Gauge::default(),
            sidecars: Gauge::default(),
            store_away: Gauge::default(),
            failing: Mutex::default(),
            limits: Family::default(),
            limits_away: Gauge::default(),
            limits_local: Counter::default(),
            overdraft: Counter::default(),
            refunded: Counter::default(),
            lines: Counter::default(),
            bad_lines: Counter::default(),
            behind: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("decisions", "Requests, by how they were decided", metrics.decisions.clone());
        registry.register_with_unit("decision", "Time to decide", Unit::Seconds, metrics.seconds.clone());
        registry.register("store_calls", "Calls of the store", metrics.store.clone());
        registry.register("keys", "Keys held in memory", metrics.keys.clone());
        registry.register("buckets", "Keys that are not idle", metrics.buckets.clone());
        registry.register("projects", "Projects held in memory", metrics.projects.clone());
        registry.register("sidecars", "Gates that share limits and credits", metrics.sidecars.clone());
        registry.register("store_away", "1 while the store fails", metrics.store_away.clone());
        registry.register("limits_calls", "Calls of the limit store", metrics.limits.clone());
        registry.register("limits_away", "1 while the limit store is away", metrics.limits_away.clone());
        registry.register("limits_local", "Requests counted here while it was away", metrics.limits_local.clone());
        registry.register("overdraft_credits", "Credits spent while the ledger was away", metrics.overdraft.clone());
        registry.register("refunded_credits", "Credits given back for failed requests", metrics.refunded.clone());
        registry.register("log_lines", "Lines of the access log that were counted", metrics.lines.clone());
        registry.register("log_bad_lines", "Lines of the access log that were not", metrics.bad_lines.clone());
        registry.register("log_behind_bytes", "Access log that waits to be counted", metrics.behind.clone());
        metrics
    }

    /// Notes why a request did not pass.
    pub(crate) fn note_refusal(&self, code: &'static str) {
        self.decisions.get_or_create(&Decided { outcome: code }).inc();
    }

    /// Notes how a call of the store ended.
    pub(crate) fn note_store(&self, call: &'static str, outcome: CallOutcome) {
        self.store.get_or_create(&Call { call, outcome }).inc();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome == CallOutcome::failed {
            failing.insert(call)
        } else {
            failing.remove(call)
        };
        self.store_away.set(i64::from(!failing.is_empty()));
    }

    /// Notes how a call of who counts rates ended.
    pub(crate) fn note_limits(&self, outcome: LimitsOutcome) {
        self.limits.get_or_create(&LimitsCall { outcome }).inc();
    }

    /// All of it as text, which Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
