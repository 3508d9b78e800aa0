//! Very many keys: memory of the gate's process, and how long and how often keys are looked up.

use std::path::Path;
use std::time::{Duration, Instant};

use nodeweir_store::sqlite::SqliteStore;
use nodeweir_store::{GateStore as _, Written};
use rusqlite::{Connection, params};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::child::{CONFIG, Gate, Kind, SOCKET, STORE, Threads};
use super::setting::{self, NETWORK, Ports, calm, key, project, secret, us};
use crate::lanes::free_port;
use crate::machine::{counted, resident_mib};

const KEYS: usize = 1_000_000;
const HOT: usize = 100_000;
const PROJECTS: usize = 1_000;
/// The hot ones are spread over all projects.
const APART: usize = KEYS / HOT;
const PER_PROJECT: usize = KEYS / PROJECTS;
/// Cold look-ups that are timed, one after the other.
const TIMED: usize = 20_000;
/// Connections, as nginx keeps some.
const CONNECTIONS: usize = 16;
/// Cold keys that all connections ask for at the same time.
const AT_ONCE: usize = 200;
/// How long the hot ones are asked for again and again: more than twice the 10 s for which an entry is good.
const AGAIN: Duration = Duration::from_secs(25);
const ALLOWED_MIB: f64 = 64.0;

/// Prints what was found.
pub(crate) fn measure() -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    println!("{KEYS} keys in the store, of {PROJECTS} projects, {HOT} of them hot ({})", calm());
    let folder = tempfile::tempdir()?;
    let ports = Ports { proxy: 1, admin: free_port()?, redis: None };
    std::fs::write(folder.path().join(CONFIG), setting::config(true, ports))?;
    for sub in ["sock", "usage"] {
        std::fs::create_dir(folder.path().join(sub))?;
    }
    let begun = Instant::now();
    let store = folder.path().join(STORE);
    fill(&store).await?;
    let mib = std::fs::metadata(&store)?.len() >> 20;
    println!("  {:<52} {:>9.1} s, {mib} MiB", "filling the store", begun.elapsed().as_secs_f64());

    let gate = Gate::start(Kind::Full, Threads::One, folder.path())?;
    let resident = |when: &str| -> anyhow::Result<f64> {
        let mib = resident_mib(gate.pid())?;
        println!("  {:<52} {mib:>9.1} MiB", format!("resident {when}"));
        Ok(mib)
    };
    resident("at the start")?;

    let socket = folder.path().join(SOCKET);
    let mut link = Link::open(&socket).await?;
    let mut times = Vec::new();
    for project in 0..PROJECTS {
        times.push(link.timed(project * PER_PROJECT).await?);
    }
    tell("first request of a project, its account is opened", times);
    let (first, rest): (Vec<usize>, Vec<usize>) = {
        let hot = (0..HOT).map(|index| index * APART).filter(|index| index % PER_PROJECT != 0);
        let mut hot: Vec<usize> = hot.collect();
        // In no order that the store would like.
        fastrand::Rng::with_seed(7).shuffle(&mut hot);
        let rest = hot.split_off(TIMED);
        (hot, rest)
    };
    let mut times = Vec::new();
    for index in first {
        times.push(link.timed(index).await?);
    }
    tell("first request of a key, cold", times);
    let begun = Instant::now();
    let count = rest.len();
    each(&socket, &rest).await?;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("  {:<52} {rate:>9.0} a second", format!("cold keys over {CONNECTIONS} connections"));
    let looked = look_ups(ports.admin).await?;
    println!("  {:<52} {looked:>9}", format!("look-ups for {HOT} keys"));
    anyhow::ensure!(looked == HOT as u64, "one look-up for each key is expected");
    let mut most = resident("with all hot keys held")?;

    for index in 0..AT_ONCE {
        let mut asking = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut link = Link::open(&socket).await?;
            asking.spawn(async move { link.timed(index * PER_PROJECT + 1).await });
        }
        while let Some(asked) = asking.join_next().await {
            asked??;
        }
    }
    let again = look_ups(ports.admin).await? - looked;
    println!("  {:<52} {again:>9}", format!("look-ups for {AT_ONCE} keys, {CONNECTIONS} at once for each"));

    let hot: Vec<usize> = (0..HOT).map(|index| index * APART).collect();
    let before = look_ups(ports.admin).await?;
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < AGAIN {
        each(&socket, &hot).await?;
        asked += hot.len();
        most = most.max(resident_mib(gate.pid())?);
    }
    let took = begun.elapsed().as_secs_f64();
    let again = (look_ups(ports.admin).await? - before) as f64 / HOT as f64;
    let rate = asked as f64 / took;
    println!("  {:<52} {rate:>9.0} a second", format!("hot keys over {CONNECTIONS} connections, for {took:.0} s"));
    println!("  {:<52} {again:>9.2} a key", format!("look-ups in these {took:.0} s; entries are good for 10"));
    most = most.max(resident("after that")?);
    let verdict = if most < ALLOWED_MIB { "kept" } else { "MISSED" };
    println!("  {:<52} {most:>9.1} MiB, allowed {ALLOWED_MIB}: {verdict}\n", "most that was resident");
    gate.stop()
}

