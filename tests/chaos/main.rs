//! Chaos: Nodeweir, its nodes and its clients on machines of their own (network namespaces), of which links go down,
//! processes are killed and answers are spoilt, while clients call a hundred times a second and do not try again.
//!
//! Each fault is played with what the design promises of it: who serves then, and which calls may fail, in which way.
//! The quick form plays some; `NODEWEIR_CHAOS=full cargo test --workspace --test chaos -- --nocapture` plays all, one
//! fleet after the other, and prints what it measured, as a table. Times are measured, never asserted.
//!
//! Network namespaces need root. Without it these tests are skipped, and say so; `NODEWEIR_CHAOS=none` skips them for
//! root too, where a container may not make any.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod apart;
mod between;
mod cut;
mod ground;
mod killed;
mod load;
mod play;
mod spoilt;
mod table;
mod world;

#[path = "../e2e/client.rs"]
#[allow(dead_code, reason = "the end-to-end tests need more of it")]
mod client;
#[path = "../e2e/nodes.rs"]
#[allow(dead_code, reason = "the end-to-end tests need more of it")]
mod nodes;
#[path = "../e2e/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests need more of it")]
mod process;
#[path = "../e2e/rig.rs"]
#[allow(dead_code, reason = "the end-to-end tests need more of it")]
mod rig;
#[path = "../e2e/status.rs"]
#[allow(dead_code, reason = "the end-to-end tests need more of it")]
mod status;
#[path = "../e2e/steady.rs"]
mod steady;

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use nodeweir_domain::config::ProxyKind;

use ground::Ground;
use world::{Layout, World};

/// What is measured is not to be another fleet's doing, and two cores carry no more.
static ONE: Mutex<()> = Mutex::new(());

/// Says which form.
const VARIABLE: &str = "NODEWEIR_CHAOS";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Quick,
    Full,
}

#[test]
fn nginx_with_the_gate() {
    play(ProxyKind::Nginx, Layout::Together, async |world, form| {
        cut::one_node(world).await;
        cut::all_own(world).await;
        killed::worker(world).await;
        killed::gate(world).await;
        killed::up(world).await;
        if form == Form::Full {
            faults_of_nodes(world).await;
            cut::blinks(world).await;
            killed::master(world).await;
            killed::hung_gate(world).await;
            killed::everything(world).await;
        }
    });
}

#[test]
fn haproxy() {
    play(ProxyKind::Haproxy, Layout::Together, async |world, form| {
        cut::one_node(world).await;
        if form == Form::Full {
            faults_of_nodes(world).await;
            cut::all_own(world).await;
            killed::worker(world).await;
            killed::master(world).await;
            killed::up(world).await;
            killed::everything(world).await;
        }
    });
}

#[test]
fn the_loop_and_nginx_on_two_machines() {
    play(ProxyKind::Nginx, Layout::Apart, async |world, form| {
        apart::node_from_prober(world).await;
        if form == Form::Full {
            apart::node_from_proxy(world).await;
            apart::prober(world).await;
            apart::killed_prober(world).await;
            apart::killed_follower(world).await;
        }
    });
}

/// The faults of nodes that the full form plays before either proxy.
async fn faults_of_nodes(world: &mut World) {
    cut::frozen(world).await;
    cut::killed(world).await;
    cut::leader(world).await;
    cut::all_but_one(world).await;
    cut::all(world).await;
    spoilt::silent(world).await;
    spoilt::late(world).await;
    spoilt::too_late(world).await;
    spoilt::loss(world).await;
    spoilt::resets(world).await;
    spoilt::drip(world).await;
    spoilt::half(world).await;
    spoilt::half_then_silent(world).await;
}

/// Plays faults on a new fleet, and prints the table.
fn play(kind: ProxyKind, layout: Layout, faults: impl AsyncFn(&mut World, Form) + Sync) {
    let form = match std::env::var(VARIABLE).as_deref() {
        Ok("none") => return skip("NODEWEIR_CHAOS is none"),
        Ok("full") => Form::Full,
        Ok("quick") => Form::Quick,
        Ok(other) => panic!("{VARIABLE} is {other:?}, and may be none, quick or full"),
        Err(_) if !rustix::process::geteuid().is_root() => return skip("network namespaces need root"),
        Err(_) => Form::Quick,
    };
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(why) = Ground::new() {
        panic!("these tests need network namespaces (iproute2, and root): {why}. {VARIABLE}=none skips them");
    }
    let once = async || {
        let ground = Ground::new().unwrap();
        let clients = ground.machine(1);
        let rows = clients.inside(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let mut world = World::start(ground, kind, layout).await;
                faults(&mut world, form).await;
                world.finish().await
            })
        });
        println!("{kind}, {layout:?}:\n\n{}", table::table(&rows));
    };
    // A probe that a node had no time to answer takes it out, though it is not at fault.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(steady::steadily(once));
}

/// Says so even where what tests print is kept back.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: chaos is not played here: {why}");
}
