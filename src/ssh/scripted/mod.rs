//! Checks that data that has arrived takes effect without any further byte: all in one chunk, in every order, and cut
//! anywhere.
//!
//! The keepalive interval of these tests is a day, so that only arriving data wakes the driver. A packet that the
//! driver leaves in libssh2's buffer would never be delivered.

mod effect;
mod scenario;
mod server;
mod step;

use proptest::prelude::*;
use scenario::Scenario;
use step::{ChannelKind, ChannelMessage, ScriptedStep};

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Returns every permutation.
fn permutations<T: Copy>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let first = |index: usize| {
        let rest = [&items[..index], &items[index + 1..]].concat();
        permutations(&rest).into_iter().map(move |tail| [vec![items[index]], tail].concat())
    };
    (0..items.len()).flat_map(first).collect()
}

/// Returns every valid order of a program's last messages, with data for another channel before, between and after
/// them.
fn endings() -> Vec<Vec<(usize, ChannelMessage)>> {
    let (program, other) = (0, 1);
    let all = [
        (program, ChannelMessage::Eof),
        (program, ChannelMessage::Status(3)),
        (program, ChannelMessage::Stdout(5)),
        (program, ChannelMessage::Close),
        (other, ChannelMessage::Stdout(9)),
    ];
    let position = |messages: &[(usize, ChannelMessage)], message: ChannelMessage| {
        messages.iter().position(|step| *step == (program, message)).unwrap()
    };
    let is_valid = |messages: &Vec<(usize, ChannelMessage)>| {
        let close = position(messages, ChannelMessage::Close);
        position(messages, ChannelMessage::Stdout(5)) < position(messages, ChannelMessage::Eof)
            && position(messages, ChannelMessage::Eof) < close
            && position(messages, ChannelMessage::Status(3)) < close
    };
    let complete = permutations(&all).into_iter().filter(is_valid);
    // A server may omit everything but the close.
    let minimal = permutations(&[(program, ChannelMessage::Close), (other, ChannelMessage::Stdout(9))]);
    complete.chain(minimal).collect()
}

#[test]
fn a_programs_end_and_another_channels_data_may_come_in_one_chunk() {
    for (ending, unnoticed) in endings().into_iter().flat_map(|ending| [(ending.clone(), false), (ending, true)]) {
        block_on(async {
            let (connection, server) = scenario::connect_to_scripted_server().await;
            let mut scenario = Scenario::new(&connection, server);
            scenario.open_channel(ChannelKind::Program).await;
            scenario.open_channel(ChannelKind::Forward).await;
            ending.iter().for_each(|(channel, message)| scenario.queue_message(*channel, *message));
            let sent = if unnoticed { scenario.flush_unnoticed(&[]).await } else { scenario.flush_in_parts(&[]).await };
            assert!(sent > 0);
            let _server = scenario.close_all().await;
            connection.close().await.unwrap();
        });
    }
}

/// A call that waits for a program's close stops at it; and the client makes that call before it knows that the socket
/// is readable, because it is awake for another reason.
#[test]
fn data_behind_a_programs_close_is_delivered() {
    let (program, other) = (0, 1);
    for status_first in [false, true] {
        block_on(async {
            let (connection, server) = scenario::connect_to_scripted_server().await;
            let mut scenario = Scenario::new(&connection, server);
            scenario.open_channel(ChannelKind::Program).await;
            scenario.open_channel(ChannelKind::Forward).await;
            // More than the user's pipe holds: reading it wakes the driver.
            for _ in 0..3 {
                scenario.queue_message(program, ChannelMessage::Stdout(30_000));
            }
            scenario.queue_message(program, ChannelMessage::Eof);
            if status_first {
                scenario.queue_message(program, ChannelMessage::Status(3));
            }
            let unread = scenario.send_unread().await;
            if !status_first {
                scenario.queue_message(program, ChannelMessage::Status(3));
            }
            scenario.queue_message(program, ChannelMessage::Close);
            scenario.queue_message(other, ChannelMessage::Stdout(9));
            scenario.send_unnoticed_after(unread).await;
            let _server = scenario.close_all().await;
            connection.close().await.unwrap();
        });
    }
}

/// A call that opens a channel stops at the server's reply, and no other channel has a call that reads on.
#[test]
fn data_behind_the_reply_to_an_open_is_delivered() {
    for kind in [ChannelKind::Forward, ChannelKind::Program] {
        block_on(async {
            let (connection, server) = scenario::connect_to_scripted_server().await;
            let mut scenario = Scenario::new(&connection, server);
            scenario.perform_step(ScriptedStep::RequestChannel(kind)).await;
            if kind == ChannelKind::Program {
                scenario.perform_step(ScriptedStep::Accept).await;
                scenario.flush_in_parts(&[]).await;
            }
            scenario.perform_step(ScriptedStep::Accept).await;
            scenario.queue_message(0, ChannelMessage::Stdout(9));
            scenario.queue_message(0, ChannelMessage::Close);
            scenario.flush_in_parts(&[]).await;
            let _server = scenario.close_all().await;
            connection.close().await.unwrap();
        });
    }
}

/// A call that sends waits for new keys first, and stops at them.
#[test]
fn data_behind_new_keys_is_delivered() {
    for unnoticed in [false, true] {
        block_on(async {
            let (connection, server) = scenario::connect_to_scripted_server().await;
            let mut scenario = Scenario::new(&connection, server);
            scenario.open_channel(ChannelKind::Program).await;
            scenario.open_channel(ChannelKind::Forward).await;
            scenario.start_rekey().await;
            for (channel, message) in [
                (1, ChannelMessage::Stdout(9)),
                (0, ChannelMessage::Stdout(5)),
                (0, ChannelMessage::Eof),
                (1, ChannelMessage::Stdout(7)),
            ] {
                scenario.queue_message(channel, message);
            }
            let sent = if unnoticed { scenario.flush_unnoticed(&[]).await } else { scenario.flush_in_parts(&[]).await };
            assert!(sent > 0);
            let _server = scenario.close_all().await;
            connection.close().await.unwrap();
        });
    }
}

#[test]
fn a_chunk_may_be_cut_anywhere() {
    let ending = &endings()[0];
    let length = block_on(async {
        let (connection, server) = scenario::connect_to_scripted_server().await;
        let mut scenario = Scenario::new(&connection, server);
        scenario.open_channel(ChannelKind::Program).await;
        scenario.open_channel(ChannelKind::Forward).await;
        ending.iter().for_each(|(channel, message)| scenario.queue_message(*channel, *message));
        scenario.flush_in_parts(&[]).await
    });
    block_on(async {
        let (connection, server) = scenario::connect_to_scripted_server().await;
        let mut scenario = Scenario::new(&connection, server);
        let other = scenario.open_channel(ChannelKind::Forward).await;
        for cut in 1..length {
            let program = scenario.open_channel(ChannelKind::Program).await;
            for (channel, message) in ending {
                scenario.queue_message([program, other][*channel], *message);
            }
            scenario.flush_in_parts(&[cut]).await;
        }
        let _server = scenario.close_all().await;
        connection.close().await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_data_that_has_arrived_takes_effect(steps in proptest::collection::vec(any::<ScriptedStep>(), 1..60)) {
        block_on(async {
            let (connection, server) = scenario::connect_to_scripted_server().await;
            let mut scenario = Scenario::new(&connection, server);
            for step in steps {
                scenario.perform_step(step).await;
            }
            scenario.flush_in_parts(&[]).await;
            let _server = scenario.close_all().await;
            connection.close().await.unwrap();
        });
    }
}
