//! SQLite's one writer. Transactions take it in turn, and those that stand in line at the same moment share one
//! commit, and with it one wait for the disk: the first opens a transaction of the file, each further one is a
//! savepoint inside of it, and all are told that they were committed once that is. One that fails or is dropped
//! takes back only its own part, and one that is taken back waits for the others' commit before it is told.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard, oneshot},
    time::Instant,
};

use super::{
    StoreError,
    conn::{Conn, Target},
};

/// How long a transaction waits for those before it, and for the file's lock, which another process may hold.
const WAIT: Duration = Duration::from_secs(10);
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often the file's lock is asked for, from often to seldom.
const LOCK_POLL: [u64; 6] = [1, 2, 5, 10, 20, 50];

/// The line of those who want to write.
pub(super) struct Writer {
    target: Target,
    // Fair: who asks first is first.
    line: Arc<Mutex<Line>>,
    /// Commits run here, whichever runtime a transaction belongs to.
    runtime: Handle,
}

struct Line {
    conn: Conn,
    state: State,
    /// Whose parts are in the open transaction, complete.
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No transaction is open.
    Idle,
    /// One is open and all parts of it are complete; the commit stands in line.
    Open,
    /// The part of who opened it is incomplete.
    First,
    /// Another part is, inside of a savepoint.
    Further,
    /// It is not known what became of the transaction: the connection has to be closed.
    Broken,
}

/// One transaction, which has the writer to itself until it ends.
pub(super) struct Member {
    line: OwnedMutexGuard<Line>,
}

impl Writer {
    /// # Errors
    /// `Unavailable` when the file cannot be opened.
    pub(super) async fn open(target: Target) -> Result<Self, StoreError> {
        let line = Line { conn: target.connect().await?, state: State::Idle, waiting: Vec::new() };
        Ok(Self { target, line: Arc::new(Mutex::new(line)), runtime: Handle::current() })
    }

    /// Waits for its turn and starts.
    ///
    /// # Errors
    /// `Busy` when another process kept the file's lock for 5 s, `Unavailable` when those before took 10 s.
    pub(super) async fn begin(&self) -> Result<Member, StoreError> {
        let mut line = tokio::time::timeout(WAIT, self.line.clone().lock_owned())
            .await
            .map_err(|_| StoreError::Unavailable("the writer did not come free within 10 s".to_owned()))?;
        line.take_back().await;
        if line.state == State::Broken {
            line.conn = self.target.connect().await?;
            line.state = State::Idle;
        }
        if line.state == State::Idle {
            line.lock_file().await?;
            line.state = State::First;
            self.runtime.spawn(commit(self.line.clone()));
        } else {
            line.conn.batch("SAVEPOINT member").await?;
            line.state = State::Further;
        }
        Ok(Member { line })
    }
}

/// Takes its place behind those who stand in line now, and commits what they did. It keeps its thread while it waits
/// for the disk: there is never more than one, and to hand it over costs as much as a fast disk takes.
async fn commit(line: Arc<Mutex<Line>>) {
    if let Err(error) = line.lock_owned().await.commit().await {
        tracing::warn!(%error, "a commit of the store failed");
    }
}

impl Line {
    /// Takes back what a transaction did that was dropped before its end.
    async fn take_back(&mut self) {
        let (how, before) = match self.state {
            State::First => ("ROLLBACK", State::Idle),
            State::Further => ("ROLLBACK TO member; RELEASE member", State::Open),
            State::Idle | State::Open | State::Broken => return,
        };
        match self.conn.batch(how).await {
            Ok(()) => self.state = before,
            // SQLite ends the whole transaction by itself where the disk is full or fails.
            Err(_) => self.give_up(),
        }
    }

    /// Tells everybody that nothing was committed.
    fn give_up(&mut self) {
        self.waiting.clear();
        self.state = State::Broken;
    }

    /// A plain BEGIN takes the write lock at the first write, and fails there when another came first.
    async fn lock_file(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let mut poll = LOCK_POLL.into_iter();
        let mut pause = 0;
        loop {
            match self.conn.batch("BEGIN IMMEDIATE").await {
                Err(StoreError::Busy) if begun.elapsed() < LOCK_WAIT => {
                    pause = poll.next().unwrap_or(pause);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                result => return result,
            }
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.take_back().await;
        if self.state != State::Open {
            return Ok(());
        }
        if let Err(error) = self.conn.batch("COMMIT").await {
            self.give_up();
            return Err(error);
        }
        self.state = State::Idle;
        for member in self.waiting.drain(..) {
            // One that was dropped meanwhile is committed all the same.
            let _ = member.send(());
        }
        Ok(())
    }
}

impl Member {
    pub(super) fn conn(&self) -> &Conn {
        &self.line.conn
    }

    pub(super) fn conn_mut(&mut self) -> &mut Conn {
        &mut self.line.conn
    }

    /// Ends this transaction's part and waits until it is on the disk.
    ///
    /// # Errors
    /// `Unavailable` when the commit failed.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if self.line.state == State::Further {
            self.line.conn.batch("RELEASE member").await?;
        }
        self.line.state = State::Open;
        self.committed().await
    }

    /// Takes back this transaction's part and waits until what those before it did is on the disk: it may have seen
    /// that, and whoever is told of it looks for it next.
    ///
    /// # Errors
    /// `Unavailable` when their commit failed: what was seen is not there.
    pub(super) async fn rollback(mut self) -> Result<(), StoreError> {
        self.line.take_back().await;
        match self.line.state {
            State::Open => self.committed().await,
            _ => Ok(()),
        }
    }

    /// Waits for the commit that stands in line.
    async fn committed(mut self) -> Result<(), StoreError> {
        let (sender, committed) = oneshot::channel();
        self.line.waiting.push(sender);
        drop(self);
        committed.await.map_err(|_| StoreError::Unavailable("the commit failed".to_owned()))
    }
}
