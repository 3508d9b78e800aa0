//! Whatever stands in the node list, what is rendered from its usable part is a file that the real programs accept,
//! and it names exactly whom the rosters name. The file is read again by a tokenizer of its own, which shares nothing
//! with what made it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use nodeweir_control::proxy::Program;
use nodeweir_domain::config::{Config, ProxyKind};
use nodeweir_domain::fleet::inspect::Severity;
use nodeweir_domain::fleet::judge::{Health, NodeSeen, Reason, State, Status};
use nodeweir_domain::fleet::node::{Address, Item, NodeUrl, list, resolve};
use nodeweir_domain::fleet::plan::{Plan, World, plan};
use nodeweir_domain::fleet::probe::Failure;
use nodeweir_domain::fleet::render::REVISION;
use nodeweir_domain::fleet::roster::{Member, Rosters};
use nodeweir_domain::name::NetworkId;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use serde_json::{Map, Value, json};

const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// Names that are allowed and come close to words of the proxies or of what is rendered.
const NETWORKS: [&str; 8] =
    ["ethereum", "fallback", "rpc", "hop", "1", "server", "a-network-whose-name-is-32-long1", "rpc-fallback-ethereum"];

/// Pieces of which hostile texts are made.
const PIECES: [&str; 30] = [
    ";",
    "}",
    "{",
    "\"",
    "'",
    "\n",
    "\r\n",
    "$",
    "${KEY}",
    "${key}",
    "$host",
    "%[env(KEY)]",
    "#",
    "\\",
    " ",
    "\t",
    "\0",
    "%0a",
    "include /etc/passwd;",
    "server 203.0.113.9:80",
    "@",
    "//",
    "..",
    ":",
    "?",
    "é",
    "\u{2028}",
    "-",
    "a",
    "@REVISION@",
];

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..6).prop_map(|pieces| pieces.concat()),
        any::<String>(),
    ]
}

/// Mostly good ones, so that most lists come to something.
fn name() -> impl Strategy<Value = String> {
    let words = [
        "unix",
        "backup",
        "default",
        "server",
        "down",
        "a",
        "0",
        "node-of-a-name-that-is-40-characters-xx",
        "ws",
        "fd",
    ];
    prop_oneof![
        4 => "[a-z0-9][a-z0-9-]{0,6}[a-z0-9]",
        3 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => hostile(),
    ]
}

fn host() -> impl Strategy<Value = String> {
    let long = format!("{}.example", vec!["a".repeat(60); 4].join("."));
    let words = [
        "localhost",
        "unix",
        "geth_1",
        "node.example",
        "mainnet.infura.io",
        "0x7f.1",
        "2852039166",
        "backup",
        "xn--bcher-kva.example",
    ];
    prop_oneof![
        4 => (1..250_u8, 0..3_u8).prop_map(|(a, b)| format!("10.0.{b}.{a}")),
        1 => any::<u16>().prop_map(|part| format!("[2001:db8::{part:x}]")),
        4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => Just(long),
        1 => Just("169.254.169.254".to_owned()),
    ]
}

fn url(scheme: &'static str) -> impl Strategy<Value = String> {
    let paths = ["", "", "", "/", "/v3/${KEY}", "/a/../b", "/~x/_y/.z", "//", "/${KEY}/${KEY}", "/v3/${OTHER}", "/x;y"];
    let port = prop_oneof![Just(String::new()), (0..65_536_u32).prop_map(|port| format!(":{port}"))];
    let tls = any::<bool>().prop_map(|tls| if tls { "s" } else { "" });
    let good = (tls, host(), port, proptest::sample::select(paths.to_vec()));
    prop_oneof![
        8 => good.prop_map(move |(tls, host, port, path)| format!("{scheme}{tls}://{host}{port}{path}")),
        1 => hostile().prop_map(move |text| format!("{scheme}://{text}")),
        1 => (host(), hostile()).prop_map(move |(host, text)| format!("{scheme}://{host}/{text}")),
        1 => hostile(),
    ]
}

