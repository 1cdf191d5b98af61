//! Which row a request is about, while a rectification changes what the row is found by.
//!
//! Requests of one person run in the order in which they were submitted, but one that waits for an approval or for the end
//! of a hold is overtaken. So a rectification leaves with every open request of its person, sealed under that request's
//! own key, which row it is: its key, and the identities before and after. Without that the request would look for a value
//! that nobody has any more, and end with nothing found, or that somebody else has got since.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Run, connector, keys, trouble::Interrupt};
use crate::{
    connectors::Resolution,
    domain::{
        compile::subject::subject_refs,
        compiled::{CompiledPlan, Root},
        key::{Key, Tuple},
        rectification::Identities,
        request::RunCode,
        vault::{DataKey, Vault},
    },
    service::Service,
    store::Tx,
};

/// The part of a request's sealed keys.
pub const PERSON_PART: &str = "person";

/// What a rectification left.
#[derive(Serialize, Deserialize)]
pub(super) enum Person {
    Row {
        /// The rectification.
        by: Uuid,
        place: String,
        before: Columns,
        after: Columns,
    },
    /// The request was submitted while the row was being changed: whom its identities named is not known.
    Unsure,
}

/// The columns of a root tuple by name: the other request may have another plan.
type Columns = Vec<(String, Option<Key>)>;

fn columns(root: &Root, tuple: &Tuple) -> Columns {
    root.columns.iter().map(|column| column.name.clone()).zip(tuple.iter().cloned()).collect()
}

fn tuple(root: &Root, columns: &Columns) -> Tuple {
    let value = |name: &str| columns.iter().find(|(known, _)| known == name).and_then(|(_, key)| key.clone());
    root.columns.iter().map(|column| value(&column.name)).collect()
}

fn place(root: &Root) -> String {
    format!("{}/{}/{}", root.connection, root.table.schema, root.table.name)
}

/// Leaves with the open requests that are named by what is given up who they are about. `is_sure` is false once the row
/// may have been written: then for those that came meanwhile it is too late.
pub(super) async fn leave(
    run: &Run<'_>,
    tx: &mut Tx,
    by: Uuid,
    identities: &Identities,
    is_sure: bool,
) -> Result<(), Interrupt> {
    let root = &run.plan.root;
    let row = || Person::Row {
        by,
        place: place(root),
        before: columns(root, &run.root),
        after: columns(root, &root.corrected(&run.root, &run.steps)),
    };
    let (given_up, vault) = (identities.given_up(), &run.service.vault);
    for id in tx.open_requests_of(&given_up, by).await? {
        let (data_key, asked) = keys::confidential(run.service, id).await?;
        let known = left(run.service, id, &data_key).await?;
        if !known.is_some_and(|person| person.is_by(by)) {
            put(tx, id, &data_key, &if is_sure { row() } else { Person::Unsure }).await?;
            // It is found by them from now on, also by the next rectification.
            tx.add_refs(id, &identities.after).await?;
            let places = |refs: &[(String, String)]| asked.places(vault, refs);
            tx.move_places(id, &places(&given_up), &places(&identities.after)).await?;
        }
    }
    // Of a plan whose root is a copy here: which of its rows it means is not known here.
    let copies: Vec<_> = identities
        .copies_before
        .iter()
        .filter(|old| !identities.copies_after.contains(old))
        .cloned()
        .collect();
    for id in tx.open_requests_of(&copies, by).await? {
        let (data_key, _) = keys::confidential(run.service, id).await?;
        if left(run.service, id, &data_key).await?.is_none() {
            put(tx, id, &data_key, &Person::Unsure).await?;
        }
    }
    Ok(())
}

async fn put(tx: &mut Tx, id: Uuid, data_key: &DataKey, person: &Person) -> Result<(), Interrupt> {
    let plain = serde_json::to_vec(person).unwrap_or_default();
    Ok(tx.put_keys(id, &[(PERSON_PART.to_owned(), data_key.seal(&plain, PERSON_PART))]).await?)
}

/// What a rectification left with a request.
pub(super) async fn left(
    service: &Service,
    id: Uuid,
    data_key: &DataKey,
) -> Result<Option<Person>, Interrupt> {
    let Some(sealed) = service.store.keys(id, PERSON_PART).await? else { return Ok(None) };
    let plain = data_key.open(&sealed, PERSON_PART)?;
    let person = serde_json::from_slice(&plain).map_err(|_| {
        Interrupt::trouble(RunCode::Internal, "what a rectification left cannot be read", None, None)
    })?;
    Ok(Some(person))
}

impl Person {
    fn is_by(&self, rectification: Uuid) -> bool {
        matches!(self, Self::Row { by, .. } if *by == rectification)
    }

    /// The row as it was left, before and after, in the columns of this plan's root.
    fn tuples(&self, root: &Root) -> Option<[Tuple; 2]> {
        match self {
            Self::Row { place: known, before, after, .. } if *known == place(root) => {
                Some([tuple(root, before), tuple(root, after)])
            }
            Self::Row { .. } | Self::Unsure => None,
        }
    }

    /// True when every identity of the row that the rectification knew is one that it saw or wrote.
    pub(super) fn is(&self, plan: &CompiledPlan, vault: &Vault, live: &Tuple) -> bool {
        let Some(tuples) = self.tuples(&plan.root) else { return false };
        let known: Vec<_> = tuples.iter().flat_map(|tuple| subject_refs(plan, vault, tuple)).collect();
        let is_known = |found: &(String, String)| {
            known.contains(found) || known.iter().all(|(identity, _)| *identity != found.0)
        };
        subject_refs(plan, vault, live).iter().all(is_known)
    }

    /// Finds the row by its own key, whatever it is called by now.
    pub(super) async fn find(&self, service: &Service, plan: &CompiledPlan) -> Result<Resolution, Interrupt> {
        let root = &plan.root;
        let Some(tuples) = self.tuples(root) else { return Err(unsure(root)) };
        let connector = connector(service, &root.connection)?;
        // The key itself may be what was corrected.
        for tuple in tuples.iter().rev() {
            let found = connector.reread(root, tuple).await;
            match found.map_err(|error| Interrupt::at(&error, &root.connection, None))? {
                Resolution::Found { tuple, .. } if !self.is(plan, &service.vault, &tuple) => {
                    return Err(Interrupt::trouble(
                        RunCode::SubjectAmbiguous,
                        "the person's row now has other identities than a rectification left: the key may have been \
                         given to somebody else; nothing was touched",
                        Some(&root.connection),
                        None,
                    ));
                }
                Resolution::NotFound => {}
                found => return Ok(found),
            }
        }
        Ok(Resolution::NotFound)
    }

    /// The identities by which what is left of the person may still be found, where the row itself is gone.
    pub(super) fn last_known(&self, root: &Root) -> Option<Tuple> {
        self.tuples(root).map(|[_, after]| after)
    }
}

fn unsure(root: &Root) -> Interrupt {
    Interrupt::trouble(
        RunCode::SubjectAmbiguous,
        "an identity of this person was being corrected while this request was submitted, so that it is not known whom \
         the request names; nothing was touched: submit it again",
        Some(&root.connection),
        None,
    )
}
