//! What names tell: which columns look personal, whether a key says "this is mine" or "I acted on it".

use crate::domain::schema::{Column, Family, ForeignKey, Table};

/// Words that are personal wherever they stand.
const PERSONAL: [&str; 34] = [
    "email",
    "mail",
    "phone",
    "mobile",
    "fax",
    "firstname",
    "lastname",
    "surname",
    "fullname",
    "username",
    "nickname",
    "address",
    "street",
    "zip",
    "postal",
    "postcode",
    "ip",
    "birth",
    "birthday",
    "birthdate",
    "dob",
    "ssn",
    "iban",
    "passport",
    "gender",
    "salary",
    "latitude",
    "longitude",
    "avatar",
    "bio",
    "signature",
    "nationality",
    "religion",
    "diagnosis",
];
/// Words that are personal beside one of those: a genre has a name too.
const PERSONAL_BESIDE: [&str; 8] = ["name", "city", "state", "country", "company", "title", "text", "note"];
/// Keys by which a person acts on somebody else's row.
const ACTING: [&str; 33] = [
    "assigned",
    "assignee",
    "support",
    "rep",
    "approved",
    "approver",
    "reviewed",
    "reviewer",
    "moderated",
    "moderator",
    "manager",
    "managed",
    "reports",
    "supervisor",
    "agent",
    "referrer",
    "referred",
    "invited",
    "inviter",
    "handled",
    "handler",
    "processed",
    "processor",
    "edited",
    "editor",
    "updated",
    "modified",
    "verified",
    "verifier",
    "closed",
    "locked",
    "deleted",
    "resolved",
];
/// Keys that say whose a row is, beside the parent's own name.
const OWNING: [&str; 20] = [
    "user",
    "owner",
    "author",
    "sender",
    "recipient",
    "customer",
    "client",
    "member",
    "account",
    "creator",
    "created",
    "person",
    "patient",
    "subscriber",
    "buyer",
    "employee",
    "student",
    "guest",
    "contact",
    "profile",
];
/// Tables that the law often wants kept.
const BOOKKEEPING: [&str; 8] =
    ["invoice", "order", "payment", "transaction", "receipt", "refund", "ledger", "booking"];

/// `billingAddress`, `billing_address`, `BILLING_ADDRESS` → billing, address.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        let starts = !c.is_alphanumeric() || (c.is_uppercase() && after_lower);
        if starts && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `SalesOrders` → `sales_order`: how this project writes names of its own.
pub(super) fn singular(name: &str) -> String {
    let name = words(name).join("_");
    let cut = match name.as_str() {
        n if n.ends_with("ies") && n.len() > 4 => return format!("{}y", &n[..n.len() - 3]),
        n if n.ends_with("sses") || n.ends_with("xes") || n.ends_with("ches") => 2,
        n if n.ends_with("ss") || n.ends_with("us") || n.ends_with("is") => 0,
        n if n.ends_with('s') => 1,
        _ => 0,
    };
    name[..name.len() - cut].to_owned()
}

fn has(words: &[String], known: &[&str]) -> bool {
    words.iter().any(|word| known.contains(&word.as_str()))
}

pub(super) fn is_email(column: &Column) -> bool {
    let words = words(&column.name);
    let spelled = words.windows(2).any(|pair| pair[0] == "e" && pair[1] == "mail");
    matches!(column.family, Family::Text | Family::Any) && (has(&words, &["email", "mail"]) || spelled)
}

fn is_personal(column: &Column) -> bool {
    let words = words(&column.name);
    let joined = words.join("");
    has(&words, &PERSONAL) || ["firstname", "lastname", "fullname"].iter().any(|name| joined.contains(name))
}

/// Columns that look personal; those of the second list count beside one of the first only.
pub(super) fn personal_columns(table: &Table) -> Vec<&Column> {
    if !table.columns.iter().any(is_personal) {
        return Vec::new();
    }
    let key = |column: &Column| {
        table.primary_key.contains(&column.name)
            || table.foreign_keys.iter().any(|key| key.columns.contains(&column.name))
    };
    let personal = |column: &&Column| is_personal(column) || has(&words(&column.name), &PERSONAL_BESIDE);
    table.columns.iter().filter(|column| !key(column)).filter(personal).collect()
}

/// The table is about people of its own: an address to write to, or a first and a last name.
pub(super) fn is_person(table: &Table) -> bool {
    let names: Vec<String> = table.columns.iter().map(|column| words(&column.name).join("")).collect();
    let named = |name: &str| names.iter().any(|known| known == name);
    table.columns.iter().any(is_email) || (named("firstname") && named("lastname"))
}

pub(super) fn is_bookkeeping(table: &Table) -> bool {
    words(&singular(&table.name)).iter().any(|word| BOOKKEEPING.contains(&word.as_str()))
}

/// By this nullable key a person acts on somebody else's row, or stands beside it: unlinking is right, deleting
/// would hit others.
pub(super) fn is_acting(child: &Table, key: &ForeignKey, parent: &Table) -> bool {
    let words: Vec<String> = key.columns.iter().flat_map(|column| words(column)).collect();
    if has(&words, &ACTING) {
        return true;
    }
    let own_name = words_of_table(parent);
    let owning = has(&words, &OWNING) || words.iter().any(|word| own_name.contains(word));
    is_person(child) && !owning
}

fn words_of_table(table: &Table) -> Vec<String> {
    words(&singular(&table.name))
}

/// Every column of the key can be NULL, or at least one: that one is set.
pub(super) fn is_nullable(child: &Table, key: &ForeignKey) -> bool {
    key.columns
        .iter()
        .any(|name| child.column(name).is_some_and(|column| column.nullable && !column.generated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        for (name, expected) in [
            ("billing_address", "billing address"),
            ("BillingAddress", "billing address"),
            ("CustomerId", "customer id"),
            ("E-Mail", "e mail"),
            ("IP", "ip"),
            ("shipping", "shipping"),
        ] {
            assert_eq!(words(name).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn plurals() {
        for (name, expected) in [
            ("users", "user"),
            ("Customer", "customer"),
            ("addresses", "address"),
            ("companies", "company"),
            ("status", "status"),
            ("OrderItems", "order_item"),
        ] {
            assert_eq!(singular(name), expected, "{name}");
        }
    }
}
