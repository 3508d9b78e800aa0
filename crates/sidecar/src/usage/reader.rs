//! The thread that reads the log.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nodeweir_domain::gate::usage::LogCursor;
use rustix::process::setpriority_process;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::files::{Files, Piece};
use super::{Taken, take};

/// A renamed file is deleted when it has not grown for so long: the last worker has opened the new one by then.
const QUIET: Duration = Duration::from_secs(5);

/// Ten thousand lines are 15 ms at once. Where every core is busy, requests go before: a tenth of a core is left then,
/// which is enough for all that such a machine answers.
const NICE: i32 = 10;

/// What to read: what is left of the last piece, or what comes after the cursor.
type Wanted = (Option<LogCursor>, Option<Piece>);

/// A thread of a lower priority than whatever answers requests. It ends when this is dropped.
pub(super) struct Reader(mpsc::UnboundedSender<(Wanted, oneshot::Sender<io::Result<Option<Taken>>>)>);

impl Reader {
    /// Errs if the system gives no thread.
    pub(super) fn start(folder: PathBuf) -> io::Result<Self> {
        let (asks, mut asked) = mpsc::unbounded_channel::<(Wanted, oneshot::Sender<_>)>();
        let read = move || {
            // On Linux, this is said of a thread.
            if let Err(error) = setpriority_process(None, NICE) {
                warn!(%error, "usage is counted at the priority of requests");
            }
            let files = Files::new(folder);
            while let Some(((seen, rest), answer)) = asked.blocking_recv() {
                let piece = if rest.is_some() { Ok(rest) } else { files.read_after(seen, QUIET) };
                // Whoever asked may have stopped.
                let _ = answer.send(piece.map(|piece| piece.map(take)));
            }
        };
        thread::Builder::new().name("usage".to_owned()).spawn(read)?;
        Ok(Self(asks))
    }

    /// As many of the next lines as one write takes; `None` if there are none.
    pub(super) async fn take(&self, seen: Option<LogCursor>, rest: Option<Piece>) -> io::Result<Option<Taken>> {
        let (answer, answered) = oneshot::channel();
        let ended = || io::Error::other("the thread that reads it has ended");
        self.0.send(((seen, rest), answer)).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}
