//! The person's consents, in the package: the service holds them itself.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Interrupt, Making, Recorder, Run, unpacked};
use crate::{
    domain::{
        audit::timestamp,
        compiled::CompiledPlan,
        consent::{Consent, may_be_of},
        package::{Column, Value},
        plan::About,
        pseudonym::compared,
        request::Right,
    },
    service::Service,
    store::ConsentFilter,
};

const CHUNK: i64 = 500;

/// Where the file's rows end, and the next chunk begins.
type Place = Option<(DateTime<Utc>, Uuid)>;

/// True when a person who is known by these has consents.
pub async fn are_there(
    service: &Service,
    plan: &CompiledPlan,
    refs: &[(String, String)],
) -> Result<bool, Interrupt> {
    let mut after = None;
    loop {
        let (found, next) = chunk(service, plan, refs, after).await?;
        if !found.is_empty() || next.is_none() {
            return Ok(!found.is_empty());
        }
        after = next;
    }
}

/// Some of the person's consents, and where the next ones begin.
async fn chunk(
    service: &Service,
    plan: &CompiledPlan,
    refs: &[(String, String)],
    after: Place,
) -> Result<(Vec<Consent>, Place), Interrupt> {
    let pseudonyms = refs.iter().map(|(_, pseudonym)| pseudonym.clone()).collect();
    let filter = ConsentFilter { subject_refs: Some(pseudonyms), ..ConsentFilter::default() };
    let found = service.store.consents(&filter, after, CHUNK).await?;
    let next = found.last().map(|last| (last.consent.at, last.consent.id));
    let root = &plan.root;
    let keys: Vec<&str> = root
        .identities
        .iter()
        .filter(|identity| root.key.contains(&identity.column))
        .map(|identity| identity.name.as_str())
        .collect();
    let own = found.into_iter().filter(|whole| may_be_of(&compared(&whole.refs), refs, &keys));
    Ok((own.map(|whole| whole.consent).collect(), next))
}

impl Making {
    /// Writes the person's consents, if there are any; how many there were. What the person has provided (Art. 20) is the
    /// act itself; when it was recorded is the controller's.
    pub(super) async fn consents(
        &mut self,
        run: &Run<'_>,
        recorder: &mut Recorder,
        right: Right,
    ) -> Result<u64, Interrupt> {
        let refs = compared(&run.service.store.refs(recorder.request.id).await?);
        let (mut written, mut after) = (0, None);
        loop {
            let (found, next) = chunk(run.service, &run.plan, &refs, after).await?;
            if written == 0 && !found.is_empty() {
                self.packer.begin_consents(columns(right), &about()).map_err(|_| unpacked())?;
            }
            written += found.len() as u64;
            recorder.check()?;
            if !found.is_empty() {
                self.pack(found.iter().map(|consent| row(consent, right)).collect()).await?;
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        self.packer.end().map_err(|_| unpacked())?;
        Ok(written)
    }
}

fn about() -> About {
    About {
        purpose: vec!["to be able to show your consent (Article 7(1) GDPR)".to_owned()],
        legal_basis: vec!["legal obligation".to_owned()],
        ..About::default()
    }
}

fn columns(right: Right) -> Vec<Column> {
    let mut columns = vec![
        ("purpose", "text"),
        ("state", "text"),
        ("text_version", "text"),
        ("text_sha256", "text"),
        ("source", "text"),
        ("at", "timestamp with time zone"),
    ];
    if right == Right::Access {
        columns.push(("recorded_at", "timestamp with time zone"));
    }
    let column = |(name, kind): (&str, &str)| Column { name: name.to_owned(), type_name: kind.to_owned() };
    columns.into_iter().map(column).collect()
}

fn row(consent: &Consent, right: Right) -> Vec<Value> {
    let mut texts = vec![
        consent.purpose.clone(),
        consent.state.as_str().to_owned(),
        consent.text.version.clone(),
        consent.text.hash.clone(),
        consent.source.as_str().to_owned(),
        timestamp(consent.at),
    ];
    if right == Right::Access {
        texts.push(timestamp(consent.recorded_at));
    }
    texts.into_iter().map(Value::Text).collect()
}
