//! Legal holds: what of a person must stay although they asked for its erasure (GDPR Art. 17(3), 18). One person places
//! a hold, another ends it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    audit::{ChainHead, EventName, NewEvent, timestamp},
    key::Key,
    request::{Kind, StepState, StepStatus, Subject},
};

/// Why data must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ground {
    /// Art. 17(3)(e).
    LegalClaims,
    /// Art. 17(3)(b).
    LegalObligation,
    /// Art. 17(3)(c), (d).
    PublicInterest,
    Other,
}

impl Ground {
    pub const ALL: [Self; 4] = [Self::LegalClaims, Self::LegalObligation, Self::PublicInterest, Self::Other];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LegalClaims => "legal_claims",
            Self::LegalObligation => "legal_obligation",
            Self::PublicInterest => "public_interest",
            Self::Other => "other",
        }
    }
}

/// What of the person is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    AllPlans,
    Plan,
    Table,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::AllPlans, Self::Plan, Self::Table];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllPlans => "all_plans",
            Self::Plan => "plan",
            Self::Table => "table",
        }
    }
}

/// Who ended a hold, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub by: String,
    pub at: DateTime<Utc>,
}

/// One hold. The person and the reason lie sealed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub id: Uuid,
    /// The plan whose identities name the person; the one that is held, unless all are.
    pub plan: String,
    pub scope: Scope,
    /// `connection.table`, with [`Scope::Table`].
    pub table: Option<String>,
    pub ground: Ground,
    pub placed_by: String,
    pub placed_at: DateTime<Utc>,
    /// `None`: until somebody ends it.
    pub expires_at: Option<DateTime<Utc>>,
    pub ended: Option<Ended>,
    /// When person and reason were destroyed.
    pub identities_destroyed_at: Option<DateTime<Utc>>,
    /// When its pseudonyms went too.
    pub reduced_at: Option<DateTime<Utc>>,
    /// Of the last audit event of `hold:<id>`.
    pub head: ChainHead,
}

/// The sealed part of a hold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldConfidential {
    pub subject: Subject,
    pub reason: String,
    /// What the person's row held when the hold was placed, by column, where it was found: its key leads to the person also
    /// when an identity is another one by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<BTreeMap<String, Option<Key>>>,
    /// The version of its plan by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<String>,
}

/// Why a hold cannot be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotEnd {
    #[error("a hold is ended by somebody else than who placed it")]
    OwnHold,
    #[error("the hold has ended")]
    HasEnded,
}

impl Hold {
    /// The stream of its audit events.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("hold:{}", self.id)
    }

    #[must_use]
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.ended.is_none() && self.expires_at.is_none_or(|at| at > now)
    }

    /// True for an erasure of the held person under `plan` with these steps: handing out and correcting data takes none
    /// of it away. A held table keeps the whole request back
    /// for as long as a step of it has work to do: what points at rows that stay must stay too.
    #[must_use]
    pub fn covers(&self, kind: Kind, plan: &str, steps: &[StepState]) -> bool {
        if kind != Kind::Erasure {
            return false;
        }
        match (self.scope, &self.table) {
            (Scope::AllPlans, _) => true,
            (Scope::Plan, _) => self.plan == plan,
            (Scope::Table, table) => {
                let held = table.as_deref().unwrap_or_default();
                self.plan == plan
                    && steps.iter().any(|step| {
                        !matches!(step.status, StepStatus::Completed | StepStatus::Withheld)
                            && table_of(&step.name) == held
                    })
            }
        }
    }

    /// The event that commits with a new hold. `subject_found`: whether the person's row was there; `None` when its
    /// database could not be asked, or did not say which row it is.
    #[must_use]
    pub fn placed(&self, subject_ref: Option<String>, subject_found: Option<bool>) -> NewEvent {
        let details = json!({
            "ground": self.ground.as_str(), "scope": self.scope.as_str(), "plan": self.plan, "table": self.table,
            "expires_at": self.expires_at.map(timestamp), "subject_found": subject_found,
        });
        self.event(EventName::HoldPlaced, &self.placed_by, subject_ref, details)
    }

    /// Ends it; the event that commits with that.
    ///
    /// # Errors
    /// For who placed it, and when it has ended.
    pub fn end(
        &mut self,
        actor: &str,
        subject_ref: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<NewEvent, CannotEnd> {
        if actor == self.placed_by {
            return Err(CannotEnd::OwnHold);
        }
        if self.ended.is_some() {
            return Err(CannotEnd::HasEnded);
        }
        self.ended = Some(Ended { by: actor.to_owned(), at: now });
        Ok(self.event(EventName::HoldEnded, actor, subject_ref, json!({})))
    }

    /// Ends a hold whose time is over; `None` for others.
    pub fn expire(&mut self, subject_ref: Option<String>, now: DateTime<Utc>) -> Option<NewEvent> {
        if self.ended.is_some() || self.is_active(now) {
            return None;
        }
        self.ended = Some(Ended { by: "system".to_owned(), at: now });
        Some(self.event(EventName::HoldExpired, "system", subject_ref, json!({})))
    }

    fn event(
        &self,
        event: EventName,
        actor: &str,
        subject_ref: Option<String>,
        details: serde_json::Value,
    ) -> NewEvent {
        NewEvent { subject_ref, ..NewEvent::new(event, actor, details) }
    }
}

