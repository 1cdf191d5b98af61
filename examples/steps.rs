//! Steps in code without a service: what a program that has neither plan nor store erases, in order, with an event for
//! each step. `cargo run --example steps`

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rightful::{ErasurePlan, ErasureStep, Halted, StepContext, StepError, async_trait, run_erasure};

/// A cache of the program's own.
pub type Cache = Arc<Mutex<HashMap<String, String>>>;

/// Forgets what the cache holds of a person.
struct ForgetCached(Cache);

#[async_trait]
impl ErasureStep for ForgetCached {
    fn name(&self) -> &'static str {
        "cache"
    }

    async fn run(&self, context: &StepContext) -> Result<u64, StepError> {
        let email = context
            .identities
            .get("email")
            .ok_or(StepError::fail("the cache knows e-mail addresses only"))?;
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Run again it finds nothing, and says so: that is the proof.
        Ok(u64::from(cache.remove(email).is_some()))
    }
}

/// Erases one person; how many entries went.
pub async fn forget(cache: &Cache, email: &str, audit: &mut Vec<String>) -> Result<u64, Halted> {
    let plan = ErasurePlan { steps: vec![Arc::new(ForgetCached(cache.clone()))] };
    let identities = [("email", email)].into_iter().collect();
    run_erasure(&plan, identities, |event| {
        let step = event.step.unwrap_or_default();
        let rows = event.rows.map(|rows| rows.to_string()).unwrap_or_default();
        audit.push(format!("{} {step} {rows}", event.event.as_str()).trim_end().to_owned());
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), Halted> {
    let cache = Cache::default();
    let entry = ("jane@example.com".to_owned(), "likes tea".to_owned());
    cache.lock().unwrap_or_else(PoisonError::into_inner).extend([entry]);
    let mut audit = Vec::new();
    let gone = forget(&cache, "jane@example.com", &mut audit).await?;
    println!("{}\n{gone} of it gone", audit.join("\n"));
    Ok(())
}
