//! One node of three answers late, in bits, by halves, or not at all. Another answers in its place as long as nothing of
//! its answer has reached the client.

use std::time::Duration;

use crate::between::Manner;
use crate::load::Failure;
use crate::play::{Fails, Fault, Serves};
use crate::process::until;
use crate::world::World;

/// Answers that are spoilt before a fault ends which health does not tell of.
const ENOUGH: u64 = 100;
const OTHERS: Serves = Serves::These(&["a", "b"]);

async fn play(world: &mut World, name: &'static str, manner: Manner, serves: Serves, fails: Fails) {
    let goal = world.between.spoilt() + if matches!(serves, Serves::These(_)) { 0 } else { ENOUGH };
    let notice = async |world: &mut World| {
        until("enough is spoilt", async || (world.between.spoilt() >= goal).then_some(())).await;
    };
    let fault = Fault { name, serves, fails };
    world
        .play(fault, async |world| world.between.be(manner), notice, async |world| world.between.be(Manner::Plain))
        .await;
}

pub(crate) async fn silent(world: &mut World) {
    play(world, "one node accepts connections and never answers", Manner::Silent, OTHERS, Fails::Never).await;
}

/// Well below what a probe may take.
pub(crate) async fn late(world: &mut World) {
    let (least, more) = (Duration::from_millis(200), Duration::from_millis(200));
    let name = "one node answers 200 to 400 ms late";
    play(world, name, Manner::Late(least, more), Serves::AsBefore, Fails::Never).await;
}

/// Above what a probe may take, and below what a try may.
pub(crate) async fn too_late(world: &mut World) {
    let (least, more) = (Duration::from_millis(2500), Duration::from_secs(1));
    play(world, "one node answers 2.5 to 3.5 s late", Manner::Late(least, more), OTHERS, Fails::Never).await;
}

/// A probe waits 2 s, which four losses in a row exceed; that happens, seldom.
pub(crate) async fn loss(world: &mut World) {
    let name = "one node loses 20 % of packets";
    play(world, name, Manner::Loss(20), Serves::Either, Fails::Never).await;
}

/// A probe tries twice, so that it succeeds mostly.
pub(crate) async fn resets(world: &mut World) {
    let name = "one node resets 20 % of connections instead of answering";
    play(world, name, Manner::Reset(20), Serves::Either, Fails::Never).await;
}

/// An answer has some 200 bytes, which then take 6 s; a try may take 9 s without a byte.
pub(crate) async fn drip(world: &mut World) {
    let name = "one node answers a byte each 30 ms";
    play(world, name, Manner::Drip(Duration::from_millis(30)), OTHERS, Fails::Never).await;
}

/// What has reached the client cannot be taken back, and nobody else can go on with it.
pub(crate) async fn half(world: &mut World) {
    let name = "one node breaks off in the middle of each answer";
    play(world, name, Manner::Half, OTHERS, Fails::UntilRight(vec![Failure::Broken])).await;
}

pub(crate) async fn half_then_silent(world: &mut World) {
    let name = "one node stops in the middle of each answer";
    play(world, name, Manner::HalfThenSilent, OTHERS, Fails::UntilRight(vec![Failure::Broken])).await;
}
