//! How fast keys ask, counted in one Redis or Valkey for all gates, if the configuration names one.
//!
//! A request waits [`PATIENCE`] at most. If it has no answer then, or the server is away, the gate counts by itself, as it
//! does without such a server. Once a call fails or none comes in time, nobody asks until the server has answered again,
//! which is tried beside the way of requests.
//!
//! A take whose answer did not come in time may have been done or not. The request was then counted by the gate itself
//! too, so it is counted twice at most, and never not at all.

mod asking;
mod script;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nodeweir_domain::config::RedisUrl;
use nodeweir_domain::fleet::node::{SecretName, resolve};
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::rate::Quota;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::metrics::Metrics;
use asking::{Asked, Asking};
use script::Wish;

pub(crate) use script::Seen;
pub(crate) use turn::Turn;

/// How long a request waits for the server in all. Within one zone it answers in less than one millisecond.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// The server, as requests reach it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// How long a request waits in all.
    patience: Duration,
    queue: mpsc::UnboundedSender<Asked>,
    is_away: Arc<AtomicBool>,
}

impl Shared {
    /// Begins to ask the server, and waits until it has answered once or failed to, or for a moment. `value` knows
    /// secrets. Errs if the password has no value, or none that can be used.
    pub(crate) async fn start(
        url: &RedisUrl,
        patience: Duration,
        value: impl Fn(&SecretName) -> Option<String>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let password = url.password.as_ref().map(|name| resolve(&format!("${{{name}}}"), value));
        let password = password.transpose().context("`gate.limits.store` cannot be used")?;
        let (queue, asked) = mpsc::unbounded_channel();
        let is_away = Arc::new(AtomicBool::new(true));
        let (tried, was_tried) = oneshot::channel();
        let asking = Asking::new(url, password.as_deref(), patience, metrics, Arc::clone(&is_away))?;
        tokio::spawn(asking.run(asked, tried));
        // Whoever starts again while the server is there is not to begin with a full bucket of its own.
        let _ = timeout(asking::CONNECT, was_tried).await;
        Ok(Self { patience, queue, is_away })
    }

    /// A request's turn.
    pub(crate) fn turn(&self, key: KeyId, quota: Quota, calls: u32) -> Turn<'_> {
        Turn::new(self, key, quota, calls)
    }

    /// Takes `tokens` of a key's bucket if they may be taken; none only looks. Says what the bucket held before, or
    /// nothing if the server is away or does not answer in time.
    pub(crate) async fn ask(&self, key: KeyId, quota: Quota, tokens: u32, patience: Duration) -> Option<Seen> {
        if self.is_away.load(Ordering::Relaxed) {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.queue.send(Asked { wish: Wish { key, quota, tokens: tokens.into() }, reply: Some(reply) }).ok()?;
        timeout(patience, answer).await.ok()?.ok()
    }

    /// Gives back what a request took and did not use. Nobody waits for it; while the server is away it is lost.
    fn give_back(&self, key: KeyId, quota: Quota, tokens: u32) {
        let wish = Wish { key, quota, tokens: -i64::from(tokens) };
        let _ = self.queue.send(Asked { wish, reply: None });
    }
}
