//! What the machine adds to a revision: name servers, certificates, accounts. The text of a revision is the same on
//! every machine, so all this stands in files beside it, written anew before each start and reload.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use nodeweir_domain::config::ProxyKind;
use rustix::process::geteuid;

use super::folder::{CA_FILE, FileError};
use super::program::Program;

/// Where systems keep the certificates of authorities in one file.
const CA_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What matters about this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Never empty.
    pub(super) name_servers: Vec<IpAddr>,
    /// Whether it has an IPv6 address that reaches further than its own link.
    pub(super) ipv6: bool,
    /// Certificates of the authorities it trusts.
    pub(super) ca_file: Option<PathBuf>,
    /// Whom workers run as, when this process is root.
    pub(super) account: Option<Account>,
}

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) group: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Machine {
    /// Looks at this machine. Fails only if `SSL_CERT_FILE` names something that cannot be used.
    pub(super) fn look(program: &Program) -> Result<Self, FileError> {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Ok(Self {
            name_servers: name_servers(&text("/etc/resolv.conf")),
            ipv6: has_ipv6(&text("/proc/net/if_inet6")),
            ca_file: ca_file(program)?,
            account: geteuid()
                .is_root()
                .then(|| account(program.kind, &text("/etc/passwd"), &text("/etc/group")))
                .flatten(),
        })
    }

    /// nginx, main level.
    pub(super) fn nginx_main(&self) -> String {
        let mut text = "daemon off;\npid nginx.pid;\nerror_log stderr warn;\n".to_owned();
        if let Some(Account { user, group, .. }) = &self.account {
            let _ = writeln!(text, "user {user} {group};");
        } else if geteuid().is_root() {
            // The account that nginx was built for need not exist.
            text.push_str("user root root;\n");
        }
        text
    }

    /// nginx, `http` level.
    pub(super) fn nginx_http(&self) -> String {
        let mut text = "resolver".to_owned();
        for server in &self.name_servers {
            let _ = match server {
                IpAddr::V4(ip) => write!(text, " {ip}"),
                IpAddr::V6(ip) => write!(text, " [{ip}]"),
            };
        }
        // Failover of a cloud's load balancer goes by DNS; an hour's time to live would outlast it.
        let _ = writeln!(text, " valid=30s ipv6={};", if self.ipv6 { "on" } else { "off" });
        text.push_str("resolver_timeout 5s;\n");
        if self.ca_file.is_some() {
            let _ = writeln!(text, "proxy_ssl_trusted_certificate {CA_FILE};");
        }
        text
    }

    /// HAProxy's first file.
    pub(super) fn haproxy(&self) -> String {
        let mut text = "global\n    log stdout len 8192 format raw local0\n".to_owned();
        match &self.account {
            Some(Account { user, group, .. }) => {
                let _ = writeln!(text, "    user {user}\n    group {group}");
                let _ = writeln!(text, "    unix-bind user {user} group {group} mode 0600");
            }
            None => text.push_str("    unix-bind mode 0600\n"),
        }
        text.push_str("\nresolvers system\n");
        for (index, server) in self.name_servers.iter().enumerate() {
            let _ = match server {
                IpAddr::V4(ip) => writeln!(text, "    nameserver dns{index} {ip}:53"),
                IpAddr::V6(ip) => writeln!(text, "    nameserver dns{index} [{ip}]:53"),
            };
        }
        // When DNS does not answer, the last addresses stay: they most likely still work.
        text.push_str(
            "    accepted_payload_size 1232\n    resolve_retries 2\n    timeout resolve 1s\n    timeout retry 1s\n    \
             hold valid 30s\n    hold obsolete 30s\n    hold nx 30s\n    hold other 1h\n    hold refused 1h\n    \
             hold timeout 1h\n",
        );
        text
    }
}

/// The name servers of a resolv.conf; the machine itself if it names none, as the C library does. Addresses with a
/// zone (`fe80::1%eth0`) are left out: nginx cannot use them.
fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in resolv_conf.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver")
            && let Some(Ok(server)) = words.next().map(str::parse::<IpAddr>)
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    if servers.is_empty() {
        servers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    servers
}