/// Makes the store, its projects by its own ways; keys straight into its table, in one transaction, because each write of
/// a key waits for the disk.
async fn fill(path: &Path) -> anyhow::Result<()> {
    let store = SqliteStore::open(path)?;
    for index in 0..PROJECTS {
        anyhow::ensure!(store.put_project(None, &project(index)?).await? == Written::Done);
    }
    let mut raw = Connection::open(path)?;
    raw.pragma_update(None, "cache_size", -(512 << 10))?;
    let filling = raw.transaction()?;
    {
        let sql = "INSERT INTO keys (digest, project, name, created, active) VALUES (?1, ?2, ?3, ?4, 1)";
        let mut insert = filling.prepare(sql)?;
        for index in 0..KEYS {
            let key = key(&secret(index)?, index, &project(index / PER_PROJECT)?)?;
            insert.execute(params![key.digest.0, key.project.as_str(), key.name.as_str(), key.created.to_string()])?;
        }
    }
    filling.commit()?;
    // Written our way, it must read as if the store had written it.
    let last = key(&secret(KEYS - 1)?, KEYS - 1, &project(PROJECTS - 1)?)?;
    anyhow::ensure!(store.key(&last.digest).await? == Some(last), "the store does not read what was filled in");
    Ok(())
}

/// Asks for each key once, over several connections.
async fn each(socket: &Path, keys: &[usize]) -> anyhow::Result<()> {
    let mut asking = JoinSet::new();
    for part in keys.chunks(keys.len().div_ceil(CONNECTIONS)) {
        let part = part.to_vec();
        let mut link = Link::open(socket).await?;
        asking.spawn(async move {
            for index in part {
                link.timed(index).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked??;
    }
    Ok(())
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().map_or(f64::NAN, us);
    println!("  {what:<52} {:>9.0} us median, {:.0} us p99, {} times", at(50), at(99), times.len());
}

/// A connection as nginx has them.
struct Link {
    stream: UnixStream,
    body: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Link {
    async fn open(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        Ok(Self { stream, body: setting::single(), request: Vec::new(), answer: Vec::new() })
    }

    /// Asks with a key, which passes, and says how long that took.
    async fn timed(&mut self, index: usize) -> anyhow::Result<Duration> {
        use std::io::Write as _;
        let Self { stream, body, request, answer } = self;
        request.clear();
        write!(
            request,
            "POST /gate HTTP/1.1\r\nHost: gate\r\nX-Gate-Kind: rpc\r\nX-Gate-Network: {NETWORK}\r\nX-Gate-Path-Key: {}\r\n\
             X-Gate-Address: 192.0.2.7\r\nContent-Length: {}\r\n\r\n{body}",
            secret(index)?.reveal(),
            body.len()
        )?;
        answer.clear();
        let begun = Instant::now();
        stream.write_all(request).await?;
        while !answer.ends_with(b"\r\n\r\n") {
            anyhow::ensure!(stream.read_buf(answer).await? > 0, "the gate closed the connection");
        }
        let took = begun.elapsed();
        let said = String::from_utf8_lossy(answer);
        anyhow::ensure!(said.starts_with("HTTP/1.1 204 "), "everything is to pass:\n{said}");
        Ok(took)
    }
}

/// How often the gate has asked the store for a key.
async fn look_ups(admin: u16) -> anyhow::Result<u64> {
    counted(admin, "store_calls_total", "call=\"key\"").await
}
