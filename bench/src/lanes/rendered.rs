//! A proxy as Nodeweir renders and runs it, but with one worker.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeweir_control::proxy::{Program, Settings, Supervisor};
use nodeweir_domain::config::{Config, ProxyKind};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// A supervised proxy. It ends, with all that belongs to it, when this goes out of scope.
pub(crate) struct Rendered {
    supervisor: RefCell<Supervisor>,
    runtime: Arc<Runtime>,
    /// Of its revision, with one worker.
    text: String,
    pub(crate) port: u16,
}

impl Rendered {
    /// Runs `body`, of a revision for `config`, in `folder`.
    pub(crate) fn start(
        runtime: &Arc<Runtime>,
        program: &Program,
        folder: &Path,
        config: &Config,
        body: &str,
    ) -> anyhow::Result<Self> {
        // What it prints is told with the error when it does not run.
        let (lines, _) = mpsc::channel(1);
        let settings = Settings::from(&config.proxy);
        let supervisor = Supervisor::new(program.clone(), folder, settings, |_| None, lines)?;
        let text = with_one_worker(config, body)?;
        let port = config.proxy.listen.port();
        let proxy = Self { supervisor: RefCell::new(supervisor), runtime: Arc::clone(runtime), text, port };
        proxy.apply("r-0")?;
        Ok(proxy)
    }

    /// Has it run the same as a revision of this name, and says how long it took until only that runs: checked by the
    /// proxy, loaded, and confirmed by the proxy itself.
    pub(crate) fn apply(&self, name: &str) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.runtime.block_on(self.supervisor.borrow_mut().apply(name, &self.text))?;
        Ok(begun.elapsed())
    }

    /// What `up` does each second: a long log of usage is put away.
    pub(crate) fn upkeep(&self) -> anyhow::Result<()> {
        // Signals of a child are handled by the runtime.
        let _inside = self.runtime.enter();
        Ok(self.supervisor.borrow_mut().upkeep()?)
    }

    /// Its master's process.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.supervisor.borrow().pid().ok_or_else(|| anyhow::anyhow!("the proxy does not run"))
    }
}

impl Drop for Rendered {
    fn drop(&mut self) {
        let mut supervisor = self.supervisor.borrow_mut();
        let _ = self.runtime.block_on(supervisor.stop_now());
        let _ = supervisor.discard_used();
    }
}

/// One worker on either proxy: what one core gives, on any machine. The threads of HAProxy that accept nothing have nothing
/// to do but checks.
fn with_one_worker(config: &Config, body: &str) -> anyhow::Result<String> {
    let listen = config.proxy.listen;
    let (from, to) = match config.proxy.kind {
        ProxyKind::Nginx => ("worker_processes auto;".to_owned(), "worker_processes 1;".to_owned()),
        ProxyKind::Haproxy => (format!("bind {listen}\n"), format!("bind {listen} thread 1\n")),
    };
    let one = body.replacen(&from, &to, 1);
    anyhow::ensure!(one != body, "the template does not say {from:?} any more");
    Ok(one)
}
