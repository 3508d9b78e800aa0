//! The picture of the fleet on a terminal.

use jiff::Timestamp;
use nodeweir_domain::fleet::judge::State;
use nodeweir_domain::fleet::node::Role;
use nodeweir_domain::name::NetworkId;
use nodeweir_domain::text::{counted, show_duration, since};

use super::{NodeReport, Report};
use crate::output::{Output, Tone};

impl Report {
    /// The picture on a terminal.
    pub(crate) fn show(&self, output: Output, now: Timestamp) -> String {
        let mut lines = Vec::new();
        for address in &self.addresses {
            lines.push(address.clone());
        }
        let live = match (&self.published, &self.runtime) {
            (Some(published), Some(runtime)) if self.is_up && runtime.is(&published.name) => {
                format!(
                    "revision {} is live since {} ({})",
                    published.name,
                    show_duration(since(published.at, now)),
                    published.reason
                )
            }
            (Some(published), _) => format!("revision {} is published ({})", published.name, published.reason),
            (None, _) => "no revision is published yet".to_owned(),
        };
        lines.push(output.tone(Tone::Faint, &live));
        lines.extend(self.notes.iter().map(|note| output.tone(Tone::Faint, note)));
        lines.push(String::new());
        lines.push(self.nodes_table(output, now));
        lines.push(String::new());
        if self.problems.is_empty() {
            lines.push(output.tone(Tone::Good, "all is well"));
        } else {
            lines.push(output.tone(Tone::Bad, &counted(self.problems.len() as u64, "problem")));
            lines.extend(self.problems.iter().map(|problem| format!("  {problem}")));
        }
        lines.join("\n")
    }

    fn nodes_table(&self, output: Output, now: Timestamp) -> String {
        let header = ["NETWORK", "NODE", "STATE", "SINCE", "HEAD", "LAG", "LATENCY", "TRAFFIC", "WHY"];
        let rows =
            self.networks.iter().flat_map(|network| network.nodes.iter().map(|node| row(&network.network, node, now)));
        output.table(&header, rows.collect())
    }
}

fn row(network: &NetworkId, node: &NodeReport, now: Timestamp) -> Vec<(Tone, String)> {
    let dash = || "-".to_owned();
    let plain = |text: String| (Tone::Plain, text);
    let state = match (&node.cordon, node.state) {
        (Some(_), state) => (Tone::Odd, format!("{state}, cordoned")),
        (None, State::Healthy) => (Tone::Good, "healthy".to_owned()),
        (None, State::Unhealthy) => (Tone::Bad, "unhealthy".to_owned()),
        (None, State::Unknown) => (Tone::Odd, "unknown".to_owned()),
    };
    let traffic = match node.serves {
        Some("serves") if node.weight != 1 => (Tone::Good, format!("serves x{}", node.weight)),
        Some("serves") => (Tone::Good, "serves".to_owned()),
        Some(other) => (Tone::Plain, other.to_owned()),
        None => (Tone::Faint, dash()),
    };
    let cordon = node.cordon.as_ref().map(|cordon| {
        let until =
            cordon.until.map_or(String::new(), |until| format!(", ends in {}", show_duration(since(now, until))));
        let why = if cordon.why.is_empty() { String::new() } else { format!(": {}", cordon.why) };
        format!("cordoned by {}{until}{why}", cordon.by)
    });
    let why = [cordon, node.why.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    vec![
        plain(network.to_string()),
        plain(if node.role == Role::Leader { format!("{} (leader)", node.node) } else { node.node.to_string() }),
        state,
        plain(node.since.map_or_else(dash, |then| show_duration(since(then, now)))),
        plain(node.head.map_or_else(dash, |head| head.to_string())),
        plain(node.lag.map_or_else(dash, |lag| lag.to_string())),
        plain(node.latency_ms.map_or_else(dash, |ms| format!("{ms}ms"))),
        traffic,
        plain(why),
    ]
}
