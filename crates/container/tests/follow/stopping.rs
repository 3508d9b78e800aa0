//! Stops at a bad moment, or with much that is open.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::client::{Load, request};
use crate::nodes::Anvil;
use crate::process::{DEADLINE, until};
use crate::rig::{Container, Rig};
use crate::websocket::WebSocket;

/// How far a new revision has come. Once it has, it has for good.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Its file is written, and nginx checks it.
    Written,
    /// nginx is told to take it.
    Live,
    /// A worker has it.
    Answered,
    /// No worker has another one any more, and all is written down.
    Told,
}

impl Moment {
    const ALL: [Self; 4] = [Self::Written, Self::Live, Self::Answered, Self::Told];

    async fn has_come(self, container: &Container, name: &str) -> bool {
        let holds =
            |file: &str| std::fs::read_to_string(container.proxy.0.join(file)).is_ok_and(|text| text.contains(name));
        match self {
            Self::Written => holds("nginx.conf.new") || holds("nginx.conf"),
            Self::Live => holds("nginx.conf"),
            Self::Answered => container.running().await.as_deref() == Some(name),
            Self::Told => container.said().contains(&format!(r#""message":"runs","revision":"{name}""#)),
        }
    }

    /// Looks much more often than other conditions need: what follows shall hit the moment.
    async fn comes(self, container: &Container, name: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.has_come(container, name).await {
            assert!(Instant::now() < end, "{self:?} does not come for {name}: {}", container.said());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A request of which a worker has read the head and waits for the body.
struct Begun(BufReader<TcpStream>);

impl Begun {
    async fn send(port: u16) -> Self {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        let head = format!(
            "POST /ethereum/v3/key HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            request("eth_chainId").len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 100 "), "{line}");
        stream.read_line(&mut line).await.unwrap();
        Self(stream)
    }

    /// Sends the body, and returns the answer.
    async fn finish(mut self) -> io::Result<String> {
        self.0.write_all(request("eth_chainId").as_bytes()).await?;
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

#[tokio::test]
async fn a_stop_amid_a_reload_loses_nothing_that_was_accepted() {
    let (leader, one, other) = tokio::join!(Anvil::start(), Anvil::start(), Anvil::start());
    let mut rig = Rig::new(leader.port).await;
    rig.look = "100ms";
    rig.timeouts = "connect: 500ms, attempt: 5s, total: 20s, keepalive_min: 20s, shutdown: 60s, drain: 1s";
    let drain = Duration::from_secs(1);
    let (mut seq, mut amid) = (0, 0);
    for moment in Moment::ALL.repeat(3) {
        seq += 2;
        rig.publish(&rig.revision(seq, "one", one.port).compose()).await;
        let mut container = rig.start();
        container.serves("one").await;
        let load = Load::start(rig.port, 4);
        load.until_answered_by(&["one"]).await;
        let begun = Begun::send(rig.port).await;
        let next = rig.revision(seq + 1, "other", other.port);
        rig.publish(&next.compose()).await;
        moment.comes(&container, &next.name()).await;
        container.child.signal(Signal::TERM);
        let told = Instant::now();
        until("nobody listens any more", async || container.ready().await.is_none().then_some(())).await;
        assert!(container.child.is_alive(), "{moment:?}: a request is yet to be finished");
        let answer = begun.finish().await.unwrap();
        assert!(answer.contains("HTTP/1.1 200 ") && answer.contains("0x539"), "{moment:?}: {answer}");
        assert_eq!(container.ends().await, 0, "{moment:?}: {}", container.said());
        assert_eq!(container.proxy.all(), [0; 0], "{moment:?}");
        amid += u32::from(!Moment::Told.has_come(&container, &next.name()).await);
        // The drain began after the signal, so nobody may be refused until then; and whoever was accepted is answered.
        let lost: Vec<_> = load
            .end()
            .await
            .into_iter()
            .filter(|one| {
                one.outcome.as_ref().is_err_and(|why| !why.starts_with("connecting: ") || one.at < told + drain)
            })
            .collect();
        assert!(lost.is_empty(), "{moment:?}: {lost:?}");
    }
    println!("{amid} of {} reloads were not over", seq / 2);
}

/// Fewer open files than a worker needs, unless more are asked for: each WebSocket takes two.
const OPEN_FILES: [&str; 3] = ["/bin/sh", "-c", "ulimit -Sn 256 && exec \"$0\""];

#[tokio::test]
async fn five_hundred_open_websockets_are_ended_in_time() {
    let leader = Anvil::start().await;
    let mut rig = Rig::new(leader.port).await;
    // Long enough to talk to each of them meanwhile, on a machine that has much else to do.
    rig.timeouts = "connect: 3s, attempt: 10s, total: 60s, keepalive_min: 1s, shutdown: 3s, drain: 10s";
    let mut container = rig.start_by(&OPEN_FILES);
    container.serves("leader").await;
    let mut open = Vec::new();
    for _ in 0..500 {
        open.push(WebSocket::open(rig.port).await.unwrap());
    }
    for websocket in &mut open {
        assert_eq!(websocket.call("eth_blockNumber").await.unwrap(), "0x3e8");
    }
    container.child.signal(Signal::TERM);
    let told = Instant::now();
    until("it says that it drains", async || (container.ready().await == Some(503)).then_some(())).await;
    for websocket in &mut open {
        assert_eq!(websocket.call("eth_chainId").await.unwrap(), "0x539");
    }
    println!("500 answers {:?} into the drain", told.elapsed());
    for websocket in open {
        websocket.ended().await;
    }
    println!("the last was ended after {:?}", told.elapsed());
    assert_eq!(container.ends().await, 0, "{}", container.said());
    println!("and the container after {:?}", told.elapsed());
    // Drain, shutdown, and half a minute in which the machine may stand still; left alone they would go on for minutes.
    assert!(told.elapsed() < Duration::from_secs(10 + 3 + 30), "{:?}", told.elapsed());
    assert_eq!(container.proxy.all(), [0; 0]);
}
