//! The cause of a lost connection.

use crate::{
    fault::{Code, Fault},
    postgres::Session,
    transport::Transport,
};

/// Returns the cause of a lost connection if `symptom` only reports the loss: the bastion and the session's driver know
/// more than the query that found it closed.
pub(super) async fn root_cause(session: &mut Session, transport: &Transport, symptom: Fault) -> Fault {
    if !symptom.code.ends_session() && symptom.code != Code::DatabaseUnready {
        return symptom;
    }
    let cause = match transport.loss_fault() {
        Some(bastion) => Some(bastion),
        // A symptom that the server itself reported contains its cause.
        None if symptom.sqlstate.is_none() => session.close_reason().await,
        None => None,
    };
    match cause {
        Some(cause) if cause.cause != symptom.cause => {
            cause.in_stage(symptom.stage).detail(format!("so: {}", symptom.cause))
        }
        _ => symptom,
    }
}
