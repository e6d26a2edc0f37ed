//! One suite over both backends. On SQLite each case is a test of its own; on PostgreSQL they are one test, so that one
//! server serves them all, each case on a fresh database.

use crate::suite;
use crate::support::Store;
use crate::support::postgres::Postgres;
use std::sync::Arc;

/// Runs every case of the suite on SQLite, and all of them on PostgreSQL.
macro_rules! on_both_backends {
    ($($module:ident { $($case:ident),* $(,)? })*) => {
        mod sqlite {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::suite::$module::$case(crate::support::Store::sqlite().await).await;
                })*
            })*
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgres_holds_the_whole_suite() {
            let server = Arc::new(Postgres::start().await);
            $($({
                let case = concat!(stringify!($module), "::", stringify!($case));
                // Shown when the test fails: the last name is the case that did.
                println!("{case}");
                let store = Store::postgres(server.clone(), case).await;
                suite::$module::$case(store).await;
            })*)*
        }
    };
}

on_both_backends! {
    tenants {
        live_from_creation_to_deletion,
        are_validated,
        in_use_stay,
    }
    keys {
        live_from_creation_to_deletion,
        are_found_by_their_secret_alone,
        are_validated,
    }
    judging {
        a_lease_has_one_holder,
        a_plan_needs_its_lease,
        a_chunk_is_worked_by_one,
        a_budget_holds_over_all_evaluators,
        keys_of_judges_are_remembered,
        a_change_of_judges_strands_no_back_fill,
        a_judge_is_paused_for_a_while,
    }
    annotations {
        live_from_queue_to_label,
    }
    pool {
        providers_live_from_creation_to_deletion,
        providers_are_validated,
        models_and_routes_live_from_creation_to_deletion,
        what_others_need_stays,
        routes_are_unique_per_owner,
    }
    documents {
        live_from_creation_to_deletion,
        are_validated,
        change_only_what_the_caller_has_seen,
        need_what_they_refer_to,
        stay_while_they_are_referred_to,
        are_shared_or_of_one_tenant,
        are_written_by_many_at_once,
        are_written_only_if_they_compile,
    }
    prompts {
        live_from_creation_to_deletion,
        stay_while_they_are_referred_to,
        are_numbered_once_by_many,
        are_labelled_as_they_are_made,
        of_a_tenant_leave_it_what_is_shared_and_not_its_own,
        of_a_tenant_keep_their_numbers_out_of_force_too,
    }
    experiments {
        are_paused_while_others_write,
    }
    measurements {
        are_live_without_a_new_version,
        are_new_only_when_they_differ,
    }
    audit {
        tells_who_changed_what,
        never_holds_a_secret,
        is_read_page_by_page,
        only_grows,
    }
    prices {
        are_written_as_a_whole,
        that_contradict_each_other_are_refused,
        name_their_content,
    }
    users {
        sign_in_with_the_right_password_only,
        are_validated,
        sessions_end,
        admin_keys_are_found_by_their_secret_alone,
    }
    settings {
        are_written_once_by_many,
    }
    versions {
        grow_with_every_change_and_with_nothing_else,
        do_not_grow_when_a_change_fails,
        concurrent_writers_all_count,
    }
    snapshots {
        hold_what_the_gateway_needs,
        survive_an_unresolved_secret,
        are_of_one_moment,
        show_keys_of_a_disabled_tenant_as_revoked,
        resolve_policy,
        keep_what_did_not_change,
        close_what_an_unreadable_policy_governs,
        hold_prompts_that_may_be_asked_for,
    }
    watching {
        a_change_is_live_within_two_seconds,
        a_broken_database_leaves_the_last_snapshot,
    }
    opening {
        again_keeps_everything,
        many_at_once_migrate_once,
    }
}
