//! A certificate on paper: one page that an officer signs, with the proof below it for whoever verifies it.

use std::fmt::Write;

use crate::{
    domain::{
        certificate::{Certificate, Statement, Step},
        request::{Kind, Outcome},
    },
    http::html::escaped,
};

pub const STYLE: &str = "\
    body{font:15px/1.5 Georgia,'Times New Roman',serif;color:#1b2430;max-width:50rem;margin:2rem auto;padding:0 1.5rem}\
    header{border-bottom:3px double #1b2430;padding-bottom:1rem;margin-bottom:1.5rem}\
    h1{font-size:2rem;font-weight:normal;letter-spacing:.02em;margin:.2rem 0}\
    h3{font-size:1rem;margin:1.2rem 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #c9ced6;padding-bottom:.2rem}\
    .over{font-variant:small-caps;letter-spacing:.15em;color:#5b6675;margin:0}\
    .end{font-size:1.2rem;margin:.3rem 0 0}\
    table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0}\
    .facts th{font-weight:normal;color:#5b6675;width:11rem}\
    .steps th{border-bottom:1px solid #1b2430;font-weight:normal;color:#5b6675}.steps td{border-bottom:1px solid #e1e4e9}\
    .steps .n{text-align:right;font-variant-numeric:tabular-nums}.note{display:block;font-size:.87em;color:#5b6675}\
    code,pre{font:12px/1.45 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}\
    pre{background:#f4f5f7;border:1px solid #e1e4e9;padding:.7rem;white-space:pre-wrap;margin:.4rem 0}\
    .sign{display:flex;gap:2rem;margin-top:4.5rem}.sign p{flex:1;border-top:1px solid #1b2430;margin:0;padding-top:.3rem;\
    color:#5b6675;font-size:.87em}\
    @page{size:A4;margin:18mm}\
    @media print{body{font-size:10.5pt;max-width:none;margin:0;padding:0}h2,tr,.sign{break-inside:avoid}\
    .proof{break-before:page}pre{background:none}}";

/// The heading, and the name of the page.
pub fn title(statement: &Statement) -> String {
    let right = match statement.kind {
        Kind::Erasure => "erasure",
        Kind::Export => "access",
        Kind::Rectification => "rectification",
    };
    format!("Certificate on a request for {right}")
}

/// The page. Writing to a String cannot fail.
pub fn body(certificate: &Certificate) -> String {
    let Certificate { statement, event, proof, .. } = certificate;
    let mut html = String::new();
    let _ = write!(
        html,
        "<header><p class=\"over\">{}</p><h1>{}</h1><p class=\"end\">{}: {}.</p></header>",
        article(statement.kind),
        title(statement),
        sentence(statement.status.as_str()),
        told(statement.outcome)
    );
    facts(&mut html, certificate);
    steps(&mut html, &statement.steps);
    let event = serde_json::to_string_pretty(event).unwrap_or_default();
    let _ = write!(
        html,
        "<div class=\"sign\"><p>Place and date</p><p>Name and function</p><p>Signature</p></div>\
         <section class=\"proof\"><h2>Proof</h2><p>The event below ended the request. Its <code>details.statement</code> is the \
         SHA-256 of what this certificate states, and the proof leads from the event to the signed checkpoint of the audit log \
         that stands at its end.</p><p>To verify it, take the same certificate as JSON \
         (<code>GET /v1/requests/{}/certificate?format=json</code>) and the public key that the log's owner has given you, and \
         run <code>rightful certificate verify certificate.json --key PUBLIC_KEY</code>, or, without this program, \
         <code>python3 verify_certificate.py certificate.json PUBLIC_KEY</code>.</p>\
         <h3>Event</h3><pre>{}</pre><h3>Inclusion in the log</h3><pre>{}</pre></section>",
        statement.request_id,
        escaped(&event),
        escaped(proof)
    );
    html
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Erasure => "General Data Protection Regulation, Article 17",
        Kind::Export => "General Data Protection Regulation, Articles 15 and 20",
        Kind::Rectification => "General Data Protection Regulation, Article 16",
    }
}

