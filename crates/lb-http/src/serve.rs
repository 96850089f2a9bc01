//! One client connection from accept to close. The conversation goes on in its own future; this task keeps its
//! time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use lb_h1::RequestError;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::conversation::{Conversation, Next, NoHead};
use crate::exchange;
use crate::handshake;
use crate::http2;
use crate::reject::Reject;
use crate::tcp;
use crate::transport::Transport;
use crate::watch::Timer;

/// Serves a connection until either side is done with it. Dropping the future closes the connection and breaks
/// off what is in flight.
pub(crate) async fn connection(stream: TcpStream, client: Rc<Client>) {
    // Pinned here and lent, and made where it is used: a future keeps room for what it is handed and for what it does with it.
    let conversation = pin!(converse(stream, Rc::clone(&client)));
    keep_time(&client, conversation).await;
}

/// Polls what a client does, and tells it when its phase's time is up and when its listener is closed.
async fn keep_time(client: &Client, conversation: Pin<&mut impl Future<Output = ()>>) {
    let mut drain = pin!(client.listener.gate.closing());
    let mut is_draining = false;
    let mut in_time = pin!(in_time(client, conversation));
    std::future::poll_fn(|cx| {
        // Registers for the wake-up; an idle conversation sees the gate when it is polled.
        is_draining = is_draining || drain.as_mut().poll(cx).is_ready();
        in_time.as_mut().poll(cx)
    })
    .await;
}

/// The same where draining is another's business.
pub(crate) async fn in_time(client: &Client, mut conversation: Pin<&mut impl Future<Output = ()>>) {
    let mut timer = Timer::new(&client.watch);
    std::future::poll_fn(|cx| {
        loop {
            if conversation.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if timer.poll(cx, &client.watch).is_pending() {
                return Poll::Pending;
            }
            // Whoever waits in this phase sees it at once, and gives up or begins another phase.
            if client.watch.is_expired() {
                return Poll::Ready(());
            }
            client.watch.expire();
        }
    })
    .await;
}

/// One request after the other.
async fn converse(stream: TcpStream, client: Rc<Client>) {
    let mut conversation = Conversation::new(Transport::new(stream), Rc::clone(&client));
    let mut name = None;
    if client.listener.tls.is_some() && tcp::wants_name(&client) {
        // It is known ahead of the handshake alone.
        name = Box::pin(tcp::server_name(&mut conversation)).await;
    }
    if let Some(tls) = &client.listener.tls
        && let Err(next) = Box::pin(handshake::accept(&mut conversation, tls)).await
    {
        return end(&mut conversation, next).await;
    }
    if client.listener.config.tcp.is_some() {
        let next = Box::pin(tcp::serve(&mut conversation, name)).await;
        return end(&mut conversation, next).await;
    }
    let mut is_first = true;
    loop {
        let next = match conversation.read_head().await {
            // Boxed, so that an idle connection does not keep room for an exchange; and made in its box, where `Box::pin` would move
            // all 3.5 KiB there.
            Ok(head) => {
                let room = Box::new_uninit();
                Box::into_pin(Box::write(room, exchange::serve(&mut conversation, head))).await
            }
            Err(NoHead::Over) => Next::Close,
            Err(NoHead::Slow) => {
                Box::pin(exchange::refuse_head(&mut conversation, Reject::RequestTimeout)).await
            }
            Err(NoHead::Refused(RequestError::Http2Preface))
                if is_first && http2::may_begin(&conversation) =>
            {
                return Box::pin(http2::serve(conversation)).await;
            }
            Err(NoHead::Refused(error)) => {
                Box::pin(exchange::refuse_head(&mut conversation, Reject::Head(error))).await
            }
        };
        is_first = false;
        match next {
            Next::KeepAlive => {}
            Next::Switched(switched) => {
                let next = Box::pin(switched.carry(&mut conversation)).await;
                return end(&mut conversation, next).await;
            }
            next => return end(&mut conversation, next).await,
        }
    }
}

async fn end(conversation: &mut Conversation, next: Next) {
    match next {
        Next::Close | Next::KeepAlive | Next::Switched(_) => conversation.transport.say_goodbye(),
        Next::Break => {}
        Next::Reset => conversation.transport.reset_at_close(),
        Next::Linger => conversation.linger().await,
    }
}