fn attributes() -> impl Strategy<Value = Value> {
    let own = prop_oneof![5 => Just(None), 2 => host().prop_map(Some), 1 => hostile().prop_map(Some)];
    let ws = prop_oneof![2 => Just(None), 2 => url("ws").prop_map(Some)];
    let weight = prop_oneof![4 => 1..=100_i64, 1 => any::<i64>()];
    let role = prop_oneof![8 => Just("node"), 1 => Just("leader"), 1 => Just("king")];
    let cordon = prop_oneof![5 => Just(Value::Null), 1 => hostile().prop_map(|by| json!({"by": by, "why": by}))];
    (url("http"), ws, own, weight, role, cordon, hostile()).prop_map(|(url, ws, host, weight, role, cordon, note)| {
        let mut all = json!({"url": url, "weight": weight, "role": role, "note": note});
        for (key, value) in [("ws_url", json!(ws)), ("host", json!(host)), ("cordon", cordon)] {
            if !value.is_null() {
                all[key] = value;
            }
        }
        all
    })
}

/// A node list as anybody could have written it, and for each of its nodes what health may be known.
type Raw = (Vec<Item>, Vec<u8>);

fn raw() -> impl Strategy<Value = Raw> {
    let network = prop_oneof![9 => proptest::sample::select(&NETWORKS[..]).prop_map(str::to_owned), 1 => hostile()];
    let item = (network, name(), attributes()).prop_map(|(network, node, attributes)| {
        let attributes: Map<_, _> = attributes.as_object().unwrap().clone();
        Item { network, node, attributes }
    });
    (proptest::collection::vec(item, 0..25), proptest::collection::vec(any::<u8>(), 64))
}

fn config(kind: ProxyKind, is_gated: bool) -> Config {
    let mut networks = Map::new();
    for (index, id) in NETWORKS.iter().enumerate() {
        let leader = json!({"url": format!("https://leader-{index}.example/v3/${{KEY}}"), "ws_url": format!("wss://leader-{index}.example/ws")});
        networks.insert((*id).to_owned(), json!({"chain_id": index + 1, "block_time": "12s", "leader": leader}));
    }
    let all = json!({
        "default_network": "ethereum", "networks": networks, "proxy": {"kind": kind.as_str()}, "gate": {"enabled": is_gated},
        "secrets": {"KEY": {"hosts": ["*.example", "mainnet.infura.io", "localhost"]}},
    });
    // JSON is YAML.
    Config::read(&all.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// What the rosters of a list are, and their text.
fn planned((items, dice): &Raw, config: &Config) -> (Plan, BTreeSet<String>) {
    let listed = list(items, config);
    let mut health: BTreeMap<NetworkId, Health> = BTreeMap::new();
    for (node, die) in listed.nodes.iter().zip(dice.iter().cycle()) {
        let reason = match die % 8 {
            0..=4 => None,
            5 => Some(Reason::Failed(Failure::Timeout)),
            6 => Some(Reason::Lag { behind: 50, allowed: 10 }),
            _ => Some(Reason::WrongChain { expected: 1, found: 2 }),
        };
        let of = health.entry(node.network.clone()).or_default();
        let head = (!matches!(reason, Some(Reason::Failed(_)))).then_some(100 + u64::from(*die));
        of.seen.nodes.insert(node.name.clone(), NodeSeen { head, ..NodeSeen::default() });
        if *die < 250 {
            let state = if reason.is_none() { State::Healthy } else { State::Unhealthy };
            let status = Status { address: node.address.clone(), state, reason, since: NOW };
            of.statuses.insert(node.name.clone(), status);
        }
    }
    let world =
        World { config, listed: &listed, health: &health, published: None, is_intact: false, pin: None, now: NOW };
    let urls = listed.nodes.iter().flat_map(|node| std::iter::once(&node.address.url).chain(&node.address.ws_url));
    (plan(world), urls.map(NodeUrl::socket).collect())
}

/// A server as a request finds it, hops followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    socket: String,
    weight: String,
    tls: bool,
    path: String,
    /// Only where a hop says it; a group has one for all.
    host: Option<String>,
}

/// The groups of a text, by `rpc-network`, `fallback` apart, and every address that stands anywhere in it.
#[derive(Debug, Default)]
struct Read {
    groups: BTreeMap<String, Vec<Target>>,
    fallbacks: BTreeMap<String, Target>,
    addresses: BTreeSet<String>,
}

/// Words of a text: quotes and backslashes taken off, comments left out, `punctuation` a word of its own.
fn words(text: &str, punctuation: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let (mut all, mut word, mut is_open, mut quote) = (Vec::new(), String::new(), false, None);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', _) => word.extend(chars.next()),
                (c, Some(q)) if c == q => quote = None,
                ('"' | '\'', None) => (quote, is_open) = (Some(c), true),
                // ${NAME} is one word.
                ('$', None) if chars.peek() == Some(&'{') => {
                    word.push('$');
                    word.extend(chars.by_ref().take_while(|c| *c != '}'));
                    word.push('}');
                }
                (c, None) if c.is_whitespace() || punctuation.contains(c) || (c == '#' && word.is_empty()) => {
                    if !word.is_empty() || is_open {
                        all.push(std::mem::take(&mut word));
                        is_open = false;
                    }
                    if c == '#' {
                        break;
                    }
                    if punctuation.contains(c) {
                        all.push(c.to_string());
                    }
                }
                (c, _) => word.push(c),
            }
        }
        assert_eq!(quote, None, "a quote is left open: {line}");
        if !word.is_empty() || is_open {
            all.push(word);
        }
        lines.push(all);
    }
    lines
}

