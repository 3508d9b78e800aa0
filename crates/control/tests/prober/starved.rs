//! A prober that is kept from working, as a function with little of a CPU is.

use std::time::{Duration, Instant};

use nodeweir_control::prober::HttpProber;
use nodeweir_domain::fleet::probe::Failure;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::{BRIEF, address, ask, config, no_secrets};

/// A server that takes connections and says nothing.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { while stream.read_u8().await.is_ok() {} });
        }
    });
    url
}

/// Everything here runs on one thread, most of which something else takes.
#[tokio::test]
async fn what_it_was_too_slow_to_see_is_no_fault_of_the_node() {
    let url = silent().await;
    let prober = HttpProber::new(&config(BRIEF), no_secrets()).unwrap();
    let hog = tokio::spawn(async {
        loop {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(90) {
                std::hint::spin_loop();
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });
    assert_eq!(ask(&prober, &address(&url)).await, Err(Failure::Starved));
    hog.abort();
}
