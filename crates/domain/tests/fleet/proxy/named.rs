//! Whom a proxy's file names: as its words say it, and as the rosters demand it.

use std::collections::{BTreeMap, BTreeSet};

use nodeweir_domain::fleet::node::{Address, NodeUrl};
use nodeweir_domain::fleet::roster::{Member, Rosters};

use super::{File, nginx};

/// A server as a request finds it, hops followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    socket: String,
    weight: String,
    tls: bool,
    path: String,
    /// Only where a hop says it; a group has one for all.
    host: Option<String>,
}

/// The groups of a text, by `rpc-network`, `fallback` apart, and every address of a node that stands anywhere in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    groups: BTreeMap<String, Vec<Target>>,
    fallbacks: BTreeMap<String, Target>,
    /// Host and port, whom anything may be sent to.
    pub(crate) addresses: BTreeSet<String>,
}

/// Whom a file names. `gate` is where it asks the gate, if it does.
pub(crate) fn read(file: &File, gate: Option<&str>) -> Named {
    match file {
        File::Nginx(directives) => of_nginx(directives, gate),
        File::Haproxy(lines) => of_haproxy(lines),
    }
}

/// An internal server of nginx.
#[derive(Debug, PartialEq, Eq)]
struct Hop {
    tls: bool,
    upstream: String,
    path: String,
    host: String,
}

/// nginx: directives in blocks.
fn of_nginx(file: &[nginx::Directive], gate: Option<&str>) -> Named {
    let http = file.iter().find(|directive| directive.words == ["http"]).unwrap().inside();
    let mut upstreams: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    // By socket.
    let mut hops: BTreeMap<String, Hop> = BTreeMap::new();
    for block in http {
        match block.says().as_slice() {
            ["upstream", name] => {
                let of_server = |directive: &nginx::Directive| match directive.says().as_slice() {
                    ["server", address, options @ ..] => {
                        let weight = options.iter().find_map(|option| option.strip_prefix("weight=")).unwrap_or("1");
                        Some(((*address).to_owned(), weight.to_owned()))
                    }
                    _ => None,
                };
                let servers = block.inside().iter().filter_map(of_server).collect();
                assert_eq!(upstreams.insert((*name).to_owned(), servers), None, "{name} is there twice");
            }
            ["server"] => {
                let Some((socket, hop)) = hop(block) else { continue };
                assert_eq!(hops.insert(socket.clone(), hop), None, "{socket} is there twice");
            }
            _ => {}
        }
    }
    let mut named = Named::default();
    let target = |(address, weight): &(String, String)| match hops.get(address) {
        None => {
            Target { socket: address.clone(), weight: weight.clone(), tls: false, path: "/".to_owned(), host: None }
        }
        Some(hop) => {
            let [(socket, _)] = upstreams[&hop.upstream].as_slice() else { panic!("{hop:?} has not one server") };
            let (socket, path, host) = (socket.clone(), hop.path.clone(), Some(hop.host.clone()));
            Target { socket, weight: weight.clone(), tls: hop.tls, path, host }
        }
    };
    for (name, servers) in &upstreams {
        if name == "gate" {
            assert_eq!(servers.as_slice(), [(gate.unwrap().to_owned(), "1".to_owned())]);
            continue;
        }
        let targets: Vec<_> = servers.iter().map(target).collect();
        named.addresses.extend(targets.iter().map(|target| target.socket.clone()));
        if name.starts_with("hop-") {
            assert!(hops.values().any(|hop| hop.upstream == *name), "nobody uses {name}");
        } else if let Some((kind, network)) = ["rpc", "ws"]
            .into_iter()
            .find_map(|kind| Some((kind, name.strip_prefix(kind)?.strip_prefix("-fallback-")?)))
        {
            let [target] = targets.as_slice() else { panic!("{name} has not one server") };
            named.fallbacks.insert(format!("{kind}-{network}"), target.clone());
        } else {
            named.groups.insert(name.clone(), targets);
        }
    }
    named
}

/// A server on a unix socket that sends what it gets to one address.
fn hop(server: &nginx::Directive) -> Option<(String, Hop)> {
    let listens = |directive: &nginx::Directive| match directive.says().as_slice() {
        ["listen", socket, ..] if socket.starts_with("unix:") => Some((*socket).to_owned()),
        _ => None,
    };
    let socket = server.inside().iter().find_map(listens)?;
    let location = server.inside().iter().find(|directive| directive.words == ["location", "=", "/"])?;
    let value = |name: &[&str]| {
        let mut found = location.inside().iter().filter_map(|directive| match directive.says().as_slice() {
            [words @ .., value] if words == name => Some((*value).to_owned()),
            _ => None,
        });
        let value = found.next()?;
        assert_eq!(found.next(), None, "{name:?} stands twice at {socket}");
        Some(value)
    };
    let to = value(&["proxy_pass"])?;
    let (scheme, rest) = to.split_once("://").unwrap();
    let (upstream, path) = rest.split_once('/').unwrap();
    let host = value(&["proxy_set_header", "Host"]).unwrap();
    let hop = Hop { tls: scheme == "https", upstream: upstream.to_owned(), path: format!("/{path}"), host };
    Some((socket, hop))
}

/// HAProxy: sections of lines.
fn of_haproxy(lines: &[Vec<String>]) -> Named {
    let mut section = (String::new(), String::new());
    let mut servers: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let (mut binds, mut hosts, mut uris) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for line in lines {
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
    let mut named = Named::default();
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
        named.groups.insert(name.clone(), usual.into_iter().map(target).collect());
        assert!(backup.len() < 2);
        named.fallbacks.extend(backup.into_iter().map(|server| (name.clone(), target(server))));
    }
    named.addresses.extend(
        servers.values().flatten().map(|server| server[1].clone()).filter(|address| !binds.contains_key(address)),
    );
    named
}

/// Whom a text should name that serves these rosters.
pub(crate) fn demanded(rosters: &Rosters) -> Named {
    let mut named = Named::default();
    for (network, roster) in rosters {
        let rpc = |member: &Member, weight| target(member, &member.address.url, weight);
        let ws = |member: &Member, weight| member.address.ws_url.as_ref().map(|url| target(member, url, weight));
        let members: Vec<_> = roster.members.iter().map(|member| rpc(member, member.weight)).collect();
        if !members.is_empty() {
            named.groups.insert(format!("rpc-{network}"), members);
            named.fallbacks.extend(roster.fallback.iter().map(|member| (format!("rpc-{network}"), rpc(member, 1))));
        }
        let members: Vec<_> = roster.members.iter().filter_map(|member| ws(member, member.weight)).collect();
        let fallback = roster.fallback.as_ref();
        if members.is_empty() {
            // The fallback alone, if it speaks WebSocket.
            let alone = fallback.and_then(|member| Some((format!("ws-{network}"), vec![ws(member, member.weight)?])));
            named.groups.extend(alone);
        } else {
            named.groups.insert(format!("ws-{network}"), members);
            named.fallbacks.extend(fallback.and_then(|member| Some((format!("ws-{network}"), ws(member, 1)?))));
        }
        let urls = roster.everyone().flat_map(|member| [Some(&member.address.url), member.address.ws_url.as_ref()]);
        named.addresses.extend(urls.flatten().map(|url| format!("{}:{}", url.host(), url.port())));
    }
    named
}

/// A member as it should be found; `host` only where it needs a hop to be told.
fn target(member: &Member, url: &NodeUrl, weight: u16) -> Target {
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
