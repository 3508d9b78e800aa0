//! Who is asked when somebody fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeweir_domain::config::ProxyKind;
use nodeweir_domain::fleet::roster::Rosters;
use tokio::sync::Barrier;

use crate::client::{CALL, call};
use crate::nodes::{Does, Node, nobody};
use crate::rosters::{main_of, plain, through_hop};
use crate::support::{BRIEF, Proxy, Settings, until};

/// What is a fault of the node and not an answer. A redirect is one too, which HAProxy cannot try again.
const FAULTS: [Does; 8] = [
    Does::Say(401, "no"),
    Does::Say(403, "no"),
    Does::Say(404, "no"),
    Does::Say(429, r#"{"error":"too many"}"#),
    Does::Say(502, "<html>"),
    Does::Say(503, "<html>"),
    Does::Say(504, "<html>"),
    Does::Hang,
];

/// Two proxies before the same nodes: only where one hangs a time has to run out.
struct Pair {
    patient: Proxy,
    brief: Proxy,
}

impl Pair {
    async fn start(kind: ProxyKind, rosters: &Rosters) -> Self {
        let brief = Settings { timeouts: BRIEF, ..Settings::default() };
        Self { patient: Proxy::start(kind, rosters).await, brief: Proxy::start_with(kind, rosters, &brief).await }
    }

    /// The port of the one that is for this fault.
    fn port(&self, fault: &Does) -> u16 {
        if matches!(fault, Does::Hang) { self.brief.port } else { self.patient.port }
    }
}

/// Those that nginx can hand to another own node; the others go to the leader at once.
fn has_second_own_try(kind: ProxyKind, fault: &Does) -> bool {
    kind == ProxyKind::Haproxy || !matches!(fault, Does::Say(401, _))
}

#[tokio::test]
async fn the_second_own_node_takes_what_the_first_failed() {
    for kind in ProxyKind::ALL {
        let (bad, good) = (Node::start("bad", Does::Answer).await, Node::start("good", Does::Answer).await);
        let members = vec![plain("bad", bad.at), plain("good", good.at)];
        let proxies = Pair::start(kind, &main_of(members, None)).await;
        for fault in FAULTS.into_iter().filter(|fault| has_second_own_try(kind, fault)) {
            bad.now(fault.clone());
            let before = bad.count();
            // HAProxy draws among servers with equally few connections, so whose turn it is is chance.
            let mut calls = 0;
            while calls < 6 || bad.count() == before {
                assert!(calls < 200, "{kind} {fault:?}: the bad node was never asked");
                let reply = call(proxies.port(&fault), "/v3").await;
                assert_eq!(reply.answered_by(), "good", "{kind} {fault:?}");
                assert_eq!(reply.header("X-RPC-Endpoint"), Some("good"));
                calls += 1;
            }
        }
        assert!(good.seen().iter().all(|seen| seen.body == CALL), "the body is sent again");
    }
}

#[tokio::test]
async fn a_closed_port_and_a_dead_hop_are_passed_over() {
    for kind in ProxyKind::ALL {
        let good = Node::start("good", Does::Answer).await;
        for bad in [plain("bad", nobody()), through_hop("bad", nobody())] {
            let proxy = Proxy::start(kind, &main_of(vec![bad, plain("good", good.at)], None)).await;
            for _ in 0..6 {
                assert_eq!(call(proxy.port, "/v3").await.answered_by(), "good", "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn the_leader_takes_what_two_own_nodes_failed() {
    let kind = ProxyKind::Nginx;
    let own = [
        Node::start("a", Does::Answer).await,
        Node::start("b", Does::Answer).await,
        Node::start("c", Does::Answer).await,
    ];
    for leader_at in [plain, through_hop] {
        let leader = Node::start("leader", Does::Answer).await;
        let members = ["a", "b", "c"].iter().zip(&own).map(|(name, node)| plain(name, node.at)).collect();
        let proxies = Pair::start(kind, &main_of(members, Some(leader_at("leader", leader.at)))).await;
        for fault in FAULTS {
            for node in &own {
                node.now(fault.clone());
            }
            let before: usize = own.iter().map(Node::count).sum();
            let reply = call(proxies.port(&fault), "/v3").await;
            assert_eq!(reply.answered_by(), "leader", "{fault:?}");
            assert_eq!(reply.header("X-RPC-Endpoint"), Some("leader"));
            let tries = own.iter().map(Node::count).sum::<usize>() - before;
            assert_eq!(tries, if has_second_own_try(kind, &fault) { 2 } else { 1 }, "{fault:?}");
        }
        assert!(leader.seen().iter().all(|seen| seen.body == CALL && seen.method == "POST"));
        for node in &own {
            node.now(Does::Answer);
        }
        let before = leader.count();
        call(proxies.patient.port, "/v3").await.answered_by();
        assert_eq!(leader.count(), before, "no call goes to the leader that an own node answers");
    }
}

/// HAProxy's leader is not per request: it serves while the own nodes are down by their TCP checks, and only then.
#[tokio::test]
async fn haproxy_s_leader_serves_when_the_own_nodes_are_down() {
    let leader = Node::start("leader", Does::Answer).await;
    let own = vec![plain("plain", nobody()), through_hop("hop", nobody())];
    let proxy = Proxy::start(ProxyKind::Haproxy, &main_of(own, Some(through_hop("leader", leader.at)))).await;
    let reply = until("the checks notice", async || {
        let reply = call(proxy.port, "/v3").await;
        if reply.status != 200 {
            reply.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
        }
        (reply.status == 200).then_some(reply)
    });
    assert_eq!(reply.await.answered_by(), "leader");

    let busy = Node::start("busy", Does::Say(503, "busy")).await;
    let (own, leader_at) = (vec![plain("busy", busy.at)], Some(plain("leader", leader.at)));
    let proxy = Proxy::start(ProxyKind::Haproxy, &main_of(own, leader_at)).await;
    call(proxy.port, "/v3").await.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn when_everybody_fails_the_client_gets_our_words() {
    for kind in ProxyKind::ALL {
        let own = Node::start("own", Does::Answer).await;
        let leader = Node::start("leader", Does::Answer).await;
        for with_leader in [true, false] {
            let fallback = with_leader.then(|| through_hop("leader", leader.at));
            let proxies = Pair::start(kind, &main_of(vec![plain("own", own.at)], fallback)).await;
            for fault in FAULTS.into_iter().chain([Does::Say(307, "elsewhere"), Does::Say(405, "no")]) {
                own.now(fault.clone());
                leader.now(fault.clone());
                let reply = call(proxies.port(&fault), "/v3").await;
                if matches!(fault, Does::Say(504, _) | Does::Hang) {
                    reply.expect_error(504, -32054, "UPSTREAM_TIMEOUT");
                } else {
                    reply.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
                }
                assert_eq!((reply.header("X-RPC-Endpoint"), reply.header("X-RPC-Latency-Ms")), (None, None), "{kind}");
            }
        }
        let proxy = Proxy::start(kind, &main_of(vec![plain("a", nobody())], Some(plain("b", nobody())))).await;
        call(proxy.port, "/v3").await.expect_error(503, -32603, "UPSTREAM_UNAVAILABLE");
    }
}

#[tokio::test]
async fn the_leader_alone_is_one_hop() {
    for kind in ProxyKind::ALL {
        let leader = Node::start("leader", Does::Answer).await;
        let proxy = Proxy::start(kind, &main_of(vec![through_hop("leader", leader.at)], None)).await;
        let reply = call(proxy.port, "/v3").await;
        assert_eq!((reply.answered_by().as_str(), reply.header("X-RPC-Endpoint")), ("leader", Some("leader")));
    }
}

#[tokio::test]
async fn hung_nodes_are_given_up_within_the_total() {
    for kind in ProxyKind::ALL {
        let hung = [Node::start("a", Does::Hang).await, Node::start("b", Does::Hang).await];
        let leader = Node::start("leader", Does::Hang).await;
        let members = vec![plain("a", hung[0].at), through_hop("b", hung[1].at)];
        let settings = Settings { timeouts: BRIEF, ..Settings::default() };
        let rosters = main_of(members, Some(through_hop("leader", leader.at)));
        let proxy = Proxy::start_with(kind, &rosters, &settings).await;
        let start = Instant::now();
        call(proxy.port, "/v3").await.expect_error(504, -32054, "UPSTREAM_TIMEOUT");
        // Three tries of 1.5 s; the rest of the total is for a machine that is slow.
        assert!(start.elapsed() < Duration::from_secs(30), "{kind}: {:?}", start.elapsed());
        let (first, second) = (hung[0].count(), hung[1].count());
        if kind == ProxyKind::Nginx {
            assert_eq!((first, second, leader.count()), (1, 1, 1));
        } else {
            assert!(first + second == 3 && first > 0 && second > 0, "{first} and {second}");
            assert_eq!(leader.count(), 0);
        }
    }
}

#[tokio::test]
async fn an_answer_is_an_answer_also_when_it_is_an_error() {
    const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted"}}"#;
    for kind in ProxyKind::ALL {
        let own = Node::start("own", Does::Answer).await;
        let leader = Node::start("leader", Does::Answer).await;
        let proxy = Proxy::start(kind, &main_of(vec![plain("own", own.at)], Some(plain("leader", leader.at)))).await;
        for status in [200, 400, 500] {
            own.now(Does::Say(status, ERROR));
            let reply = call(proxy.port, "/v3").await;
            assert_eq!((reply.status, reply.text().as_str()), (status, ERROR), "{kind}");
            assert_eq!(reply.header("X-RPC-Endpoint"), Some("own"));
            reply.expect_usual_headers();
        }
        own.now(Does::Say(413, "mine is smaller"));
        call(proxy.port, "/v3").await.expect_error(413, -32600, "REQUEST_TOO_LARGE");
        own.now(Does::Say(415, "what is that"));
        call(proxy.port, "/v3").await.expect_error(415, -32600, "INVALID_REQUEST");
        assert_eq!(leader.count(), 0);
    }
}

#[tokio::test]
async fn weights_share_out_the_traffic() {
    for kind in ProxyKind::ALL {
        let all_are_there = Arc::new(Barrier::new(40));
        let waits = || Does::Wait(Arc::clone(&all_are_there));
        let nodes = [Node::start("a", waits()).await, Node::start("b", waits()).await];
        let mut members = vec![plain("a", nodes[0].at), plain("b", nodes[1].at)];
        members[0].weight = 3;
        let proxy = Proxy::start(kind, &main_of(members, None)).await;
        // One after the other leaves both idle, which makes their turns equal for HAProxy; so all at once.
        let calls = (0..40).map(|_| call(proxy.port, "/v3"));
        for reply in futures_util::future::join_all(calls).await {
            reply.answered_by();
        }
        let [a, b] = nodes.each_ref().map(Node::count);
        assert!((25..=35).contains(&a) && a + b == 40, "{kind}: {a} to {b} at weights 3 to 1");
    }
}
