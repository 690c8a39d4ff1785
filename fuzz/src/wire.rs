//! Any bytes as a message: what is accepted comes through the wire once more and is the same.

use mr_core::Quarantined;
use mr_proto::{WireError, convert};
use prost::Message;
use std::fmt::Debug;

/// The first byte says which message the others are.
pub fn wire(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % KINDS {
        0 => check(bytes, convert::plan_from, convert::plan_to),
        1 => check(bytes, convert::order_from, convert::order_to),
        2 => check(bytes, convert::result_from, convert::result_to),
        3 => check(bytes, convert::status_from, convert::status_to),
        4 => check(bytes, convert::output_from, convert::output_to),
        5 => check(bytes, convert::failure_from, convert::failure_to),
        6 => check(bytes, convert::blob_from, convert::blob_to),
        7 => check(bytes, convert::attempt_from, convert::attempt_to),
        8 => check(bytes, convert::progress_from, convert::progress_to),
        9 => check(bytes, convert::store_usage_from, convert::store_usage_to),
        10 => check(bytes, convert::store_share_from, convert::store_share_to),
        11 => check(bytes, |q| Ok::<Quarantined, _>(convert::quarantined_from(q)), convert::quarantined_to),
        12 => check(bytes, |object| Ok(convert::object_from(object)), convert::object_to),
        13 => check(bytes, convert::file_from, convert::file_to),
        14 => check(bytes, convert::job_code_from, convert::job_code_to),
        _ => check(bytes, convert::terms_from, convert::terms_to),
    }
}

pub const KINDS: u8 = 16;

fn check<Wire, Core>(bytes: &[u8], from: impl Fn(Wire) -> Result<Core, WireError>, to: impl Fn(Core) -> Wire)
where
    Wire: Message + Debug + Default + Clone + PartialEq,
    Core: Debug + Clone + PartialEq,
{
    let Ok(message) = Wire::decode(bytes) else { return };
    let accepted = match from(message) {
        Ok(accepted) => accepted,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let said = to(accepted.clone());
    let heard = Wire::decode(said.encode_to_vec().as_slice()).expect("we have said it ourselves");
    assert!(heard == said, "the bytes say something else: {heard:?} where {said:?} was meant");
    assert_eq!(from(heard), Ok(accepted));
}
