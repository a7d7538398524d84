//! Seats: how many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The seats of one server, taken and free.
pub(crate) struct Seats {
    clients_max: usize,
    clients_per_host_max: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    of_host: HashMap<IpAddr, usize>,
}

/// Why no seat is free; the text is for whom it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Room { clients_max: usize },
    Host { clients_per_host_max: usize },
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Room { clients_max } => write!(f, "the room is full: {clients_max} are here"),
            Full::Host { clients_per_host_max } => {
                write!(f, "{clients_per_host_max} are here from your address, and no more may be")
            }
        }
    }
}

/// One connection's seat, free again when it is dropped.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    host: IpAddr,
}

impl Seats {
    pub(crate) fn new(clients_max: usize, clients_per_host_max: Option<usize>) -> Arc<Seats> {
        Arc::new(Seats { clients_max, clients_per_host_max, taken: Mutex::default() })
    }

    /// A seat for a connection from `host`.
    ///
    /// # Errors
    /// [`Full`], with the limit that is reached.
    pub(crate) fn take(self: &Arc<Seats>, host: IpAddr) -> Result<Seat, Full> {
        let mut taken = self.taken.lock();
        if taken.all >= self.clients_max {
            return Err(Full::Room { clients_max: self.clients_max });
        }
        let of_host = taken.of_host.get(&host).copied().unwrap_or(0);
        if let Some(clients_per_host_max) = self.clients_per_host_max
            && of_host >= clients_per_host_max
        {
            return Err(Full::Host { clients_per_host_max });
        }
        taken.all += 1;
        taken.of_host.insert(host, of_host + 1);
        Ok(Seat { seats: Arc::clone(self), host })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        taken.all -= 1;
        if let Some(of_host) = taken.of_host.get_mut(&self.host) {
            *of_host -= 1;
            if *of_host == 0 {
                taken.of_host.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_run_out_in_all_and_by_host_and_come_free_again() {
        let (one, two) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let seats = Seats::new(3, Some(2));
        let first = seats.take(one).ok().unwrap();
        let _second = seats.take(one).ok().unwrap();
        assert_eq!(seats.take(one).err(), Some(Full::Host { clients_per_host_max: 2 }));
        let _third = seats.take(two).ok().unwrap();
        assert_eq!(seats.take(two).err(), Some(Full::Room { clients_max: 3 }));
        drop(first);
        assert!(seats.take(one).is_ok());
        assert_eq!(seats.taken.lock().of_host.len(), 2, "nothing is kept for hosts without seats");
    }
}
