//! What has arrived takes effect, with no further byte: in one piece, in every order and cut.
//!
//! The keepalive of these tests is a day, so that nothing but what has arrived wakes the pump. A packet that it leaves in
//! libssh2's buffer is one that nobody gets.

mod scene;
mod server;
mod step;

use proptest::prelude::*;
use scene::Scene;
use step::{Kind, Said, Step};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Every order of these.
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

/// The end of a program, in each order that is one, and the answer that another channel waits for before, between and behind.
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
    // A server may leave out each but the close.
    let bare = orders(&[(program, Said::Close), (other, Said::Out(9))]);
    whole.chain(bare).collect()
}

#[test]
fn the_end_of_a_program_and_what_another_channel_waits_for_come_in_one_piece() {
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

/// A call that waits for the close of a program stops at it; and the client makes it before it knows that there is something
/// to read, as it is awake for another reason.
#[test]
fn what_stands_behind_the_close_of_a_program_comes_with_it() {
    let (program, other) = (0, 1);
    for told_before in [false, true] {
        run(async {
            let (link, server) = scene::connected().await;
            let mut scene = Scene::new(&link, server);
            scene.opened(Kind::Program).await;
            scene.opened(Kind::Forward).await;
            // More than the pipe to the user holds: the pump is woken when that is read.
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

/// A call that opens a channel stops at the server's answer; there is no other channel whose call reads on.
#[test]
fn what_stands_behind_the_answer_to_an_open_comes_with_it() {
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
fn what_stands_behind_new_keys_comes_with_them() {
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
fn it_does_not_matter_where_a_piece_is_cut() {
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
    fn whatever_has_arrived_takes_effect(steps in proptest::collection::vec(any::<Step>(), 1..60)) {
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
