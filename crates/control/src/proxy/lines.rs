//! From the proxy's pipes to whoever shows its lines: redacted, bounded, and never a brake on the proxy.
//!
//! Each pipe is read by a thread of its own. A task of the async runtime would do until something blocks the
//! runtime; then the pipe would fill, and nginx, which writes its logs blocking, would stop serving.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::redact::Redactor;

/// Bytes of a line that are kept. A request line cannot be longer: nginx takes 32 KiB of headers by default.
const MAX_LINE: usize = 64 * 1024;
/// Read beyond that before redacting and cutting, so that a secret that lies across the cut is seen whole.
const MARGIN: usize = 512;
/// Last lines kept for error messages.
const TAIL: usize = 20;
/// Wanted size of a pipe: what the proxy can print while this process is stopped, before it must wait.
const PIPE: usize = 1024 * 1024;

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy's standard output: its access log.
    Output,
    /// The proxy's standard error: its error log.
    Error,
    /// The proxy's checker, about a revision that it accepted with remarks.
    Check,
    /// The supervisor.
    Supervisor,
}

/// One redacted line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who printed it.
    pub source: Source,
    /// What, without line break and control characters.
    pub text: String,
}

/// Takes lines, redacts them, passes them on if there is room, and remembers the last ones of the error log.
#[derive(Clone)]
pub(super) struct Sink(Arc<Inner>);

struct Inner {
    redactor: Redactor,
    to: mpsc::Sender<Line>,
    dropped: AtomicU64,
    tail: Mutex<VecDeque<String>>,
}

impl Sink {
    pub(super) fn new(redactor: Redactor, to: mpsc::Sender<Line>) -> Self {
        Self(Arc::new(Inner { redactor, to, dropped: AtomicU64::new(0), tail: Mutex::default() }))
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    /// Redacts `bytes` and passes them on. A full receiver loses the line; the loss is counted, and told with the
    /// next line that fits.
    pub(super) fn line(&self, source: Source, bytes: &[u8]) {
        let mut text = self.0.redactor.line(&String::from_utf8_lossy(bytes));
        if text.len() > MAX_LINE {
            text.truncate((0..=MAX_LINE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
            text.push_str(" [cut]");
        }
        if matches!(source, Source::Error | Source::Supervisor) {
            let mut tail = self.0.tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(text.clone());
        }
        let lost = self.0.dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!("{lost} lines of the proxy were dropped here because they were not read fast enough");
            if self.0.to.try_send(Line { source: Source::Supervisor, text }).is_err() {
                self.0.dropped.fetch_add(lost, Ordering::Relaxed);
            }
        }
        if self.0.to.try_send(Line { source, text }).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The last lines of the error log since [`Self::forget`].
    pub(super) fn tail(&self) -> String {
        let tail = self.0.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The same once the proxy has ended: its last lines may still be on their way.
    pub(super) async fn last_words(&self) -> String {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        self.tail()
    }

    /// What was said so far has nothing to do with what comes.
    pub(super) fn forget(&self) {
        self.0.tail.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A pipe whose lines come here until everyone who holds its writing end has closed it.
    pub(super) fn pipe(&self, source: Source) -> std::io::Result<PipeWriter> {
        let (reader, writer) = std::io::pipe()?;
        // Not granted to everyone; the default size does as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
        let sink = self.clone();
        std::thread::Builder::new().name("proxy-lines".to_owned()).spawn(move || sink.drain(source, reader))?;
        Ok(writer)
    }

    fn drain(&self, source: Source, reader: PipeReader) {
        let mut reader = BufReader::with_capacity(MAX_LINE, reader);
        let mut line = Vec::new();
        while let Ok(buffer) = reader.fill_buf() {
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = end.unwrap_or(buffer.len());
            let room = (MAX_LINE + MARGIN).saturating_sub(line.len());
            line.extend_from_slice(&buffer[..part.min(room)]);
            reader.consume(end.map_or(part, |end| end + 1));
            if end.is_some() {
                self.line(source, &line);
                line.clear();
            }
        }
        if !line.is_empty() {
            self.line(source, &line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What comes out when `bytes` are printed, with room for `room` lines.
    async fn lines(bytes: &'static [u8], room: usize) -> (Sink, mpsc::Receiver<Line>) {
        let (to, from) = mpsc::channel(room);
        let redactor = Redactor::default();
        redactor.learn("s3cr3t-value");
        let sink = Sink::new(redactor, to);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let draining = sink.clone();
        let reading = tokio::task::spawn_blocking(move || draining.drain(Source::Error, reader));
        tokio::task::spawn_blocking(move || writer.write_all(bytes).unwrap()).await.unwrap();
        reading.await.unwrap();
        (sink, from)
    }

    #[tokio::test]
    async fn lines_are_redacted_and_broken_ones_tolerated() {
        let (sink, mut from) = lines(b"a s3cr3t-value\n\xff\xfe x\n\nno break at the end", 8).await;
        let mut texts = Vec::new();
        while let Ok(line) = from.try_recv() {
            texts.push(line.text);
        }
        assert_eq!(texts, ["a [redacted]", "\u{fffd}\u{fffd} x", "", "no break at the end"]);
        assert_eq!(sink.tail(), texts.join("\n"));
        sink.forget();
        assert_eq!(sink.tail(), "");
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_where_no_secret_is_split() {
        let mut bytes = vec![b'x'; MAX_LINE - 6];
        bytes.extend_from_slice(b"s3cr3t-value");
        bytes.extend(std::iter::repeat_n(b'y', 200_000));
        let (_, mut from) = lines(bytes.leak(), 8).await;
        let line = from.recv().await.unwrap().text;
        assert!(line.ends_with("x[redac [cut]"), "{}", &line[line.len() - 40..]);
        assert!(line.len() < MAX_LINE + 10);
    }

    #[tokio::test]
    async fn a_slow_receiver_loses_lines_and_is_told() {
        let (sink, mut from) = lines(b"1\n2\n3\n4\n", 2).await;
        assert_eq!(from.recv().await.unwrap().text, "1");
        assert_eq!(from.recv().await.unwrap().text, "2");
        sink.line(Source::Error, b"5");
        assert!(from.recv().await.unwrap().text.starts_with("2 lines of the proxy were dropped"));
        assert_eq!(from.recv().await.unwrap().text, "5");
    }
}