fn told(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "everything that the plan provides for was done",
        Outcome::DoneWithExceptions => "done, but for what was withheld, which is listed with its reason",
        Outcome::NoMatch => "nothing of the person was found",
        Outcome::Partial => "a part was done",
        Outcome::NothingDone => "nothing was done",
    }
}

fn facts(html: &mut String, certificate: &Certificate) {
    let Certificate { statement, event, .. } = certificate;
    let mut rows = vec![
        ("Request", code(&statement.request_id.to_string())),
        (
            "Person (pseudonym)",
            event.subject_ref.as_deref().map_or_else(|| "never looked up".to_owned(), code),
        ),
        ("Plan", format!("{} {}", escaped(&statement.plan.name), code(&statement.plan.version))),
        ("Received", time(&statement.submitted_at)),
        ("Begun", statement.started_at.as_deref().map_or_else(|| "not begun".to_owned(), time)),
        ("Ended", time(&statement.finished_at)),
        ("Ended by", escaped(&event.actor)),
    ];
    if let Some(reason) = statement.denial {
        rows.push(("Reason of the denial", sentence(reason.as_str())));
    }
    if let Some(error) = &statement.error {
        let cause = error.cause.map(|cause| format!(", cause {}", cause.as_str())).unwrap_or_default();
        let step = error.step.as_deref().map(|step| format!(", at {}", escaped(step))).unwrap_or_default();
        rows.push(("Failed by", format!("{}{cause}{step}", error.code.as_str())));
    }
    if let Some(package) = &statement.package {
        let sealed = if package.encrypted { ", encrypted to the recipient" } else { "" };
        rows.push(("Package", format!("{} bytes{sealed}, SHA-256 {}", package.size, code(&package.sha256))));
    }
    if let Some(first) = statement.replay_of {
        rows.push(("Done again, after", code(&first.to_string())));
    }
    html.push_str("<table class=\"facts\">");
    for (name, value) in rows {
        let _ = write!(html, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    html.push_str("</table>");
}

fn steps(html: &mut String, steps: &[Step]) {
    html.push_str(
        "<h2>What was done</h2><table class=\"steps\"><tr><th>Step</th><th>Action</th><th class=\"n\">Found</th>\
         <th class=\"n\">Done</th><th class=\"n\">Withheld</th><th class=\"n\">Left</th></tr>",
    );
    for step in steps {
        // What a person did has no rows.
        let counted = step.by_hand.is_none();
        let count = |rows: Option<i64>| {
            rows.filter(|_| counted).map_or_else(|| "–".to_owned(), |rows| rows.to_string())
        };
        let mut notes = String::new();
        let mut note = |name: &str, value: &str| {
            let _ = write!(notes, "<span class=\"note\">{name}: {}</span>", escaped(value));
        };
        if !step.columns.is_empty() {
            note("columns", &step.columns.join(", "));
        }
        if let Some(basis) = &step.basis {
            note("basis", basis);
        }
        if let Some(until) = &step.kept_until {
            note("kept until", &time(until));
        }
        if let Some(by_hand) = &step.by_hand {
            note("by hand", &by_hand.r#do);
            if let Some(recipient) = &by_hand.recipient {
                note("recipient", recipient);
            }
            note("result", by_hand.result.map_or("open", |result| result.as_str()));
        }
        let _ = write!(
            html,
            "<tr><td>{}{notes}</td><td>{}<span class=\"note\">{}</span></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escaped(&step.name),
            escaped(&step.action),
            step.status.as_str().replace('_', " "),
            count(step.rows.matched),
            count(Some(step.rows.affected)),
            count(Some(step.rows.withheld)),
            count(step.rows.remaining)
        );
    }
    html.push_str("</table>");
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

/// One of our own words, at the beginning of a sentence.
fn sentence(word: &str) -> String {
    let mut text = word.replace('_', " ");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// Without the fractions of a second.
fn time(text: &str) -> String {
    let seconds = text.get(..19).unwrap_or(text);
    escaped(&format!("{} UTC", seconds.replace('T', " ")))
}
