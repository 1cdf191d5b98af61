//! A network between the service and a database server, which fails as networks and servers do: it goes away, falls
//! silent, or loses the one answer that says whether a commit happened. And a server that is of another version.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{
    site::free_port,
    targets::{Dialect, Target},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Everything takes so long on its way, each way.
    Far(Duration),
    /// Nobody listens, and every connection is cut: the server is being restarted.
    Down,
    /// Accepts, and passes nothing on until it is fair again: the server hangs.
    Hanging,
    /// The same, but what was open before stays silent for ever: the way was changed, and nobody was told.
    Swallowing,
}

/// Listens on a port of its own, also after it was down. Ends with all its connections when dropped.
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
    listening: JoinHandle<()>,
}

struct Wire {
    server: (Dialect, u16),
    weather: watch::Sender<Weather>,
    /// Of the port: who takes it down waits until nobody listens.
    listens: watch::Sender<bool>,
    /// One in so many answers to a COMMIT is lost; 0: none.
    loses_one_in: AtomicUsize,
    commits: AtomicUsize,
    lost: AtomicUsize,
    words: Mutex<Words>,
}

/// What stands in a statement, and what the server reads in its place.
type Words = Vec<(&'static str, &'static str)>;

impl Proxy {
    /// In front of the server of that dialect on this machine.
    pub async fn before(dialect: Dialect, server_port: u16) -> Self {
        let wire = Arc::new(Wire {
            server: (dialect, server_port),
            weather: watch::Sender::new(Weather::Fair),
            listens: watch::Sender::new(false),
            loses_one_in: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            words: Mutex::default(),
        });
        let port = free_port();
        let listening = tokio::spawn(listen(port, wire.clone()));
        let proxy = Self { port, wire, listening };
        proxy.until_listening(true).await;
        proxy
    }

    /// In front of a test's target; none in front of a file.
    pub async fn before_target(target: &Target) -> Option<Self> {
        match target.dialect {
            Dialect::Postgres => Some(Self::before(target.dialect, 5432).await),
            Dialect::MySql => Some(Self::before(target.dialect, 3306).await),
            Dialect::Sqlite => None,
        }
    }

    /// The same database by way of this proxy, which reads along: unencrypted.
    pub fn url(&self, url: &str) -> String {
        let (dialect, port) = self.wire.server;
        let url = url.replacen(&format!(":{port}"), &format!(":{}", self.port), 1);
        let plain = if dialect == Dialect::Postgres { "sslmode=disable" } else { "ssl-mode=disabled" };
        format!("{url}{}{plain}", if url.contains('?') { '&' } else { '?' })
    }

    /// Cuts every connection, and lets nobody connect any more.
    pub async fn goes_down(&self) {
        self.wire.weather.send_replace(Weather::Down);
        self.until_listening(false).await;
    }

    /// The server is so far away, each way.
    pub fn is_far(&self, way: Duration) {
        self.wire.weather.send_replace(Weather::Far(way));
    }

    pub fn hangs(&self) {
        self.wire.weather.send_replace(Weather::Hanging);
    }

    pub fn swallows(&self) {
        self.wire.weather.send_replace(Weather::Swallowing);
    }

    /// As good as new.
    pub async fn is_back(&self) {
        self.wire.weather.send_replace(Weather::Fair);
        self.until_listening(true).await;
    }

    /// Loses the answer to one in so many COMMITs that succeed, and the connection with it; 0 ends that.
    pub fn loses_one_in(&self, nth: usize) {
        self.wire.loses_one_in.store(nth, Ordering::SeqCst);
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> usize {
        self.wire.lost.load(Ordering::SeqCst)
    }

    /// MySQL: a server that knows other words. Each is replaced, in this order, in every statement without values.
    pub fn knows(&self, words: &[(&'static str, &'static str)]) {
        *self.wire.words.lock().expect("words") = words.to_vec();
    }

    async fn until_listening(&self, wanted: bool) {
        let mut listens = self.wire.listens.subscribe();
        listens.wait_for(|listens| *listens == wanted).await.expect("the proxy runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(port: u16, wire: Arc<Wire>) {
    let mut weather = wire.weather.subscribe();
    loop {
        if weather.wait_for(|now| *now != Weather::Down).await.is_err() {
            return;
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("its port");
        wire.listens.send_replace(true);
        // Dropped, and so cut, when it goes down.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (near, _) = accepted.expect("a connection");
                    connections.spawn(connection(near, wire.clone()));
                }
                _ = weather.wait_for(|now| *now == Weather::Down) => break,
                Some(_) = connections.join_next() => {}
            }
        }
        connections.shutdown().await;
        drop(listener);
        wire.listens.send_replace(false);
    }
}

async fn connection(near: TcpStream, wire: Arc<Wire>) {
    let mut weather = wire.weather.subscribe();
    passes(&mut weather).await;
    let (dialect, port) = wire.server;
    // A server that is being restarted refuses: so does its proxy.
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    for socket in [&near, &far] {
        socket.set_nodelay(true).expect("a socket");
    }
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let asked = Arc::new(AtomicUsize::new(0));
    let there = Questions {
        dialect,
        asked: asked.clone(),
        waiting: VecDeque::new(),
        begun: false,
        wire: wire.clone(),
    };
    let back = Answers { dialect, asked, waiting: VecDeque::new(), wire: wire.clone() };
    // Whoever ends first ends both.
    tokio::select! {
        _ = pass(near_in, far_out, weather.clone(), there) => {}
        _ = pass(far_in, near_out, weather, back) => {}
    }
}

/// Waits until bytes are passed on; for ever, once they were swallowed.
async fn passes(weather: &mut watch::Receiver<Weather>) {
    loop {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Fair => return,
            Weather::Far(way) => return tokio::time::sleep(way).await,
            Weather::Swallowing | Weather::Down => std::future::pending::<()>().await,
            Weather::Hanging => weather.changed().await.expect("the proxy runs"),
        }
    }
}

