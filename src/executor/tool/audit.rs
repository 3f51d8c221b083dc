//! The record of a tool's run.

use super::ToolExecutor;
use crate::{run::RunEnd, site::Sites};

impl ToolExecutor<'_> {
    /// Begins the record of the run.
    pub(crate) async fn begin_audit(&self, sites: &Sites<'_>) {
        let (Some(audit), Some(holder)) = (&self.audit, &self.lock_holder) else { return };
        let digest = Some(self.plan_digest.as_str()).filter(|digest| !digest.is_empty());
        let image = sites.image_facts(&self.tool.site);
        let image = image.map(|image| image.digest.as_deref().unwrap_or(&image.id));
        audit.begin(holder.session(), digest, image).await;
    }

    /// Completes the record of the run.
    pub(crate) async fn end_audit(&self, end: &RunEnd) {
        let (Some(audit), Some(holder)) = (&self.audit, &self.lock_holder) else { return };
        audit.end(holder.session(), end, &self.plan_digest).await;
    }
}
