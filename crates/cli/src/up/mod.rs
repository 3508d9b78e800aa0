//! `nodeweir up`: everything on one machine, until stopped.

mod control;
mod screen;
mod service;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use nodeweir_control::limits::raise_open_files;
use nodeweir_control::prober::{HttpProber, environment};
use nodeweir_control::proxy::{Line, Program, Settings, Source, Supervisor};
use nodeweir_control::told::Told;
use nodeweir_domain::config::Config;
use nodeweir_domain::fleet::node::{NodeUrl, resolve};
use nodeweir_sidecar::{Condition, Job, Keeper};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::context::{Context, DEMO};
use crate::output::{Outcome, Output};
use control::Control;
use screen::Screen;
use service::{LocalService, Runner};

/// Lines of the proxy that wait to be shown; more are dropped and counted, so that the proxy never waits.
const LINES: usize = 4096;

/// Runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(context: Context, output: Output) -> Result<Outcome> {
    check_secrets(&context.config)?;
    let program = Program::find(context.config.proxy.kind)?;
    let _lock = claim(&context)?;
    raise_open_files();
    let screen = Arc::new(Screen::new(output));
    let (to, lines) = mpsc::channel(LINES);
    let shower = tokio::spawn(show_lines(lines, Arc::clone(&screen)));
    let proxy = program.to_string();
    let settings = Settings::from(&context.config.proxy);
    let secrets = environment();
    let supervisor = Supervisor::new(program, context.state.join("proxy"), settings, move |name| secrets(name), to)?;
    let prober = HttpProber::new(&context.config, environment()).context("cannot make an HTTP client")?;
    let object = context.published()?;

    let mut told = Told::listen()?;
    screen.open();
    info!(addresses = ?context.addresses(), proxy, state = %context.state.display(), "starting");
    let is_gated = context.config.gate.enabled;
    if !is_gated {
        let listen = context.config.proxy.listen;
        warn!(%listen, "the gate is switched off: everybody who reaches this address may call, without key or limit");
        tokio::spawn(end_gate(context.clone()));
    }
    let job = is_gated.then(|| gate_of(&context, &screen)).transpose()?;
    let Some(keeper) = Keeper::start(job, told.to_stop()).await? else { return Ok(Outcome::Fine) };
    let runner = Runner::Here(Box::new(LocalService::new(supervisor)));
    let control = Control { context, object, prober, runner, proxy, screen, gate: keeper.condition() };
    let ended = tokio::select! {
        ended = control.run() => ended,
        () = told.to_stop() => Ok(()),
    };
    info!("stopping; requests in flight are finished first, a second Ctrl-C ends them");
    let Runner::Here(service) = control.runner else { return ended.map(|()| Outcome::Fine) };
    let mut supervisor = service.into_supervisor();
    supervisor.stop_or_hurry(told.to_stop()).await;
    // After the proxy: the last requests are in its log.
    if keeper.stop().await
        && let Err(error) = supervisor.discard_used()
    {
        warn!(%error, "the log of what was used stays, although all of it was read");
    }
    drop(supervisor);
    // Its pipes are closed by now; what is left in the channel is shown.
    let _ = shower.await;
    ended.map(|()| Outcome::Fine)
}

/// `nodeweir up --no-proxy`: watches and publishes until SIGTERM or Ctrl-C.
pub(crate) async fn watch(context: Context, output: Output) -> Result<Outcome> {
    check_secrets(&context.config)?;
    let _lock = claim(&context)?;
    raise_open_files();
    let screen = Arc::new(Screen::new(output));
    let prober = HttpProber::new(&context.config, environment()).context("cannot make an HTTP client")?;
    let object = context.published()?;
    let mut told = Told::listen()?;
    screen.open();
    info!(state = %context.state.display(), "starting; a nodeweir-proxy beside this has to run what is published");
    let runner = Runner::Elsewhere(context.state.join("proxy"));
    // The gate is the other's matter too.
    let (_tell, gate) = watch::channel(Condition::default());
    let control = Control { context, object, prober, runner, proxy: "nodeweir-proxy".to_owned(), screen, gate };
    let ended = tokio::select! {
        ended = control.run() => ended,
        () = told.to_stop() => Ok(()),
    };
    ended.map(|()| Outcome::Fine)
}

/// Takes the state for this process.
fn claim(context: &Context) -> Result<File> {
    context.make_state()?;
    context.lock()?.with_context(|| {
        format!(
            "another `nodeweir up` runs on the state in {}; stop it first, or use another `state:` folder",
            context.state.display()
        )
    })
}

/// `nodeweir up --demo`: simulated nodes in this process, everything else as always.
pub(crate) async fn demo(output: Output) -> Result<Outcome> {
    let folder = Path::new(DEMO);
    let fleet = crate::demo::Fleet::start().await?;
    let context = fleet.prepare(folder).await?;
    let serving = tokio::spawn(fleet.serve());
    let outcome = run(context, output).await;
    serving.abort();
    outcome
}

/// This program as a gate.
fn gate_of(context: &Context, screen: &Arc<Screen>) -> Result<Job> {
    let (file, screen) = (std::path::absolute(&context.file)?, Arc::clone(screen));
    Ok(Job {
        words: vec!["gate".into(), "--config".into(), file.into()],
        config: context.config.clone(),
        state: context.state.clone(),
        show: Arc::new(move |line| screen.gate(line)),
    })
}

/// Ends a gate that an earlier `up` left behind which was killed; nobody asks it any more.
async fn end_gate(context: Context) {
    if nodeweir_sidecar::is_there(&context.state)
        && let Err(error) = nodeweir_sidecar::outlive(&context.state).await
    {
        warn!("an earlier gate goes on: {error:#}");
    }
}

/// Every listed secret must have a usable value: without one the proxy's file could not be completed.
fn check_secrets(config: &Config) -> Result<()> {
    let faults: Vec<String> = config
        .secrets
        .0
        .keys()
        .filter_map(|name| resolve(&format!("${{{name}}}"), |name| std::env::var(name.as_str()).ok()).err())
        .map(|error| error.to_string())
        .collect();
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

async fn show_lines(mut lines: mpsc::Receiver<Line>, screen: Arc<Screen>) {
    while let Some(line) = lines.recv().await {
        match line.source {
            // HAProxy's own notices come the way of the access log; who reads JSON lines must not meet them bare.
            Source::Output if line.text.starts_with('{') => screen.access(&line.text),
            Source::Output => info!(line = line.text, "the proxy says"),
            Source::Error | Source::Check => warn!(line = line.text, "the proxy says"),
            Source::Supervisor => warn!("{}", line.text),
        }
    }
}

/// A URL on this machine.
pub(crate) fn local_url(port: u16) -> Result<NodeUrl> {
    Ok(format!("http://127.0.0.1:{port}").parse()?)
}
