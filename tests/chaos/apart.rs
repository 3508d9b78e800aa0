//! Nodes are judged on one machine and called from another, and only one of the two is cut off.

use crate::killed::succeed;
use crate::load::{Failure, failures};
use crate::play::{Fails, Fault, Serves, at_once};
use crate::world::World;

/// Nobody calls any more who could be called.
pub(crate) async fn node_from_prober(world: &mut World) {
    let name = "one node is out of the prober's reach, not of the proxy's";
    let fault = Fault { name, serves: Serves::These(&["b", "c"]), fails: Fails::Never };
    let lose = async |world: &mut World| world.a.machine.lose(&world.control);
    world.play(fault, lose, at_once, async |world| world.a.machine.find(&world.control)).await;
}

/// Nobody knows but the proxy, which is no judge: each request that meets the node is tried again on another.
pub(crate) async fn node_from_proxy(world: &mut World) {
    let name = "one node is out of the proxy's reach, not of the prober's";
    let fault = Fault { name, serves: Serves::AsBefore, fails: Fails::Never };
    let lose = async |world: &mut World| world.a.machine.lose(&world.proxy);
    let ticks = async |world: &mut World| {
        let tick = |status: &crate::status::Status| status.network("ethereum")["last_tick"].clone();
        let mut last = tick(&world.rig.status().await);
        for _ in 0..3 {
            let (status, _) = world.rig.until_status("a tick", |status| tick(status) != last).await;
            last = tick(&status);
        }
    };
    world.play(fault, lose, ticks, async |world| world.a.machine.find(&world.proxy)).await;
}

/// Whoever sees nobody looks for the fault on its own side, and changes nothing.
pub(crate) async fn prober(world: &mut World) {
    let name = "the prober's link is down";
    let fault = Fault { name, serves: Serves::AsBefore, fails: Fails::Never };
    let stale = async |world: &mut World| {
        world.rig.until_status("it is stale", |status| status.says("ethereum: stale since")).await;
    };
    world.play(fault, async |world| world.control.cut(), stale, async |world| world.control.mend()).await;
}

pub(crate) async fn killed_prober(world: &mut World) {
    let name = "kill -9 of `nodeweir up --no-proxy`, started again";
    let fault = Fault { name, serves: Serves::AsBefore, fails: Fails::Never };
    world.play(fault, async |world| world.rig.kill_up(), at_once, async |world| world.up()).await;
}

/// nginx and the gate go on without it; the next one starts its own, and between the two nobody listens.
pub(crate) async fn killed_follower(world: &mut World) {
    let kinds = vec![Failure::NotConnected, Failure::refused(503, "GATE_UNAVAILABLE")];
    let name = "kill -9 of `nodeweir-proxy`, started again";
    let fault = Fault { name, serves: Serves::AsBefore, fails: Fails::WhileItLasts(kinds) };
    let first = world.load.begun();
    let unnoticed = async |world: &mut World| {
        world.load.goes_on(100).await;
        assert_eq!(failures(&world.load.since(first).await).len(), 0, "without `nodeweir-proxy`");
    };
    let follow = async |world: &mut World| succeed(world, World::follow).await;
    world.play(fault, async |world| world.kill_follower(), unnoticed, follow).await;
}