/// `connection.table` of a step's name, which may go on with an entry's name or a number.
#[must_use]
pub fn table_of(step: &str) -> &str {
    step.split(['/', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    fn hold(scope: Scope) -> Hold {
        Hold {
            id: Uuid::nil(),
            plan: "customer".to_owned(),
            scope,
            table: (scope == Scope::Table).then(|| "shop.visits".to_owned()),
            ground: Ground::LegalClaims,
            placed_by: "alice".to_owned(),
            placed_at: Clock.now(),
            expires_at: None,
            ended: None,
            identities_destroyed_at: None,
            reduced_at: None,
            head: ChainHead::default(),
        }
    }

    fn step(name: &str, status: StepStatus) -> Vec<StepState> {
        vec![StepState { name: name.to_owned(), status, ..StepState::sample() }]
    }

    #[test]
    fn a_scope_says_which_requests_are_held() {
        let open = step("shop.visits", StepStatus::Pending);
        let covers = |hold: &Hold, plan: &str, steps: &[StepState]| hold.covers(Kind::Erasure, plan, steps);
        assert!(covers(&hold(Scope::AllPlans), "newsletter", &open));
        assert!(!hold(Scope::AllPlans).covers(Kind::Export, "newsletter", &open));
        let plan = hold(Scope::Plan);
        assert!(covers(&plan, "customer", &[]) && !covers(&plan, "newsletter", &open));
        let table = hold(Scope::Table);
        for (steps, covered) in [
            (open.clone(), true),
            (step("shop.visits/old", StepStatus::InProgress), true),
            (step("shop.visits#2", StepStatus::Failed), true),
            (step("shop.visits", StepStatus::Completed), false),
            (step("shop.visits_archive", StepStatus::Pending), false),
            (Vec::new(), false),
        ] {
            assert_eq!(covers(&table, "customer", &steps), covered, "{steps:?}");
        }
        assert!(!covers(&table, "newsletter", &open));
    }

    #[test]
    fn somebody_else_ends_a_hold_and_once() {
        let now = Clock.now();
        let mut held = hold(Scope::Plan);
        assert_eq!(held.end("alice", None, now), Err(CannotEnd::OwnHold));
        assert!(held.is_active(now));
        assert_eq!(held.end("arno", None, now).unwrap().event, EventName::HoldEnded);
        assert!(!held.is_active(now));
        assert_eq!(held.end("arno", None, now), Err(CannotEnd::HasEnded));
        assert_eq!(held.expire(None, now), None);
    }

    #[test]
    fn a_hold_expires_by_itself() {
        let now = Clock.now();
        let mut held = hold(Scope::Plan);
        assert_eq!(held.expire(None, now), None, "it has no end");
        held.expires_at = Some(now);
        assert!(!held.is_active(now));
        assert_eq!(held.expire(None, now - chrono::TimeDelta::seconds(1)), None);
        assert_eq!(held.expire(None, now).unwrap().event, EventName::HoldExpired);
        assert_eq!(held.ended.unwrap().by, "system");
    }
}
