//! Checks the effect of each packet once it has arrived.

use super::{
    CHANNEL_CLOSE, CHANNEL_REQUEST, Packet, REQUEST_FAILURE, Scenario, UnansweredOpen, User, in_time, pattern,
};
use crate::ssh::{
    connection::OpenError,
    remote_process::ProcessExit,
    scripted::{effect::Effect, step::ChannelMessage},
};
use futures_util::future::{Either, select};
use std::io::ErrorKind;
use tokio::io::{AsyncRead, AsyncReadExt as _};

impl Scenario<'_> {
    pub(super) async fn check_effect(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::KeepaliveAnswered => drop(self.next_packet(REQUEST_FAILURE, None).await),
            Effect::ProgramRequested => {
                self.answering = false;
                let Some(mut opening) = self.opening.take() else { panic!("nobody asks for a channel") };
                let id = opening.id;
                let packet = Box::pin(self.next_packet(CHANNEL_REQUEST, Some(id)));
                if let Either::Right(_) = select(packet, &mut opening.future).await {
                    panic!("a program is there that the server has not started")
                }
                self.opening = Some(UnansweredOpen { accepted: true, ..opening });
            }
            Effect::Opened => {
                self.answering = false;
                let UnansweredOpen { id, future, .. } = self.opening.take().unwrap();
                let user = in_time(&effect, future).await.unwrap();
                // A channel number is reused once its channel is closed.
                self.channels.iter_mut().rfind(|channel| channel.id == id).unwrap().user = Some(user);
            }
            Effect::Refused => {
                self.answering = false;
                let UnansweredOpen { id, future, accepted, .. } = self.opening.take().unwrap();
                assert!(matches!(in_time(&effect, future).await, Err(OpenError::Refused(_))));
                if accepted {
                    // The client closes the channel of a refused program.
                    self.next_packet(CHANNEL_CLOSE, Some(id)).await;
                    self.queue_packet(&Packet::with_type(CHANNEL_CLOSE).push_u32(id), Effect::None);
                }
            }
            Effect::Message(index, message) => self.check_message(index, message).await,
        }
    }

    async fn check_message(&mut self, index: usize, message: ChannelMessage) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        let Some(user) = &mut channel.user else { return };
        match (message, &mut *user) {
            (ChannelMessage::Stdout(count), user) => expect_bytes(&message, user.stdio(), count).await,
            (ChannelMessage::Stderr(count), User::Program(process)) => {
                expect_bytes(&message, &mut process.stderr, count).await;
            }
            (ChannelMessage::Eof | ChannelMessage::Close, user) => {
                expect_eof(&message, user.stdio()).await;
                if let User::Program(process) = user {
                    expect_eof(&message, &mut process.stderr).await;
                }
            }
            (ChannelMessage::Status(code), _) => channel.status = code,
            (ChannelMessage::Stderr(_), User::Forward(_)) => panic!("a connection has no errors"),
        }
        if message == ChannelMessage::Close {
            if let Some(User::Program(process)) = &mut channel.user {
                let end = in_time(&message, &mut process.exit).await.unwrap();
                assert_eq!(end, ProcessExit::Exited(channel.status));
            }
            channel.user = None;
            channel.may_write = false;
            self.next_packet(CHANNEL_CLOSE, Some(id)).await;
        }
    }
}

async fn expect_bytes(message: &ChannelMessage, stream: &mut (impl AsyncRead + Unpin), count: usize) {
    let mut bytes = vec![0; count];
    in_time(message, stream.read_exact(&mut bytes)).await.unwrap();
    assert!(bytes == pattern(count), "{message:?}");
}

async fn expect_eof(message: &ChannelMessage, stream: &mut (impl AsyncRead + Unpin)) {
    assert_eq!(in_time(message, stream.read_u8()).await.map_err(|error| error.kind()), Err(ErrorKind::UnexpectedEof));
}
