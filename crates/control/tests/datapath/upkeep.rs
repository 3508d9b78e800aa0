//! What operators, load balancers and the supervisor see.

use nodeweir_domain::config::ProxyKind;

use crate::client::{CALL, call, over_socket, request, try_get};
use crate::nodes::{Does, Node};
use crate::rosters::{main_of, plain, through_hop};
use crate::support::{Proxy, REVISION_NAME, Settings, until};

#[tokio::test]
async fn ready_until_it_drains() {
    for kind in ProxyKind::ALL {
        let proxy = Proxy::start(kind, &main_of(vec![], None)).await;
        assert_eq!(try_get(proxy.port, "/readyz").await.unwrap().status, 200);
        match kind {
            ProxyKind::Nginx => std::fs::write(proxy.folder.path().join("draining"), "").unwrap(),
            ProxyKind::Haproxy => {
                let reply = over_socket(&proxy.folder.path().join("sock/admin.sock"), "POST", "/drain").await;
                assert_eq!(reply.status, 204);
            }
        }
        let reply = try_get(proxy.port, "/readyz").await.unwrap();
        assert_eq!((reply.status, reply.json()["status"].as_str()), (503, Some("draining")), "{kind}");
        assert_eq!(try_get(proxy.port, "/livez").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn it_says_which_revision_it_runs() {
    for kind in ProxyKind::ALL {
        let proxy = Proxy::start(kind, &main_of(vec![], None)).await;
        let socket = proxy.folder.path().join("sock/admin.sock");
        let reply = over_socket(&socket, "GET", "/revision").await;
        assert_eq!((reply.status, reply.text()), (200, format!("{REVISION_NAME}\n")), "{kind}");
    }
}

#[tokio::test]
async fn the_log_tells_what_happened_and_no_key() {
    for kind in ProxyKind::ALL {
        let (bad, good) = (Node::start("bad", Does::Say(503, "")).await, Node::start("good", Does::Answer).await);
        let members = vec![through_hop("bad", bad.at), plain("good", good.at)];
        let proxy = Proxy::start(kind, &main_of(members, None)).await;
        let mut ids = Vec::new();
        while bad.count() == 0 {
            let keys = ["X-API-Key: KEY-3", "Referer: http://x/KEY-4"];
            let reply = request(proxy.port, "POST", "/main/v3/KEY-1?k=KEY-2", &keys, CALL).await;
            ids.push(reply.header("X-Request-Id").unwrap().to_owned());
        }
        let id = ids.last().unwrap().clone();
        let other = request(proxy.port, "POST", "/main/vv/KEY-5", &[], CALL).await;
        ids.push(other.header("X-Request-Id").unwrap().to_owned());
        // Each worker has a buffer of its own, so the last line may come before others.
        for id in &ids {
            until("the request is logged", async || proxy.log().into_iter().find(|line| line.contains(id))).await;
        }
        let lines = proxy.log();
        let logged: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
        let ours: Vec<_> = logged.iter().filter(|line| line["request_id"] == id).collect();
        assert_eq!(ours.len(), 1, "{kind}: each request is logged once");
        let line = ours[0];
        assert_eq!(
            (&line["status"], &line["network"], &line["route"]),
            (&200.into(), &"main".into(), &"rpc".into()),
            "{line}"
        );
        assert_eq!((&line["node"], &line["client"]), (&"good".into(), &"127.0.0.1".into()), "{kind} {line}");
        match kind {
            ProxyKind::Nginx => assert_eq!(line["tries"], "503, 200", "{line}"),
            ProxyKind::Haproxy => assert_eq!(line["retries"], 1, "{line}"),
        }
        assert!(logged.iter().any(|line| line["status"] == 404));
        assert!(!lines.join("\n").contains("KEY"), "{kind}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("livez")));
        assert_eq!(lines.len(), good.count() + 1, "{kind}: nothing else is logged: {lines:#?}");
    }
}

#[tokio::test]
async fn the_log_can_be_off() {
    for kind in ProxyKind::ALL {
        let node = Node::start("node", Does::Answer).await;
        let settings = Settings { proxy: "  access_log: false\n", ..Settings::default() };
        let proxy = Proxy::start_with(kind, &main_of(vec![plain("node", node.at)], None), &settings).await;
        call(proxy.port, "/v3").await.answered_by();
        // The log is written with a delay, so that it is empty now would prove nothing.
        let text = std::fs::read_to_string(proxy.folder.path().join(kind.file_name())).unwrap();
        assert!(!text.contains("/dev/stdout") && !text.contains("log global"), "{kind}");
        assert!(!proxy.folder.path().join("logs").exists());
    }
}
