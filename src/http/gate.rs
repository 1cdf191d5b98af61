//! The gate in front of `/v1`: a valid bearer token (RFC 6750) and the rate limit, before anything else is said
//! about a path.

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};

use super::{
    api::Api,
    auth::{Principal, verifier::Rejected},
    problem::{Code, Problem},
};

/// Lets a call through with its [`Principal`], or answers it.
///
/// # Errors
/// Those of the inner services.
pub async fn authenticate<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    match principal(&request).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            Ok(next.call(request).await?.map_into_left_body())
        }
        Err(problem) => Ok(request.into_response(problem.error_response()).map_into_right_body()),
    }
}

async fn principal(request: &ServiceRequest) -> Result<Principal, Problem> {
    let Some(api) = request.app_data::<web::Data<Api>>().cloned() else {
        return Err(Problem::internal("the application has no state"));
    };
    let token = bearer(request)?;
    let principal = api.verifier.verify(&token).await.map_err(refused)?;
    api.limiter.admit(&principal.sub).map_err(|wait| {
        Problem::new(Code::RateLimited, "This principal makes too many calls.")
            .header(header::RETRY_AFTER, &wait.as_secs().saturating_add(1).to_string())
    })?;
    Ok(principal)
}

fn bearer(request: &ServiceRequest) -> Result<String, Problem> {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let (first, second) = (values.next(), values.next());
    let text = match (first.map(|value| value.to_str()), second) {
        (None, _) => {
            return Err(Problem::new(Code::Unauthenticated, "Send a token as `Authorization: Bearer …`.")
                .header(header::WWW_AUTHENTICATE, "Bearer realm=\"rightful\""));
        }
        (Some(Ok(text)), None) => text,
        _ => return Err(refused(Rejected::Malformed)),
    };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim().to_owned()),
        _ => Err(refused(Rejected::Malformed)),
    }
}

fn refused(rejected: Rejected) -> Problem {
    if rejected == Rejected::NoKeys {
        return Problem::new(Code::Unavailable, "The issuer's keys cannot be fetched at the moment.")
            .header(header::RETRY_AFTER, "60");
    }
    let challenge =
        format!("Bearer realm=\"rightful\", error=\"invalid_token\", error_description=\"{rejected}\"");
    Problem::new(Code::Unauthenticated, format!("Not accepted: {rejected}."))
        .header(header::WWW_AUTHENTICATE, &challenge)
}
