//! Cursors: one opens for the list that it was made for, and says what it said; none can be made up.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use rightful::{
    domain::vault::Vault,
    http::{
        page::{Paging, Position},
        query::Query,
    },
};

/// The list of the cursors in the corpus.
const LIST: &str = "requests?status=failed";
/// What they say, all of them.
const GENUINE: [&str; 2] =
    ["1790000000000000.0192f0c1d2e37a4b8c5d6e7f8091a2b3", "-1.00000000000000000000000000000000"];

fn vault() -> Vault {
    Vault::new(&[7; 32])
}

fn paging<P: Display + FromStr>(query: &str, list: &str) -> Option<Paging<P>> {
    let query = Query::parse(query, &["limit", "cursor"]).ok()?;
    Paging::read(&query, list.to_owned(), &vault()).ok()
}

/// The queries of the corpus whose cursor opens.
pub fn made() -> Vec<Vec<u8>> {
    let sealed = |text: &str| {
        let position: Position = text.parse().expect("a position");
        let first = paging::<Position>("limit=1", LIST).expect("a limit");
        let cursor = first.cut(&mut vec![position, position], &vault(), |position| *position);
        format!("limit=2&cursor={}", cursor.expect("a second page")).into_bytes()
    };
    GENUINE.map(sealed).into()
}

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    opens_as_sealed::<Position>(text);
    opens_as_sealed::<i64>(text);
    opens_as_sealed::<String>(text);
    let Some(paging) = paging::<Position>(text, LIST) else { return false };
    assert!((1..=500).contains(&paging.limit));
    if let Some(after) = paging.after {
        assert!(GENUINE.contains(&after.to_string().as_str()), "{after} was made up");
        assert!(
            self::paging::<Position>(text, "requests?status=paused").is_none(),
            "it is bound to its list"
        );
    }
    true
}

/// Whatever a page may begin behind, its cursor leads back to it, and nowhere else.
fn opens_as_sealed<P: Display + FromStr + Clone + PartialEq + Debug>(text: &str) {
    let Ok(position) = text.parse::<P>() else { return };
    let first = paging::<P>("limit=1", text).expect("a limit");
    let mut rows = vec![position.clone(), position.clone()];
    let cursor = first.cut(&mut rows, &vault(), Clone::clone).expect("a second page");
    assert_eq!(rows.len(), 1);
    let query = format!("cursor={cursor}");
    let after = paging::<P>(&query, text).and_then(|paging| paging.after);
    assert_eq!(after.as_ref(), Some(&position));
    assert!(paging::<P>(&query, &format!("{text} ")).is_none(), "it is bound to its list");
    let again = after.and_then(|after| first.cut(&mut vec![0, 1], &vault(), |_| after.clone()));
    assert_eq!(again, Some(cursor));
}
