//! Whether the peer of a connection still lives, as far as TCP knows it by now: from Linux's table
//! of connections, `/proc/net/tcp` (proc_net(5)). Elsewhere nobody is known to be dead.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// What TCP knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// It has acknowledged everything.
    Alive,
    /// Something is on the way to it.
    Unknown,
    /// It does not acknowledge what was sent to it again and again, or the connection is gone.
    Dead,
}

/// Retransmissions, or probes of a closed window or of a silent peer, in a row without an
/// acknowledgement, that a living peer on a working network does not come to.
const UNANSWERED_DEAD: u64 = 2;

/// What TCP knows of the peer at `remote`, connected to `local`.
pub(crate) fn liveness(local: SocketAddr, remote: SocketAddr) -> Liveness {
    let mut found = Liveness::Unknown;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let read = File::open(table).and_then(|it| find(BufReader::new(it), local, remote));
        match read {
            Ok(Some(liveness)) => return liveness,
            Ok(None) => found = Liveness::Dead,
            // A system without IPv6 has no table of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return Liveness::Unknown,
        }
    }
    found
}

fn find(
    table: impl BufRead,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Option<Liveness>> {
    for line in table.lines().skip(1) {
        let line = line?;
        // sl local remote state sent:received timer:when retransmissions uid probes
        let fields: Vec<&str> = line.split_ascii_whitespace().take(9).collect();
        let [_, here, there, _, queues, _, retransmissions, _, probes] = fields[..] else {
            continue;
        };
        if address(here) != Some(local) || address(there) != Some(remote) {
            continue;
        }
        let unacknowledged = queues.split_once(':').and_then(|(sent, _)| hex(sent));
        return Ok(Some(match (probes.parse(), unacknowledged, hex(retransmissions)) {
            (Ok(UNANSWERED_DEAD..), _, _) => Liveness::Dead,
            (_, Some(0), _) => Liveness::Alive,
            (_, _, Some(UNANSWERED_DEAD..)) => Liveness::Dead,
            _ => Liveness::Unknown,
        }));
    }
    Ok(None)
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// An address of the table: its 32-bit words in the machine's own byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(host.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match host.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn state(queues: &str, retransmissions: &str, probes: u64) -> Liveness {
        let ip = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let (here, there) = (ip([127, 0, 0, 1]), ip([192, 0, 2, 7]));
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n   \
             0: {there}:CC4A {here}:270F 01 00000000:00000000 00:00000000 00000000     0        0\n   \
             1: {here}:270F {there}:CC4A 01 {queues} 01:00000019 {retransmissions}     0 {probes:8}\n"
        );
        let (local, remote) = ("127.0.0.1:9999", "192.0.2.7:52298");
        find(table.as_bytes(), local.parse().unwrap(), remote.parse().unwrap()).unwrap().unwrap()
    }

    #[test]
    fn a_peer_is_dead_when_retransmissions_go_unacknowledged() {
        assert_eq!(state("00000000:00000000", "00000000", 0), Liveness::Alive);
        assert_eq!(state("00000000:00000000", "00000002", 0), Liveness::Alive);
        assert_eq!(state("00000040:00000000", "00000000", 0), Liveness::Unknown);
        assert_eq!(state("00000040:00000000", "00000001", 0), Liveness::Unknown);
        assert_eq!(state("00000040:00000000", "00000002", 0), Liveness::Dead);
        assert_eq!(state("00000040:00000000", "00000000", 1), Liveness::Unknown);
        assert_eq!(state("00000040:00000000", "00000000", 2), Liveness::Dead);
        assert_eq!(state("00000000:00000000", "00000000", 2), Liveness::Dead);
    }

    #[test]
    fn mapped_addresses_are_plain() {
        let words = [[0; 4], [0; 4], [0, 0, 255, 255], [1, 2, 3, 4]].map(u32::from_ne_bytes);
        let text: String = words.iter().map(|word| format!("{word:08X}")).collect();
        assert_eq!(address(&format!("{text}:0005")), Some("1.2.3.4:5".parse().unwrap()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_peer_that_acknowledges_is_alive_although_it_reads_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, remote) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        // Loopback acknowledges within the send.
        assert_eq!(liveness(stream.local_addr().unwrap(), remote), Liveness::Alive);
        let local = stream.local_addr().unwrap();
        assert_eq!(liveness(local, "127.0.0.1:1".parse().unwrap()), Liveness::Dead);
        drop(peer);
    }
}