/// nginx: directives in blocks.
fn read_nginx(text: &str) -> Read {
    // A Lua block is another language; the rendered one has none of our values.
    let mut upstreams: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    // By socket: scheme, upstream, path, host.
    let mut hops: BTreeMap<String, (bool, String, String, String)> = BTreeMap::new();
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut directive: Vec<String> = Vec::new();
    let (mut listens, mut host) = (String::new(), String::new());
    for word in words(text, ";{}").into_iter().flatten() {
        match word.as_str() {
            "{" => blocks.push(std::mem::take(&mut directive)),
            "}" => {
                blocks.pop();
                // What a block of Lua said.
                directive.clear();
            }
            ";" => {
                let block: Vec<_> =
                    blocks.last().map(|block| block.iter().map(String::as_str).collect()).unwrap_or_default();
                let words: Vec<_> = directive.iter().map(String::as_str).collect();
                match (block.as_slice(), words.as_slice()) {
                    (["upstream", name], ["server", address, options @ ..]) => {
                        let weight = options.iter().find_map(|option| option.strip_prefix("weight=")).unwrap_or("1");
                        let servers = upstreams.entry((*name).to_owned()).or_default();
                        servers.push(((*address).to_owned(), weight.to_owned()));
                    }
                    (["server"], ["listen", address, ..]) => (*address).clone_into(&mut listens),
                    (["location", "=", "/"], ["proxy_set_header", "Host", value]) => (*value).clone_into(&mut host),
                    (["location", "=", "/"], ["proxy_pass", to]) if listens.starts_with("unix:") => {
                        let (scheme, rest) = to.split_once("://").unwrap();
                        let (upstream, path) = rest.split_once('/').unwrap();
                        let hop = (scheme == "https", upstream.to_owned(), format!("/{path}"), host.clone());
                        assert_eq!(hops.insert(listens.clone(), hop), None, "{listens} is there twice");
                    }
                    _ => {}
                }
                directive.clear();
            }
            _ => directive.push(word),
        }
    }
    assert!(blocks.is_empty() && directive.is_empty(), "{blocks:?} {directive:?}");
    let mut read = Read::default();
    let target = |(address, weight): &(String, String)| match hops.get(address) {
        None => {
            Target { socket: address.clone(), weight: weight.clone(), tls: false, path: "/".to_owned(), host: None }
        }
        Some((tls, upstream, path, host)) => {
            let [(socket, _)] = upstreams[upstream].as_slice() else { panic!("{upstream} has not one server") };
            Target {
                socket: socket.clone(),
                weight: weight.clone(),
                tls: *tls,
                path: path.clone(),
                host: Some(host.clone()),
            }
        }
    };
    for (name, servers) in &upstreams {
        if name == "gate" {
            assert_eq!(servers.as_slice(), [("unix:sock/gate.sock".to_owned(), "1".to_owned())]);
            continue;
        }
        let targets: Vec<_> = servers.iter().map(target).collect();
        read.addresses.extend(targets.iter().map(|target| target.socket.clone()));
        if name.starts_with("hop-") {
            assert!(hops.values().any(|(_, upstream, ..)| upstream == name), "nobody uses {name}");
        } else if let Some((kind, network)) = ["rpc", "ws"]
            .into_iter()
            .find_map(|kind| Some((kind, name.strip_prefix(kind)?.strip_prefix("-fallback-")?)))
        {
            let [target] = targets.as_slice() else { panic!("{name} has not one server") };
            read.fallbacks.insert(format!("{kind}-{network}"), target.clone());
        } else {
            read.groups.insert(name.clone(), targets);
        }
    }
    read
}

