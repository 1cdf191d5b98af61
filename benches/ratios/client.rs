//! A client that costs little beside what it measures: one connection that is kept, and whole answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// As many as an admin panel of some size has at work.
pub const CLIENTS: usize = 8;

pub struct Client {
    stream: BufReader<TcpStream>,
    /// Of every call.
    headers: String,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    /// `base` as `http://127.0.0.1:8080`; nothing where nobody listens.
    pub async fn connect(base: &str, token: &str) -> Option<Self> {
        let address = base.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let headers =
            format!("host: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        Some(Self { stream: BufReader::new(stream), headers })
    }

    /// `what` as `GET /v1/requests`; nothing where the connection was lost.
    pub async fn call(&mut self, what: &str, body: &str) -> Option<Answer> {
        let request =
            format!("{what} HTTP/1.1\r\n{}content-length: {}\r\n\r\n{body}", self.headers, body.len());
        self.stream.get_mut().write_all(request.as_bytes()).await.ok()?;
        let (mut status, mut length, mut line) = (None, 0, String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
            let line = line.trim_end();
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            } else if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().ok()?;
                }
            } else {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Answer { status: status?, body })
    }

    /// As [`call`](Self::call), where anything but that status is a failure of the measurement.
    pub async fn expect(&mut self, status: u16, what: &str, body: &str) -> Vec<u8> {
        let answer = self.call(what, body).await.expect("an answer");
        assert_eq!(answer.status, status, "{what}: {}", String::from_utf8_lossy(&answer.body));
        answer.body
    }
}

/// Calls per second of [`CLIENTS`] clients at once, for so long; `body` makes the body of the nth call, and every client has
/// a token of its own, because calls are limited by whoever makes them.
pub async fn rate(
    base: &str,
    tokens: &[String],
    time: Duration,
    (status, what): (u16, &str),
    body: impl Fn(u64) -> String + Clone + Send + 'static,
) -> f64 {
    let calls = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let token = tokens.get(number).cloned().unwrap_or_default();
            let (base, what, calls, body) = (base.to_owned(), what.to_owned(), calls.clone(), body.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(&base, &token).await.expect("a connection");
                while begun.elapsed() < time {
                    let number = calls.fetch_add(1, Ordering::Relaxed);
                    client.expect(status, &what, &body(number)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let calls = calls.load(Ordering::Relaxed) as f64;
    calls / begun.elapsed().as_secs_f64()
}
