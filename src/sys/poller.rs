//! Waiting for room in many sockets at once. On Linux each is registered while it is waited for, and a
//! wait costs no more for ten thousand of them than for one: epoll(7). Elsewhere each wait goes through
//! all: poll(2).

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::time::Duration;

use super::{Waker, timespec};

/// Sockets that are ready, of those that one wait tells of.
const READY_MAX: usize = 256;

/// The key of the waker, which no socket has.
const WAKER: u64 = u64::MAX;

/// See the module's documentation.
#[cfg(target_os = "linux")]
pub(crate) struct Poller {
    epoll: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Poller {
    /// A poller that `waker` wakes.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn new(waker: &Waker) -> io::Result<Poller> {
        use rustix::event::epoll;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, waker, epoll::EventData::new_u64(WAKER), epoll::EventFlags::IN)?;
        Ok(Poller { epoll })
    }

    /// Waits for room in this socket from now on.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub(crate) fn add(&self, stream: &TcpStream, key: u64) -> io::Result<()> {
        use rustix::event::epoll;
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, stream, data, epoll::EventFlags::OUT)?)
    }

    /// Waits for room in this socket no more.
    pub(crate) fn remove(&self, stream: &TcpStream, _key: u64) {
        // It is registered, and an open descriptor.
        let _ = rustix::event::epoll::delete(&self.epoll, stream);
    }

    /// Waits until the waker is woken or a registered socket is ready, or `timeout` is over; gives the
    /// keys of sockets that are ready (to fail, perhaps). A wake is taken.
    ///
    /// *Blocking*: up to `timeout`, for ever without one.
    pub(crate) fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> Vec<u64> {
        let timeout = timeout.map(timespec);
        let mut events = [MaybeUninit::uninit(); READY_MAX];
        let mut ready = Vec::new();
        match rustix::event::epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => {
                for event in events {
                    match event.data.u64() {
                        WAKER => waker.clear(),
                        key => ready.push(key),
                    }
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            // The loop that waits must not spin.
            Err(_) => std::thread::sleep(super::FAULT_PAUSE),
        }
        ready
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Poller;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::os::fd::{AsFd as _, OwnedFd};

    use super::*;
    use crate::sys::{Interest, wait};

    /// See the module's documentation. It holds a descriptor of its own for each socket.
    pub(crate) struct Poller(RefCell<HashMap<u64, OwnedFd>>);

    impl Poller {
        pub(crate) fn new(_: &Waker) -> io::Result<Poller> {
            Ok(Poller(RefCell::default()))
        }

        pub(crate) fn add(&self, stream: &TcpStream, key: u64) -> io::Result<()> {
            let socket = stream.as_fd().try_clone_to_owned()?;
            self.0.borrow_mut().insert(key, socket);
            Ok(())
        }

        pub(crate) fn remove(&self, _stream: &TcpStream, key: u64) {
            self.0.borrow_mut().remove(&key);
        }

        pub(crate) fn wait(&mut self, waker: &Waker, timeout: Option<Duration>) -> Vec<u64> {
            let sockets = self.0.borrow();
            let keys: Vec<u64> = sockets.keys().copied().collect();
            let polled = sockets.values().map(|socket| socket.as_fd());
            let ready = wait(waker, polled, Interest::Writable, timeout);
            ready.into_iter().map(|position| keys[position]).collect()
        }
    }
}
