//! The record of a tool's run.

use super::ToolExecutor;
use crate::{run::RunEnd, site::Sites};

impl ToolExecutor<'_> {
    /// Begins the record of the run, for the tool.
    pub(crate) async fn begin_audit(&self, sites: &Sites<'_>) {
        if let (Some(audit), Some(holder)) = (&self.audit, &self.lock_holder) {
            // The lock holder reports the loss of its session.
            drop(audit.begin(holder.session(), self.known_digest(), self.image_digest(sites)).await);
        }
    }

    /// Begins the record of the run, for a step.
    pub(crate) async fn begin_audit_of_steps(&self, sites: &Sites<'_>) {
        if let (Some(audit), Some(holder)) = (&self.audit, &self.lock_holder) {
            audit.begin_if_possible(holder.session(), self.known_digest(), self.image_digest(sites)).await;
        }
    }

    fn known_digest(&self) -> Option<&str> {
        Some(self.plan_digest.as_str()).filter(|digest| !digest.is_empty())
    }

    fn image_digest<'s>(&self, sites: &'s Sites<'_>) -> Option<&'s str> {
        let image = sites.image_facts(&self.tool.site)?;
        Some(image.digest.as_deref().unwrap_or(&image.id))
    }

    /// Completes the record of the run.
    pub(crate) async fn end_audit(&self, end: &RunEnd) {
        let (Some(audit), Some(holder)) = (&self.audit, &self.lock_holder) else { return };
        audit.end(holder.session(), end, &self.plan_digest).await;
    }
}
