//! What the catalog does, whatever it lies in: what is told is found again, whatever the order, and only by its tenant.
//!
//! `catalog.rs` runs it over files of SQLite, `e2e_postgres.rs` over a server with PostgreSQL.

pub(crate) mod joined;
pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod nodes;

use model::Change;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use store::Catalog;

use crate::fixture::home::Home;
use crate::fixture::{joined_stories, story};

/// Makes a test of each of the contract, over what `$home` makes.
macro_rules! contract_tests {
    ($home:expr; $($module:ident::{$($name:ident),+ $(,)?});+ $(;)?) => {$($(
        #[test]
        fn $name() {
            contract::$module::$name(&$home);
        }
    )+)+};
    ($home:expr) => {
        contract_tests! { $home;
            any::{
                any_order_and_repetition_ends_in_the_same_rows,
                calls_that_are_one_end_in_the_same_rows,
            };
            joined::{
                calls_that_are_one_are_found_and_shown_as_one,
                what_was_said_of_a_call_stays_with_its_segments_and_counts_for_later_ones_of_the_whole,
                a_call_that_takes_in_a_live_one_is_live_and_complete_only_as_a_whole,
                calls_of_two_tenants_are_never_one,
                a_chain_of_which_a_join_goes_is_parted_where_it_was,
                a_reindex_parts_what_no_file_joins,
            };
            lists::{
                a_call_is_shown_with_all_that_was_told,
                the_state_in_lists_follows_the_copies,
                lists_filter_and_page_by_key,
                a_tenant_sees_and_changes_only_its_own,
                events_are_told_in_order_and_trimmed,
                alarms_are_active_until_they_are_cleared_in_any_order_and_stay_as_history,
                the_highest_id_is_known_after_a_restart,
                a_reindex_forgets_what_has_no_file_and_keeps_the_rest,
            };
            nodes::{
                what_nodes_say_of_one_segment_is_kept_of_each_in_any_order,
                text_that_a_caller_chose_is_told_whatever_it_is,
            };
            leases::{
                one_at_a_time_holds_a_lease_and_a_stale_one_changes_nothing,
                a_lease_that_is_over_is_renewed_unless_somebody_took_it,
            };
        }
    };
}
pub(crate) use contract_tests;

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) async fn filled(home: &Home, changes: &[Change]) -> Catalog {
    let catalog = home.open().await;
    catalog.apply(changes).await.unwrap();
    catalog
}

/// All rows after changes that are applied so many at a time.
pub(crate) fn rows_after(home: &Home, changes: &[Change], batch: usize) -> Vec<String> {
    home.empty();
    block_on(async {
        let catalog = home.open().await;
        for changes in changes.chunks(batch) {
            catalog.apply(changes).await.unwrap();
        }
        let rows = home.rows().await;
        catalog.close().await;
        rows
    })
}

/// A shuffled story in which some changes come again.
pub(crate) fn disorder(all: Vec<Change>) -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec(any::<proptest::sample::Index>(), 0..12)
        .prop_map(move |again| {
            let mut changes = all.clone();
            changes.extend(again.iter().map(|i| i.get(&all).clone()));
            changes
        })
        .prop_flat_map(|changes| Just(changes).prop_shuffle())
}

/// Properties.
pub(crate) mod any {
    use super::{Config, Home, disorder, joined_stories, prop_assert_eq, proptest, rows_after, story};

    pub(crate) fn any_order_and_repetition_ends_in_the_same_rows(home: &Home) {
        let told = [story(1), story(2)].concat();
        let rows = rows_after(home, &told, 100);
        proptest!(Config { cases: 24, ..Config::default() }, |(
            changes in disorder(told), batch in 1_usize..30,
        )| {
            prop_assert_eq!(rows_after(home, &changes, batch), rows.clone());
        });
    }

    /// The same where calls turn out to be one: before, while or after they are told of.
    pub(crate) fn calls_that_are_one_end_in_the_same_rows(home: &Home) {
        let rows = rows_after(home, &joined_stories(), 100);
        proptest!(Config { cases: 24, ..Config::default() }, |(
            changes in disorder(joined_stories()), batch in 1_usize..70,
        )| {
            prop_assert_eq!(rows_after(home, &changes, batch), rows.clone());
        });
    }
}
