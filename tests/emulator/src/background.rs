//! Where servers of this crate run: beside the test, which may have a runtime of its own, of any kind, or block.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{AbortHandle, JoinSet};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("emulator").enable_all().build();
    runtime.expect("threads for the emulator")
});

/// Starts something that runs beside the test.
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    RUNTIME.spawn(task)
}

/// Does something there, and waits for it in whatever runtime the caller has.
pub(crate) async fn run<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> T {
    match RUNTIME.spawn(task).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What a server makes of a request. Nothing: the connection ends without an answer.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Option<Response<Full<Bytes>>>> + Send>>;

/// An HTTP server on a free port. It ends when this is dropped, with its connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(Request<Bytes>) -> Answering + Clone + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address that was bound");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let task = spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener for the runtime");
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        let answer = answer.clone();
                        connections.spawn(async move {
                            let one = service_fn(|request| one(request, &answer));
                            // One request each: a client that finds its kept connection closed just opens another, and a
                            // connection that ends without an answer would then be no fault.
                            let mut connection = http1::Builder::new();
                            let connection = connection.keep_alive(false).serve_connection(TokioIo::new(stream), one);
                            // A client that goes away is no error.
                            let _ = connection.await;
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn one(
    request: Request<Incoming>,
    answer: &impl Fn(Request<Bytes>) -> Answering,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    answer(Request::from_parts(head, body)).await.ok_or_else(|| io::Error::other("no answer"))
}

/// A response that cannot be malformed.
pub(crate) fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).expect("a status and headers that are allowed")
}
