//! stub
use crate::cli::Common;
pub(crate) async fn run(_common: &Common, _once: bool) -> anyhow::Result<()> {
    Ok(())
}
