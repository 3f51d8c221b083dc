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
fn permutations<T: Copy>(these: &[T]) -> Vec<Vec<T>> {
    if these.is_empty() {
        return vec![Vec::new()];
    }
    let first = |index: usize| {
        let rest = [&these[..index], &these[index + 1..]].concat();
        permutations(&rest).into_iter().map(move |order| [vec![these[index]], order].concat())
    };
    (0..these.len()).flat_map(first).collect()
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
    let place = |order: &[(usize, ChannelMessage)], said: ChannelMessage| {
        order.iter().position(|step| *step == (program, said)).unwrap()
    };
    let is_one = |order: &Vec<(usize, ChannelMessage)>| {
        let close = place(order, ChannelMessage::Close);
        place(order, ChannelMessage::Stdout(5)) < place(order, ChannelMessage::Eof)
            && place(order, ChannelMessage::Eof) < close
            && place(order, ChannelMessage::Status(3)) < close
    };
    let whole = permutations(&all).into_iter().filter(is_one);
    // A server may omit everything but the close.
    let bare = permutations(&[(program, ChannelMessage::Close), (other, ChannelMessage::Stdout(9))]);
    whole.chain(bare).collect()
}

#[test]
fn a_programs_end_and_another_channels_data_may_come_in_one_chunk() {
    for (ending, slips) in endings().into_iter().flat_map(|ending| [(ending.clone(), false), (ending, true)]) {
        block_on(async {
            let (link, server) = scenario::connect_to_scripted_server().await;
            let mut scene = Scenario::new(&link, server);
            scene.open_channel(ChannelKind::Program).await;
            scene.open_channel(ChannelKind::Forward).await;
            ending.iter().for_each(|(channel, said)| scene.queue_message(*channel, *said));
            let sent = if slips { scene.flush_unnoticed(&[]).await } else { scene.flush_in_parts(&[]).await };
            assert!(sent > 0);
            let _server = scene.close_all().await;
            link.close().await.unwrap();
        });
    }
}

/// A call that waits for a program's close stops at it; and the client makes that call before it knows that the socket
/// is readable, because it is awake for another reason.
#[test]
fn data_behind_a_programs_close_is_delivered() {
    let (program, other) = (0, 1);
    for told_before in [false, true] {
        block_on(async {
            let (link, server) = scenario::connect_to_scripted_server().await;
            let mut scene = Scenario::new(&link, server);
            scene.open_channel(ChannelKind::Program).await;
            scene.open_channel(ChannelKind::Forward).await;
            // More than the user's pipe holds: reading it wakes the driver.
            for _ in 0..3 {
                scene.queue_message(program, ChannelMessage::Stdout(30_000));
            }
            scene.queue_message(program, ChannelMessage::Eof);
            if told_before {
                scene.queue_message(program, ChannelMessage::Status(3));
            }
            let lying = scene.send_unread().await;
            if !told_before {
                scene.queue_message(program, ChannelMessage::Status(3));
            }
            scene.queue_message(program, ChannelMessage::Close);
            scene.queue_message(other, ChannelMessage::Stdout(9));
            scene.send_unnoticed_after(lying).await;
            let _server = scene.close_all().await;
            link.close().await.unwrap();
        });
    }
}

/// A call that opens a channel stops at the server's reply, and no other channel has a call that reads on.
#[test]
fn data_behind_the_reply_to_an_open_is_delivered() {
    for kind in [ChannelKind::Forward, ChannelKind::Program] {
        block_on(async {
            let (link, server) = scenario::connect_to_scripted_server().await;
            let mut scene = Scenario::new(&link, server);
            scene.perform_step(ScriptedStep::RequestChannel(kind)).await;
            if kind == ChannelKind::Program {
                scene.perform_step(ScriptedStep::Accept).await;
                scene.flush_in_parts(&[]).await;
            }
            scene.perform_step(ScriptedStep::Accept).await;
            scene.queue_message(0, ChannelMessage::Stdout(9));
            scene.queue_message(0, ChannelMessage::Close);
            scene.flush_in_parts(&[]).await;
            let _server = scene.close_all().await;
            link.close().await.unwrap();
        });
    }
}

/// A call that sends waits for new keys first, and stops at them.
#[test]
fn data_behind_new_keys_is_delivered() {
    for slips in [false, true] {
        block_on(async {
            let (link, server) = scenario::connect_to_scripted_server().await;
            let mut scene = Scenario::new(&link, server);
            scene.open_channel(ChannelKind::Program).await;
            scene.open_channel(ChannelKind::Forward).await;
            scene.start_rekey().await;
            for (channel, said) in [
                (1, ChannelMessage::Stdout(9)),
                (0, ChannelMessage::Stdout(5)),
                (0, ChannelMessage::Eof),
                (1, ChannelMessage::Stdout(7)),
            ] {
                scene.queue_message(channel, said);
            }
            let sent = if slips { scene.flush_unnoticed(&[]).await } else { scene.flush_in_parts(&[]).await };
            assert!(sent > 0);
            let _server = scene.close_all().await;
            link.close().await.unwrap();
        });
    }
}

#[test]
fn a_chunk_may_be_cut_anywhere() {
    let ending = &endings()[0];
    let length = block_on(async {
        let (link, server) = scenario::connect_to_scripted_server().await;
        let mut scene = Scenario::new(&link, server);
        scene.open_channel(ChannelKind::Program).await;
        scene.open_channel(ChannelKind::Forward).await;
        ending.iter().for_each(|(channel, said)| scene.queue_message(*channel, *said));
        scene.flush_in_parts(&[]).await
    });
    block_on(async {
        let (link, server) = scenario::connect_to_scripted_server().await;
        let mut scene = Scenario::new(&link, server);
        let other = scene.open_channel(ChannelKind::Forward).await;
        for cut in 1..length {
            let program = scene.open_channel(ChannelKind::Program).await;
            for (channel, said) in ending {
                scene.queue_message([program, other][*channel], *said);
            }
            scene.flush_in_parts(&[cut]).await;
        }
        let _server = scene.close_all().await;
        link.close().await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_data_that_has_arrived_takes_effect(steps in proptest::collection::vec(any::<ScriptedStep>(), 1..60)) {
        block_on(async {
            let (link, server) = scenario::connect_to_scripted_server().await;
            let mut scene = Scenario::new(&link, server);
            for step in steps {
                scene.perform_step(step).await;
            }
            scene.flush_in_parts(&[]).await;
            let _server = scene.close_all().await;
            link.close().await.unwrap();
        });
    }
}
