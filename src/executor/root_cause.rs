//! The cause of a lost connection.

use crate::{
    fault::{Code, Fault},
    postgres::Session,
    transport::Transport,
};

/// Returns the cause of a lost connection if `symptom` only reports the loss: the bastion and the session's driver know
/// more than the query that found it closed.
pub(super) async fn root_cause(session: &mut Session, transport: &Transport, symptom: Fault) -> Fault {
    if !reports_loss(&symptom) {
        return symptom;
    }
    let cause = match transport.loss_fault() {
        Some(bastion) => Some(bastion),
        // A symptom that the server itself reported contains its cause.
        None if symptom.sqlstate.is_none() => session.close_reason().await,
        None => None,
    };
    behind(cause, symptom)
}

/// Returns whether a fault may only report the loss of a connection.
pub(super) fn reports_loss(symptom: &Fault) -> bool {
    symptom.code.ends_session() || symptom.code == Code::DatabaseUnready
}

/// Returns the cause, in the stage of its symptom, which it mentions; without another cause the symptom.
pub(super) fn behind(cause: Option<Fault>, symptom: Fault) -> Fault {
    match cause {
        Some(cause) if cause.cause != symptom.cause => {
            cause.in_stage(symptom.stage).detail(format!("so: {}", symptom.cause))
        }
        _ => symptom,
    }
}
