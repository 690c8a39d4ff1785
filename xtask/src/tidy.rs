//! .
use crate::args::Args;
use anyhow::Result;
pub fn main(_: Args) -> Result<()> {
    Ok(())
}
pub fn tidy() -> Result<()> {
    Ok(())
}
