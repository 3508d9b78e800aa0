//! The connection to the server: what requests want goes there in few writes, and comes back to each of them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nodeweir_domain::config::RedisUrl;
use nodeweir_domain::fleet::node::Host;
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::rate::Quota;
use nodeweir_domain::gate::rate::advance::TERM;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, RedisConnectionInfo, RedisError,
    ServerErrorKind, Value,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::advances::Advances;
use super::script::{Seen, Take, Wish, read};
use crate::clock::Clock;
use crate::metrics::{LimitsOutcome, Metrics};

/// How long a connection may take to be made, handshakes included. No request waits for that.
pub(super) const CONNECT: Duration = Duration::from_secs(1);

/// Pauses before the server is tried again, the last one from then on.
const PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(500)];

/// How often a server that nobody asks is asked, so that one that went away is not found by a request.
const IDLE: Duration = Duration::from_secs(1);

/// A server is away when so many calls in a row were late, or when one has no answer for so many times a request's
/// patience. One that is late now and then is not: most often the gate itself had no time.
const LATE: u32 = 5;

/// Requests in one call. The server does nothing else meanwhile, and each takes it a few microseconds.
const MOST: usize = 32;

/// Calls on their way at a time. What comes meanwhile goes together in the next one, which costs both sides less; with
/// one only, a request would wait up to two round trips.
const FLYING: usize = 4;

/// What a request wants, and who waits for the answer; nobody does for what is given back.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wish: Wish,
    pub(super) reply: Option<oneshot::Sender<Seen>>,
}

/// Why the server is taken to be away.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("{0}")]
    Failed(RedisError),
    #[error("it answers what the script never does")]
    Odd,
}

/// Whether a call was answered while those who asked still waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InTime {
    Yes,
    No,
}

/// What requests look at before they ask.
pub(super) struct Known {
    pub(super) is_away: Arc<AtomicBool>,
    pub(super) advances: Arc<Advances>,
    pub(super) clock: Clock,
}

/// Whoever asks the server.
pub(super) struct Asking {
    client: Client,
    /// For people.
    place: String,
    take: Take,
    /// What is asked to see whether the server can do all that is needed, writing included: gives back to a key that
    /// nobody has.
    probe: Wish,
    patience: Duration,
    metrics: Arc<Metrics>,
    known: Known,
}

