//! The version of a compiled plan.

use std::sync::Arc;

use aws_lc_rs::digest;

use crate::domain::{
    audit::hex,
    compiled::{CompiledPlan, PlanVersion},
};

/// SHA-256 over the RFC 8785 JSON of what decides which rows and columns are touched, and in what order: the plan
/// without its version and without the reasons that are only reported.
pub(super) fn of(plan: &CompiledPlan) -> PlanVersion {
    let mut decisive = plan.clone();
    decisive.version = String::new();
    for step in Arc::make_mut(&mut decisive.erasure) {
        step.basis = None;
    }
    for step in &mut decisive.manual {
        step.basis = None;
    }
    let bytes =
        serde_json_canonicalizer::to_vec(&decisive).expect("a compiled plan has text keys and no floats");
    format!("sha256:{}", hex(digest::digest(&digest::SHA256, &bytes).as_ref()))
}