/// What reads along in one direction. `Err` cuts the connection.
trait Reader {
    /// Bytes that may go on now.
    fn read_along(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>>;
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    mut reader: impl Reader,
) -> io::Result<()> {
    let mut bytes = vec![0; 65_536];
    loop {
        tokio::select! {
            _ = weather.changed() => {}
            read = from.read(&mut bytes) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                passes(&mut weather).await;
                to.write_all(&reader.read_along(&bytes[..read])?).await?;
            }
        }
        passes(&mut weather).await;
    }
}

/// Takes the next whole message off the front: PostgreSQL's from the server, MySQL's from either side.
fn message(dialect: Dialect, waiting: &mut VecDeque<u8>) -> Option<Vec<u8>> {
    let bytes = waiting.make_contiguous();
    let length = match (dialect, bytes) {
        (Dialect::Postgres, [_, a, b, c, d, ..]) => 1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        (Dialect::MySql, [a, b, c, _, ..]) => 4 + u32::from_le_bytes([*a, *b, *c, 0]) as usize,
        _ => return None,
    };
    (waiting.len() >= length).then(|| waiting.drain(..length).collect())
}

/// What a client sends. Only MySQL's has to be read: its answers do not say to what. Whole messages go on.
struct Questions {
    dialect: Dialect,
    /// Commits that were sent and not answered yet.
    asked: Arc<AtomicUsize>,
    waiting: VecDeque<u8>,
    begun: bool,
    wire: Arc<Wire>,
}

impl Reader for Questions {
    fn read_along(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if self.dialect != Dialect::MySql {
            return Ok(bytes.to_vec());
        }
        self.waiting.extend(bytes);
        let mut on = Vec::new();
        while let Some(message) = message(self.dialect, &mut self.waiting) {
            // The first packet of a command, and COM_QUERY.
            let is_query = self.begun && message[3] == 0 && message.get(4) == Some(&3);
            if is_query && message[5..].eq_ignore_ascii_case(b"COMMIT") {
                self.asked.fetch_add(1, Ordering::SeqCst);
            }
            self.begun = true;
            on.extend(if is_query { self.wire.reword(message) } else { message });
        }
        Ok(on)
    }
}

/// What a server answers; whole messages go on.
struct Answers {
    dialect: Dialect,
    asked: Arc<AtomicUsize>,
    waiting: VecDeque<u8>,
    wire: Arc<Wire>,
}

impl Reader for Answers {
    fn read_along(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.waiting.extend(bytes);
        let mut on = Vec::new();
        while let Some(message) = message(self.dialect, &mut self.waiting) {
            let is_committed = match self.dialect {
                // CommandComplete and its tag, however the statement was sent.
                Dialect::Postgres => message[0] == b'C' && &message[5..] == b"COMMIT\0",
                _ => self.asked.swap(0, Ordering::SeqCst) > 0 && message.get(4) == Some(&0),
            };
            if is_committed && self.wire.loses() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            on.extend(message);
        }
        Ok(on)
    }
}

impl Wire {
    /// A packet of COM_QUERY as the server is to read it.
    fn reword(&self, packet: Vec<u8>) -> Vec<u8> {
        let words = self.words.lock().expect("words");
        let Ok(sql) = std::str::from_utf8(&packet[5..]) else { return packet };
        let sql = words.iter().fold(sql.to_owned(), |sql, (word, other)| sql.replace(word, other));
        let length = u32::try_from(sql.len() + 1).expect("one packet").to_le_bytes();
        [&length[..3], &packet[3..5], sql.as_bytes()].concat()
    }

    fn loses(&self) -> bool {
        let nth = self.loses_one_in.load(Ordering::SeqCst);
        // Scattered: who goes on the same way each time would lose the same answer each time.
        let commit = self.commits.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9E37_79B9) >> 16;
        let loses = nth > 0 && commit.is_multiple_of(nth);
        if loses {
            self.lost.fetch_add(1, Ordering::SeqCst);
        }
        loses
    }
}
