//! What really happened, counted apart from all accounts.

use nodeweir_domain::gate::refusal::Refusal;

use crate::question::Verdict;

/// Credits and answers of one seed, or of many.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// Credits of requests that passed.
    pub(super) admitted: u64,
    /// Credits that were to be given back, at most.
    pub(super) refunded: u64,
    pub(super) passed: u64,
    /// Of these, how many by the overdraft.
    pub(super) overdrawn: u64,
    /// Told that credits do not suffice.
    pub(super) short: u64,
    /// Told to come again.
    pub(super) away: u64,
    /// Gates that ended with something in their hands, or may have.
    pub(super) deaths: u64,
    pub(super) pauses: u64,
    /// Writes that took effect when nobody waited.
    pub(super) late: u64,
    pub(super) written_off: u64,
    /// Months that ended meanwhile.
    pub(super) months: u64,
    /// An answer that nothing here may lead to.
    pub(super) wrong: Option<String>,
}

impl Sums {
    pub(super) fn note(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Pass { cost, passed, .. } => {
                self.admitted += cost;
                self.passed += 1;
                self.overdrawn += u64::from(passed.is_overdraft);
            }
            Verdict::Refuse { refusal: Refusal::InsufficientCredits { .. }, .. } => self.short += 1,
            Verdict::Refuse { refusal: Refusal::GateUnavailable, .. } => self.away += 1,
            Verdict::Refuse { refusal, .. } => self.wrong = Some(format!("{refusal:?}")),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.admitted += other.admitted;
        self.refunded += other.refunded;
        self.passed += other.passed;
        self.overdrawn += other.overdrawn;
        self.short += other.short;
        self.away += other.away;
        self.deaths += other.deaths;
        self.pauses += other.pauses;
        self.late += other.late;
        self.written_off += other.written_off;
        self.months += other.months;
    }

    /// Whether everything happened that is to be survived.
    pub(super) fn is_varied(&self) -> bool {
        let all = [
            self.refunded,
            self.passed,
            self.overdrawn,
            self.short,
            self.away,
            self.deaths,
            self.pauses,
            self.late,
            self.written_off,
            self.months,
        ];
        all.iter().all(|count| *count > 0)
    }
}
