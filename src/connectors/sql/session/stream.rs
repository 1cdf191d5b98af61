//! Results too large for memory: rows arrive in chunks, a few chunks ahead of their reader and no more. A chunk ends
//! at so many rows or so many bytes, whichever comes first.

use diesel::{QueryResult, SqliteConnection};
use diesel_async::RunQueryDsl;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use tokio::sync::mpsc;

use super::{
    super::{
        dynamic::{Cells, Dynamic},
        error::of,
        statement::{Statement, TextRow},
    },
    Conn, Session,
    patience::Patience,
};
use crate::connectors::ConnectorError;

/// Chunks that may wait for the reader.
const AHEAD: usize = 2;
/// A chunk with as many bytes is full: rows may hold whole documents.
const CHUNK_BYTES: usize = 1 << 20;

type Chunks = mpsc::Sender<Result<Vec<TextRow>, ConnectorError>>;

impl Session {
    /// The rows of a query in chunks of at most `chunk`; memory stays flat whatever their number. At the end an open
    /// transaction is committed and the session goes back to the pool; it is closed when the stream is dropped before.
    #[must_use]
    pub fn stream(
        self,
        statement: Statement,
        chunk: usize,
    ) -> BoxStream<'static, Result<Vec<TextRow>, ConnectorError>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(self.send_rows(statement, chunk, sender));
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        })
        .boxed()
    }

    async fn send_rows(mut self, statement: Statement, chunk: usize, chunks: Chunks) {
        if let Err(error) = self.catch_up().await {
            let _ = chunks.send(Err(error)).await;
            return;
        }
        let query = Dynamic(statement);
        self.busy = true;
        let dialect = self.dialect();
        let patience = self.patience();
        let Some(conn) = self.conn.as_mut() else { return };
        let forwarded = match conn {
            Conn::Postgres { conn, .. } => {
                match patience.with(query.load_stream::<Cells>(&mut **conn)).await {
                    Ok(Ok(rows)) => forward(rows, chunk, &chunks, patience).await,
                    Ok(Err(error)) => Ok(Err(error)),
                    Err(silence) => Err(silence),
                }
            }
            Conn::MySql(conn) => match patience.with(query.load_stream::<Cells>(&mut **conn)).await {
                Ok(Ok(rows)) => forward(rows, chunk, &chunks, patience).await,
                Ok(Err(error)) => Ok(Err(error)),
                Err(silence) => Err(silence),
            },
            // A file has no peer that could go away.
            Conn::Sqlite(conn) => {
                let chunks = chunks.clone();
                Ok(conn.spawn_blocking(move |conn| iterate(query, conn, chunk, &chunks)).await)
            }
        };
        let ended = match forwarded {
            Ok(ended) => ended,
            Err(silence) => {
                let _ = chunks.send(Err(silence)).await;
                return;
            }
        };
        match ended {
            Ok(Ended::All) => {
                self.busy = false;
                if self.open
                    && let Err(error) = self.run("COMMIT").await
                {
                    tracing::debug!(%error, "a reading transaction was not ended; its session is closed");
                }
            }
            // Nobody reads on: the session is in the middle of a result and is closed.
            Ok(Ended::Unread) => {}
            Err(error) => {
                let state = match &self.conn {
                    Some(Conn::Postgres { last, .. }) => last.take(),
                    _ => None,
                };
                let _ = chunks.send(Err(of(&error, dialect, state.as_deref()))).await;
            }
        }
    }
}

/// Rows on their way to the reader.
struct Chunk {
    rows: Vec<TextRow>,
    bytes: usize,
    size: usize,
}

impl Chunk {
    fn new(size: usize) -> Self {
        Self { rows: Vec::new(), bytes: 0, size }
    }

    fn push(&mut self, row: TextRow) {
        self.bytes += row.iter().flatten().map(String::len).sum::<usize>();
        self.rows.push(row);
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.size || self.bytes >= CHUNK_BYTES
    }

    fn take(&mut self) -> Vec<TextRow> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }
}

/// How a stream of rows ended.
enum Ended {
    All,
    Unread,
}

/// Each row is waited for by itself: how long all of them take is up to the reader.
async fn forward(
    mut rows: impl futures::Stream<Item = QueryResult<Cells>> + Unpin,
    size: usize,
    chunks: &Chunks,
    patience: Patience,
) -> Result<QueryResult<Ended>, ConnectorError> {
    let mut chunk = Chunk::new(size);
    loop {
        match patience.with(rows.next().map(Option::transpose)).await? {
            Ok(Some(row)) => chunk.push(row.0),
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        }
        if chunk.is_full() && chunks.send(Ok(chunk.take())).await.is_err() {
            return Ok(Ok(Ended::Unread));
        }
    }
    let last = chunk.rows.is_empty() || chunks.send(Ok(chunk.rows)).await.is_ok();
    Ok(Ok(if last { Ended::All } else { Ended::Unread }))
}

fn iterate(query: Dynamic, conn: &mut SqliteConnection, size: usize, chunks: &Chunks) -> QueryResult<Ended> {
    let mut chunk = Chunk::new(size);
    for row in diesel::RunQueryDsl::load_iter::<Cells, _>(query, conn)? {
        chunk.push(row?.0);
        if chunk.is_full() && chunks.blocking_send(Ok(chunk.take())).is_err() {
            return Ok(Ended::Unread);
        }
    }
    let last = chunk.rows.is_empty() || chunks.blocking_send(Ok(chunk.rows)).is_ok();
    Ok(if last { Ended::All } else { Ended::Unread })
}
