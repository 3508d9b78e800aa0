//! What is free-form enters no file: a text is compared with that of rosters whose names, hosts and paths are plain
//! words. Once those words are replaced by the real ones, the directives of the two must be the same. A value that broke
//! out of its word, or that meant something by itself, would make them differ.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{Host, NodeUrl};
use nodeweir_domain::fleet::render::render;
use nodeweir_domain::fleet::roster::{Member, Rosters};

use crate::proxy::File;
use crate::proxy::nginx::{Directive, End};

/// Panics unless `file` is the text of the rosters' twin with the real values in its words.
pub(crate) fn check(rosters: &Rosters, file: File, config: &Config) {
    let mut twins = Twins::default();
    let twin = render(&twins.rosters(rosters), config);
    let twin = File::read(config.proxy.kind, &twin).map(&|word| twins.fill_in(&word));
    assert_eq!(ordered(file), ordered(twin));
}

/// Hops and maps stand in the order of their names, which the twin's are not.
fn ordered(file: File) -> File {
    match file {
        File::Nginx(directives) => File::Nginx(ordered_directives(directives)),
        File::Haproxy(lines) => {
            let mut sections: Vec<Vec<Vec<String>>> = Vec::new();
            for line in lines {
                match sections.last_mut() {
                    // A line of a section is none of the words that begin one.
                    Some(section) if !is_section(&line[0]) => section.push(line),
                    _ => sections.push(vec![line]),
                }
            }
            sections.sort();
            File::Haproxy(sections.concat())
        }
    }
}

fn is_section(word: &str) -> bool {
    ["global", "defaults", "frontend", "backend", "listen", "resolvers"].contains(&word)
}

fn ordered_directives(mut directives: Vec<Directive>) -> Vec<Directive> {
    for directive in &mut directives {
        if let End::Block(inside) = &mut directive.end {
            *inside = ordered_directives(std::mem::take(inside));
        }
    }
    directives.sort();
    directives
}

/// The plain words, with the real ones.
#[derive(Default)]
struct Twins {
    names: BTreeMap<String, String>,
    hosts: BTreeMap<String, String>,
    paths: BTreeMap<String, String>,
    real: BTreeMap<String, String>,
}

/// How each kind of plain word begins, and how long it is.
const WORDS: [(&str, usize); 5] =
    [("twin-n", 10), ("twin-h", 18), ("/twin-p", 11), ("198.18.1", 14), ("2001:db8:aaaa:bbbb::1", 24)];

impl Twins {
    fn rosters(&mut self, rosters: &Rosters) -> Rosters {
        let mut rosters = rosters.clone();
        for roster in rosters.values_mut() {
            for member in roster.members.iter_mut().chain(&mut roster.fallback) {
                *member = self.member(member);
            }
        }
        rosters
    }

    fn member(&mut self, member: &Member) -> Member {
        let next = self.names.len();
        let name = twin(&mut self.names, &mut self.real, member.name.to_string(), || format!("twin-n{next:04}"));
        let mut address = member.address.clone();
        address.url = self.url(&address.url);
        address.ws_url = address.ws_url.map(|url| self.url(&url));
        address.host = address.host.map(|host| self.host(&host).try_into().unwrap());
        Member { name: name.parse().unwrap(), weight: member.weight, address }
    }

    fn url(&mut self, url: &NodeUrl) -> NodeUrl {
        let next = self.paths.len();
        let path = match url.path() {
            "/" => "/".to_owned(),
            path => twin(&mut self.paths, &mut self.real, path.to_owned(), || format!("/twin-p{next:04}")),
        };
        let text = format!("{}://{}:{}{path}", url.scheme().as_str(), self.host(url.host()), url.port());
        text.parse().unwrap()
    }

    /// As it stands in a URL.
    fn host(&mut self, host: &Host) -> String {
        let next = self.hosts.len();
        let count = u8::try_from(next % 100).unwrap();
        let (real, word) = match host {
            Host::Name(name) => (name.clone(), format!("twin-h{next:04}.example")),
            Host::V4(ip) => (
                ip.to_string(),
                Ipv4Addr::new(198, 18, 100 + u8::try_from(next / 100).unwrap(), 100 + count).to_string(),
            ),
            Host::V6(ip) => {
                let last = 0x1000 + u16::try_from(next).unwrap();
                (ip.to_string(), Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0xbbbb, 0, 0, 0, last).to_string())
            }
        };
        let word = twin(&mut self.hosts, &mut self.real, real, || word);
        if matches!(host, Host::V6(_)) { format!("[{word}]") } else { word }
    }

    /// `word` with the real values in the places of their twins.
    fn fill_in(&self, word: &str) -> String {
        let mut filled = String::with_capacity(word.len());
        let mut rest = word;
        // Only these begin one of ours.
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b't' | b'/' | b'1' | b'2')) {
            let (before, here) = rest.split_at(at);
            filled.push_str(before);
            let twin =
                WORDS.iter().find(|(start, _)| here.starts_with(start)).and_then(|(_, length)| here.get(..*length));
            let (length, real) = match twin.and_then(|twin| Some((twin.len(), self.real.get(twin)?.as_str()))) {
                Some(found) => found,
                None => (1, &here[..1]),
            };
            filled.push_str(real);
            rest = &here[length..];
        }
        filled.push_str(rest);
        filled
    }
}

fn twin(
    known: &mut BTreeMap<String, String>,
    real: &mut BTreeMap<String, String>,
    value: String,
    word: impl FnOnce() -> String,
) -> String {
    let word = known.entry(value.clone()).or_insert_with(word).clone();
    real.insert(word.clone(), value);
    word
}
