//! Calls to other people's servers: only where the configuration sends them, never where an address leads that the
//! outside cannot reach anyway (RFC 1918 and the like, unless listed), and never on to where an answer points.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Method, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

/// For a whole call, its answer included.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a call came to nothing. Holds nothing that the other side said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    #[error("its address is a private one that `outbound.private_hosts` does not list")]
    Private,
    #[error("no answer in time")]
    TimedOut,
    #[error("it cannot be reached")]
    Unreachable,
    #[error("its answer is too large")]
    TooLarge,
}

/// What is asked of another server.
pub(super) struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// JSON.
    pub body: Option<String>,
    /// For the whole call.
    pub timeout: Duration,
}

/// An answer whose body has not been read.
pub(super) struct Answer {
    pub status: u16,
    response: Response,
}

impl Answer {
    /// A header that is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The body, as far as it has at most `limit` bytes.
    pub async fn body(mut self, limit: usize) -> Result<Vec<u8>, WebError> {
        let mut body = Vec::new();
        while let Some(part) = self.response.chunk().await.map_err(|error| sorted(&error))? {
            if body.len() + part.len() > limit {
                return Err(WebError::TooLarge);
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

/// A client that keeps to these rules. Clones share its connections.
#[derive(Clone)]
pub struct WebClient {
    client: Client,
    private_hosts: Arc<BTreeSet<String>>,
}

impl WebClient {
    /// `private_hosts`: names and addresses that may lead to private addresses.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(private_hosts: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let private_hosts: Arc<BTreeSet<String>> =
            Arc::new(private_hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect());
        let client = Client::builder()
            .redirect(Policy::none())
            // A proxy would resolve names by itself, past the rule about addresses.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("rightful/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Resolver(private_hosts.clone())))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, private_hosts })
    }

    /// Posts JSON; the answer's status.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<u16, WebError> {
        let url: Url = url.parse().map_err(|_| WebError::Unreachable)?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| WebError::Unreachable)?;
            map.insert(HeaderName::from_static(name), value);
        }
        let outgoing =
            Outgoing { method: Method::POST, url, headers: map, body: Some(body), timeout: TIMEOUT };
        Ok(self.send(outgoing).await?.status)
    }

    /// Makes any call; redirects are answers like others.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Result<Answer, WebError> {
        let Outgoing { method, url, mut headers, body, timeout } = outgoing;
        self.require_public(&url)?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut request = self.client.request(method, url).headers(headers).timeout(timeout);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| sorted(&error))?;
        Ok(Answer { status: response.status().as_u16(), response })
    }

    /// An address in the URL itself is never resolved, so the resolver does not see it.
    fn require_public(&self, url: &Url) -> Result<(), WebError> {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        match is_public(address) || self.private_hosts.contains(&address.to_string()) {
            true => Ok(()),
            false => Err(WebError::Private),
        }
    }
}

fn sorted(error: &reqwest::Error) -> WebError {
    match error {
        error if error.is_timeout() => WebError::TimedOut,
        error if is_private(error) => WebError::Private,
        _ => WebError::Unreachable,
    }
}

fn is_private(error: &reqwest::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<WebError>() == Some(&WebError::Private) {
            return true;
        }
        source = error.source();
    }
    false
}

/// The system's resolver, less the private addresses of hosts that are not listed. What it lets through is what is
/// connected to: a name that changes its mind between a check and the connection gains nothing.
struct Resolver(Arc<BTreeSet<String>>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let listed = self.0.contains(&name.as_str().to_ascii_lowercase());
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> =
                found.into_iter().filter(|address| listed || is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(WebError::Private.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Reachable from everywhere, by the registries of special-purpose addresses (RFC 6890 and its updates).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Shared by carriers, RFC 6598.
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments, RFC 6890, and benchmarks, RFC 2544.
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Three ways to write an IPv4 address: mapped, translated (RFC 6052), 6to4 (RFC 3056).
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(embedded(high, low))
        }
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Of what is assigned to the global internet (2000::/3), without Teredo and documentation.
        [0x2001, 0, ..] | [0x2001, 0xdb8, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_everybody_can_reach_are_public() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("172.32.0.1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("198.18.0.1", false),
            ("255.255.255.255", false),
            ("2606:2800:220:1::1", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:93.184.216.34", true),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[tokio::test]
    async fn private_addresses_are_refused_unless_listed() {
        let strict = WebClient::new([]).unwrap();
        for url in ["http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost:9/", "http://2130706433:9/"] {
            assert_eq!(strict.post(url, &[], String::new()).await, Err(WebError::Private), "{url}");
        }
        let listed = WebClient::new(["LOCALHOST".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        for url in ["http://127.0.0.1:9/", "http://localhost:9/"] {
            assert_eq!(listed.post(url, &[], String::new()).await, Err(WebError::Unreachable), "{url}");
        }
    }
}
