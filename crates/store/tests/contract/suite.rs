//! The suite: what a place to be tested must offer, and the list of the cases.

use nodeweir_store::FleetStore;

/// Where one fresh store is.
pub(crate) trait Place: Send + Sync {
    /// The store there.
    type Store: FleetStore + 'static;

    /// One more way to the same store, as another process would have it.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;

    /// How many ways there are to be unreadable.
    const DAMAGES: usize;

    /// Writes, behind the store's back, what no reader understands, in one of the ways.
    fn spoil(&self, row: Row, damage: usize) -> impl Future<Output = ()> + Send;
}

/// What [`Place::spoil`] makes unreadable, whether it was there or not. Rows of a network are of `ethereum`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Row {
    /// The item `a`.
    Item,
    /// The status of node `a`.
    Status,
    /// A status whose network and node have no names.
    NamelessStatus,
    /// The network's last tick.
    Seen,
    /// The rollback in force.
    Pin,
    /// Revision 2.
    Revision,
    /// One more event.
    Event,
    /// The project `shop`.
    Project,
    /// Key 1 of the project `shop`.
    Key,
    /// The account of the project `shop` in 2026-11.
    Account,
    /// How far the log `proxy-1` was counted.
    LogCursor,
    /// One more row of the project `shop`, about the minute that holds `at(0)`.
    Usage,
}

/// Makes a test of every case, over fresh places that `$place` gives: `fleet` for what every store must do, `gate` for
/// what a store of the gate must do too.
macro_rules! contract {
    (fleet: $place:expr) => {
        contract! { $place =>
            items::an_item_is_kept_exactly_as_written,
            items::items_come_by_network_and_name,
            items::an_item_is_written_only_over_what_was_seen,
            items::an_item_is_removed_only_as_it_was_seen,
            items::an_item_equals_itself_in_any_order_of_keys,
            items::of_concurrent_edits_none_is_lost,
            items::an_item_that_cannot_be_read_is_refused_later_and_stops_nothing,
            health::at_first_nothing_is_known,
            health::what_is_written_is_read_again,
            health::a_tick_is_written_only_over_the_tick_that_was_read,
            health::of_concurrent_ticks_one_wins,
            health::a_status_is_written_only_over_what_was_seen,
            health::networks_and_nodes_are_apart,
            health::what_cannot_be_read_is_as_good_as_none,
            pin::a_pin_is_replaced_only_as_it_was_seen,
            pin::of_concurrent_pins_one_wins,
            pin::a_pin_that_cannot_be_read_is_as_good_as_none,
            history::a_revision_stays_as_it_was_first_recorded,
            history::revisions_come_newest_first,
            history::old_revisions_go,
            history::a_revision_that_cannot_be_read_is_named_and_hides_no_other,
            history::events_come_newest_first,
            history::an_event_that_cannot_be_read_hides_no_other,
        }
    };
    (gate: $place:expr) => {
        contract! { $place =>
            projects::projects_are_kept_and_come_by_name,
            projects::a_project_is_written_only_over_what_was_seen,
            projects::of_concurrent_projects_of_one_name_one_wins,
            projects::a_project_that_cannot_be_read_is_named_and_hides_no_other,
            projects::many_projects_are_found_at_once,
            keys::a_key_is_found_by_its_digest,
            keys::keys_come_by_name_and_age,
            keys::a_key_is_written_only_over_what_was_seen,
            keys::names_are_unique_among_keys_that_are_not_revoked,
            keys::of_concurrent_keys_of_one_name_one_wins,
            keys::a_key_is_replaced_whole_or_not_at_all,
            keys::of_concurrent_replacements_one_wins,
            keys::a_key_that_cannot_be_read_is_named_and_hides_no_other,
            keys::many_keys_are_found_at_once,
            accounts::accounts_are_kept_and_come_newest_first,
            accounts::an_account_is_written_only_over_what_was_seen,
            accounts::of_concurrent_spending_none_is_lost,
            accounts::many_accounts_are_found_and_written_at_once,
            accounts::one_bad_account_is_no_matter_of_the_others,
            accounts::accounts_whose_leases_ended_are_found,
            accounts::an_account_that_cannot_be_read_is_never_taken_for_none,
            beats::the_last_beat_of_each_sidecar_is_kept,
            usage::a_cursor_is_kept_with_what_is_under_way,
            usage::what_is_counted_adds_up_by_minute_and_kind,
            usage::usage_is_recorded_only_where_the_cursor_was_seen,
            usage::of_concurrent_readers_of_a_log_each_line_counts_once,
            usage::too_many_rows_are_refused_whole,
            usage::folding_keeps_every_sum,
            usage::a_range_begins_with_the_minute_or_day_that_holds_its_start,
            usage::days_are_forgotten,
            usage::counts_stop_at_the_most,
            usage::usage_that_cannot_be_read_hides_no_other,
        }
    };
    ($place:expr => $($module:ident::$case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            crate::cases::$module::$case(&$place).await;
        }
    )*};
}
pub(crate) use contract;
