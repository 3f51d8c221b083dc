//! Checks the effect of each packet once it has arrived.

use super::{CLOSE, GLOBAL_REFUSAL, Opening, Packet, REQUEST, Scene, User, in_time, pattern};
use crate::ssh::{
    connection::NoChannel,
    process::End,
    scripted::{effect::Effect, step::Said},
};
use futures_util::future::{Either, select};
use std::io::ErrorKind;
use tokio::io::{AsyncRead, AsyncReadExt as _};

impl Scene<'_> {
    pub(super) async fn see(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Answered => drop(self.hears(GLOBAL_REFUSAL, None).await),
            Effect::Accepted => {
                self.answering = false;
                let Some(mut opening) = self.opening.take() else { panic!("nobody asks for a channel") };
                let id = opening.id;
                let hears = Box::pin(self.hears(REQUEST, Some(id)));
                if let Either::Right(_) = select(hears, &mut opening.asking).await {
                    panic!("a program is there that the server has not started")
                }
                self.opening = Some(Opening { accepted: true, ..opening });
            }
            Effect::Opened => {
                self.answering = false;
                let Opening { id, asking, .. } = self.opening.take().unwrap();
                let user = in_time(&effect, asking).await.unwrap();
                // A channel number is reused once its channel is closed.
                self.channels.iter_mut().rfind(|channel| channel.id == id).unwrap().user = Some(user);
            }
            Effect::Refused => {
                self.answering = false;
                let Opening { id, asking, accepted, .. } = self.opening.take().unwrap();
                assert!(matches!(in_time(&effect, asking).await, Err(NoChannel::Refused(_))));
                if accepted {
                    // The client closes the channel of a refused program.
                    self.hears(CLOSE, Some(id)).await;
                    self.add(&Packet::of(CLOSE).number(id), Effect::None);
                }
            }
            Effect::Said(index, said) => self.see_said(index, said).await,
        }
    }

    async fn see_said(&mut self, index: usize, said: Said) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        let Some(user) = &mut channel.user else { return };
        match (said, &mut *user) {
            (Said::Out(count), user) => gets(&said, user.stdio(), count).await,
            (Said::Err(count), User::Program(process)) => gets(&said, &mut process.stderr, count).await,
            (Said::Eof | Said::Close, user) => {
                ends(&said, user.stdio()).await;
                if let User::Program(process) = user {
                    ends(&said, &mut process.stderr).await;
                }
            }
            (Said::Status(code), _) => channel.status = code,
            (Said::Err(_), User::Forward(_)) => panic!("a connection has no errors"),
        }
        if said == Said::Close {
            if let Some(User::Program(process)) = &mut channel.user {
                let end = in_time(&said, &mut process.ended).await.unwrap();
                assert_eq!(end, End::Exited(channel.status));
            }
            channel.user = None;
            channel.flows = false;
            self.hears(CLOSE, Some(id)).await;
        }
    }
}

async fn gets(said: &Said, stream: &mut (impl AsyncRead + Unpin), count: usize) {
    let mut bytes = vec![0; count];
    in_time(said, stream.read_exact(&mut bytes)).await.unwrap();
    assert!(bytes == pattern(count), "{said:?}");
}

async fn ends(said: &Said, stream: &mut (impl AsyncRead + Unpin)) {
    assert_eq!(in_time(said, stream.read_u8()).await.map_err(|error| error.kind()), Err(ErrorKind::UnexpectedEof));
}
