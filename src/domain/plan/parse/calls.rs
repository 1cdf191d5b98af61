//! What an entry says of a resource of an HTTP service: calls instead of columns.

use super::super::{At, Erase, RectifyCall};
use crate::domain::{
    call::{CallTemplate, Method},
    document::{Fields, Node, Reader},
};

/// A call with one of these methods.
pub(super) fn read_call(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    methods: &[Method],
) -> Option<CallTemplate> {
    let text = reader.text(node, what)?;
    let example = methods.first().map_or("GET", |method| method.as_str());
    let remedy = format!("write a method and a path: \"{example} /contacts/{{email}}\"");
    match CallTemplate::parse(&text) {
        Ok(call) if methods.contains(&call.method) => Some(call),
        Ok(call) => {
            let known: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
            let problem = format!("{what} is a {}; it must be {}", call.method.as_str(), known.join(" or "));
            reader.error(node.line, problem, remedy);
            None
        }
        Err(problem) => {
            reader.error(node.line, format!("{what}: {problem}"), remedy);
            None
        }
    }
}

/// `{ call, verify }`; `node` is the call.
pub(super) fn read_erase(
    reader: &mut Reader,
    fields: &Fields<'_>,
    node: &Node,
    shown: &str,
) -> Option<Erase> {
    let methods = [Method::Delete, Method::Post, Method::Put, Method::Patch];
    let call = read_call(reader, node, &format!("`call` in `erase` of {shown}"), &methods);
    let Some(verify) = fields.get("verify") else {
        reader.error(
            node.line,
            format!("`erase` of {shown} has no `verify`: nobody could prove that it is gone"),
            "add the call that finds it: verify: \"GET /contacts/{email}\"; 404 and 410 mean gone",
        );
        return None;
    };
    let verify = read_call(reader, verify, &format!("`verify` in `erase` of {shown}"), &[Method::Get]);
    Some(Erase::Call { call: call?, verify: verify? })
}

/// `{ call, fields }`.
pub(super) fn read_rectify(reader: &mut Reader, node: &Node, what: &str) -> Option<At<RectifyCall>> {
    let fields = reader.fields(node, what, &["call", "fields"])?;
    let example = "write { call: \"PATCH /contacts/{email}\", fields: [email, name] }";
    for key in ["call", "fields"] {
        if fields.get(key).is_none() {
            reader.error(fields.line, format!("{what} has no `{key}`"), example);
        }
    }
    let methods = [Method::Patch, Method::Put, Method::Post];
    let call =
        fields.get("call").and_then(|node| read_call(reader, node, &format!("`call` in {what}"), &methods));
    let mut names: Vec<String> = Vec::new();
    for item in reader.list(fields.get("fields")?, &format!("`fields` in {what}"))? {
        let Some(name) = reader.text(item, &format!("a field in {what}")) else { continue };
        if name.is_empty() || names.contains(&name) {
            reader.error(item.line, format!("{what} names a field twice, or none"), "name each field once");
        }
        names.push(name);
    }
    if names.is_empty() {
        reader.error(fields.line_of("fields"), format!("{what} names no fields"), example);
        return None;
    }
    Some(At { line: fields.line, value: RectifyCall { call: call?, fields: names } })
}
