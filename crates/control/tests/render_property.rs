//! Whatever stands in the node list, what is rendered from its usable part is a file that the real programs accept,
//! and it names exactly whom the rosters name. The file is read again by a tokenizer of its own, which shares nothing
//! with what made it, and which the domain's tests and a fuzz target use too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[allow(dead_code, reason = "the domain's tests call the rest")]
#[path = "../../domain/tests/fleet/nodes.rs"]
mod nodes;
#[path = "../../domain/tests/fleet/proxy/mod.rs"]
mod proxy;
#[path = "../../domain/tests/fleet/sound.rs"]
mod sound;
#[path = "../../domain/tests/fleet/twin.rs"]
mod twin;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use nodes::Seen;
use nodeweir_control::proxy::Program;
use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::node::{Item, list, resolve};
use nodeweir_domain::fleet::render::REVISION;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use serde_json::{Map, Value, json};

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
    let (program, config) = (Program::find(kind).unwrap(), nodes::config(kind, is_gated, &NETWORKS));
    let folder = folder(&program);
    let mut runner =
        TestRunner::new(Runs { cases: 40, max_shrink_iters: 300, failure_persistence: None, ..Runs::default() });
    let outcome = runner.run(&raw(), |(items, dice)| {
        let listed = list(&items, &config);
        sound::check(&items, &listed, &config);
        let mut dice = dice.iter().cycle();
        let seen: BTreeMap<_, _> =
            listed.nodes.iter().map(|node| ((&node.network, &node.name), seen(*dice.next().unwrap()))).collect();
        let plan = nodes::planned(&listed, &config, |node| seen[&(&node.network, &node.name)]);
        nodes::check_text(&plan, &config);
        assert_accepted(&program, folder.path(), &plan.body);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn seen(die: u8) -> Seen {
    match die {
        250.. => Seen::Never,
        _ => match die % 8 {
            0..=4 => Seen::Healthy,
            5 => Seen::Dead,
            6 => Seen::Behind,
            _ => Seen::Elsewhere,
        },
    }
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
