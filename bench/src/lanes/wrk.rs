//! Load by `wrk`, as fast as it is answered.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) requests: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
}

/// Errs in words for people if `wrk` is not there.
pub(crate) fn find() -> anyhow::Result<()> {
    // Without an address it says how it is used, and fails.
    match Command::new("wrk").arg("-v").output() {
        Ok(_) => Ok(()),
        Err(error) => bail!("wrk cannot be run ({error}): install it (Debian and Ubuntu: apt-get install wrk)"),
    }
}

/// Posts `body` to one path after the other over so many connections. A request that fails fails the measurement.
pub(crate) fn run(
    folder: &Path,
    port: u16,
    paths: &[String],
    body: &str,
    connections: u32,
    time: Duration,
) -> anyhow::Result<Run> {
    let script = folder.join("post.lua");
    let quoted: Vec<_> = paths.iter().map(|path| format!("'{path}'")).collect();
    let paths = quoted.join(", ");
    // No body here has two brackets in a row that would end it. Requests are made before the first is sent.
    let text = format!(
        "wrk.method = 'POST'\nwrk.body = [==[{body}]==]\nwrk.headers['Content-Type'] = 'application/json'\n\
         local paths, requests, last = {{{paths}}}, {{}}, 0\n\
         function init(args)\n  for index, path in ipairs(paths) do requests[index] = wrk.format(nil, path) end\nend\n\
         function request()\n  last = last % #requests + 1\n  return requests[last]\nend\n\
         function done(summary, latency, requests)\n  local errors = summary.errors\n  io.write(string.format(\
         'RESULT %d %d %d %d %d %d\\n', summary.requests, summary.duration, latency:percentile(50), \
         latency:percentile(99), latency:percentile(99.9), \
         errors.connect + errors.read + errors.write + errors.status + errors.timeout))\nend\n"
    );
    std::fs::write(&script, text)?;
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{}s", time.as_secs()), "-s"]);
    let output = command.arg(&script).arg(format!("http://127.0.0.1:{port}")).output().context("running wrk")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let result = said.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers: Vec<u64> = result.unwrap_or_default().split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, micros, p50, p99, p999, errors] = numbers[..] else { bail!("wrk told no result:\n{said}") };
    anyhow::ensure!(errors == 0 && requests > 0, "{errors} of {requests} requests failed:\n{said}");
    let took = Duration::from_micros(micros);
    let [p50, p99, p999] = [p50, p99, p999].map(Duration::from_micros);
    Ok(Run { per_second: requests as f64 / took.as_secs_f64(), requests, p50, p99, p999 })
}
