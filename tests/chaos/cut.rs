//! Nodes that are cut off, hang or die.

use nodeweir_domain::config::ProxyKind;

use crate::ground::Machine;
use crate::load::Failure;
use crate::play::{Fails, Fault, Serves, at_once};
use crate::world::World;

/// How clients are told that nobody is left who could answer, or that nobody has. HAProxy also passes it on when a kept
/// connection to a node broke and nobody else is left, so that the client tries again.
fn nobody_answers(kind: ProxyKind) -> Vec<Failure> {
    let told = [Failure::refused(503, "UPSTREAM_UNAVAILABLE"), Failure::refused(504, "UPSTREAM_TIMEOUT")];
    told.into_iter().chain((kind == ProxyKind::Haproxy).then_some(Failure::Broken)).collect()
}

/// A second node is tried for each request.
pub(crate) async fn one_node(world: &mut World) {
    let fault = Fault {
        name: "the link of one node of three is down",
        serves: Serves::These(&["b", "c"]),
        fails: Fails::Never,
    };
    world.play(fault, async |world| world.a.machine.cut(), at_once, async |world| world.a.machine.mend()).await;
}

/// Shorter than a probe may take, again and again.
pub(crate) async fn blinks(world: &mut World) {
    let fault = Fault {
        name: "the link of one node is down for half a second, five times",
        serves: Serves::Either,
        fails: Fails::Never,
    };
    let blink = async |world: &mut World| {
        for _ in 0..5 {
            world.a.machine.cut();
            world.load.goes_on(50).await;
            world.a.machine.mend();
            world.load.goes_on(50).await;
        }
    };
    world.play(fault, blink, at_once, at_once).await;
}

/// It accepts connections, since that is the system's doing, and answers nothing.
pub(crate) async fn frozen(world: &mut World) {
    let fault = Fault { name: "one node is frozen (SIGSTOP)", serves: Serves::These(&["b", "c"]), fails: Fails::Never };
    world.play(fault, async |world| world.a.anvil.freeze(), at_once, async |world| world.a.anvil.thaw()).await;
}

pub(crate) async fn killed(world: &mut World) {
    let fault = Fault {
        name: "one node is killed, and started again",
        serves: Serves::These(&["b", "c"]),
        fails: Fails::Never,
    };
    world.play(fault, async |world| world.a.anvil.kill(), at_once, async |world| world.a.revive()).await;
}

/// nginx asks the leader for each request that two own nodes failed. HAProxy does when its own checks have noticed.
pub(crate) async fn all_own(world: &mut World) {
    let fails = match world.kind {
        ProxyKind::Nginx => Fails::Never,
        ProxyKind::Haproxy => Fails::UntilRight(nobody_answers(world.kind)),
    };
    let fault = Fault { name: "the links of all own nodes are down", serves: Serves::These(&["leader"]), fails };
    let cut = async |world: &mut World| [&world.a, &world.b, &world.c].iter().for_each(|node| node.machine.cut());
    let mend = async |world: &mut World| [&world.a, &world.b, &world.c].iter().for_each(|node| node.machine.mend());
    world.play(fault, cut, at_once, mend).await;
}

/// Two own nodes that agree are the reference.
pub(crate) async fn leader(world: &mut World) {
    let fault = Fault { name: "the leader's link is down", serves: Serves::AsBefore, fails: Fails::Never };
    let missed = async |world: &mut World| {
        world.rig.until_status("the leader is missed", |status| !status.is_healthy("leader")).await;
    };
    world
        .play(fault, async |world| world.leader.machine.cut(), missed, async |world| world.leader.machine.mend())
        .await;
}

/// Two tries and the leader are three of four that are away; the fourth serves alone as soon as that is published.
pub(crate) async fn all_but_one(world: &mut World) {
    let fails = Fails::UntilRight(nobody_answers(world.kind));
    let fault = Fault {
        name: "the links of the leader and all own nodes but one are down",
        serves: Serves::These(&["c"]),
        fails,
    };
    let cut = async |world: &mut World| [&world.a, &world.b, &world.leader].iter().for_each(|node| node.machine.cut());
    let mend =
        async |world: &mut World| [&world.a, &world.b, &world.leader].iter().for_each(|node| node.machine.mend());
    world.play(fault, cut, at_once, mend).await;
}

/// Whoever sees nobody looks for the fault on its own side, and changes nothing.
pub(crate) async fn all(world: &mut World) {
    let fails = Fails::WhileItLasts(nobody_answers(world.kind));
    let fault = Fault { name: "the links of all nodes and the leader are down", serves: Serves::AsBefore, fails };
    let everybody = |world: &World| [&world.a, &world.b, &world.c, &world.leader].map(|node| node.machine.clone());
    let cut = async |world: &mut World| everybody(world).iter().for_each(Machine::cut);
    let stale = async |world: &mut World| {
        world.rig.until_status("it is stale", |status| status.says("ethereum: stale since")).await;
    };
    let mend = async |world: &mut World| everybody(world).iter().for_each(Machine::mend);
    world.play(fault, cut, stale, mend).await;
}
