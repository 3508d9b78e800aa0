//! What is published is what runs.

use nodeweir_emulator::On;

use crate::client::{Load, failures};
use crate::nodes::Anvil;
use crate::process::until;
use crate::rig::Rig;

#[tokio::test]
async fn what_is_published_is_served_from_the_start_and_followed_without_a_lost_request() {
    let (leader, one, other) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let rig = Rig::new(leader.port).await;
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    let mut container = rig.start();
    container.serves("one").await;
    assert_eq!(container.ready().await, Some(200));
    let load = Load::start(rig.port, 4);
    for seq in 2..6 {
        let (name, port) = if seq % 2 == 0 { ("other", other.port) } else { ("one", one.port) };
        rig.publish(&rig.revision(seq, name, port).compose()).await;
        load.until_answered_by(&[name]).await;
    }
    let tried = load.end().await;
    assert_eq!(failures(&tried), Vec::<&str>::new(), "of {}", tried.len());
    assert_eq!(container.stop().await, 0);
}

/// Nothing is sent while nothing is new.
#[tokio::test]
async fn a_look_at_what_is_known_is_answered_with_no_more_than_that() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let rig = Rig::new(leader.port).await;
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    let mut container = rig.start();
    container.serves("one").await;
    let looks = || rig.aws.count(&On::call("s3", "GetObject").by("task"));
    let before = looks();
    until("it looks again and again", async || (looks() >= before + 2).then_some(())).await;
    assert_eq!(container.said().matches(r#""message":"runs""#).count(), 1, "{}", container.said());
    assert_eq!(container.stop().await, 0);
}

/// The first deployment: there is a stack, and nothing has run yet.
#[tokio::test]
async fn without_anything_published_the_leaders_serve_until_there_is() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let rig = Rig::new(leader.port).await;
    let mut container = rig.start();
    container.serves("leader").await;
    assert_eq!(container.ready().await, Some(200));
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    container.serves("one").await;
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn a_stop_is_announced_before_it_comes() {
    let leader = Anvil::start().await;
    let rig = Rig::new(leader.port).await;
    let (is_ready, said) = rig.ready();
    assert!(!is_ready && said.contains("asking 127.0.0.1:"), "{said}");
    let mut container = rig.start();
    container.serves("leader").await;
    assert!(rig.ready().0);
    container.child.signal(rustix::process::Signal::TERM);
    until("it says that it drains", async || (container.ready().await == Some(503)).then_some(())).await;
    let (is_ready, said) = rig.ready();
    assert!(!is_ready && said.contains("is not ready: HTTP/1.1 503"), "{said}");
    assert_eq!(container.call().await.unwrap().endpoint(), "leader", "who still comes is served");
    assert_eq!(container.ends().await, 0);
    assert_eq!(container.ready().await, None);
}
