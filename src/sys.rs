//! What is particular to the system: a listener with a backlog, sends that do not block, and a wait
//! that sockets and threads can end. Safe calls of Unix only; the rest of the library knows none.

mod liveness;
mod memory;
mod poller;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, sockopt};
use rustix::pipe::PipeFlags;
use rustix::process::{Resource, getrlimit, setrlimit};

pub(crate) use self::liveness::{Liveness, liveness};
pub(crate) use self::memory::usable_bytes;
pub(crate) use self::poller::Poller;
use crate::limits::{
    KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, LISTEN_BACKLOG, RECEIVE_BUFFER_BYTES,
};

/// Listens on `addr` without blocking in accept. On `::` it takes IPv4 too.
///
/// What is set for the listener holds for every connection that it accepts: small lines go out at
/// once, and a dead peer is found by keepalive when nothing is on the way to it, or, when it leaves
/// something unacknowledged for `user_timeout`, by TCP_USER_TIMEOUT (tcp(7)).
pub(crate) fn listen(
    addr: SocketAddr,
    user_timeout: Duration,
    send_buffer_bytes: usize,
) -> io::Result<TcpListener> {
    let family = if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // The port can be bound again at once although old connections are still in TIME-WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    set_keepalive(&socket, user_timeout)?;
    sockopt::set_socket_send_buffer_size(&socket, send_buffer_bytes)?;
    sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
    rustix::net::bind(&socket, &addr)?;
    // std would listen with 128, too few for a thousand who arrive in a second.
    rustix::net::listen(&socket, LISTEN_BACKLOG)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn set_keepalive(socket: &OwnedFd, user_timeout: Duration) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_COUNT)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(
        socket,
        // More would be negative to the kernel.
        u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX).min(i32::MAX as u32),
    )?;
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout; // Keepalive and the stall timeout find dead peers there, only later.
    Ok(())
}

/// Raises this process's limit of open descriptors as far as it may, and gives what it is then
/// (none for no limit).
pub fn raise_descriptor_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal leaves the limit as it was, which is what is read below.
    let _ = setrlimit(Resource::Nofile, limit);
    descriptor_limit()
}

/// How many descriptors this process may have open (none for no limit).
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many mappings of memory a process may have (none where that is unknown): proc_sys_vm(5).
pub(crate) fn mapping_limit() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

/// Whether this process may only map so much memory.
pub(crate) fn address_space_is_limited() -> bool {
    getrlimit(Resource::As).current.is_some()
}

/// Sends what the socket takes now, and never waits, although the socket itself is blocking:
/// O_NONBLOCK would change the reader's side too, for both share one open file description.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when it takes nothing; any other means that it never will again.
pub(crate) fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// Sets how many bytes may wait in the system to be sent (socket(7); the system may allow less).
pub(crate) fn set_send_buffer(stream: &TcpStream, bytes: usize) {
    // It fails only on a connection that is gone.
    let _ = sockopt::set_socket_send_buffer_size(stream, bytes);
}

/// Whether the peer has reset the connection, whatever it sent before. Half a close is no reset.
pub(crate) fn is_reset(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Receives what has arrived already, and never waits.
pub(crate) fn receive_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (received, _) = rustix::net::recv(stream, buffer, RecvFlags::DONTWAIT)?;
    Ok(received)
}

/// Like [`receive_now`], but leaves what has arrived to be received.
pub(crate) fn peek_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (peeked, _) = rustix::net::recv(stream, buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK)?;
    Ok(peeked)
}

/// Ends another thread's [`wait`]. A wake before the wait is not lost.
pub(crate) struct Waker {
    receiving: OwnedFd,
    sending: OwnedFd,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        let (receiving, sending) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Waker { receiving, sending })
    }

    /// Wakes the waiting thread, or the next one that waits. Never blocks.
    pub(crate) fn wake(&self) {
        // A full pipe refuses the byte, and wakes the thread with those that it holds.
        let _ = rustix::io::write(&self.sending, &[1]);
    }

    fn clear(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.receiving, &mut bytes[..]).is_ok_and(|read| read == 64) {}
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiving.as_fd()
    }
}

