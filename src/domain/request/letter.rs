//! A draft of the answer to the person (GDPR Art. 12(3), (4)): what was done, what was not and on which ground, and
//! which remedies are open. Plain English for somebody to read over, translate and sign; it is sent by them, not from
//! here.

use chrono::{DateTime, Utc};

mod by_hand;

use super::{Confidential, DenialReason, Kind, Outcome, Request, Right, State, StepState};

const REMEDIES: &str = "If you disagree, you may lodge a complaint with a supervisory authority, in particular where \
    you live or work or where you think your rights were infringed (Article 77 GDPR). You also have the right to an \
    effective judicial remedy (Article 79 GDPR).";

const RECIPIENTS: &str = "We tell those to whom we have disclosed these data of the correction, unless that proves \
    impossible or takes a disproportionate effort. If you ask us, we tell you who they are (Article 19 GDPR).";
/// GDPR Art. 15(1)(e), (f).
const RIGHTS: &str = "You may ask us to correct or to erase these data or to restrict their processing, and you may \
    object to it (Articles 16 to 21 GDPR). You may lodge a complaint with a supervisory authority (Article 77 GDPR).";

/// The draft; `None` before the request has ended. `confidential` is `None` when what was sealed is gone.
#[must_use]
pub fn draft(request: &Request, confidential: Option<&Confidential>) -> Option<String> {
    let finished_at = request.state.finished_at()?;
    let mut paragraphs = vec!["Dear Sir or Madam,".to_owned(), receipt(request, confidential)];
    paragraphs.extend(extension(request, confidential));
    let is_served = match &request.state {
        State::Completed { outcome: Outcome::NoMatch, .. } => {
            paragraphs.push(
                "We have looked for you in all systems that this concerns and found no personal data about you."
                    .to_owned(),
            );
            true
        }
        State::Completed { .. } => {
            paragraphs.push(format!("We carried out your request on {}.", day(finished_at)));
            true
        }
        State::Denied { .. } => {
            paragraphs.push(denial(request, confidential));
            false
        }
        State::Cancelled { .. } => {
            paragraphs.push(format!("Your request was withdrawn on {}.", day(finished_at)));
            false
        }
        _ => {
            paragraphs.push("We have not been able to carry out your request in full.".to_owned());
            false
        }
    };
    let done: Vec<String> = request.steps.iter().filter_map(done).chain(by_hand::done(request)).collect();
    if !done.is_empty() {
        paragraphs.push(format!("What was done:\n{}", done.join("\n")));
    }
    let kept: Vec<String> = request.steps.iter().filter_map(kept).collect();
    if !kept.is_empty() {
        paragraphs.push(format!("What we keep, and why:\n{}", kept.join("\n")));
    }
    let not_possible = by_hand::not_possible(request, confidential);
    if !not_possible.is_empty() {
        paragraphs.push(format!("What was not possible, and why:\n{}", not_possible.join("\n")));
    }
    if request.kind == Kind::Rectification && !done.is_empty() {
        paragraphs.push(RECIPIENTS.to_owned());
    }
    if !is_served || !kept.is_empty() || !not_possible.is_empty() {
        paragraphs.push(REMEDIES.to_owned());
    } else if request.kind == Kind::Export {
        paragraphs.push(RIGHTS.to_owned());
    }
    paragraphs.push("Yours faithfully,".to_owned());
    Some(paragraphs.join("\n\n") + "\n")
}

fn receipt(request: &Request, confidential: Option<&Confidential>) -> String {
    let theirs = request.external_id.as_ref().map(|id| format!(", {id}")).unwrap_or_default();
    let (what, article) = asked(request, confidential);
    format!(
        "On {} we received your request to {what} ({article} GDPR; our reference: {}{theirs}).",
        day(request.submitted_at),
        request.id,
    )
}

/// What the person asked for, and the article that gives the right to it.
fn asked(request: &Request, confidential: Option<&Confidential>) -> (&'static str, &'static str) {
    let right =
        confidential.and_then(|confidential| confidential.export.as_ref()).map(|options| options.right);
    match (request.kind, right) {
        (Kind::Erasure, _) => ("have your personal data erased", "Article 17"),
        (Kind::Export, Some(Right::Portability)) => {
            ("receive the personal data that you provided to us", "Article 20")
        }
        (Kind::Export, _) => ("receive a copy of your personal data", "Article 15"),
        (Kind::Rectification, _) => ("have your personal data corrected", "Article 16"),
    }
}

fn extension(request: &Request, confidential: Option<&Confidential>) -> Option<String> {
    let months = match request.answering.extension.as_ref()?.months {
        1 => "one month",
        _ => "two months",
    };
    let reason = confidential.and_then(|confidential| confidential.extension_reason.as_deref());
    let because = reason.map(|reason| format!(" The reason was: {reason}")).unwrap_or_default();
    Some(format!("We needed up to {months} more than usual to answer (Article 12(3) GDPR).{because}"))
}

fn denial(request: &Request, confidential: Option<&Confidential>) -> String {
    let ground = match request.answering.denial.unwrap_or(DenialReason::Other) {
        DenialReason::SuspectedFraud => {
            "we have reasonable doubts that it was you who asked (Article 12(6) GDPR)"
        }
        DenialReason::IdentityNotVerified => "we could not confirm your identity (Article 12(6) GDPR)",
        DenialReason::NoMatch => "we found no personal data about you",
        DenialReason::NotCovered => {
            let (_, article) = asked(request, confidential);
            &format!("the law does not give that right here ({article} GDPR)")
        }
        DenialReason::Excessive => {
            "it is manifestly unfounded or excessive, in particular because it repeats others (Article 12(5) GDPR)"
        }
        DenialReason::Other => "of the reason given below",
    };
    let text = confidential.and_then(|confidential| confidential.denial_text.as_deref());
    let text = text.map(|text| format!("\n{text}")).unwrap_or_default();
    format!("We have not carried out your request, because {ground}.{text}")
}

