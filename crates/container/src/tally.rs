//! What CloudWatch is told of this task, once a minute.

use std::time::Duration;

use jiff::Timestamp;
use nodeweir_aws::metrics::{Line, Unit};

/// Between two lines.
pub(crate) const EVERY: Duration = Duration::from_secs(60);

/// How this task does.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// What is published now does not run: it is refused, or goes wrong each time.
    pub(crate) is_refused: bool,
    /// What is published cannot be read.
    pub(crate) is_unread: bool,
    /// How often the proxy ended unasked since the last line.
    pub(crate) proxy_restarts: u64,
    /// How often the gate did so since its start.
    pub(crate) gate_ends: u64,
    /// How many of these were told.
    told: u64,
}

impl Tally {
    /// What happened since it was asked before.
    pub(crate) fn take(&mut self, stage: &str) -> Line {
        let mut line = Line::about(stage, &[]);
        line.put_if("RevisionRefused", self.is_refused).put_if("RevisionUnread", self.is_unread);
        line.put("ProxyRestarts", Unit::Count, std::mem::take(&mut self.proxy_restarts));
        line.put("GateRestarts", Unit::Count, self.gate_ends.saturating_sub(self.told));
        self.told = self.gate_ends;
        line
    }

    pub(crate) fn print(&mut self, stage: &str) {
        self.take(stage).print(Timestamp::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alarms, and who is woken by them, go by these names.
    #[test]
    fn the_documentation_has_every_name() {
        let documentation = include_str!("../../../docs/operations.md");
        for name in Tally::default().take("dev").names() {
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn what_goes_on_is_told_each_time_and_what_happened_once() {
        let mut tally = Tally { is_refused: true, proxy_restarts: 2, gate_ends: 3, ..Tally::default() };
        let value = |line: &Line, name: &str| line.value(name);
        let line = tally.take("dev");
        let all = ["RevisionRefused", "RevisionUnread", "ProxyRestarts", "GateRestarts"];
        assert_eq!(all.map(|name| value(&line, name)), [Some(1), Some(0), Some(2), Some(3)]);
        tally.gate_ends = 4;
        let line = tally.take("dev");
        assert_eq!(all.map(|name| value(&line, name)), [Some(1), Some(0), Some(0), Some(1)]);
    }
}
