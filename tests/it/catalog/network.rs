//! What the network between us and a target does, and how we speak over it.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use rightful::connectors::{
    ErrorKind, Limits,
    sql::session::{Session, Sessions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
};

use super::{LIMITS, statement};
use crate::support::targets::{Dialect, target};

/// Stands between us and a server, and passes nothing on once it is told to be silent.
#[derive(Clone, Default)]
struct Wire(Arc<AtomicBool>);

impl Wire {
    async fn open(&self, to: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let wire = self.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", to)).await.expect("the server answers");
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(wire.clone().pass(near_in, far_out));
                tokio::spawn(wire.clone().pass(far_in, near_out));
            }
        });
        port
    }

    async fn pass(self, mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf) {
        let mut bytes = vec![0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            if self.0.load(Ordering::SeqCst) {
                // Open, and without a word.
                std::future::pending::<()>().await;
            }
            if to.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    }
}

async fn unanswered(name: &str, mut session: Session) -> (String, ErrorKind) {
    let sql = statement("SELECT 'x'");
    let error = match name {
        "COMMIT" => session.run("COMMIT").await.err(),
        "many" => session.execute_all(vec![statement("DELETE FROM nothing")]).await.err(),
        "check" => session.prepare("SELECT 1").await.err(),
        "stream" => session.stream(sql, 10).next().await.and_then(Result::err),
        _ => session.query(&sql).await.err(),
    };
    (name.to_owned(), error.expect("an error").kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_waited_for_in_nothing() {
    for (dialect, port) in [(Dialect::Postgres, 5432), (Dialect::MySql, 3306)] {
        let Some(target) = target(dialect) else { continue };
        let wire = Wire::default();
        let url = target.url.replace(&port.to_string(), &wire.open(port).await.to_string());
        let limits = Limits { statement_timeout: Duration::from_millis(100), ..LIMITS };
        let sessions = Sessions::new(&url, 10).expect("a URL");
        let mut calls = Vec::new();
        for name in ["query", "COMMIT", "many", "check", "stream"] {
            let mut session = sessions.get(limits).await.expect("a session");
            session
                .run(if dialect == Dialect::Postgres { "BEGIN" } else { "START TRANSACTION" })
                .await
                .expect("begun");
            calls.push((name, session));
        }
        wire.0.store(true, Ordering::SeqCst);
        let calls = calls.into_iter().map(|(name, session)| unanswered(name, session));
        let ended = tokio::time::timeout(Duration::from_secs(40), futures::future::join_all(calls)).await;
        for (name, kind) in ended.expect("nothing waits for ever") {
            assert_eq!(kind, ErrorKind::Unavailable, "{dialect:?} {name}");
        }
    }
}

/// A greeting of MySQL's protocol, version 10, that offers encryption.
fn greeting() -> Vec<u8> {
    // PROTOCOL_41, SSL, SECURE_CONNECTION, PLUGIN_AUTH, CONNECT_WITH_DB, LONG_PASSWORD.
    let capabilities: u32 = 0x200 | 0x800 | 0x8000 | 0x8_0000 | 0x8 | 0x1;
    let [low, lower, high, higher] = capabilities.to_le_bytes();
    let mut body = b"\x0a8.0.0\0\x01\0\0\0abcdefgh\0".to_vec();
    body.extend([low, lower, 45, 2, 0, high, higher, 21]);
    body.extend([0; 10]);
    body.extend(b"abcdefghijkl\0mysql_native_password\0");
    let length = u8::try_from(body.len()).expect("a short packet");
    [&[length, 0, 0, 0], &body[..]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_spoken_to_in_secret_where_the_server_offers_it() {
    for (query, encrypted) in [("", true), ("?ssl-mode=preferred", true), ("?ssl-mode=disabled", false)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            client.write_all(&greeting()).expect("a greeting");
            let mut head = [0; 8];
            client.read_exact(&mut head).expect("an answer");
            // The capabilities follow four bytes of header.
            head[5] & 0x08 != 0
        });
        let sessions =
            Sessions::new(&format!("mysql://nobody@127.0.0.1:{port}/none{query}"), 1).expect("a URL");
        sessions.get(LIMITS).await.err().expect("no server");
        assert_eq!(server.join().expect("an answer"), encrypted, "{query}");
    }
}
