//! Calls that a person joins: in progress, ended lately, and not known any more.

use expect_test::expect;

use crate::check;

#[test]
fn calls_in_progress_are_joined_when_something_of_both_is_recorded() {
    check(
        "says Session-ID: ab30317f1a784dc48ff824d0d3715d86
         invite sendonly
         session 2
         says Session-ID: 47755a9de7794ba387653f2099600ef2
         invite sendonly
         join 1
         opened
         opened
         join 1 foreign
         join 1
         join 1
         order pause
         carried-out
         carried-out
         bye
         session 1
         bye
         sealed
         sealed
         wait 3s",
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > join 1
                ERROR nothing is recorded yet of one of the calls
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > join 1 foreign
                ERROR no such call is live
            > join 1
                one
                join as [2] of 2 by said by alice
                tell call of 2
            > join 1
                one already
            > order pause
                paused, not yet
                pause by API (alice)
                pause by API (alice)
            > carried-out
            > carried-out
            > bye
                end by hang-up
                tell call of 2
            > session 1
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2
                tell copy complete
        "#]],
    );
}

#[test]
fn calls_that_ended_lately_are_joined_and_concluded_again() {
    check(
        "says Session-ID: ab30317f1a784dc48ff824d0d3715d86
         invite sendonly
         opened
         session 2
         says Session-ID: 47755a9de7794ba387653f2099600ef2
         invite sendonly
         opened
         bye
         session 1
         bye
         sealed
         sealed
         wait 3s
         join 2
         wait 3s
         join 2",
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > session 1
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > join 2
                one
                join as [2] of 2 by said by alice
                conclude partial of 2 after complete
                tell copy partial
                tell call of 2, ended
            > wait 3s
                tell call of 2, ended
                conclude complete of 2 after partial
                tell copy complete
            > join 2
                one already
        "#]],
    );
}

#[test]
fn a_call_that_goes_on_is_not_joined_with_one_that_is_not_known_any_more() {
    check(
        "says Session-ID: ab30317f1a784dc48ff824d0d3715d86
         invite sendonly
         opened
         bye
         sealed
         wait 3s
         wait 90000s
         session 2
         says Session-ID: 47755a9de7794ba387653f2099600ef2
         invite sendonly
         opened
         join 1
         bye
         sealed
         wait 3s
         join 1",
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > wait 90000s
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > join 1
                ERROR one of the calls goes on or ended just now, and the other is not known any more: they can be joined when both are over
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > join 1
                ERROR no such call is live
        "#]],
    );
}
