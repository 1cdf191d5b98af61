//! Pages for people: whole in themselves, with a style and nothing else that a browser would have to load or run.

use actix_web::{HttpResponse, http::header};
use base64::{Engine, engine::general_purpose::STANDARD};

/// A page that consists of this body. The browser is told to take that style and nothing else.
#[must_use]
pub fn page(title: &str, style: &str, body: &str) -> HttpResponse {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        STANDARD.encode(hash.as_ref())
    );
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{style}</style></head>\
         <body>{body}</body></html>",
        escaped(title)
    );
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(html)
}

/// As text in HTML, and in an attribute between double quotes.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
