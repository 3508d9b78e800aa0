//! The programs accept what is rendered, also when there is much of it.

use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::render::render;
use nodeweir_domain::fleet::roster::Rosters;

use crate::rosters::{MAIN, member, roster, with_ws};
use crate::support::{Settings, check, config, write_folder};

fn accepts(kind: ProxyKind, body: &str) {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), kind, body, &Settings::default());
    let output = check(folder.path(), kind);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{kind} refuses the file: {said}");
    for word in ["warn", "alert", "deprecated"] {
        assert!(!said.to_lowercase().contains(word), "{kind} is not content with the file: {said}");
    }
}

/// Switched off, and for the proxy that can ask it the other ones.
fn gates(kind: ProxyKind, others: &[&'static str]) -> Vec<&'static str> {
    let others = if kind == ProxyKind::Nginx { others } else { &[] };
    [&["{enabled: false}"], others].concat()
}

#[test]
fn the_golden_files() {
    let files =
        [(ProxyKind::Nginx, "nginx.conf"), (ProxyKind::Nginx, "nginx-gate.conf"), (ProxyKind::Haproxy, "haproxy.cfg")];
    for (kind, name) in files {
        let golden = format!("{}/../domain/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        accepts(kind, &std::fs::read_to_string(golden).unwrap());
    }
}

#[test]
fn a_thousand_nodes() {
    for kind in ProxyKind::ALL {
        let network = |letter: char| {
            let name = |n: usize| format!("{}-{n}", letter.to_string().repeat(34));
            // Half of them plain, the rest with a name and so a server of their own; the names as long as they may be.
            let members = (0..500).map(|n| match n % 2 {
                0 => member(&name(n), &format!("http://10.1.{}.{}:8545", n / 250, n % 250)),
                _ => with_ws(
                    member(&name(n), &format!("https://node-{n}.{letter}.example/v3/${{KEY}}")),
                    &format!("wss://node-{n}.{letter}.example/ws"),
                ),
            });
            roster(members.collect(), Some(member("leader", "https://leader.example/v3/${KEY}")))
        };
        let rosters: Rosters = [(MAIN, 'a'), ("a-network-whose-name-is-32-long1", 'b')]
            .map(|(id, letter)| (id.parse().unwrap(), network(letter)))
            .into();
        let most = "{shield: {requests_per_second: 1000000, connections: 65535}}";
        for gate in gates(kind, &["{}", "{when_away: open, listen: '[::1]:8082'}", most]) {
            let settings = Settings { gate, ..Settings::default() };
            accepts(kind, &render(&rosters, &config(kind, &rosters, 8080, &settings)));
        }
    }
}

#[test]
fn no_network_with_a_node() {
    for kind in ProxyKind::ALL {
        let rosters = Rosters::from([(MAIN.parse().unwrap(), roster(vec![], None))]);
        for gate in gates(kind, &["{}"]) {
            let proxy = "  endpoint_headers: false\n  access_log: false\n";
            let settings = Settings { proxy, gate, ..Settings::default() };
            accepts(kind, &render(&rosters, &config(kind, &rosters, 8080, &settings)));
        }
    }
}
