//! The version of a compiled plan.

use std::sync::Arc;

use aws_lc_rs::digest;

use crate::domain::{
    audit::hex,
    compiled::{Action, CompiledPlan, PlanVersion},
    rectification::Correctable,
};

/// SHA-256 over the RFC 8785 JSON of what decides which rows and columns are touched, and in what order: the plan
/// without its version and without the reasons that are only reported.
pub(super) fn of(plan: &CompiledPlan) -> PlanVersion {
    let mut decisive = plan.clone();
    decisive.version = String::new();
    for step in Arc::make_mut(&mut decisive.erasure) {
        step.basis = None;
    }
    for step in Arc::make_mut(&mut decisive.rectification) {
        if let Action::Rectify(rectification) = &mut step.action {
            rectification.columns.iter_mut().for_each(bare);
        }
    }
    for step in &mut decisive.manual {
        step.basis = None;
    }
    let bytes =
        serde_json_canonicalizer::to_vec(&decisive).expect("a compiled plan has text keys and no floats");
    format!("sha256:{}", hex(digest::digest(&digest::SHA256, &bytes).as_ref()))
}

/// A value is checked when it is given and tried before it is written: that a column has become wider must not keep a
/// request back, least of all an erasure.
fn bare(correctable: &mut Correctable) {
    correctable.column.type_name.clear();
    correctable.column.nullable = false;
    correctable.base_type = None;
    correctable.max_length = None;
    correctable.fixed = None;
    correctable.unique.clear();
    correctable.foreign_keys.clear();
}
