//! What `up` shows: a live table with the last log lines on a terminal, JSON lines otherwise.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::output::{Output, Tone};
use crate::report::Report;

/// Log lines below the table.
const LINES: usize = 8;

/// The last log lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(Arc<Mutex<VecDeque<String>>>);

impl Recent {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Write for Recent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            lines.push_back(line.to_owned());
        }
        while lines.len() > LINES {
            lines.pop_front();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Recent {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Shows state and log.
pub(super) struct Screen {
    output: Output,
    recent: Recent,
    /// What was shown last, less what changes all the time.
    last: Mutex<String>,
}

impl Screen {
    /// Takes over the log.
    pub(super) fn new(output: Output) -> Self {
        let recent = Recent::default();
        let filter = EnvFilter::try_from_env("NODEWEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
        // Somebody else may have taken the log already (tests); then it stays theirs.
        let _ = if output.is_terminal() {
            log.with_ansi(false).with_writer(recent.clone()).try_init()
        } else {
            log.json().flatten_event(true).try_init()
        };
        Self { output, recent, last: Mutex::default() }
    }

    /// A line of the proxy's access log.
    pub(super) fn access(&self, line: &str) {
        if !self.output.is_terminal() {
            self.output.line(line);
        }
    }

    /// A line of the gate's log, which is JSON.
    pub(super) fn gate(&self, line: &str) {
        if !self.output.is_terminal() {
            return self.output.line(line);
        }
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(line) else { return };
        let mut take = |name| match fields.remove(name) {
            Some(serde_json::Value::String(text)) => text,
            _ => String::new(),
        };
        let (at, level, message) = (take("timestamp"), take("level"), take("message"));
        let rest = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect::<Vec<_>>().concat();
        // Into memory, which cannot fail.
        let _ = writeln!(self.recent.clone(), "{at} {level:>5} gate: {message}{rest}");
    }

    /// The state as it is now: the whole picture on a terminal; otherwise a line, when something changed.
    pub(super) fn show(&self, report: &Report, now: Timestamp) {
        if self.output.is_terminal() {
            let log: Vec<_> = self.recent.lines().iter().map(|line| self.output.tone(Tone::Faint, line)).collect();
            let picture = format!("{}\n\n{}", report.show(self.output, now), log.join("\n"));
            // Home, then clear what is left of each line and of the screen: no flicker.
            self.output.line(&format!("\x1b[H{}\x1b[J", picture.replace('\n', "\x1b[K\n")));
            return;
        }
        let nodes: Vec<_> = report
            .networks
            .iter()
            .flat_map(|network| {
                let node = |node: &crate::report::NodeReport| {
                    json!({
                        "network": network.network, "node": node.node, "state": node.state, "serves": node.serves,
                        "cordoned": node.cordon.is_some(),
                    })
                };
                network.nodes.iter().map(node).collect::<Vec<_>>()
            })
            .collect();
        let live = report.runtime.as_ref().and_then(|runtime| runtime.revision().map(str::to_owned));
        let state = json!({"nodes": nodes, "live": live, "addresses": report.addresses}).to_string();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != state {
            let mut line = json!({"timestamp": now, "message": "state", "problems": report.problems});
            if let (Some(line), Ok(serde_json::Value::Object(state))) =
                (line.as_object_mut(), serde_json::from_str(&state))
            {
                line.extend(state);
            }
            self.output.value(&line);
            *last = state;
        }
    }

    /// Clears a terminal once, so that the first picture starts at the top.
    pub(super) fn open(&self) {
        if self.output.is_terminal() {
            self.output.line("\x1b[2J\x1b[H");
        }
    }
}
