//! A small TCP proxy in front of a node, which spoils what passes.
//!
//! It stands for what `tc netem` does to packets, which not every kernel has. To whoever speaks TCP a lost packet is not
//! a gap but a wait: the sender repeats it after 200 ms at the soonest (Linux's least retransmission timeout), and after
//! twice as long each time. So loss is played as such waits, see [`Manner::Loss`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::ground::Machine;
use crate::process::free_port;

/// Linux's least time before a packet is sent again.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// How it treats answers; questions pass as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As if it were not there.
    Plain,
    /// Each piece comes late, by the first time and up to the second more.
    Late(Duration, Duration),
    /// So many percent of packets are lost, and come when they are sent again.
    Loss(u64),
    /// Connections are accepted, and nothing is ever answered.
    Silent,
    /// So many percent of answers are not given, but the connection reset.
    Reset(u64),
    /// One byte at a time, with this pause after each.
    Drip(Duration),
    /// Half of the body of each answer, then the connection's end.
    Half,
    /// Half of the body of each answer, then nothing.
    HalfThenSilent,
}

/// The proxy, on a machine and in a thread of its own.
pub(crate) struct Between {
    pub(crate) url: String,
    manner: watch::Sender<Manner>,
    /// How often it spoilt something.
    spoilt: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Between {
    /// In front of `node`, which listens on `machine`.
    pub(crate) fn start(machine: &Machine, node: SocketAddr) -> Self {
        let (manner, seen) = watch::channel(Manner::Plain);
        let (stop, stopped) = oneshot::channel();
        let spoilt = Arc::<AtomicU64>::default();
        let (spoils, ip) = (Arc::clone(&spoilt), machine.ip);
        let (thread, port) = machine.inside(move || {
            let port = free_port();
            let listener = std::net::TcpListener::bind((ip, port)).unwrap();
            let serve = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, node, seen, spoils) => {}
                        _ = stopped => {}
                    }
                });
            };
            (std::thread::spawn(serve), port)
        });
        let url = format!("http://{ip}:{port}");
        Self { url, manner, spoilt, stop: Some(stop), thread: Some(thread) }
    }

    /// From now on, for connections that are open too.
    pub(crate) fn be(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How often it spoilt something so far.
    pub(crate) fn spoilt(&self) -> u64 {
        self.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    node: SocketAddr,
    manner: watch::Receiver<Manner>,
    spoilt: Arc<AtomicU64>,
) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let draws = Arc::<AtomicU64>::default();
    while let Ok((client, _)) = listener.accept().await {
        let way = Way { manner: manner.clone(), draws: Arc::clone(&draws), spoilt: Arc::clone(&spoilt) };
        tokio::spawn(async move {
            // A node that is gone, or a client that is: both hear of it by the end of their connection.
            let _ = way.pass(client, node).await;
        });
    }
}

/// One connection's.
struct Way {
    manner: watch::Receiver<Manner>,
    draws: Arc<AtomicU64>,
    spoilt: Arc<AtomicU64>,
}

impl Way {
    async fn pass(mut self, mut client: TcpStream, node: SocketAddr) -> io::Result<()> {
        client.set_nodelay(true)?;
        let Ok(mut node) = TcpStream::connect(node).await else { return client.set_zero_linger() };
        node.set_nodelay(true)?;
        let (mut questions, mut answers) = client.split();
        let (mut from_node, mut to_node) = node.split();
        tokio::select! {
            done = tokio::io::copy(&mut questions, &mut to_node) => done.map(drop),
            done = self.answer(&mut from_node, &mut answers) => done,
        }
    }

    /// Until the connection is to end.
    async fn answer(&mut self, node: &mut ReadHalf<'_>, client: &mut WriteHalf<'_>) -> io::Result<()> {
        let mut piece = vec![0; 16 * 1024];
        loop {
            let length = node.read(&mut piece).await?;
            if length == 0 {
                return client.shutdown().await;
            }
            let piece = &piece[..length];
            let manner = *self.manner.borrow();
            if manner != Manner::Plain {
                self.spoilt.fetch_add(1, Ordering::Relaxed);
            }
            match manner {
                Manner::Reset(percent) if self.draw(100) < percent => return client.as_ref().set_zero_linger(),
                Manner::Plain | Manner::Reset(_) => client.write_all(piece).await?,
                Manner::Late(least, more) => {
                    let more = self.draw(u64::try_from(more.as_millis()).unwrap() + 1);
                    tokio::time::sleep(least + Duration::from_millis(more)).await;
                    client.write_all(piece).await?;
                }
                Manner::Loss(percent) => {
                    let mut wait = RETRANSMISSION;
                    while self.draw(100) < percent {
                        tokio::time::sleep(wait).await;
                        wait *= 2;
                    }
                    client.write_all(piece).await?;
                }
                Manner::Drip(pause) => {
                    for byte in piece {
                        client.write_all(&[*byte]).await?;
                        tokio::time::sleep(pause).await;
                    }
                }
                Manner::Half => {
                    client.write_all(half(piece)).await?;
                    return client.shutdown().await;
                }
                Manner::HalfThenSilent => {
                    client.write_all(half(piece)).await?;
                    self.silence().await;
                    return Ok(());
                }
                Manner::Silent => {
                    self.silence().await;
                    return Ok(());
                }
            }
        }
    }

    /// What was to be said is lost; the connection ends when this manner does.
    async fn silence(&mut self) {
        let is_over = |manner: &Manner| !matches!(manner, Manner::Silent | Manner::HalfThenSilent);
        let _ = self.manner.wait_for(is_over).await;
    }

    /// A number below `bound`, the same ones in the same order each time (Steele and others: splitmix64, 2014).
    fn draw(&self, bound: u64) -> u64 {
        let count = self.draws.fetch_add(1, Ordering::Relaxed);
        let mut z = count.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// The head of an answer and half of its body.
fn half(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
    &answer[..usize::midpoint(head, answer.len())]
}