fn done(step: &StepState) -> Option<String> {
    let how = match step.action.as_str() {
        "unlink" => "changed so that they no longer refer to you",
        "mask" => "changed so that they no longer tell who you are",
        "rectify" => "corrected as you asked",
        "export" => "in the copy that comes with this answer",
        _ => "deleted",
    };
    // The basis of a keep is none for what is deleted when that is over.
    let basis = step.basis.as_ref().filter(|_| step.kept.is_none());
    let basis = basis.map(|basis| format!(" ({basis})")).unwrap_or_default();
    (step.rows_affected > 0).then(|| format!("- {}: {} {how}{basis}", step.name, records(step.rows_affected)))
}

fn kept(step: &StepState) -> Option<String> {
    let ground = step.basis.as_deref().unwrap_or("other people's records still refer to them");
    let last = step.kept.as_ref().and_then(|kept| kept.last);
    let until = last.map(|last| format!("; all of them are deleted soon after {}", day(last)));
    let until = until.unwrap_or_default();
    (step.rows_withheld > 0)
        .then(|| format!("- {}: {}. {ground}{until}", step.name, records(step.rows_withheld)))
}

fn records(count: i64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::domain::request::{Extension, Subject};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn ended(state: State) -> Request {
        let step = |name: &str, action: &str, affected, withheld, basis: Option<&str>| StepState {
            name: name.to_owned(),
            action: action.to_owned(),
            rows_affected: affected,
            rows_withheld: withheld,
            basis: basis.map(str::to_owned),
            ..StepState::sample()
        };
        Request {
            state,
            submitted_at: at("2026-11-02T09:00:00Z"),
            external_id: Some("ZD-1234".to_owned()),
            steps: vec![
                step("shop.visits", "delete", 12, 0, None),
                step("shop.orders", "mask", 1, 0, Some("totals stay for accounting")),
                step("shop.order_items", "keep", 0, 30, Some("Art. 17(3)(b): part of the invoice")),
                step("shop.messages", "delete", 0, 0, None),
            ],
            ..Request::sample(Uuid::nil())
        }
    }

    #[test]
    fn what_was_done_and_what_is_kept_is_told_with_its_ground() {
        let finished_at = at("2026-11-03T10:00:00Z");
        let request = ended(State::Completed { finished_at, outcome: Outcome::DoneWithExceptions });
        let expected = format!(
            "Dear Sir or Madam,\n\n\
             On 2 November 2026 we received your request to have your personal data erased (Article 17 GDPR; our \
             reference: 00000000-0000-0000-0000-000000000000, ZD-1234).\n\n\
             We carried out your request on 3 November 2026.\n\n\
             What was done:\n\
             - shop.visits: 12 records deleted\n\
             - shop.orders: 1 record changed so that they no longer tell who you are (totals stay for accounting)\n\n\
             What we keep, and why:\n\
             - shop.order_items: 30 records. Art. 17(3)(b): part of the invoice\n\n\
             {REMEDIES}\n\n\
             Yours faithfully,\n"
        );
        assert_eq!(draft(&request, None).unwrap(), expected);
    }

    #[test]
    fn a_refusal_names_its_ground_and_the_remedies() {
        let finished_at = at("2026-11-03T10:00:00Z");
        let mut request = ended(State::Denied { finished_at, outcome: Outcome::NothingDone });
        request.steps.clear();
        request.answering.denial = Some(DenialReason::IdentityNotVerified);
        request.answering.extension = Some(Extension { months: 2, subject_informed_at: None });
        let confidential = Confidential {
            subject: Subject(BTreeMap::new()),
            reason: None,
            denial_text: Some("You did not answer our call.".to_owned()),
            export: None,
            changes: None,
            notes: BTreeMap::new(),
            known: BTreeMap::new(),
            extension_reason: Some("many systems".to_owned()),
        };
        let text = draft(&request, Some(&confidential)).unwrap();
        for part in [
            "up to two months more than usual to answer (Article 12(3) GDPR). The reason was: many systems",
            "because we could not confirm your identity (Article 12(6) GDPR).\nYou did not answer our call.",
            REMEDIES,
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("What was done"), "{text}");
    }

    #[test]
    fn who_gets_a_copy_is_told_of_the_other_rights() {
        let finished_at = at("2026-11-03T10:00:00Z");
        let mut request = ended(State::Completed { finished_at, outcome: Outcome::Done });
        request.kind = Kind::Export;
        request.steps.truncate(1);
        request.steps[0].action = "export".to_owned();
        let text = draft(&request, None).unwrap();
        for part in [
            "your request to receive a copy of your personal data (Article 15 GDPR;",
            "- shop.visits: 12 records in the copy that comes with this answer",
            RIGHTS,
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("deleted"), "{text}");
    }

    #[test]
    fn only_who_got_all_they_asked_for_is_told_of_no_remedies() {
        let finished_at = at("2026-11-03T10:00:00Z");
        let nothing = ended(State::Cancelled { finished_at, outcome: Outcome::Partial });
        assert!(draft(&nothing, None).unwrap().contains(REMEDIES));
        let mut done = ended(State::Completed { finished_at, outcome: Outcome::Done });
        done.steps.truncate(2);
        assert!(!draft(&done, None).unwrap().contains(REMEDIES));
        let nobody = ended(State::Completed { finished_at, outcome: Outcome::NoMatch });
        assert!(draft(&nobody, None).unwrap().contains("found no personal data about you"));
        assert_eq!(draft(&ended(State::Approved), None), None);
    }
}
