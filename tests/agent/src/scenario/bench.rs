use crate::lab::Lab;
use anyhow::Result;
pub(super) fn run(_lab: &Lab) -> Result<String> {
    Ok(String::new())
}
