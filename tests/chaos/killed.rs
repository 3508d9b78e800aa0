//! Nodeweir's own processes are killed, each in turn and all at once, or hang.

use nodeweir_domain::config::ProxyKind;
use rustix::process::Signal;

use crate::load::{Failure, failures};
use crate::play::{Fails, Fault, Serves, at_once};
use crate::process::{send, until};
use crate::world::World;

fn gate_is_away() -> Failure {
    Failure::refused(503, "GATE_UNAVAILABLE")
}

fn fault(name: &'static str, serves: Serves, kinds: &[Failure]) -> Fault {
    Fault { name, serves, fails: Fails::WhileItLasts(kinds.to_vec()) }
}

/// What it had in hand is lost; its master starts another. HAProxy has one worker, and the master ends with it.
pub(crate) async fn worker(world: &mut World) {
    let before = world.workers();
    let newest = *before.last().expect("a worker");
    let replace = async |world: &mut World| {
        send(newest, Signal::KILL);
        let is_new = |pid: &i32| !before.contains(pid);
        until("it is replaced", async || world.workers().iter().any(is_new).then_some(())).await;
    };
    let kinds = match world.kind {
        ProxyKind::Nginx => &[Failure::Broken][..],
        ProxyKind::Haproxy => &[Failure::Broken, Failure::NotConnected],
    };
    let fault = fault("kill -9 of a worker of the proxy", Serves::Replaced, kinds);
    world.play(fault, replace, at_once, at_once).await;
}

/// nginx's workers outlive it and finish what they have. HAProxy's end with it.
pub(crate) async fn master(world: &mut World) {
    let killed = world.rig.proxy.master().expect("a master");
    let replace = async |world: &mut World| {
        send(killed, Signal::KILL);
        until("it is replaced", async || world.rig.proxy.master().filter(|master| *master != killed)).await;
    };
    let kinds = match world.kind {
        ProxyKind::Nginx => &[Failure::NotConnected][..],
        ProxyKind::Haproxy => &[Failure::NotConnected, Failure::Broken],
    };
    world.play(fault("kill -9 of the proxy's master", Serves::Replaced, kinds), replace, at_once, at_once).await;
}

pub(crate) async fn gate(world: &mut World) {
    let killed = world.gate().expect("a gate");
    let replace = async |world: &mut World| {
        send(killed, Signal::KILL);
        until("it is replaced", async || world.gate().filter(|gate| *gate != killed)).await;
    };
    world.play(fault("kill -9 of the gate", Serves::Replaced, &[gate_is_away()]), replace, at_once, at_once).await;
}

/// Nobody can tell at once that it will not answer any more; who looks after it does in half a minute, and kills it.
pub(crate) async fn hung_gate(world: &mut World) {
    let hung = world.gate().expect("a gate");
    let replace = async |world: &mut World| {
        send(hung, Signal::STOP);
        until("it is replaced", async || world.gate().filter(|gate| *gate != hung)).await;
    };
    let fault = fault("the gate hangs (SIGSTOP)", Serves::Replaced, &[gate_is_away()]);
    world.play(fault, replace, at_once, at_once).await;
}

/// Starts who runs the proxy again, and waits until it has put others in the place of the proxy and the gate.
pub(crate) async fn succeed(world: &mut World, start: impl FnOnce(&mut World)) {
    let (master, gate) = (world.rig.proxy.master(), world.gate());
    start(world);
    let is_new = |now: Option<i32>, before| now.is_some() && now != before;
    let has_gate = world.kind == ProxyKind::Nginx;
    until("others run in their place", async || {
        (is_new(world.rig.proxy.master(), master) && (!has_gate || is_new(world.gate(), gate))).then_some(())
    })
    .await;
}

/// The proxy and the gate go on without it; the next one starts its own, and between the two nobody listens.
pub(crate) async fn up(world: &mut World) {
    let first = world.load.begun();
    let unnoticed = async |world: &mut World| {
        world.load.goes_on(100).await;
        assert_eq!(failures(&world.load.since(first).await).len(), 0, "{}: without `up`", world.kind);
    };
    let name = "kill -9 of `nodeweir up`, started again";
    let kinds = [Failure::NotConnected, gate_is_away()];
    let follow = async |world: &mut World| succeed(world, World::up).await;
    world.play(fault(name, Serves::AsBefore, &kinds), async |world| world.rig.kill_up(), unnoticed, follow).await;
}

pub(crate) async fn everything(world: &mut World) {
    let name = "kill -9 of everything at once, `nodeweir up` started again";
    let kill = async |world: &mut World| {
        // The gate works in the proxy's folder too.
        let all = world.rig.proxy.all();
        assert!(world.kind == ProxyKind::Haproxy || all.contains(&world.gate().expect("a gate")));
        world.rig.kill_up();
        for pid in all {
            send(pid, Signal::KILL);
        }
    };
    let kinds = [Failure::NotConnected, Failure::Broken];
    world
        .play(fault(name, Serves::AsBefore, &kinds), kill, at_once, async |world| succeed(world, World::up).await)
        .await;
}
