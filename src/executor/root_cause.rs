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
        Some(cause) if cause.cause != symptom.cause => behind(cause, &symptom),
        _ => symptom,
    }
}

/// Returns the loss of the bastion, if that is the reason for a session of ours that was lost.
pub(super) fn bastion_loss(transport: &Transport, symptom: Fault) -> Fault {
    match transport.loss_fault() {
        Some(bastion) if symptom.code.ends_session() || symptom.code == Code::DatabaseUnready => {
            behind(bastion, &symptom)
        }
        _ => symptom,
    }
}

/// Returns a cause in the stage of its symptom, which it mentions.
pub(super) fn behind(cause: Fault, symptom: &Fault) -> Fault {
    cause.in_stage(symptom.stage).detail(format!("so: {}", symptom.cause))
}
