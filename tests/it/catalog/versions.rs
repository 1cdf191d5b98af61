//! Servers that are older than the one that is installed here, or MySQL where that is MariaDB: they answer to some of
//! the session's settings that they have no such variable.

use rightful::connectors::{ErrorKind, sql::session::Sessions};

use super::{LIMITS, session, statement};
use crate::support::{
    proxy::Proxy,
    targets::{Dialect, target},
};

const NOWHERE: &str = "known_to_no_server";
/// Error 1229: there is one of that name, but not of a session.
const GLOBAL: &str = "max_connections";

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_the_server_does_not_know_is_gone_without() {
    let Some(target) = target(Dialect::MySql) else { return };
    let proxy = Proxy::before_target(&target).await.expect("a server");
    let found = statement(
        "SELECT CONCAT_WS(' ', @@max_statement_time, @@idle_transaction_timeout, @@max_recursive_iterations)",
    );
    let old_mariadb = [("idle_transaction_timeout", NOWHERE)];
    let oldest_mariadb = [("idle_transaction_timeout", NOWHERE), ("max_recursive_iterations", NOWHERE)];
    // Its own words for what MariaDB calls otherwise; this one's unit is the millisecond.
    let mysql = [
        ("max_statement_time", NOWHERE),
        ("max_execution_time", "max_statement_time"),
        ("max_recursive_iterations", NOWHERE),
        ("cte_max_recursion_depth", "max_recursive_iterations"),
    ];
    for (what, words, expected) in [
        ("this server", &[][..], "20.000000 20 4294967295"),
        ("MariaDB before 10.3", &old_mariadb[..], "20.000000 0 4294967295"),
        ("MariaDB before 10.2", &oldest_mariadb[..], "20.000000 0 1000"),
        ("MySQL", &mysql[..], "20000.000000 0 4294967295"),
    ] {
        proxy.knows(words);
        let sessions = Sessions::new(&proxy.url(&target.url), 1).unwrap();
        let rows = session(&sessions).await.query(&found).await.expect(what);
        assert_eq!(rows[0][0].as_deref(), Some(expected), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_the_server_refuses_is_not_gone_without() {
    let Some(target) = target(Dialect::MySql) else { return };
    let proxy = Proxy::before_target(&target).await.expect("a server");
    for (variable, kind) in [
        ("max_recursive_iterations", ErrorKind::Unavailable),
        ("max_statement_time", ErrorKind::Internal),
        ("idle_transaction_timeout", ErrorKind::Internal),
    ] {
        proxy.knows(&[(variable, GLOBAL)]);
        let sessions = Sessions::new(&proxy.url(&target.url), 1).unwrap();
        let error = sessions.get(LIMITS).await.err().expect(variable);
        assert_eq!(error.kind, kind, "{variable}: {error}");
    }
}
