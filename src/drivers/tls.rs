//! TLS as the URL asks for it, with rustls: the five levels that libpq and MySQL's clients know.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use url::Url;

/// How much TLS a URL asks for (`sslmode`, `ssl-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// Encrypted where the server offers it; the certificate is not checked.
    Prefer,
    /// Encrypted or nothing; the certificate is checked only where a file of roots is named.
    Require,
    /// The certificate must come from a trusted root.
    VerifyCa,
    /// And name the host.
    VerifyFull,
}

impl TlsMode {
    /// Both databases' spellings.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "disable" | "disabled" => Self::Disable,
            "allow" | "prefer" | "preferred" => Self::Prefer,
            "require" | "required" => Self::Require,
            "verify-ca" | "verify_ca" => Self::VerifyCa,
            "verify-full" | "verify_identity" | "verify-identity" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// The client side of TLS for a mode; `root_file` replaces the system's roots.
///
/// # Errors
/// When the roots cannot be read.
pub fn client_config(mode: TlsMode, root_file: Option<&str>) -> Result<ClientConfig, String> {
    let mode = match mode {
        // As libpq does: who names roots wants them asked.
        TlsMode::Require if root_file.is_some() => TlsMode::VerifyCa,
        mode => mode,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let verifier = match mode {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Lenient { provider, chain: None },
        TlsMode::VerifyCa | TlsMode::VerifyFull => {
            let roots = Arc::new(roots(root_file)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|error| error.to_string())?;
            if mode == TlsMode::VerifyFull {
                return Ok(builder.with_webpki_verifier(chain).with_no_client_auth());
            }
            Lenient { provider, chain: Some(chain) }
        }
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn roots(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> = match file {
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| format!("the root certificates in {file} cannot be read: {error}"))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        return Err(
            "no trusted root certificates were found: name them with sslrootcert or ssl-ca".to_owned()
        );
    }
    Ok(store)
}

/// Checks signatures always, the chain where one is asked for, the host name never.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain is checked before the name; `verify-ca` does without the latter.
            Err(Error::InvalidCertificate(
                rustls::CertificateError::NotValidForName
                | rustls::CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes the TLS parameters out of a URL: the drivers know fewer of them.
///
/// # Errors
/// When it is no URL.
pub fn url_without(text: &str, names: &[&str]) -> Result<(Url, Vec<Option<String>>), String> {
    let mut url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let found = names
        .iter()
        .map(|name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
        .collect();
    let rest: Vec<&(String, String)> =
        pairs.iter().filter(|(key, _)| !names.contains(&key.as_str())).collect();
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    Ok((url, found))
}

/// The mode that a URL's parameter asks for; `prefer` without one.
///
/// # Errors
/// What may be written.
pub fn tls_mode(text: Option<&String>, name: &str) -> Result<TlsMode, String> {
    text.map_or(Ok(TlsMode::Prefer), |text| {
        TlsMode::parse(text)
            .ok_or_else(|| format!("{name}: write disable, prefer, require, verify-ca or verify-full"))
    })
}
