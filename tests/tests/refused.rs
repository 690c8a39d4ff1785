//! A store that can't keep the state: two coordinators, or a late and a new one, would overwrite each other unseen.

use mr_tests::{S3rver, Scratch};
use std::time::Duration;

#[test]
fn a_store_that_ignores_conditional_writes_is_refused_at_the_start() {
    let scratch = Scratch::enter("a store that ignores conditions");
    let Some(server) = S3rver::start(&scratch) else { return };
    let ended = server.coordinator(&scratch).wait(Duration::from_secs(60));
    assert!(!ended.status.success() && ended.stdout.is_empty(), "{ended:#?}");
    for words in [
        "checking the state store",
        "this store ignores If-None-Match or If-Match",
        "two writers could overwrite each other's work unseen",
        "use a store that honours them",
    ] {
        assert!(ended.stderr.contains(words), "`{words}` is missing in: {}", ended.stderr);
    }
    assert_eq!(server.keys(), [""; 0], "nothing is left there");
}