/// How long [`wait`] sleeps when the system cannot wait.
const FAULT_PAUSE: Duration = Duration::from_millis(10);

/// What a socket is waited for.
#[derive(Clone, Copy)]
pub(crate) enum Interest {
    /// Something to read, or a connection to accept.
    Input,
    /// Room to write.
    #[cfg_attr(target_os = "linux", expect(dead_code, reason = "epoll is used there"))]
    Writable,
}

/// Waits until the waker or a socket is ready, or `timeout` is over, and gives the positions of
/// the sockets that are ready (to fail, perhaps). A wake is taken, so that it ends one wait.
///
/// *Blocking*: up to `timeout`, for ever without one.
pub(crate) fn wait<'a>(
    waker: &'a Waker,
    sockets: impl Iterator<Item = BorrowedFd<'a>>,
    interest: Interest,
    timeout: Option<Duration>,
) -> Vec<usize> {
    let flags = match interest {
        Interest::Input => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    };
    let mut polled = vec![PollFd::new(waker, PollFlags::IN)];
    polled.extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket, flags)));
    let timeout = timeout.map(timespec);
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => {}
        // Nothing is ready, and every caller waits in a loop.
        Err(Errno::INTR) => return Vec::new(),
        // Out of memory, say: the loop must not spin meanwhile.
        Err(_) => {
            thread::sleep(FAULT_PAUSE);
            return Vec::new();
        }
    }
    if !polled[0].revents().is_empty() {
        waker.clear();
    }
    let ready = polled[1..].iter().enumerate().filter(|(_, socket)| !socket.revents().is_empty());
    ready.map(|(position, _)| position).collect()
}

fn timespec(timeout: Duration) -> Timespec {
    Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// The addresses at which others can reach a listener on `addr`: none when it is bound to loopback
/// only, every address of this machine but the loopback and link-local ones when it is bound to all.
pub fn reachable(addr: SocketAddr) -> Vec<SocketAddr> {
    if addr.ip().is_loopback() {
        return Vec::new();
    }
    if !addr.ip().is_unspecified() {
        return vec![addr];
    }
    let mut addrs: Vec<SocketAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| SocketAddr::new(interface.ip(), addr.port()))
        .filter(|reached| addr.is_ipv6() || reached.is_ipv4())
        .collect();
    addrs.sort_by_key(|addr| (addr.is_ipv6(), addr.ip()));
    addrs.dedup();
    addrs
}

/// The address as people know it: an IPv4 one that came in through an IPv6 socket is plain again.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(_) => addr,
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(ip.into(), addr.port()),
            None => addr,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_by_nobody_else_and_one_address_only_at_itself() {
        assert!(reachable("127.0.0.1:9".parse().unwrap()).is_empty());
        assert!(reachable("[::1]:9".parse().unwrap()).is_empty());
        let one = "192.0.2.7:9".parse().unwrap();
        assert_eq!(reachable(one), [one]);
    }

    #[test]
    fn a_mapped_address_is_plain() {
        assert_eq!(canonical("[::ffff:1.2.3.4]:5".parse().unwrap()).to_string(), "1.2.3.4:5");
        assert_eq!(canonical("[2001:db8::1]:5".parse().unwrap()).to_string(), "[2001:db8::1]:5");
    }

    #[test]
    fn a_wake_before_the_wait_ends_it_once() {
        let waker = Waker::new().unwrap();
        waker.wake();
        waker.wake();
        let none = || std::iter::empty::<BorrowedFd<'_>>();
        wait(&waker, none(), Interest::Input, None);
        let started = std::time::Instant::now();
        wait(&waker, none(), Interest::Input, Some(Duration::from_millis(20)));
        assert!(started.elapsed() >= Duration::from_millis(15), "the wake was taken");
    }
}
