//! How fast keys ask, counted in one Redis or Valkey for all gates, if the configuration names one.
//!
//! A request waits [`PATIENCE`] at most. If it has no answer then, or the server is away, the gate counts by itself, as it
//! does without such a server. Once a call fails or none comes in time, nobody asks until the server has answered again,
//! which is tried beside the way of requests.
//!
//! For busy keys tokens are taken in advance, so that most of their requests need not ask (see [`Advances`]).
//!
//! A take whose answer did not come in time may have been done or not. The request was then counted by the gate itself
//! too, so it is counted twice at most, and never not at all.

mod advances;
mod asking;
mod script;
mod turn;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nodeweir_domain::config::RedisUrl;
use nodeweir_domain::fleet::node::{SecretName, resolve};
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::rate::advance::Errand;
use nodeweir_domain::gate::rate::{Bucket, Quota};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock::{Clock, Now};
use crate::metrics::Metrics;
use advances::Advances;
use asking::{Asked, Asking, Known};
use script::Wish;

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
    advances: Arc<Advances>,
    clock: Clock,
}

impl Shared {
    /// Begins to ask the server, and waits until it has answered once or failed to, or for a moment. `value` knows
    /// secrets. Errs if the password has no value, or none that can be used.
    pub(crate) async fn start(
        url: &RedisUrl,
        patience: Duration,
        value: impl Fn(&SecretName) -> Option<String>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self> {
        let password = url.password.as_ref().map(|name| resolve(&format!("${{{name}}}"), value));
        let password = password.transpose().context("`gate.limits.store` cannot be used")?;
        let (queue, asked) = mpsc::unbounded_channel();
        let is_away = Arc::new(AtomicBool::new(true));
        let (tried, was_tried) = oneshot::channel();
        let advances = Arc::new(Advances::default());
        let known = Known { is_away: Arc::clone(&is_away), advances: Arc::clone(&advances), clock };
        let asking = Asking::new(url, password.as_deref(), patience, metrics, known)?;
        tokio::spawn(asking.run(asked, tried));
        // Whoever starts again while the server is there is not to begin with a full bucket of its own.
        let _ = timeout(asking::CONNECT, was_tried).await;
        Ok(Self { patience, queue, is_away, advances, clock })
    }

    /// A request's turn, at one of `live` gates.
    pub(crate) fn turn(&self, key: KeyId, quota: Quota, calls: u32, live: NonZeroU32) -> Turn<'_> {
        Turn::new(self, key, quota, calls, live)
    }

    /// What a key's bucket holds; nothing if the server is away or does not answer in time.
    pub(crate) async fn look(&self, key: KeyId, quota: Quota, patience: Duration) -> Option<(Bucket, Now)> {
        let now = self.now()?;
        if let Some(bucket) = self.advances.look(key, quota, now.nanos()) {
            return Some((bucket, now));
        }
        self.ask(Wish { key, quota, tokens: 0, errand: Errand::default() }, patience).await
    }

    /// Takes `n` tokens of a key's bucket if they may be taken. What the bucket held before, and when it is to be looked
    /// at: that says the same as the server did. Nothing if the server is away or does not answer in time.
    async fn take(
        &self,
        key: KeyId,
        quota: Quota,
        n: u32,
        live: NonZeroU32,
        patience: Duration,
    ) -> Option<(Bucket, Now)> {
        let now = self.now()?;
        match self.advances.take(key, quota, n, live, now.nanos()) {
            Ok(bucket) => Some((bucket, now)),
            Err(errand) => {
                if errand.rest > 0 {
                    self.give_back(key, quota, errand.rest);
                }
                self.ask(Wish { key, quota, tokens: n.into(), errand }, patience).await
            }
        }
    }

    async fn ask(&self, wish: Wish, patience: Duration) -> Option<(Bucket, Now)> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Asked { wish, reply: Some(reply) }).ok()?;
        let seen = timeout(patience, answer).await.ok()?.ok()?;
        let now = self.clock.now();
        Some((seen.bucket(wish.quota, now.nanos()), now))
    }

    /// Nothing while the server is away.
    fn now(&self) -> Option<Now> {
        (!self.is_away.load(Ordering::Relaxed)).then(|| self.clock.now())
    }

    /// Gives back what a request took and did not use. Nobody waits for it; while the server is away it is lost.
    fn give_back(&self, key: KeyId, quota: Quota, tokens: u32) {
        let _ = self.queue.send(Asked { wish: Wish::back(key, quota, tokens), reply: None });
    }
}
