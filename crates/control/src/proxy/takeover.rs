//! Before a proxy starts: whoever is left of earlier ones makes room, gracefully. After the last one stops: nobody
//! is left.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::error::StartError;
use super::folder::Folder;
use super::lines::{Sink, Source};
use super::process::{Process, heads, ours};

/// How often a condition is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked at, at least: half a second's worth, which is less than any time that is given.
const LEAST_LOOKS: u32 = 25;
/// For closing listening sockets once told to. Both proxies do it at once unless the machine is very busy.
const TO_LET_GO: Duration = Duration::from_secs(5);
/// For a port that nobody of ours holds: somebody else may just be leaving.
const TO_BECOME_FREE: Duration = Duration::from_secs(1);
/// Between an order to end and the next, harder one.
pub(super) const TO_OBEY: Duration = Duration::from_secs(2);

/// Ends what is left of earlier proxies of this folder, waits until `listen` and the sockets are free, and removes
/// the sockets. Requests in flight in the earlier proxy may go on for `shutdown`; this does not wait for them.
pub(super) async fn clear_the_way(
    folder: &Folder,
    listen: SocketAddr,
    shutdown: Duration,
    sink: &Sink,
) -> Result<(), StartError> {
    let left = ours(&folder.path, folder.read_record().as_ref());
    for head in heads(&left) {
        let what = format!("process {} of an earlier {} still serves here: it is replaced", head.pid, head.kind);
        sink.line(Source::Supervisor, what.as_bytes());
        head.quit();
    }
    let free = || is_free(listen) && !folder.is_listened_to();
    let mut is_clear = within(if left.is_empty() { TO_BECOME_FREE } else { TO_LET_GO }, free).await;
    if !is_clear && !left.is_empty() {
        end(&left).await;
        is_clear = within(TO_BECOME_FREE, free).await;
    }
    if !is_clear && !is_free(listen) {
        return Err(StartError::Taken(listen));
    }
    folder.remove_sockets()?;
    if left.iter().any(Process::is_alive) {
        tokio::spawn(async move {
            if !within(shutdown + TO_OBEY, || !left.iter().any(Process::is_alive)).await {
                end(&left).await;
            }
        });
    }
    Ok(())
}

/// Ends every process of this folder, now.
pub(super) async fn sweep(folder: &Folder) {
    let left = ours(&folder.path, folder.read_record().as_ref());
    end(&left).await;
}

/// Orders the heads to end, and kills whoever is still there a moment later.
async fn end(left: &[Process]) {
    if left.is_empty() {
        return;
    }
    heads(left).for_each(|head| head.signal(Signal::TERM));
    let gone = || !left.iter().any(Process::is_alive);
    if !within(TO_OBEY, gone).await {
        for one in left {
            one.signal(Signal::KILL);
        }
        within(TO_OBEY, gone).await;
    }
}

/// Whether nobody listens on `address`. What forbids us to look, as a privileged port may, does not count: the proxy
/// will say it better.
fn is_free(address: SocketAddr) -> bool {
    !TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Whether `condition` came true in time. While the machine stood still nobody could see to it, so the time alone does
/// not say that it will not.
async fn within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    let mut looks = 0;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end && looks >= LEAST_LOOKS {
            return false;
        }
        looks += 1;
        sleep(LOOK).await;
    }
}
