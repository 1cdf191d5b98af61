//! The programs in `examples/` do what they say.

use std::sync::PoisonError;

use rightful::domain::request::Outcome;

#[path = "../../examples/embed.rs"]
#[expect(dead_code, reason = "its main prints what this test looks at")]
mod embed;
#[path = "../../examples/steps.rs"]
#[expect(dead_code, reason = "its main prints what this test looks at")]
mod steps;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_erases_what_no_table_holds() {
    let folder = tempfile::tempdir().unwrap();
    let request = embed::erase_jane(folder.path()).await.unwrap().request;
    assert_eq!(request.state.outcome(), Some(Outcome::Done), "{request:?}");
    let steps: Vec<_> = request
        .steps_in_order()
        .map(|step| (step.name.as_str(), step.action.as_str(), step.rows_affected))
        .collect();
    assert_eq!(steps, [("uploads", "code", 2), ("shop.users", "delete", 1)]);
    assert!(!folder.path().join("uploads/42").exists());
}

#[tokio::test]
async fn steps_run_without_a_service() {
    let cache = steps::Cache::default();
    for email in ["jane@example.com", "joe@example.com"] {
        cache.lock().unwrap_or_else(PoisonError::into_inner).insert(email.to_owned(), "likes tea".to_owned());
    }
    let mut audit = Vec::new();
    assert_eq!(steps::forget(&cache, "jane@example.com", &mut audit).await, Ok(1));
    assert_eq!(audit, ["step.started cache", r#"step.completed cache {"affected":1,"remaining":0}"#]);
    assert_eq!(cache.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
}
