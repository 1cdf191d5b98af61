//! `rightful openapi`: the API's description, as the running service serves it.

use clap::Args;

use super::{Outcome, print};
use crate::http::openapi_yaml;

/// Prints openapi.yaml.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rightful openapi > openapi.yaml")]
pub(super) struct OpenApi;

impl OpenApi {
    pub fn run(&self) -> Outcome {
        print(&openapi_yaml())
    }
}
