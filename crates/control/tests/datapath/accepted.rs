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

#[test]
fn the_golden_files() {
    for kind in ProxyKind::ALL {
        let golden = format!("{}/../domain/tests/golden/{}", env!("CARGO_MANIFEST_DIR"), kind.file_name());
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
        accepts(kind, &render(&rosters, &config(kind, &rosters, 8080, &Settings::default())));
    }
}

#[test]
fn no_network_with_a_node() {
    for kind in ProxyKind::ALL {
        let rosters = Rosters::from([(MAIN.parse().unwrap(), roster(vec![], None))]);
        let settings = Settings { proxy: "  endpoint_headers: false\n  access_log: false\n", ..Settings::default() };
        accepts(kind, &render(&rosters, &config(kind, &rosters, 8080, &settings)));
    }
}
