//! Lists and counts.

use chrono::TimeDelta;
use rightful::{
    domain::{
        clock::Clock,
        request::{IdentityCheck, Kind, Outcome, State, Status},
    },
    store::{Page, RequestFilter, Sort, Store},
};
use uuid::Uuid;

use super::support::{cancel, insert, new_request};
use crate::support::stores::stores;

async fn ids(store: &Store, filter: RequestFilter, sort: Sort) -> Vec<Uuid> {
    let page = Page { limit: 100, sort, after: None };
    store.list(&filter, &page).await.unwrap().into_iter().map(|request| request.id).collect()
}

#[tokio::test]
async fn filters_find_what_they_name() {
    for fresh in stores().await {
        let store = &fresh.store;
        let mut late = new_request();
        late.submitted_at = Clock.now() - TimeDelta::days(40);
        late.external_id = None;
        let late = insert(store, late, &[]).await;
        let mut other = new_request();
        other.plan = "newsletter".to_owned();
        other.created_by = "bob".to_owned();
        let other = insert(store, other, &[]).await;
        let ended = insert(store, new_request(), &[]).await;
        cancel(store, ended.id).await;
        let mut waiting = new_request();
        waiting.submitted_at = late.submitted_at;
        waiting.state = State::Pending;
        waiting.answering.identity_check = Some(IdentityCheck {
            method: "callback".to_owned(),
            requested_at: late.submitted_at,
            confirmed_at: None,
        });
        let waiting = insert(store, waiting, &[]).await;

        let newest = |filter| ids(store, filter, Sort::Created);
        let all = RequestFilter::default;
        assert_eq!(newest(all()).await, [waiting.id, ended.id, other.id, late.id]);
        let by_due = ids(store, all(), Sort::Due).await;
        assert_eq!((by_due[0], by_due[3]), (late.id, waiting.id));
        let statuses = vec![Status::Cancelled, Status::Failed];
        assert_eq!(newest(RequestFilter { status: statuses, ..all() }).await, [ended.id]);
        assert_eq!(newest(RequestFilter { kind: vec![Kind::Erasure], ..all() }).await.len(), 4);
        let outcomes = vec![Outcome::NothingDone];
        assert_eq!(newest(RequestFilter { outcome: outcomes, ..all() }).await, [ended.id]);
        assert_eq!(newest(RequestFilter { plan: Some("newsletter".into()), ..all() }).await, [other.id]);
        assert_eq!(newest(RequestFilter { external_id: Some("ZD-1".into()), ..all() }).await.len(), 3);
        assert_eq!(newest(RequestFilter { created_by: Some("bob".into()), ..all() }).await, [other.id]);
        assert_eq!(newest(RequestFilter { overdue: Some(true), ..all() }).await, [late.id]);
        let in_time = newest(RequestFilter { overdue: Some(false), ..all() }).await;
        assert_eq!(in_time, [waiting.id, ended.id, other.id]);
        let soon = Some(Clock.now() + TimeDelta::days(1));
        assert_eq!(newest(RequestFilter { due_before: soon, ..all() }).await, [late.id]);
    }
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap_also_when_times_are_equal() {
    for fresh in stores().await {
        let store = &fresh.store;
        let at = Clock.now();
        for _ in 0..11 {
            let mut request = new_request();
            request.created_at = at;
            insert(store, request, &[]).await;
        }
        for sort in [Sort::Created, Sort::Due] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = Page { limit: 4, sort, after };
                let items = store.list(&RequestFilter::default(), &page).await.unwrap();
                let Some(last) = items.last() else { break };
                after = Some((if sort == Sort::Created { last.created_at } else { last.urgency() }, last.id));
                seen.extend(items.into_iter().map(|request| request.id));
            }
            assert_eq!(seen, ids(store, RequestFilter::default(), sort).await);
            assert_eq!(seen.len(), 11);
        }
    }
}

#[tokio::test]
async fn counts_are_of_every_status() {
    for fresh in stores().await {
        let store = &fresh.store;
        let empty = store.counts(None).await.unwrap();
        assert_eq!(empty.requests.len(), Status::ALL.len());
        assert!(empty.requests.iter().all(|(_, count)| *count == 0));
        assert_eq!((empty.oldest_waiting, empty.overdue, empty.due_soon), (None, 0, 0));

        let mut late = new_request();
        late.submitted_at = Clock.now() - TimeDelta::days(40);
        let late = insert(store, late, &[]).await;
        let ended = insert(store, new_request(), &[]).await;
        cancel(store, ended.id).await;
        let counts = store.counts(None).await.unwrap();
        assert_eq!(counts.oldest_waiting, Some(late.created_at));
        assert_eq!((counts.overdue, counts.due_soon), (1, 0));
        let mut soon = new_request();
        soon.created_by = "bob".to_owned();
        soon.submitted_at = Clock.now() - TimeDelta::days(26);
        insert(store, soon, &[]).await;
        let of_bob = store.counts(Some("bob")).await.unwrap();
        assert_eq!((of_bob.overdue, of_bob.due_soon), (0, 1));
        assert!(of_bob.requests.contains(&(Status::Approved, 1)));
        assert!(of_bob.requests.contains(&(Status::Cancelled, 0)));
        assert!(of_bob.oldest_waiting > counts.oldest_waiting);
        assert!(counts.requests.contains(&(Status::Approved, 1)));
        assert!(counts.requests.contains(&(Status::Cancelled, 1)));
    }
}
