//! Reads PostgreSQL's SQLSTATE off the wire. diesel keeps an error's message but not its SQLSTATE, and messages
//! come in the server's language (only a superuser may change `lc_messages`), so that nothing but the state
//! tells a lock timeout from a deadlock. The stream below passes every byte on and remembers the state of the
//! last ErrorResponse (PostgreSQL documentation, "Message Formats").

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The five characters of the last error, shared between a connection's stream and its session.
#[derive(Debug, Clone, Default)]
pub(super) struct LastState(Arc<Mutex<Option<[u8; 5]>>>);

impl LastState {
    /// The state of the last error since the previous call.
    pub(super) fn take(&self) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        state.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn set(&self, state: [u8; 5]) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Statements that were sent ahead fail because of the first one: its state is the one to keep.
        if last.is_none() || &state != b"25P02" {
            *last = Some(state);
        }
    }
}

/// Where the reader stands in the server's messages.
enum Reader {
    /// The client asked for TLS; the server's one-byte answer is still to come.
    Negotiating,
    /// What follows is a TLS record stream; the watcher inside of it takes over.
    Off,
    /// The first five bytes of a message: its type and its length.
    Head(Vec<u8>),
    /// The rest of a message that is of no interest.
    Skip(usize),
    /// The rest of an ErrorResponse.
    Error { body: Vec<u8>, missing: usize },
}

/// A stream whose incoming bytes are read along.
pub(super) struct Watched<S> {
    inner: S,
    reader: Reader,
    last: LastState,
}

impl<S> Watched<S> {
    /// The raw socket; `negotiates` when the client begins with an SSLRequest.
    pub(super) fn socket(inner: S, last: LastState, negotiates: bool) -> Self {
        let reader = if negotiates { Reader::Negotiating } else { Reader::Head(Vec::new()) };
        Self { inner, reader, last }
    }

    fn read_along(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.reader {
                Reader::Off => return,
                Reader::Negotiating => {
                    self.reader = if bytes[0] == b'S' { Reader::Off } else { Reader::Head(Vec::new()) };
                    bytes = &bytes[1..];
                }
                Reader::Head(head) => {
                    let taken = bytes.len().min(5 - head.len());
                    head.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if let [kind, a, b, c, d] = head[..] {
                        self.reader = after_head(kind, u32::from_be_bytes([a, b, c, d]));
                    }
                }
                Reader::Skip(missing) => {
                    let taken = bytes.len().min(*missing);
                    *missing -= taken;
                    bytes = &bytes[taken..];
                    if *missing == 0 {
                        self.reader = Reader::Head(Vec::new());
                    }
                }
                Reader::Error { body, missing } => {
                    let taken = bytes.len().min(*missing);
                    body.extend_from_slice(&bytes[..taken]);
                    *missing -= taken;
                    bytes = &bytes[taken..];
                    if *missing == 0 {
                        if let Some(state) = state_of(body) {
                            self.last.set(state);
                        }
                        self.reader = Reader::Head(Vec::new());
                    }
                }
            }
        }
    }
}

/// The length counts itself, and not the type.
fn after_head(kind: u8, length: u32) -> Reader {
    match usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(4) {
        0 => Reader::Head(Vec::new()),
        missing if kind == b'E' => Reader::Error { body: Vec::new(), missing },
        missing => Reader::Skip(missing),
    }
}

/// The field `C` of an ErrorResponse: fields are a type byte and a zero-terminated text.
fn state_of(body: &[u8]) -> Option<[u8; 5]> {
    body.split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"C"))
        .and_then(|state| state.try_into().ok())
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read_along(&buf.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// Makes TLS connections whose decrypted side is read along.
pub(super) struct WatchedTls<T> {
    pub(super) inner: T,
    pub(super) last: LastState,
}

impl<S, T> TlsConnect<S> for WatchedTls<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
{
    type Stream = Watched<T::Stream>;
    type Error = T::Error;
    type Future = BoxFuture<'static, Result<Self::Stream, Self::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        let last = self.last;
        let connecting = self.inner.connect(stream);
        Box::pin(
            async move { Ok(Watched { inner: connecting.await?, reader: Reader::Head(Vec::new()), last }) },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    /// Bytes arrive in whatever pieces the network makes of them.
    #[test]
    fn the_state_is_found_in_pieces_of_any_size() {
        let wire = [
            message(b'D', b"\x00\x01some row with E and C"),
            message(b'E', b"SERROR\0VERROR\0C55P03\0Mlibell\xc3\xa9\0\0"),
            message(b'Z', b"I"),
        ]
        .concat();
        for piece in 1..wire.len() {
            let last = LastState::default();
            let mut stream = Watched::socket((), last.clone(), false);
            wire.chunks(piece).for_each(|bytes| stream.read_along(bytes));
            assert_eq!(last.take().as_deref(), Some("55P03"), "pieces of {piece}");
            assert_eq!(last.take(), None);
        }
    }

    #[test]
    fn an_encrypted_stream_is_left_to_the_inner_watcher() {
        let last = LastState::default();
        let mut stream = Watched::socket((), last.clone(), true);
        stream.read_along(b"S");
        stream.read_along(&message(b'E', b"C40P01\0\0"));
        assert_eq!(last.take(), None);

        let mut refused = Watched::socket((), last.clone(), true);
        refused.read_along(&[b"N", &message(b'E', b"C40P01\0\0")[..]].concat());
        assert_eq!(last.take().as_deref(), Some("40P01"));
    }
}
