//! What people and programs read: tables and sentences, or JSON.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, Table};
use serde::Serialize;

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    /// Something is degraded, or what was asked for was refused; it has been said.
    Degraded,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fine => Self::SUCCESS,
            Outcome::Degraded => Self::FAILURE,
        }
    }
}

/// How a word is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Odd,
    Faint,
}

/// Where output goes, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    color: bool,
    terminal: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        // https://no-color.org: any value but the empty one.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, color: terminal && !refused && !json, terminal }
    }

    /// Whether a picture can be drawn and drawn again.
    pub(crate) fn is_terminal(self) -> bool {
        self.terminal && !self.json
    }

    /// A sentence, or its value as JSON.
    pub(crate) fn say(self, sentence: &str, value: &impl Serialize) {
        if self.json { self.value(value) } else { self.line(sentence) }
    }

    /// A line for people.
    #[expect(clippy::unused_self, reason = "whoever prints has an output")]
    pub(crate) fn line(self, line: &str) {
        // Whoever reads may be gone (`| head`); there is nobody left to tell.
        let _ = writeln!(io::stdout(), "{line}");
    }

    /// A whole text for programs, of which no part may be missing unnoticed.
    #[expect(clippy::unused_self, reason = "whoever prints has an output")]
    pub(crate) fn text(self, text: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text).and_then(|()| out.flush()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// A value as JSON, on one line.
    pub(crate) fn value(self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(&text),
            Err(error) => self.line(&format!("{{\"error\":\"{error}\"}}")),
        }
    }

    /// What went wrong, with its causes.
    pub(crate) fn error(self, error: &anyhow::Error) {
        if self.json {
            self.value(&serde_json::json!({ "error": without_keys(&format!("{error:#}")) }));
        } else {
            let mut text = format!("nodeweir: {error}");
            for cause in error.chain().skip(1) {
                text.push_str(&format!(":\n{cause}").replace('\n', "\n  "));
            }
            let _ = writeln!(io::stderr(), "{}", without_keys(&text));
        }
    }

    /// A word in its tone.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.color => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Odd => 33,
            Tone::Faint => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A table without lines, as wide as its content.
    pub(crate) fn table(self, header: &[&str], rows: Vec<Vec<(Tone, String)>>) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let styled = |tone: Tone, text: &str| {
            let cell = Cell::new(text);
            match tone {
                Tone::Plain => cell,
                Tone::Good => cell.fg(Color::Green),
                Tone::Bad => cell.fg(Color::Red),
                Tone::Odd => cell.fg(Color::Yellow),
                Tone::Faint => cell.add_attribute(Attribute::Dim),
            }
        };
        table.set_header(header.iter().map(|title| styled(Tone::Faint, title)));
        for row in rows {
            table.add_row(row.iter().map(|(tone, text)| styled(*tone, text)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// A text in which each gate key is `nw_…`. People paste keys where names belong, and errors, which repeat what was
/// given, are logged. What only begins like a key is taken for one: it may be one that was cut off or has a slip in it.
pub(crate) fn without_keys(text: &str) -> String {
    const PREFIX: &str = "nw_";
    const LEAST: usize = 20;
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, key) = rest.split_at(at + PREFIX.len());
        let length = key.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let (key, after) = key.split_at(length);
        safe.push_str(before);
        safe.push_str(if length >= LEAST { "…" } else { key });
        rest = after;
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use super::without_keys;

    #[test]
    fn keys_do_not_come_back() {
        let key = "nw_aZ6jDAfMkS4sBLnVnxHDHO3xWo6uAhBZ2tS2pE";
        for (text, safe) in [
            (key.to_owned(), "nw_…"),
            (format!("{key},"), "nw_…,"),
            (
                format!("no key \"http://127.0.0.1:8080/v3/{key}\"; see"),
                "no key \"http://127.0.0.1:8080/v3/nw_…\"; see",
            ),
            (format!("{key} and {key}é"), "nw_… and nw_…é"),
            (key[..23].to_owned(), "nw_…"),
            (format!("nw_nw_{key}"), "nw_nw_nw_…"),
            (key[..22].to_owned(), &key[..22]),
            ("nw_, nw and NW_".to_owned(), "nw_, nw and NW_"),
        ] {
            assert_eq!(without_keys(&text), safe);
        }
    }
}
