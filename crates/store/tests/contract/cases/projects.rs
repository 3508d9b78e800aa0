//! Projects.

use nodeweir_domain::gate::project::Project;
use nodeweir_store::{GateStore, StoreError, Written};

use crate::samples::gate::{project, project_id};
use crate::{Place, Row};

pub(crate) async fn projects_are_kept_and_come_by_name(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!((one.project(&project_id("shop")).await.unwrap(), one.projects().await.unwrap()), (None, vec![]));
    let plain = Project {
        requests_per_second: None,
        credits_per_month: None,
        methods: vec![],
        websocket: false,
        ..project("a-b", 1)
    };
    let all = [project("a", 1), plain, project("a1", 1), project("shop", 1)];
    for project in all.iter().rev() {
        assert_eq!(one.put_project(None, project).await.unwrap(), Written::Done);
        assert_eq!(other.project(&project.id).await.unwrap().as_ref(), Some(project));
    }
    assert_eq!(other.projects().await.unwrap(), all);
    assert_eq!(other.project(&project_id("b")).await.unwrap(), None);
}

pub(crate) async fn many_projects_are_found_at_once<P: Place<Store: GateStore>>(place: &P) {
    let store = place.open().await;
    let there = [project("a", 1), project("b", 2)];
    for project in &there {
        assert_eq!(store.put_project(None, project).await.unwrap(), Written::Done);
    }
    place.spoil(Row::Project, 0).await;
    let found = place.open().await.find_projects(&["b", "none", "shop", "a"].map(project_id)).await;
    let [Ok(b), Ok(None), Err(StoreError::Unreadable { .. }), Ok(a)] = &found[..] else { panic!("{found:?}") };
    assert_eq!([a, b], [&Some(there[0].clone()), &Some(there[1].clone())]);
}

pub(crate) async fn a_project_is_written_only_over_what_was_seen(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let [first, second, third] = [1, 2, 3].map(|rate| project("shop", rate));
    let put = async |seen: Option<&Project>, project: &Project| one.put_project(seen, project).await.unwrap();
    assert_eq!(put(Some(&first), &first).await, Written::Lost, "nothing is there to replace");
    assert_eq!(put(None, &first).await, Written::Done);
    assert_eq!(put(None, &second).await, Written::Lost, "there is one already");
    assert_eq!(put(Some(&third), &second).await, Written::Lost, "it is another one");
    assert_eq!(other.projects().await.unwrap(), std::slice::from_ref(&first), "lost writes left no trace");
    assert_eq!(other.put_project(Some(&first), &second).await.unwrap(), Written::Done);
    assert_eq!(put(Some(&first), &third).await, Written::Lost, "the other was faster");
    assert_eq!(put(Some(&second), &third).await, Written::Done);
    assert_eq!(put(Some(&third), &project("other", 1)).await, Written::Lost, "that is no change of its name");
    assert_eq!(other.projects().await.unwrap(), [third]);
}

pub(crate) async fn of_concurrent_projects_of_one_name_one_wins(place: &impl Place<Store: GateStore>) {
    let (one, other) = (place.open().await, place.open().await);
    let put = async |rate: u32| {
        let store = if rate.is_multiple_of(2) { &one } else { &other };
        (rate, store.put_project(None, &project("shop", rate)).await.unwrap())
    };
    let done = futures_util::future::join_all((1..=20).map(put)).await;
    let won: Vec<u32> = done.iter().filter(|(_, written)| *written == Written::Done).map(|(rate, _)| *rate).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(one.projects().await.unwrap(), [project("shop", won[0])]);
}

pub(crate) async fn a_project_that_cannot_be_read_is_named_and_hides_no_other<P: Place<Store: GateStore>>(place: &P) {
    let store = place.open().await;
    assert_eq!(store.put_project(None, &project("other", 1)).await.unwrap(), Written::Done);
    for damage in 0..P::DAMAGES {
        place.spoil(Row::Project, damage).await;
        let error = store.project(&project_id("shop")).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { what: "a project", .. }), "{error:?}");
        assert!(error.to_string().contains("shop"), "{error}");
        assert_eq!(store.projects().await.unwrap(), [project("other", 1)]);
        // Nobody takes it for none.
        let error = store.put_project(None, &project("shop", 1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    }
}
