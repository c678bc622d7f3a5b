//! Calls of two trunks that turn out to be one: neither has a say in what was the other's, whichever is the older, and
//! whenever it says something.

use expect_test::expect;

use crate::check_guests;

const A: &str = "ab30317f1a784dc48ff824d0d3715d86";
const B: &str = "47755a9de7794ba387653f2099600ef2";

/// The gateway has an older call, and learns an id of one of the SBC's: dialog 1 is the gateway's, 2 the SBC's.
fn taken_in(before: &str, after: &str) -> String {
    format!(
        "from 127.0.0.2
         says Session-ID: {B}
         invite sendonly
         opened
         session 2
         from 127.0.0.1
         says Session-ID: {A}
         invite sendonly
         opened
         session 1
         {before}
         says Session-ID: {B};remote={A}
         info X-Other: 1
         {after}"
    )
}

#[test]
fn an_older_call_of_another_trunk_that_takes_one_in_does_not_pause_it() {
    check_guests(
        &taken_in(
            "info Record: off",
            "opened
             info Record: on
             opened
             info Record: off
             opened
             session 2
             info Record: off
             opened
             session 3
             from 127.0.0.1
             says Session-ID: {A}
             invite sendonly",
        )
        .replace("{A}", A),
        expect![[r#"
            > from 127.0.0.2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > from 127.0.0.1
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > session 1
            > info Record: off
                pause by INFO (Record: off)
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                change 1:mixed:paused
                resume by INFO (Record: off)
                tell call of 2
            > opened
            > info Record: on
                change 1:mixed:active
            > opened
            > info Record: off
                change 1:mixed:paused
            > opened
            > session 2
            > info Record: off
                change 1:mixed:paused
            > opened
            > session 3
            > from 127.0.0.1
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                change 1:mixed:paused 1:mixed:paused
                annotate 0 bodies
                tell call of 2
        "#]],
    );
}

#[test]
fn an_older_call_of_another_trunk_that_takes_one_in_does_not_stop_it() {
    check_guests(
        &taken_in("info X-AC-Action: stop-siprec", "sealed"),
        expect![[r#"
        > from 127.0.0.2
        > says Session-ID: 47755a9de7794ba387653f2099600ef2
        > invite sendonly
            open 1/1 1:mixed:active
        > opened
            200 s1 20000/recvonly
            tell call of 1
        > session 2
        > from 127.0.0.1
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            open 1/1 1:mixed:active
        > opened
            200 s2 20002/recvonly
            tell call of 1
        > session 1
        > info X-AC-Action: stop-siprec
            end by stop of INFO (X-AC-Action: stop-siprec)
            INVITE s1 9/inactive
            tell call of 1
        > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
        > info X-Other: 1
            join as [2] of 2 by Session-ID
            tell call of 2
        > sealed
    "#]],
    );
    check_guests(
        &taken_in(
            "",
            "info X-AC-Action: stop-siprec
             session 2
             bye
             session 3
             from 127.0.0.1
             says Session-ID: {A}
             invite sendonly
             opened",
        )
        .replace("{A}", A),
        expect![[r#"
            > from 127.0.0.2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > from 127.0.0.1
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > session 1
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                tell call of 2
            > info X-AC-Action: stop-siprec
                end by stop of INFO (X-AC-Action: stop-siprec)
                INVITE s1 9/inactive
                tell call of 2
            > session 2
            > bye
                end by hang-up
                tell call of 2
            > session 3
            > from 127.0.0.1
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 3/3 1:mixed:active
            > opened
                200 s3 20004/recvonly
                tell call of 3
        "#]],
    );
}

#[test]
fn a_guest_is_paused_by_its_host_over_a_join_that_makes_the_call_another_trunks() {
    check_guests(
        &taken_in(
            "session 3
             from 127.0.0.2
             says Session-ID: {A}
             invite sendonly
             opened
             session 1",
            "session 2
             info Record: off",
        )
        .replace("{A}", A),
        expect![[r#"
            > from 127.0.0.2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > from 127.0.0.1
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > session 1
            > session 3
            > from 127.0.0.2
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                change 1:mixed:active 1:mixed:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s3 20006/recvonly
            > session 1
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                tell call of 2
            > session 2
            > info Record: off
                change 1:mixed:paused 1:mixed:paused
        "#]],
    );
}
