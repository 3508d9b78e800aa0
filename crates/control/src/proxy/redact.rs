//! What no log may hold is taken out of every line the proxy prints.
//!
//! nginx's error log quotes the client's request (with the client's key) and the upstream's address (with the
//! node's key), whatever the log format says, so lines are cleaned after they were printed and before anyone sees
//! them.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use regex::Regex;

/// Stands where something was taken out.
const REDACTED: &str = "[redacted]";

/// nginx cuts its error lines at 2 KiB, and may cut a secret in two. A line that ends with this many characters of a
/// secret's beginning, or more, ends there by such a cut; fewer may be chance.
const LEAST_PREFIX: usize = 4;

/// What is recognised by its place or form, and what replaces it.
static FORMS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // `/v3/<key>`, of clients and of nodes alike: everything up to the end of the path. A quote at the beginning
        // of a key comes from somebody's environment file; it must not end the match.
        (r#"((?i-u:(?:/|%2f)v[23])(?i-u:/|%2f)+)["']*[^\s"]*"#, "${1}[redacted]"),
        // Nodeweir's own keys, wherever they are.
        (r"(?i-u:\bnw(?:_|%5f))[A-Za-z0-9_%~.-]+", "nw_[redacted]"),
        // The whole of one, also where it is part of a longer word.
        (r"(?i-u:nw_)[0-9A-Za-z]{38}", "nw_[redacted]"),
        // Header lines and dumps of header maps.
        (r#"(?i-u:\b((?:proxy-)?authorization|x-api-key)(["']?\s*[:=]\s*["']?))[^"',]+"#, "${1}${2}[redacted]"),
        (r"(?i-u:\b(bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", "${1} [redacted]"),
        // A user and password in a URL.
        (r#"://[^/\s"@]+@"#, "://[redacted]@"),
    ]
    .into_iter()
    .map(|(form, by)| {
        #[expect(clippy::unwrap_used, reason = "constant text, compiled by every test of this module")]
        let form = Regex::new(form).unwrap();
        (form, by)
    })
    .collect()
});

/// Takes secrets out of text. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret which contains another one goes as a whole.
    known: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    /// From now on `secret` is taken out wherever it occurs. It is never forgotten: workers of earlier revisions go
    /// on printing.
    pub fn learn(&self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|one| one == secret) {
            known.push(secret.to_owned());
            known.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        }
    }

    /// One line without its line break, safe to show: no secret, no key, and no control character that a terminal
    /// would obey.
    pub fn line(&self, line: &str) -> String {
        let mut clean = self.without_secrets(line);
        if clean.contains('%') {
            clean = clean.split_inclusive(char::is_whitespace).map(|word| self.encoded(word)).collect();
        }
        if clean.chars().any(|c| c.is_control() && c != '\t') {
            clean = clean.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        }
        clean
    }

    /// The same for several lines.
    pub fn text(&self, text: &str) -> String {
        text.lines().map(|line| self.line(line)).collect::<Vec<_>>().join("\n")
    }

    fn without_secrets(&self, text: &str) -> String {
        let mut clean = self.without_known(text);
        for (form, by) in FORMS.iter() {
            if let Cow::Owned(changed) = form.replace_all(&clean, *by) {
                clean = changed;
            }
        }
        clean
    }

    /// One word, which is what a request's path is to a log. nginx finds a key in `/v%33/%6ew_...` too, because it
    /// decodes a path before it looks at it. Which letters of the word are the key's would have to be counted, so it
    /// goes as a whole.
    fn encoded<'a>(&self, word: &'a str) -> Cow<'a, str> {
        let path = word.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','));
        let plain = decoded(path);
        if plain == path || self.without_secrets(&plain) == plain {
            return Cow::Borrowed(word);
        }
        Cow::Owned(word.replace(path, REDACTED))
    }

    fn without_known(&self, line: &str) -> String {
        let mut clean = line.to_owned();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        for secret in known.iter() {
            if clean.contains(secret) {
                clean = clean.replace(secret, REDACTED);
            }
            let lengths = (LEAST_PREFIX..secret.len()).rev().filter(|end| secret.is_char_boundary(*end));
            if let Some(cut) = lengths.map(|end| &secret[..end]).find(|prefix| clean.ends_with(prefix)) {
                clean.truncate(clean.len() - cut.len());
                clean.push_str(REDACTED);
            }
        }
        clean
    }
}

