//! Checks what is made of a configuration file. The fuzz target `config` and the tests beside this file call it.

use nodeweir_domain::config::{BadConfig, Config, GateAddress};
use nodeweir_domain::fleet::node::list;
use serde_json::Value;

use crate::nodes::{self, Seen};
use crate::proxy::File;
use crate::proxy::nginx::Directive;
use crate::written::written;

/// Panics if a text is neither refused with places nor a configuration that can be written down, read again and
/// rendered.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = Config::read(text);
    // A comment before it moves every line by one, and nothing else. Two signs mean something only where a file begins.
    if !text.starts_with(['%', '\u{feff}']) {
        let moved = Config::read(&format!("# A comment.\n{text}"));
        match (&read, &moved) {
            (Ok(config), Ok(moved)) => assert_eq!(moved, config),
            (Err(BadConfig(faults)), Err(BadConfig(moved))) => {
                assert_eq!(faults.len(), moved.len());
                for (fault, moved) in faults.iter().zip(moved) {
                    assert_eq!((&fault.key, &fault.problem), (&moved.key, &moved.problem));
                    // What is missing in a file without any line is missing in the first.
                    assert!(moved.line == fault.line + 1 || moved.line == 1, "{fault:?} {moved:?}");
                }
            }
            other => panic!("{other:?}"),
        }
    }
    match read {
        Err(error) => check_faults(&error, text),
        Ok(config) => {
            let again = written(&config);
            let read_again = Config::read(&again.to_string());
            assert_eq!(read_again.as_ref(), Ok(&config), "{again:#}");
            if let Ok(json) = serde_json::from_str(text) {
                assert_kept(&json, &again, "");
            }
            check_rendered(&config);
        }
    }
}

fn check_faults(error: &BadConfig, text: &str) {
    let BadConfig(faults) = error;
    assert!(!faults.is_empty());
    // What is open at the end of a file is missed in the line after the last one.
    let lines = text.split(['\n', '\r']).count() + 1;
    for fault in faults {
        assert!((1..=lines).contains(&fault.line), "{fault:?}");
        assert!(!fault.problem.is_empty(), "{fault:?}");
    }
    assert!(faults.is_sorted_by_key(|fault| fault.line), "{faults:?}");
    let said = error.to_string();
    assert_eq!(said.lines().count(), faults.len(), "{said}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
}

/// Every key, number and truth value of the file, as another reader sees it, is in the configuration.
fn assert_kept(file: &Value, config: &Value, place: &str) {
    match (file, config) {
        // Of a deployment the programs keep little, and the time became blocks.
        _ if place.starts_with(".aws") || place.ends_with(".max_lag") => {}
        // Addresses and times have more than one spelling.
        (Value::Null, _) | (Value::String(_), Value::String(_)) => {}
        (Value::Object(file), Value::Object(config)) => {
            for (key, value) in file {
                let place = format!("{place}.{key}");
                assert_kept(value, config.get(key).unwrap_or(&Value::Null), &place);
            }
        }
        (Value::Array(file), Value::Array(config)) => {
            assert_eq!(file.len(), config.len(), "{place}");
            for (index, (file, config)) in file.iter().zip(config).enumerate() {
                assert_kept(file, config, &format!("{place}[{index}]"));
            }
        }
        _ => assert_eq!(file, config, "{place}"),
    }
}

/// What is rendered with it has the form of the proxy's files, and nobody but the leaders is in it.
fn check_rendered(config: &Config) {
    let listed = list(&[], config);
    assert_eq!(listed.nodes.len(), config.networks.len(), "each network has its leader");
    let plan = nodes::planned(&listed, config, |_| Seen::Healthy);
    nodes::check_text(&plan, config);
    let mut listens = Vec::new();
    match File::read(config.proxy.kind, &plan.body) {
        File::Nginx(file) => {
            let http = file.iter().flat_map(Directive::inside);
            for directive in http.flat_map(Directive::inside) {
                match directive.says().as_slice() {
                    ["listen" | "set_real_ip_from", address] => listens.push((*address).to_owned()),
                    ["listen" | "set_real_ip_from", ..] => panic!("{directive:?}"),
                    _ => {}
                }
            }
        }
        File::Haproxy(lines) => listens.extend(lines.into_iter().filter_map(|line| match line.as_slice() {
            [bind, address] if bind == "bind" => Some(address.clone()),
            _ => None,
        })),
    }
    assert!(listens.contains(&config.proxy.listen.to_string()), "{listens:?}");
    let of_gate = match config.gate.listen {
        GateAddress::Tcp(address) => address.to_string(),
        GateAddress::Socket => String::new(),
    };
    for address in listens.iter().filter(|address| !address.starts_with("unix")).chain([&of_gate]) {
        let is_safe = |c: char| c.is_ascii_hexdigit() || ".:[]/".contains(c);
        assert!(address.chars().all(is_safe), "no proxy understands {address}");
    }
}
