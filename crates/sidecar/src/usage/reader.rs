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
use super::{Folded, Taken, take};

/// A renamed file is deleted when it has not grown for so long: the last worker has opened the new one by then.
const QUIET: Duration = Duration::from_secs(5);

/// Ten thousand lines are 15 ms at once. Where every core is busy, requests go before: a tenth of a core is left then,
/// which is enough for all that such a machine answers.
const NICE: i32 = 10;

/// Pieces that are read for one question: a few MiB.
const PIECES: usize = 4;

/// What to read.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Lines after this.
    pub(super) after: Option<LogCursor>,
    /// And no others than up to here.
    pub(super) goal: Option<LogCursor>,
    /// Files before this one are needed no more.
    pub(super) counted: Option<LogCursor>,
    /// What is left of the last piece.
    pub(super) rest: Option<Piece>,
    /// What was folded before.
    pub(super) folded: Folded,
}

type Question = (Wanted, oneshot::Sender<io::Result<Taken>>);

/// A thread of a lower priority than whatever answers requests. It ends when this is dropped.
pub(super) struct Reader(mpsc::UnboundedSender<Question>);

impl Reader {
    /// Errs if the system gives no thread.
    pub(super) fn start(folder: PathBuf) -> io::Result<Self> {
        let (asks, mut asked) = mpsc::unbounded_channel::<Question>();
        let work = move || {
            // On Linux, this is said of a thread.
            if let Err(error) = setpriority_process(None, NICE) {
                warn!(%error, "usage is counted at the priority of requests");
            }
            let files = Files::new(folder);
            while let Some((wanted, answer)) = asked.blocking_recv() {
                // Whoever asked may have stopped.
                let _ = answer.send(read(&files, wanted));
            }
        };
        thread::Builder::new().name("usage".to_owned()).spawn(work)?;
        Ok(Self(asks))
    }

    /// Folds the next lines, as many as there are and as go together.
    pub(super) async fn take(&self, wanted: Wanted) -> io::Result<Taken> {
        let (answer, answered) = oneshot::channel();
        let ended = || io::Error::other("the thread that reads it has ended");
        self.0.send((wanted, answer)).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

pub(super) fn read(files: &Files, wanted: Wanted) -> io::Result<Taken> {
    let Wanted { after, goal, counted, mut rest, folded } = wanted;
    let mut taken = Taken { folded, first: None, upto: after, rest: None, behind: 0, is_whole: false };
    let mut pieces = 0;
    // What has a goal is read to it however long it is: of a part there would be other rows than those that were begun.
    while goal.is_some() || pieces < PIECES {
        pieces += 1;
        let piece = match rest.take() {
            Some(piece) => piece,
            None => match files.read_after(taken.upto, counted, QUIET)? {
                Some(piece) => piece,
                None => break,
            },
        };
        taken = take(piece, taken, goal);
        if taken.is_whole {
            break;
        }
    }
    Ok(taken)
}
