//! Machines that can be cut off: network namespaces, each with one link to a switch.
//!
//! A namespace stands for a machine. The switch is a namespace with a bridge, which no other namespace can see, so that
//! every ground may use the same addresses. A link that is down loses packets and says nothing: nobody is told that a
//! connection has ended, which on one machine's own address cannot be shown.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps namespaces that have a name.
const NAMED: &str = "/run/netns";
/// Every name begins so; then comes the process that made it.
const OURS: &str = "nodeweir-chaos-";
/// The bridge, within its namespace.
const BRIDGE: &str = "switch";
/// A machine's link, within the machine.
const LINK: &str = "eth0";

/// Some machines and the switch between them. They end with it; whatever runs on them has to end before.
pub(crate) struct Ground {
    name: String,
    machines: AtomicUsize,
}

/// One machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    namespace: String,
    switch: String,
    /// The switch's end of its link.
    port: String,
    pub(crate) ip: Ipv4Addr,
}

impl Ground {
    /// A switch without machines. Errs in words if there can be none here.
    pub(crate) fn new() -> Result<Self, String> {
        static GROUNDS: AtomicUsize = AtomicUsize::new(0);
        sweep();
        let name = format!("{OURS}{}-{}", std::process::id(), GROUNDS.fetch_add(1, Ordering::Relaxed));
        let ground = Self { name, machines: AtomicUsize::new(0) };
        let switch = ground.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "name", BRIDGE, "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", BRIDGE, "up"])?;
        Ok(ground)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    /// A machine at the address `10.0.0.{host}`, with its link up.
    pub(crate) fn machine(&self, host: u8) -> Machine {
        let number = self.machines.fetch_add(1, Ordering::Relaxed);
        let (namespace, switch, port) = (format!("{}-{number}", self.name), self.switch(), format!("port{number}"));
        let machine = Machine { namespace, switch, port, ip: Ipv4Addr::new(10, 0, 0, host) };
        let Machine { namespace, switch, port, ip: address } = &machine;
        let address = format!("{address}/24");
        for words in [
            &["netns", "add", namespace][..],
            &["link", "add", "name", LINK, "netns", namespace, "type", "veth", "peer", "name", port, "netns", switch],
            &["-n", switch, "link", "set", port, "master", BRIDGE, "up"],
            &["-n", namespace, "address", "add", &address, "dev", LINK],
            &["-n", namespace, "link", "set", LINK, "up"],
            &["-n", namespace, "link", "set", "lo", "up"],
        ] {
            must(words);
        }
        machine
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        remove(|name| name.strip_prefix(&self.name).is_some_and(|rest| rest.starts_with('-')));
    }
}

impl Machine {
    /// Takes its link down.
    pub(crate) fn cut(&self) {
        must(&["-n", &self.switch, "link", "set", &self.port, "down"]);
    }

    /// Takes its link up again.
    pub(crate) fn mend(&self) {
        must(&["-n", &self.switch, "link", "set", &self.port, "up"]);
    }

    /// Whatever it sends to `other` is lost; all else goes on.
    pub(crate) fn lose(&self, other: &Self) {
        must(&["-n", &self.namespace, "route", "add", "blackhole", &other.ip.to_string()]);
    }

    /// What it sends to `other` arrives again.
    pub(crate) fn find(&self, other: &Self) {
        must(&["-n", &self.namespace, "route", "del", "blackhole", &other.ip.to_string()]);
    }

    /// Does something on this machine: sockets that are opened, threads and processes that are started meanwhile are its
    /// own.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let within = || {
            let namespace = File::open(Path::new(NAMED).join(&self.namespace)).expect("the namespace");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("it can be entered");
            act()
        };
        thread::scope(|scope| scope.spawn(within).join()).unwrap_or_else(|why| resume_unwind(why))
    }
}

/// Removes what processes left behind that are no more.
fn sweep() {
    remove(|name| {
        let maker = name.strip_prefix(OURS).and_then(|rest| rest.split('-').next());
        maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    });
}

/// Removes the namespaces of these names, as far as it can.
fn remove(is_it: impl Fn(&str) -> bool) {
    let names = std::fs::read_dir(NAMED).into_iter().flatten();
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| is_it(name)) {
        let _ = ip(&["netns", "del", &name]);
    }
}

fn must(words: &[&str]) {
    ip(words).unwrap_or_else(|why| panic!("{why}"));
}

/// Calls `ip`. Errs with what was called and what it said.
fn ip(words: &[&str]) -> Result<(), String> {
    let called = format!("`ip {}`", words.join(" "));
    match Command::new("ip").args(words).output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!("{called} failed: {}", String::from_utf8_lossy(&done.stderr).trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{called}: there is no `ip` (iproute2)")),
        Err(error) => Err(format!("{called}: {error}")),
    }
}