/// HAProxy: sections of lines.
fn read_haproxy(text: &str) -> Read {
    let mut section = (String::new(), String::new());
    let mut servers: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let (mut binds, mut hosts, mut uris) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for line in words(text, "") {
        let line: Vec<_> = line.iter().map(String::as_str).collect();
        let owned = |text: &str| text.to_owned();
        match line.as_slice() {
            [kind @ ("backend" | "listen" | "frontend" | "defaults"), name, ..] => {
                section = (owned(kind), owned(name));
                if *kind == "backend" {
                    servers.entry(owned(name)).or_default();
                }
            }
            ["global" | "resolvers", ..] => section = (String::new(), String::new()),
            ["server", rest @ ..] => {
                servers.entry(section.1.clone()).or_default().push(rest.iter().map(|word| owned(word)).collect());
            }
            ["bind", address, ..] if section.0 == "listen" => {
                assert_eq!(binds.insert(owned(address), section.1.clone()), None, "{address} is there twice");
            }
            ["http-request", "set-header", "Host", value] => drop(hosts.insert(section.1.clone(), owned(value))),
            ["http-request", "set-uri", value] => drop(uris.insert(section.1.clone(), owned(value))),
            _ => {}
        }
    }
    let mut read = Read::default();
    let option =
        |server: &[String], name: &str| server.iter().position(|word| word == name).map(|at| server[at + 1].clone());
    let target = |server: &Vec<String>| {
        let weight = option(&server[2..], "weight").unwrap_or_else(|| "1".to_owned());
        match binds.get(&server[1]) {
            None => Target { socket: server[1].clone(), weight, tls: false, path: "/".to_owned(), host: None },
            Some(hop) => {
                let [node] = servers[hop].as_slice() else { panic!("{hop} has not one server") };
                let (path, host) = (uris[hop].clone(), Some(hosts[hop].clone()));
                Target { socket: node[1].clone(), weight, tls: node[2..].iter().any(|word| word == "ssl"), path, host }
            }
        }
    };
    for (name, servers) in servers.iter().filter(|(name, _)| name.starts_with("rpc-") || name.starts_with("ws-")) {
        let (backup, usual): (Vec<_>, Vec<_>) =
            servers.iter().partition(|server| server[2..].iter().any(|word| word == "backup"));
        read.groups.insert(name.clone(), usual.into_iter().map(target).collect());
        assert!(backup.len() < 2);
        read.fallbacks.extend(backup.into_iter().map(|server| (name.clone(), target(server))));
    }
    read.addresses.extend(
        servers.values().flatten().map(|server| server[1].clone()).filter(|address| !binds.contains_key(address)),
    );
    read
}

/// A member as it should be found; `host` only where it needs a hop to be told.
fn expected(member: &Member, url: &NodeUrl, weight: u16) -> Target {
    let Address { host, .. } = &member.address;
    let needs_hop = url.scheme().is_tls() || url.path() != "/" || !url.host().is_ip() || host.is_some();
    Target {
        socket: format!("{}:{}", url.host(), url.port()),
        weight: weight.to_string(),
        tls: url.scheme().is_tls(),
        path: url.path().to_owned(),
        host: needs_hop.then(|| member.address.host_header(url)),
    }
}

