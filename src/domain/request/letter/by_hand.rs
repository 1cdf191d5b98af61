//! What the answer says of steps that people carried out.

use super::super::{Confidential, ManualResult, Request, StepState};

/// A line for every manual step that was done.
pub(super) fn done(request: &Request) -> impl Iterator<Item = String> {
    let done = request.steps.iter().filter(|step| step.result() == Some(ManualResult::Done));
    done.map(|step| {
        let basis = step.basis.as_ref().map(|basis| format!(" ({basis})")).unwrap_or_default();
        match recipient(step) {
            Some(recipient) => format!("- {recipient}: told of your request{basis}"),
            None => format!("- {}: done by hand{basis}", step.name),
        }
    })
}

/// A line for every manual step that was not, with its ground and what was written to it.
pub(super) fn not_possible(request: &Request, confidential: Option<&Confidential>) -> Vec<String> {
    let line = |step: &StepState| {
        let ground = match step.result()? {
            ManualResult::Done => return None,
            ManualResult::Impossible => "this proved impossible",
            ManualResult::Disproportionate => "this would have taken a disproportionate effort",
        };
        let what = match recipient(step) {
            Some(recipient) => {
                format!("{recipient} was not told of your request: {ground} (Article 19 GDPR)")
            }
            None => format!("{}: {ground}", step.name),
        };
        let note = confidential.and_then(|confidential| confidential.notes.get(&step.name));
        let note = note.map(|note| format!(". {note}")).unwrap_or_default();
        Some(format!("- {what}{note}"))
    };
    request.steps.iter().filter_map(line).collect()
}

fn recipient(step: &StepState) -> Option<&str> {
    step.by_hand.as_ref()?.recipient.as_deref()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::{super::draft, *};
    use crate::domain::{
        clock::Clock,
        request::{ByHand, MANUAL, Outcome, State, Subject},
    };

    fn step(name: &str, recipient: Option<&str>, result: ManualResult) -> StepState {
        let by_hand = ByHand {
            r#do: "Call them".to_owned(),
            recipient: recipient.map(str::to_owned),
            result: Some(result),
        };
        StepState { by_hand: Some(by_hand), ..StepState::pending(name, MANUAL) }
    }

    #[test]
    fn the_answer_says_what_people_did_and_what_they_could_not() {
        let request = Request {
            state: State::Completed { finished_at: Clock.now(), outcome: Outcome::DoneWithExceptions },
            steps: vec![
                step("paper_file", None, ManualResult::Done),
                step("mailer", Some("Mailer Inc."), ManualResult::Done),
                step("archive", None, ManualResult::Disproportionate),
                step("partner", Some("Partner Ltd."), ManualResult::Impossible),
            ],
            ..Request::sample(Uuid::nil())
        };
        let confidential = Confidential {
            subject: Subject(BTreeMap::new()),
            reason: None,
            denial_text: None,
            extension_reason: None,
            export: None,
            changes: None,
            notes: [
                ("partner".to_owned(), "They are out of business.".to_owned()),
                ("paper_file".to_owned(), "It was in room 12.".to_owned()),
            ]
            .into(),
            known: BTreeMap::new(),
        };
        let text = draft(&request, Some(&confidential)).unwrap();
        for part in [
            "What was done:\n- paper_file: done by hand\n- Mailer Inc.: told of your request\n\n",
            "What was not possible, and why:\n- archive: this would have taken a disproportionate effort\n\
             - Partner Ltd. was not told of your request: this proved impossible (Article 19 GDPR). They are out of \
             business.\n\n",
            "Article 77 GDPR",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("room 12"), "how a thing was done is the house's own business");
    }
}