/// The text with what stands in it as `%` and two hexadecimal digits.
fn decoded(text: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = text.as_bytes();
    let mut plain = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        let byte = match after {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Shows nothing of what it knows.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "0123456789abcdef0123456789abcdef";
    const CLIENTS: &str = "nw_8dYk2LmQv0aTzR5sXw";
    const WHOLE: &str = "nw_8dYk2LmQv0aTzR5sXw8dYk2LmQv0aTzR5sXwAB";

    fn redactor() -> Redactor {
        let redactor = Redactor::default();
        redactor.learn(NODES);
        redactor
    }

    /// Cleans `line`, and checks that neither key is left.
    fn clean(line: &str) -> String {
        let clean = redactor().line(line);
        assert!(!clean.contains(NODES) && !clean.contains("8dYk2LmQv0aTzR5sXw"), "{clean}");
        assert_eq!(redactor().line(&clean), clean, "a second time changes nothing");
        clean
    }

    #[test]
    fn an_error_line_of_nginx_loses_the_clients_key_and_the_nodes() {
        let line = format!(
            "2026/03/01 10:00:00 [error] 17#17: *42 upstream timed out (110: Connection timed out) while reading \
             response header from upstream, client: 203.0.113.7, server: , request: \"POST /ethereum/v3/{CLIENTS} \
             HTTP/1.1\", upstream: \"https://192.0.2.1:443/v3/{NODES}\", host: \"rpc.example.org\""
        );
        assert_eq!(
            clean(&line),
            "2026/03/01 10:00:00 [error] 17#17: *42 upstream timed out (110: Connection timed out) while reading \
             response header from upstream, client: 203.0.113.7, server: , request: \"POST /ethereum/v3/[redacted] \
             HTTP/1.1\", upstream: \"https://192.0.2.1:443/v3/[redacted]\", host: \"rpc.example.org\""
        );
    }

    #[test]
    fn a_key_in_any_dress_is_taken_out() {
        for (line, expected) in [
            (format!("GET /v2/{CLIENTS}?a=b HTTP/1.1"), "GET /v2/[redacted] HTTP/1.1"),
            (format!("GET /V3//{CLIENTS}/x HTTP/1.1"), "GET /V3//[redacted] HTTP/1.1"),
            (format!("GET /%2Fv3%2f{CLIENTS} HTTP/1.1"), "GET /%2Fv3%2f[redacted] HTTP/1.1"),
            ("request: \"POST /v3/\"anything\" HTTP/1.1\"".to_owned(), "request: \"POST /v3/[redacted]\" HTTP/1.1\""),
            (format!("key {CLIENTS}, seen"), "key nw_[redacted], seen"),
            (format!("X-API-Key: {CLIENTS}"), "X-API-Key: [redacted]"),
            (format!("the word{WHOLE} and {WHOLE}."), "the wordnw_[redacted] and nw_[redacted]"),
            (format!("body: {{\"key\":\"{WHOLE}\"}}"), "body: {\"key\":\"nw_[redacted]\"}"),
            ("x-api-key: opaque value, next".to_owned(), "x-api-key: [redacted], next"),
            ("\"authorization\": \"Basic OnNlY3JldA==\"".to_owned(), "\"authorization\": \"[redacted]\""),
            ("Authorization: Bearer abc.def".to_owned(), "Authorization: [redacted]"),
            ("{Bearer abcdefgh.ijk}".to_owned(), "{Bearer [redacted]}"),
            ("https://user:password@host/".to_owned(), "https://[redacted]@host/"),
            (format!("directive \"{NODES};\" is unknown"), "directive \"[redacted];\" is unknown"),
            (format!("cut off at {}", &NODES[..10]), "cut off at [redacted]"),
        ] {
            assert_eq!(clean(&line), expected, "{line}");
        }
    }

    /// nginx quotes a path as the client wrote it and decodes it to find the key.
    #[test]
    fn a_percent_encoded_key_is_taken_out() {
        let line = |path: &str| {
            format!(
                "2026/03/01 10:00:00 [error] 17#17: *42 connect() failed (111: Connection refused) while connecting to \
                 upstream, client: 203.0.113.7, server: , request: \"POST {path} HTTP/1.1\", upstream: \
                 \"http://192.0.2.1:8545/\", host: \"rpc.example.org\""
            )
        };
        let bare = &CLIENTS[3..];
        for path in [
            format!("/ethereum/v%33/%6ew_{bare}"),
            format!("/ethereum/%763/n%77%5F{bare}?a=b%20c"),
            format!("/ethereum%2f%76%33%2F{CLIENTS}"),
            format!("/other/%6E%57%5f{bare}"),
            format!("/v%33/%zz{bare}%"),
            format!("/v%33/%ff{bare}"),
            format!("/v%33/%20{bare}"),
            format!("/node/0%31{}", &NODES[2..]),
        ] {
            assert_eq!(clean(&line(&path)), line("[redacted]"), "{path}");
            assert_eq!(clean(&format!("GET {path} HTTP/1.1")), "GET [redacted] HTTP/1.1");
            assert_eq!(clean(&format!("referrer: \"http://a{path}\", x")), "referrer: \"[redacted]\", x");
        }
        // A key in plain letters leaves the rest of its path, and what only looks encoded stays.
        let path = format!("/a%20b/v3/{CLIENTS}");
        assert_eq!(clean(&line(&path)), line("/a%20b/v3/[redacted]"));
        for path in ["/a%20b", "/v%34/x", "/100%/v", "/%6ew/v%3"] {
            assert_eq!(clean(&line(path)), line(path));
        }
    }

    #[test]
    fn the_rest_stays() {
        for line in [
            "127.0.0.1 - - [01/Mar/2026] \"GET /readyz HTTP/1.1\" 200 2",
            "bind() to 127.0.0.1:8545 failed",
            "see v3 and /v30/x and /ethereum/v3",
            "ends with 012",
        ] {
            assert_eq!(redactor().line(line), line);
        }
    }

    #[test]
    fn a_terminal_is_not_given_orders() {
        assert_eq!(redactor().line("a\u{1b}[2Jb\tc"), "a\u{fffd}[2Jb\tc");
    }

    #[test]
    fn a_longer_secret_is_not_left_in_pieces() {
        let redactor = redactor();
        redactor.learn("abc");
        redactor.learn("abcdef");
        redactor.learn("");
        assert_eq!(redactor.line("x abcdef abc"), "x [redacted] [redacted]");
        assert_eq!(format!("{redactor:?}"), "Redactor { .. }");
    }
}
