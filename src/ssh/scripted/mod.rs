//! Checks that data that has arrived takes effect without any further byte: all in one chunk, in every order, and cut
//! anywhere.
//!
//! The keepalive interval of these tests is a day, so that only arriving data wakes the driver. A packet that the
//! driver leaves in libssh2's buffer would never be delivered.

mod effect;
mod scene;
mod server;
mod step;

use proptest::prelude::*;
use scene::Scene;
use step::{Kind, Said, Step};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Returns every permutation.
fn orders<T: Copy>(these: &[T]) -> Vec<Vec<T>> {
    if these.is_empty() {
        return vec![Vec::new()];
    }
    let first = |index: usize| {
        let rest = [&these[..index], &these[index + 1..]].concat();
        orders(&rest).into_iter().map(move |order| [vec![these[index]], order].concat())
    };
    (0..these.len()).flat_map(first).collect()
}

/// Returns every valid order of a program's last messages, with data for another channel before, between and after
/// them.
fn endings() -> Vec<Vec<(usize, Said)>> {
    let (program, other) = (0, 1);
    let all = [
        (program, Said::Eof),
        (program, Said::Status(3)),
        (program, Said::Out(5)),
        (program, Said::Close),
        (other, Said::Out(9)),
    ];
    let place = |order: &[(usize, Said)], said: Said| order.iter().position(|step| *step == (program, said)).unwrap();
    let is_one = |order: &Vec<(usize, Said)>| {
        let close = place(order, Said::Close);
        place(order, Said::Out(5)) < place(order, Said::Eof)
            && place(order, Said::Eof) < close
            && place(order, Said::Status(3)) < close
    };
    let whole = orders(&all).into_iter().filter(is_one);
    // A server may omit everything but the close.
    let bare = orders(&[(program, Said::Close), (other, Said::Out(9))]);
    whole.chain(bare).collect()
}

#[test]
fn a_programs_end_and_another_channels_data_may_come_in_one_chunk() {
    for (ending, slips) in endings().into_iter().flat_map(|ending| [(ending.clone(), false), (ending, true)]) {
        run(async {
            let (link, server) = scene::connected().await;
            let mut scene = Scene::new(&link, server);
            scene.opened(Kind::Program).await;
            scene.opened(Kind::Forward).await;
            ending.iter().for_each(|(channel, said)| scene.say(*channel, *said));
            let sent = if slips { scene.slip(&[]).await } else { scene.flush(&[]).await };
            assert!(sent > 0);
            let _server = scene.end().await;
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
        run(async {
            let (link, server) = scene::connected().await;
            let mut scene = Scene::new(&link, server);
            scene.opened(Kind::Program).await;
            scene.opened(Kind::Forward).await;
            // More than the user's pipe holds: reading it wakes the driver.
            for _ in 0..3 {
                scene.say(program, Said::Out(30_000));
            }
            scene.say(program, Said::Eof);
            if told_before {
                scene.say(program, Said::Status(3));
            }
            let lying = scene.let_lie().await;
            if !told_before {
                scene.say(program, Said::Status(3));
            }
            scene.say(program, Said::Close);
            scene.say(other, Said::Out(9));
            scene.slip_behind(lying).await;
            let _server = scene.end().await;
            link.close().await.unwrap();
        });
    }
}

/// A call that opens a channel stops at the server's reply, and no other channel has a call that reads on.
#[test]
fn data_behind_the_reply_to_an_open_is_delivered() {
    for kind in [Kind::Forward, Kind::Program] {
        run(async {
            let (link, server) = scene::connected().await;
            let mut scene = Scene::new(&link, server);
            scene.play(Step::Ask(kind)).await;
            if kind == Kind::Program {
                scene.play(Step::Accept).await;
                scene.flush(&[]).await;
            }
            scene.play(Step::Accept).await;
            scene.say(0, Said::Out(9));
            scene.say(0, Said::Close);
            scene.flush(&[]).await;
            let _server = scene.end().await;
            link.close().await.unwrap();
        });
    }
}

/// A call that sends waits for new keys first, and stops at them.
#[test]
fn data_behind_new_keys_is_delivered() {
    for slips in [false, true] {
        run(async {
            let (link, server) = scene::connected().await;
            let mut scene = Scene::new(&link, server);
            scene.opened(Kind::Program).await;
            scene.opened(Kind::Forward).await;
            scene.rekey().await;
            for (channel, said) in [(1, Said::Out(9)), (0, Said::Out(5)), (0, Said::Eof), (1, Said::Out(7))] {
                scene.say(channel, said);
            }
            let sent = if slips { scene.slip(&[]).await } else { scene.flush(&[]).await };
            assert!(sent > 0);
            let _server = scene.end().await;
            link.close().await.unwrap();
        });
    }
}

#[test]
fn a_chunk_may_be_cut_anywhere() {
    let ending = &endings()[0];
    let length = run(async {
        let (link, server) = scene::connected().await;
        let mut scene = Scene::new(&link, server);
        scene.opened(Kind::Program).await;
        scene.opened(Kind::Forward).await;
        ending.iter().for_each(|(channel, said)| scene.say(*channel, *said));
        scene.flush(&[]).await
    });
    run(async {
        let (link, server) = scene::connected().await;
        let mut scene = Scene::new(&link, server);
        let other = scene.opened(Kind::Forward).await;
        for cut in 1..length {
            let program = scene.opened(Kind::Program).await;
            for (channel, said) in ending {
                scene.say([program, other][*channel], *said);
            }
            scene.flush(&[cut]).await;
        }
        let _server = scene.end().await;
        link.close().await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_data_that_has_arrived_takes_effect(steps in proptest::collection::vec(any::<Step>(), 1..60)) {
        run(async {
            let (link, server) = scene::connected().await;
            let mut scene = Scene::new(&link, server);
            for step in steps {
                scene.play(step).await;
            }
            scene.flush(&[]).await;
            let _server = scene.end().await;
            link.close().await.unwrap();
        });
    }
}
