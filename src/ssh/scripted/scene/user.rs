//! The actions of the client's users, and the packets that the server receives for them.

use super::{Asking, CLOSE, DATA, EOF, NEVER, OPEN, Opening, Scene, User, in_time, pattern, u32_at};
use crate::ssh::scripted::step::Kind;
use futures_util::future::{Either, select};
use tokio::io::AsyncWriteExt as _;

impl<'l> Scene<'l> {
    pub(super) async fn ask(&mut self, kind: Kind) {
        let link = self.link;
        let mut asking: Asking<'l> = match kind {
            Kind::Forward => Box::pin(async { link.forward("db", 5432, NEVER).await.map(User::Forward) }),
            Kind::Program => Box::pin(async { link.run("true", Vec::new(), NEVER).await.map(User::Program) }),
        };
        let asked = {
            let hears = Box::pin(self.hears(OPEN, None));
            match select(hears, &mut asking).await {
                Either::Left((packet, _)) => packet,
                Either::Right(_) => panic!("a channel is there that the server has not opened"),
            }
        };
        let length = usize::try_from(u32_at(&asked, 1)).unwrap();
        self.opening = Some(Opening { id: u32_at(&asked, 5 + length), kind, asking, accepted: false });
    }

    pub(super) fn may_write(&self, channel: usize) -> bool {
        // The client may already have closed a channel that the server is about to close.
        self.channels.get(channel).is_some_and(|channel| channel.user.is_some() && channel.flows && !channel.closed)
    }

    pub(super) async fn write(&mut self, index: usize, count: usize) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        let stream = channel.user.as_mut().unwrap().stdio();
        in_time(&"write", stream.write_all(&pattern(count))).await.unwrap();
        let mut come = Vec::new();
        while come.len() < count {
            come.extend_from_slice(&self.hears(DATA, Some(id)).await[9..]);
        }
        assert!(come == pattern(count));
    }

    pub(super) async fn shut(&mut self, index: usize) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        channel.flows = false;
        channel.user.as_mut().unwrap().stdio().shutdown().await.unwrap();
        self.hears(EOF, Some(id)).await;
    }

    pub(super) async fn leave(&mut self, index: usize) {
        // Queued messages must still reach the user.
        self.flush(&[]).await;
        let channel = &mut self.channels[index];
        let id = channel.id;
        if channel.user.take().is_some() {
            self.hears(CLOSE, Some(id)).await;
        }
    }
}