fn assert_names_exactly(rosters: &Rosters, read: &Read, body: &str) {
    let (mut groups, mut fallbacks) = (BTreeMap::new(), BTreeMap::new());
    for (network, roster) in rosters {
        let rpc = |member: &Member, weight| expected(member, &member.address.url, weight);
        let ws = |member: &Member, weight| member.address.ws_url.as_ref().map(|url| expected(member, url, weight));
        let members: Vec<_> = roster.members.iter().map(|member| rpc(member, member.weight)).collect();
        if !members.is_empty() {
            groups.insert(format!("rpc-{network}"), members);
            fallbacks.extend(roster.fallback.iter().map(|member| (format!("rpc-{network}"), rpc(member, 1))));
        }
        let members: Vec<_> = roster.members.iter().filter_map(|member| ws(member, member.weight)).collect();
        let fallback = roster.fallback.as_ref();
        if members.is_empty() {
            // The fallback alone, if it speaks WebSocket.
            groups
                .extend(fallback.and_then(|member| Some((format!("ws-{network}"), vec![ws(member, member.weight)?]))));
        } else {
            groups.insert(format!("ws-{network}"), members);
            fallbacks.extend(fallback.and_then(|member| Some((format!("ws-{network}"), ws(member, 1)?))));
        }
    }
    assert_eq!(read.groups, groups, "{body}");
    assert_eq!(read.fallbacks, fallbacks, "{body}");
}

/// Whether the real program takes the text, with what a machine adds around it.
fn assert_accepted(program: &Program, folder: &Path, body: &str) {
    let kind = program.kind;
    let text = resolve(body, |_| Some("s3cret".to_owned())).unwrap().replace(REVISION, "r-1");
    std::fs::write(folder.join(kind.file_name()), text).unwrap();
    let mut command = match &program.root {
        Some(root) => {
            let mut command = Command::new(&root.loader);
            command.arg("--library-path").arg(&root.libraries).arg(&program.file);
            command
        }
        None => Command::new(&program.file),
    };
    match kind {
        ProxyKind::Nginx => command.args(["-t", "-q", "-e", "stderr", "-p", "./", "-c", kind.file_name()]),
        ProxyKind::Haproxy => command.args(["-c", "-q", "-f", "host.cfg", "-f", kind.file_name()]),
    };
    let output = command.current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind} does not accept this: {said}\n{body}");
}

fn folder(program: &Program) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for sub in ["sock", "tmp", "usage"] {
        std::fs::create_dir(folder.path().join(sub)).unwrap();
    }
    let pem = rcgen::generate_simple_self_signed(vec!["nobody.example".to_owned()]).unwrap().cert.pem();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", &pem);
    write("host-main.conf", "daemon off;\npid nginx.pid;\n");
    write("host-http.conf", "resolver 127.0.0.1:1 ipv6=off;\nproxy_ssl_trusted_certificate ca.pem;\n");
    write("host-lua-main.conf", &program.lua.nginx_main());
    write("host-lua-http.conf", &program.lua.nginx_http());
    write("host.cfg", "global\n    log stdout format raw local0\nresolvers system\n    nameserver here 127.0.0.1:1\n");
    folder
}

fn check(kind: ProxyKind, is_gated: bool) {
    let (program, config) = (Program::find(kind).unwrap(), config(kind, is_gated));
    let folder = folder(&program);
    let mut runner =
        TestRunner::new(Runs { cases: 40, max_shrink_iters: 300, failure_persistence: None, ..Runs::default() });
    let outcome = runner.run(&raw(), |raw| {
        let (Plan { rosters, body, findings, .. }, known) = planned(&raw, &config);
        let forbidden: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Forbid).collect();
        assert!(forbidden.is_empty(), "{forbidden:?}");
        let read = match kind {
            ProxyKind::Nginx => read_nginx(&body),
            ProxyKind::Haproxy => read_haproxy(&body),
        };
        let strangers: Vec<_> = read.addresses.difference(&known).collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        let sockets: Vec<_> = read.addresses.iter().filter(|address| address.starts_with("unix")).collect();
        assert!(sockets.is_empty(), "no node is a file: {sockets:?}");
        assert_names_exactly(&rosters, &read, &body);
        assert_accepted(&program, folder.path(), &body);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn nginx_gets_a_file_that_it_accepts_and_that_names_exactly_the_rosters() {
    check(ProxyKind::Nginx, false);
}

#[test]
fn nginx_with_the_gate_too() {
    check(ProxyKind::Nginx, true);
}

#[test]
fn haproxy_gets_a_file_that_it_accepts_and_that_names_exactly_the_rosters() {
    check(ProxyKind::Haproxy, false);
}
