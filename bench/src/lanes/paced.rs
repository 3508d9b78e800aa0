//! Load at a fixed rate, whatever the answers: requests are due at their times, and an answer's latency counts from
//! when its request was due. So a stall is seen by all requests that fell into it, and not only by the one that met it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Latencies of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
}

/// Requests at a fixed rate, over kept connections of which each has a thread.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) port: u16,
    pub(crate) connections: u32,
    pub(crate) per_second: f64,
    pub(crate) time: Duration,
    /// What is sent next.
    pub(crate) request: &'a (dyn Fn() -> anyhow::Result<Vec<u8>> + Sync),
    /// What may be answered; anything else fails the measurement.
    pub(crate) statuses: &'a [u16],
}

/// A request as it is sent. `headers` end their lines.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    )
    .into_bytes()
}

impl Load<'_> {
    pub(crate) fn run(&self) -> anyhow::Result<Latency> {
        // Everybody's first request is due when all are connected.
        let start = Instant::now() + Duration::from_millis(200);
        let between = Duration::from_secs_f64(f64::from(self.connections) / self.per_second);
        let all = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections)
                .map(|index| scope.spawn(move || self.one(start + between * index / self.connections, between)))
                .collect();
            let mut all = Vec::new();
            for thread in threads {
                match thread.join() {
                    Ok(times) => all.extend(times?),
                    Err(_) => anyhow::bail!("a client ended abnormally"),
                }
            }
            anyhow::Ok(all)
        });
        let mut all = all?;
        all.sort_unstable();
        let at = |part: usize| all.get(all.len() * part / 1000).copied().unwrap_or_default();
        Ok(Latency { p50: at(500), p99: at(990), p999: at(999) })
    }

    fn one(&self, first: Instant, between: Duration) -> anyhow::Result<Vec<Duration>> {
        // Otherwise the system may wake us 50 us late.
        rustix::thread::set_current_timer_slack(Some(std::num::NonZeroU64::MIN))?;
        let mut stream = connect(self.port)?;
        let (mut times, mut buffer) = (Vec::new(), Vec::new());
        let mut due = first;
        while due < first + self.time {
            let request = (self.request)()?;
            let now = Instant::now();
            if now < due {
                thread::sleep(due - now);
            }
            let is_kept = exchange(&mut stream, &request, &mut buffer, self.statuses)?;
            times.push(due.elapsed());
            if !is_kept {
                stream = connect(self.port)?;
            }
            due += between;
        }
        Ok(times)
    }
}

/// A connection to a proxy on this machine that sends at once.
pub(crate) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request and reads its answer, which must have an expected status and say its length. False if the connection
/// ends with it.
pub(crate) fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
    statuses: &[u16],
) -> anyhow::Result<bool> {
    stream.write_all(request)?;
    buffer.clear();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk)?;
        anyhow::ensure!(count > 0, "the proxy closed the connection");
        buffer.extend_from_slice(&chunk[..count]);
        let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        anyhow::ensure!(status.is_some_and(|status| statuses.contains(&status)), "{statuses:?} is expected:\n{text}");
        let header = |wanted: &str| {
            let headers = text.lines().filter_map(|line| line.split_once(':'));
            headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
        };
        let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
        let length = length.ok_or_else(|| anyhow::anyhow!("the answer does not say its length:\n{text}"))?;
        if buffer.len() >= head + 4 + length {
            return Ok(!header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")));
        }
    }
}
