//! Questions to a running proxy, over the unix socket that every revision has for them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::folder::{ADMIN_SOCKET, Folder};

/// For an answer that the proxy has in memory.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than any answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// Which revision runs: what `GET /revision` answers with 200. None if nobody answers so.
pub(super) async fn revision(folder: &Folder) -> Option<String> {
    revision_by(&folder.short(ADMIN_SOCKET)).await
}

/// Which revision a proxy runs that another process supervises, by its folder. None if nobody answers.
pub async fn revision_in(folder: &Path) -> Option<String> {
    // Open, so that its socket is reached by a short path.
    let folder = File::open(folder).ok()?;
    revision_by(Path::new(&format!("/proc/self/fd/{}/{ADMIN_SOCKET}", folder.as_raw_fd()))).await
}

async fn revision_by(socket: &Path) -> Option<String> {
    // Version 1.0, so that the answer ends with the connection.
    let answer = ask(socket, "GET /revision HTTP/1.0\r\nHost: localhost\r\n\r\n").await.ok()?;
    read_revision(&answer)
}

fn read_revision(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let good = head.split_ascii_whitespace().nth(1) == Some("200");
    (good && !body.trim().is_empty()).then(|| body.trim().to_owned())
}

/// Tells HAProxy, which looks at no file while it runs, that it is draining.
pub(super) async fn drain_haproxy(folder: &Folder) -> io::Result<()> {
    let answer =
        ask(&folder.short(ADMIN_SOCKET), "POST /drain HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .await?;
    match answer.split_ascii_whitespace().nth(1) {
        Some("200" | "204") => Ok(()),
        other => Err(io::Error::other(format!("POST /drain answers {}", other.unwrap_or("nothing")))),
    }
}

async fn ask(socket: &Path, request: &str) -> io::Result<String> {
    let conversation = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, conversation).await.map_err(io::Error::from)?
}

#[cfg(test)]
mod tests {
    use super::read_revision;

    #[test]
    fn only_a_whole_good_answer_names_a_revision() {
        let read = |answer: &str| read_revision(answer);
        assert_eq!(read("HTTP/1.1 200 OK\r\na: b\r\n\r\n12-ab34cd\n"), Some("12-ab34cd".to_owned()));
        assert_eq!(read("HTTP/1.1 404 Not Found\r\n\r\n12-ab34cd"), None);
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(read("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(read(""), None);
    }
}