impl Asking {
    pub(super) fn new(
        url: &RedisUrl,
        password: Option<&str>,
        patience: Duration,
        metrics: Arc<Metrics>,
        known: Known,
    ) -> Result<Self> {
        let host = match &url.host {
            Host::V6(ip) => ip.to_string(),
            host => host.to_string(),
        };
        let port = url.port;
        let address = if url.is_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let mut who = RedisConnectionInfo::default().set_db(url.database.into()).set_skip_set_lib_name();
        if let Some(user) = &url.user {
            who = who.set_username(user);
        }
        if let Some(password) = password {
            who = who.set_password(password);
        }
        let info = address.into_connection_info().context("`gate.limits.store` cannot be used")?;
        let info = info.set_redis_settings(who).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).context("`gate.limits.store` cannot be used")?;
        let place = format!("{}:{port}", url.host);
        let nobody: KeyId = "000000000000".parse().map_err(anyhow::Error::msg)?;
        let probe = Wish::back(nobody, Quota::of(NonZeroU32::MIN), 1);
        metrics.limits_away.set(1);
        Ok(Self { client, place, take: Take::new(), probe, patience, metrics, known })
    }

    /// Asks until nobody is left who could want something. `tried` is told when the server was tried for the first time.
    pub(super) async fn run(self, mut queue: mpsc::UnboundedReceiver<Asked>, tried: oneshot::Sender<()>) {
        let mut tried = Some(tried);
        let mut why = None;
        while let Some(connection) = self.come_back(&mut queue, &mut tried, why.as_ref()).await {
            info!(at = self.place, "keys' rates are counted there");
            self.known.is_away.store(false, Ordering::Relaxed);
            self.metrics.limits_away.set(0);
            tried.take();
            let ended = self.work(&connection, &mut queue).await;
            self.known.is_away.store(true, Ordering::Relaxed);
            self.known.advances.clear();
            self.metrics.limits_away.set(1);
            match ended {
                Ok(()) => return,
                Err(failure) => why = Some(failure),
            }
        }
    }

    /// Tries until the server does what it is to do. Whoever asks meanwhile is told at once that it is away. Nothing if
    /// nobody is left who could.
    async fn come_back(
        &self,
        queue: &mut mpsc::UnboundedReceiver<Asked>,
        tried: &mut Option<oneshot::Sender<()>>,
        why: Option<&Failure>,
    ) -> Option<MultiplexedConnection> {
        let mut is_said = false;
        let mut say = |why: &dyn std::fmt::Display| {
            if !std::mem::replace(&mut is_said, true) {
                warn!(at = self.place, %why, "keys' rates cannot be counted there; this gate counts by itself until they can");
            }
        };
        if let Some(why) = why {
            say(why);
        }
        let trying = async {
            let mut pauses = PAUSES.into_iter();
            let mut pause = if why.is_none() { Duration::ZERO } else { PAUSES[0] };
            loop {
                sleep(pause).await;
                match self.connect().await {
                    Ok(connection) => return connection,
                    Err(failure) => say(&failure),
                }
                tried.take();
                pause = pauses.next().unwrap_or(PAUSES[PAUSES.len() - 1]);
            }
        };
        let turning_away = async { while queue.recv().await.is_some() {} };
        tokio::select! {
            connection = trying => Some(connection),
            () = turning_away => None,
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        // What is late is for whoever waits to say.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection =
            timeout(CONNECT, connecting).await.map_err(|_| Failure::Late(CONNECT))?.map_err(Failure::Failed)?;
        match self.call(connection.clone(), vec![Asked { wish: self.probe, reply: None }]).await? {
            InTime::Yes => Ok(connection),
            InTime::No => Err(Failure::Late(self.patience)),
        }
    }

    /// Hands on what is asked until a call fails. Nothing went wrong if nobody is left who could ask.
    async fn work(
        &self,
        connection: &MultiplexedConnection,
        queue: &mut mpsc::UnboundedReceiver<Asked>,
    ) -> Result<(), Failure> {
        let (mut idle, mut ending) = (crate::calm(IDLE), crate::calm(TERM / 2));
        let mut flying = FuturesUnordered::new();
        let (mut batch, mut late) = (Vec::new(), 0);
        loop {
            tokio::select! {
                Some(ended) = flying.next(), if !flying.is_empty() => {
                    late = if ended? == InTime::Yes { 0 } else { late + 1 };
                    if late == LATE {
                        return Err(Failure::Late(self.patience));
                    }
                }
                count = queue.recv_many(&mut batch, MOST), if flying.len() < FLYING => {
                    if count == 0 {
                        return Ok(());
                    }
                    flying.push(self.call(connection.clone(), std::mem::take(&mut batch)));
                }
                _ = ending.tick(), if flying.len() < FLYING => {
                    let now = self.known.clock.now().nanos();
                    let mut rest = self.known.advances.end(now).into_iter().peekable();
                    while rest.peek().is_some() {
                        let back = |(key, quota, left)| Asked { wish: Wish::back(key, quota, left), reply: None };
                        flying.push(self.call(connection.clone(), rest.by_ref().take(MOST).map(back).collect()));
                    }
                }
                _ = idle.tick() => if flying.is_empty() {
                    flying.push(self.call(connection.clone(), vec![Asked { wish: self.probe, reply: None }]));
                },
            }
        }
    }

    /// One call for several requests. Those that have no answer when it fails are told that there is none.
    async fn call(&self, mut connection: MultiplexedConnection, batch: Vec<Asked>) -> Result<InTime, Failure> {
        let begun = Instant::now();
        let wishes = || batch.iter().map(|asked| &asked.wish);
        let asking = async {
            match self.take.by_digest(wishes()).query_async::<Value>(&mut connection).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.take.whole(wishes()).query_async(&mut connection).await
                }
                answer => answer,
            }
        };
        let most = LATE * self.patience;
        let answer = timeout(most, asking).await.map_err(|_| Failure::Late(most));
        let answer = answer.and_then(|answer| answer.map_err(Failure::Failed));
        let in_time = if begun.elapsed() <= self.patience { InTime::Yes } else { InTime::No };
        self.metrics.note_limits(match (&answer, in_time) {
            (Ok(_), InTime::Yes) => LimitsOutcome::ok,
            (Ok(_), InTime::No) | (Err(Failure::Late(_)), _) => LimitsOutcome::late,
            (Err(_), _) => LimitsOutcome::failed,
        });
        let answer = answer?;
        let seen: Vec<_> = read(&answer, batch.len()).ok_or(Failure::Odd)?.collect();
        let answers = wishes().copied().zip(seen.iter().copied());
        // Whoever comes from now on need not ask.
        self.known.advances.see(answers, self.known.clock.now().nanos());
        for (asked, seen) in batch.into_iter().zip(seen) {
            // Whoever waited may have given up.
            let _ = asked.reply.map(|reply| reply.send(seen));
        }
        Ok(in_time)
    }
}
