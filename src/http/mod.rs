//! The REST API: [`routes`] is the table of contents. A handler parses, calls one service function and shapes the
//! answer; authentication, rights, limits and headers lie around it.

mod api;
mod audit;
pub mod auth;
pub mod backups;
mod body;
mod call;
mod consents;
mod cors;
mod docs;
mod errors;
mod gate;
mod health;
mod holds;
mod html;
mod limit;
mod observe;
mod openapi;
/// Public for the properties in `tests/it/fuzz`, as is [`query`].
pub mod page;
mod plans;
pub mod problem;
pub mod query;
mod requests;
pub mod routes;
mod runs;
pub mod webhooks;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn, web};
use tokio::{sync::watch, task::JoinHandle};

use crate::service::Service;
use api::Api;
pub(crate) use audit::VerificationBody;
use auth::{Verifier, keys::UnusableKey};
pub use openapi::openapi_yaml;

/// Answers under way get this long when the server stops, in seconds.
const SHUTDOWN_SECONDS: u64 = 5;
/// Handlers only parse and wait; the service's work runs on its own runtime.
const WORKERS: usize = 2;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// `127.0.0.1:0` takes any free port; see [`Running::address`].
    pub listen: String,
    pub auth: auth::Settings,
    /// Of the browser pages that may call.
    pub origins: Vec<String>,
    /// Workers run in this process: `/readyz` then asks for a successful poll of the store.
    pub has_worker: bool,
    /// False for a mere worker: then nothing is served below `/v1`.
    pub has_api: bool,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("auth.keys: {0}")]
    Key(#[from] UnusableKey),
    #[error("cannot listen on {listen}: {cause}")]
    Listen { listen: String, cause: io::Error },
}

/// A server that runs.
pub struct Running {
    pub address: SocketAddr,
    handle: ServerHandle,
    closing: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Stops taking calls, lets those under way end, and returns.
    ///
    /// # Errors
    /// When the server ended by a fault of its own.
    pub async fn stop(self) -> io::Result<()> {
        self.closing.send_replace(true);
        self.handle.stop(true).await;
        self.finished().await
    }

    /// Waits for the server's end.
    ///
    /// # Errors
    /// When the server ended by a fault of its own.
    pub async fn finished(self) -> io::Result<()> {
        self.task.await.map_err(io::Error::other)?
    }
}

/// Starts to serve on this tokio runtime, which must outlive the server.
///
/// # Errors
/// When the configured key cannot be used, or the address is taken.
pub async fn serve(service: Arc<Service>, options: Options) -> Result<Running, ServeError> {
    let verifier = Verifier::new(options.auth)?;
    let listen_error = |cause| ServeError::Listen { listen: options.listen.clone(), cause };
    let listener = TcpListener::bind(&options.listen).map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let (closing, closed) = watch::channel(false);
    let api = web::Data::new(Api::new(service, verifier, options.origins, options.has_worker, closed));
    let has_api = options.has_api;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(api.clone())
            .wrap(from_fn(cors::cors))
            .wrap(from_fn(observe::observe))
            .configure(|config| {
                if has_api {
                    config.service(
                        web::scope("/v1")
                            .wrap(from_fn(gate::authenticate))
                            .configure(routes::configure_v1)
                            .default_service(web::to(routes::not_found)),
                    );
                    config.configure(routes::configure_links);
                }
            })
            .configure(routes::configure_public)
            .default_service(web::to(routes::not_found))
    })
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .workers(WORKERS)
    .listen(listener)
    .map_err(listen_error)?
    .run();
    Ok(Running { address, handle: server.handle(), closing, task: tokio::spawn(server) })
}