/// Whether an address of global scope is in the text of `/proc/net/if_inet6`. Without one, every second try of nginx
/// at a name with addresses of both kinds would fail.
fn has_ipv6(if_inet6: &str) -> bool {
    if_inet6.lines().any(|line| line.split_ascii_whitespace().nth(3) == Some("00"))
}

fn ca_file(program: &Program) -> Result<Option<PathBuf>, FileError> {
    if let Some(named) = std::env::var_os("SSL_CERT_FILE").filter(|named| !named.is_empty()) {
        let bad = |source| FileError { doing: "use, named in SSL_CERT_FILE,", path: (&named).into(), source };
        let path = std::path::absolute(&named).map_err(bad)?;
        return match fs::metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(path)),
            Ok(_) => Err(bad(io::Error::other("it is not a file"))),
            Err(error) => Err(bad(error)),
        };
    }
    let of_root = program.root.as_ref().map(|root| root.folder.join("etc/ssl/certs/ca-certificates.crt"));
    Ok(CA_FILES.iter().map(PathBuf::from).chain(of_root).find(|path| Path::is_file(path)))
}

/// The first account there is for workers that were started by root.
fn account(kind: ProxyKind, passwd: &str, groups: &str) -> Option<Account> {
    ["nodeweir", kind.as_str(), "www-data", "nobody"].into_iter().find_map(|user| {
        let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|entry| entry[0] == user)?;
        let uid = entry.get(2)?.parse().ok()?;
        let gid: u32 = entry.get(3)?.parse().ok()?;
        let group = groups.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            (fields.get(2)?.parse() == Ok(gid)).then(|| fields[0].to_owned())
        })?;
        Some(Account { user: user.to_owned(), group, uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            name_servers: name_servers("# x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 192.0.2.1\n"),
            ipv6: false,
            ca_file: Some("/ca".into()),
            account: account(ProxyKind::Nginx, "root:x:0:0::/:\nnobody:x:65534:65533::/:\n", "x\nnogroup:x:65533:\n"),
        }
    }

    #[test]
    fn name_servers_are_read_as_the_c_library_reads_them() {
        let localhost: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(name_servers(""), [localhost]);
        assert_eq!(name_servers("nameserver fe80::1%eth0\n;nameserver 192.0.2.9\nsearch x"), [localhost]);
        assert_eq!(machine().name_servers.len(), 2);
    }

    #[test]
    fn only_a_far_reaching_address_makes_ipv6_useful() {
        let own = "00000000000000000000000000000001 01 80 10 80 lo\nfe800000000000000000000000000001 02 40 20 80 eth0";
        assert!(!has_ipv6(own));
        assert!(has_ipv6(&format!("{own}\n20010db8000000000000000000000001 02 40 00 80 eth0")));
    }

    #[test]
    fn an_account_needs_a_group_that_exists() {
        assert_eq!(account(ProxyKind::Nginx, "nobody:x:1:2::/:", "g:x:3:"), None);
        let both = "nobody:x:1:2::/:\nnginx:x:5:2::/:";
        assert_eq!(account(ProxyKind::Nginx, both, "g:x:2:").unwrap().user, "nginx");
        assert_eq!(account(ProxyKind::Haproxy, both, "g:x:2:").unwrap().user, "nobody");
    }

    #[test]
    fn the_files_say_what_the_machine_has() {
        let machine = machine();
        assert_eq!(machine.nginx_main(), "daemon off;\npid nginx.pid;\nerror_log stderr warn;\nuser nobody nogroup;\n");
        assert_eq!(
            machine.nginx_http(),
            "resolver 192.0.2.1 [2001:db8::1] valid=30s ipv6=off;\nresolver_timeout 5s;\n\
             proxy_ssl_trusted_certificate ca.pem;\n"
        );
        let haproxy = machine.haproxy();
        for line in ["nameserver dns0 192.0.2.1:53", "nameserver dns1 [2001:db8::1]:53", "user nobody"] {
            assert!(haproxy.contains(&format!("\n    {line}\n")), "{haproxy}");
        }
    }
}
