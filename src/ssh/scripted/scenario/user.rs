//! The actions of the client's users, and the packets that the server receives for them.

use super::{
    CHANNEL_CLOSE, CHANNEL_DATA, CHANNEL_EOF, CHANNEL_OPEN, OpenFuture, Scenario, UnansweredOpen, User, WAIT_LIMIT,
    in_time, pattern, u32_at,
};
use crate::ssh::scripted::step::ChannelKind;
use futures_util::future::{Either, select};
use tokio::io::AsyncWriteExt as _;

impl<'l> Scenario<'l> {
    pub(super) async fn request_channel(&mut self, kind: ChannelKind) {
        let connection = self.connection;
        let mut future: OpenFuture<'l> = match kind {
            ChannelKind::Forward => {
                Box::pin(async { connection.open_forward("db", 5432, WAIT_LIMIT).await.map(User::Forward) })
            }
            ChannelKind::Program => {
                Box::pin(async { connection.start_program("true", Vec::new(), WAIT_LIMIT).await.map(User::Program) })
            }
        };
        let request = {
            let packet = Box::pin(self.next_packet(CHANNEL_OPEN, None));
            match select(packet, &mut future).await {
                Either::Left((packet, _)) => packet,
                Either::Right(_) => panic!("a channel is there that the server has not opened"),
            }
        };
        let length = usize::try_from(u32_at(&request, 1)).unwrap();
        self.opening = Some(UnansweredOpen { id: u32_at(&request, 5 + length), kind, future, accepted: false });
    }

    pub(super) fn may_write(&self, channel: usize) -> bool {
        // The client may already have closed a channel that the server is about to close.
        self.channels.get(channel).is_some_and(|channel| channel.user.is_some() && channel.may_write && !channel.closed)
    }

    pub(super) async fn write_bytes(&mut self, index: usize, count: usize) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        let stream = channel.user.as_mut().unwrap().stdio();
        in_time(&"write", stream.write_all(&pattern(count))).await.unwrap();
        let mut received = Vec::new();
        while received.len() < count {
            received.extend_from_slice(&self.next_packet(CHANNEL_DATA, Some(id)).await[9..]);
        }
        assert!(received == pattern(count));
    }

    pub(super) async fn shut_down_writing(&mut self, index: usize) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        channel.may_write = false;
        channel.user.as_mut().unwrap().stdio().shutdown().await.unwrap();
        self.next_packet(CHANNEL_EOF, Some(id)).await;
    }

    pub(super) async fn drop_user(&mut self, index: usize) {
        // Queued messages must still reach the user.
        self.flush_in_parts(&[]).await;
        let channel = &mut self.channels[index];
        let id = channel.id;
        if channel.user.take().is_some() {
            self.next_packet(CHANNEL_CLOSE, Some(id)).await;
        }
    }
}
