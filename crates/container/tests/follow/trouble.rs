//! Whatever is published or not, what serves goes on serving.

use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::revision::Revision;
use nodeweir_emulator::{Answer, Fault, On};
use rustix::process::Signal;

use crate::nodes::Anvil;
use crate::process::{send, until};
use crate::rig::Rig;

#[tokio::test]
async fn a_bad_revision_is_refused_with_its_reason_and_a_good_one_taken_after_it() {
    let (leader, one, other) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let rig = Rig::new(leader.port).await;
    let good = rig.revision(1, "one", one.port);
    rig.publish(&good.compose()).await;
    let mut container = rig.start();
    container.serves("one").await;
    let next = rig.revision(2, "other", other.port);
    let text = next.compose();
    let bad = |change: fn(&mut Revision)| {
        let mut revision = next.clone();
        change(&mut revision);
        revision.compose()
    };
    for (published, why) in [
        (text[..text.len() / 2].to_owned(), "does not match its digest"),
        (text.replace("# format: 1", "# format: 2"), "format 2"),
        ("events {}".to_owned(), "this is not a revision"),
        (bad(|revision| revision.proxy = ProxyKind::Haproxy), "it is for haproxy, and this is nginx"),
        (bad(|revision| revision.body.push_str("nonsense on;\n")), "nonsense"),
    ] {
        rig.publish(&published).await;
        container.says(why).await;
        assert_eq!(container.call().await.unwrap().endpoint(), "one", "{why}");
    }
    assert!(container.said().contains(r#""refused":5"#), "{}", container.said());
    rig.publish(&text).await;
    container.serves("other").await;
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn a_start_without_s3_runs_what_ran_last_and_follows_when_it_is_back() {
    let (leader, one, other) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let rig = Rig::new(leader.port).await;
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    let mut container = rig.start();
    container.serves("one").await;
    // It serves a moment before that is written down.
    container.says(r#""message":"runs""#).await;
    assert_eq!(container.stop().await, 0);
    rig.publish(&rig.revision(2, "other", other.port).compose()).await;
    for fault in [Fault::Refused, Fault::Instead(Answer::error(403, "AccessDenied"))] {
        rig.aws.fault(On::service("s3").by("task"), fault);
        let mut container = rig.start();
        container.serves("one").await;
        container.says("what is published cannot be read").await;
        rig.aws.heal();
        assert_eq!(container.stop().await, 0);
    }
    let held = rig.aws.hold(On::service("s3").by("task"));
    let mut container = rig.start();
    container.serves("one").await;
    held.release();
    container.serves("other").await;
    assert_eq!(container.stop().await, 0);
}

/// Neither S3 nor a revision that ever ran.
#[tokio::test]
async fn a_start_without_anything_runs_the_leaders() {
    let leader = Anvil::start().await;
    let rig = Rig::new(leader.port).await;
    rig.aws.fault(On::service("s3").by("task"), Fault::Refused);
    let mut container = rig.start();
    container.serves("leader").await;
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn what_cannot_even_begin_says_why_and_goes_on_trying() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let mut rig = Rig::new(leader.port).await;
    // A secret that nobody gave a value.
    (rig.path, rig.sections) = ("/${KEY}", "secrets: {KEY: {hosts: [127.0.0.1]}}\n");
    let mut container = rig.start();
    container.says("not ready: even the leaders alone cannot be served").await;
    assert!(container.said().contains("KEY"), "{}", container.said());
    assert_eq!(container.ready().await, None);
    (rig.path, rig.sections) = ("", "");
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    container.serves("one").await;
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn a_proxy_that_dies_is_started_again() {
    let leader = Anvil::start().await;
    let rig = Rig::new(leader.port).await;
    let mut container = rig.start();
    container.serves("leader").await;
    let master = until("there is a master", async || container.proxy.master()).await;
    send(master, Signal::KILL);
    until("another one runs", async || container.proxy.master().filter(|found| *found != master)).await;
    container.serves("leader").await;
    assert_eq!(container.stop().await, 0);
}

/// A look waits ten seconds for its answer, and what a dead proxy needs does not wait with it.
#[tokio::test]
async fn while_s3_does_not_answer_a_proxy_that_dies_is_started_again_at_once() {
    let (leader, one) = tokio::join!(Anvil::start(), Anvil::start());
    let mut rig = Rig::new(leader.port).await;
    rig.look = "100ms";
    rig.publish(&rig.revision(1, "one", one.port).compose()).await;
    let mut container = rig.start();
    container.serves("one").await;
    container.says(r#""message":"runs""#).await;
    let held = rig.aws.hold(On::service("s3").by("task"));
    let looks = || rig.aws.count(&On::call("s3", "GetObject").by("task"));
    let before = looks();
    until("a look is under way", async || (looks() > before).then_some(())).await;
    let master = container.proxy.master().unwrap();
    send(master, Signal::KILL);
    until("another one runs", async || container.proxy.master().filter(|found| *found != master)).await;
    container.serves("one").await;
    assert!(!container.said().contains("what is published cannot be read"), "{}", container.said());
    held.release();
    assert_eq!(container.stop().await, 0);
}

#[tokio::test]
async fn an_environment_that_says_too_little_is_told() {
    let rig = Rig::new(1).await;
    let mut container = rig.start_by(&["/usr/bin/env", "-u", "NODEWEIR_BUCKET"]);
    assert_eq!(container.ends().await, 1);
    container.says("set NODEWEIR_BUCKET or NODEWEIR_FOLDER").await;
}
