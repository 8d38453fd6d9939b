//! Backends that echo, misbehave, die and come back, each connection in a thread of its own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::net as sys;

use super::socket::{self, PATIENCE, addr_of, connect, is_reset, listen, reset_on_close};

/// What a backend does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Sends back what it gets, and its end after the client's.
    Echo,
    /// Speaks first, a line with its own address, then echoes.
    Greet,
    /// Resets at once.
    Reset,
    /// Does what the first byte of the client says, see [`Command`].
    Obey,
}

/// What a client can ask of [`Behaviour::Obey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Echo until the client's end.
    Echo = b'e',
    /// Reset at once.
    Reset = b'r',
    /// Close with nothing sent.
    Close = b'c',
    /// Send 256 KiB, then reset.
    SendThenReset = b's',
    /// End first, then read to the client's end.
    EndFirst = b'f',
    /// Read nothing more, until the client is gone or has ended.
    Stall = b't',
}

/// A backend on a port of its own, which it keeps over its deaths.
#[derive(Debug)]
pub struct Backend {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    behaviour: Behaviour,
    /// The listening socket while it is alive.
    listener: Mutex<Option<TcpListener>>,
    /// A clone of every stream that is open, to kill it by.
    open: Mutex<Vec<Arc<TcpStream>>>,
    accepted: AtomicU64,
    resets: AtomicU64,
}

impl Backend {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(behaviour: Behaviour) -> Self {
        Self::start_on(listen(), behaviour)
    }

    /// Starts on a listener that is bound already.
    pub fn start_on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let shared = Shared {
            behaviour,
            listener: Mutex::default(),
            open: Mutex::default(),
            accepted: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        };
        let mut backend = Self { addr: addr_of(&listener), shared: Arc::new(shared), acceptor: None };
        backend.accept_from(listener);
        backend
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections that it accepted, probes included.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that ended with a reset from the other side.
    pub fn resets(&self) -> u64 {
        self.shared.resets.load(Ordering::Relaxed)
    }

    /// Connections now open.
    pub fn open(&self) -> usize {
        self.shared.open().len()
    }

    /// Refuses new connections and leaves the open ones alone.
    pub fn stop_listening(&mut self) {
        if let Some(listener) = self.shared.listener().take() {
            // Wakes the acceptor, which holds the other descriptor of the same socket.
            sys::shutdown(&listener, sys::Shutdown::Both).expect("a listening socket");
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
    }

    /// Dies as a process does that is killed: nothing listens, every connection is reset.
    pub fn kill(&mut self) {
        self.stop_listening();
        for stream in self.shared.open().iter() {
            // It may have ended a moment ago.
            let _ended = sys::connect_unspec(&**stream);
        }
    }

    /// Listens again, on the same port.
    pub fn revive(&mut self) {
        assert!(self.acceptor.is_none(), "it is alive");
        let listener = TcpListener::bind(self.addr).expect("the port is still ours");
        self.accept_from(listener);
    }

    fn accept_from(&mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        *shared.listener() = Some(listener.try_clone().expect("a descriptor"));
        self.acceptor = Some(thread::spawn(move || {
            // Shutting the socket down ends the loop; nothing else makes a loopback accept fail.
            while let Ok((stream, _)) = listener.accept() {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let stream = Arc::new(stream);
                shared.open().push(Arc::clone(&stream));
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(&stream));
            }
        }));
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    fn serve(&self, stream: &Arc<TcpStream>) {
        let outcome = match self.behaviour {
            Behaviour::Echo => echo(stream),
            Behaviour::Greet => greet(stream).and_then(|()| echo(stream)),
            Behaviour::Reset => {
                socket::reset(stream);
                Ok(())
            }
            Behaviour::Obey => obey(stream),
        };
        if outcome.is_err_and(|error| is_reset(&error)) {
            self.resets.fetch_add(1, Ordering::Relaxed);
        }
        // The last owner but the caller, who drops it and so closes it.
        self.open().retain(|open| !Arc::ptr_eq(open, stream));
    }

    fn listener(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => stream.write_all(&buffer[..count])?,
        }
    }
    stream.shutdown(Shutdown::Write)
}

fn greet(mut stream: &TcpStream) -> io::Result<()> {
    writeln!(stream, "{}", stream.local_addr()?)
}

fn obey(mut stream: &TcpStream) -> io::Result<()> {
    let mut byte = [0];
    if stream.read(&mut byte)? == 0 {
        return Ok(());
    }
    match byte[0] {
        b'r' => reset_on_close(stream),
        b'c' => {}
        b's' => {
            stream.write_all(&[0; 256 * 1024])?;
            reset_on_close(stream);
        }
        b'f' => {
            stream.shutdown(Shutdown::Write)?;
            io::copy(&mut stream, &mut io::sink())?;
        }
        b't' => wait_until_gone(stream)?,
        _ => echo(stream)?,
    }
    Ok(())
}

/// Waits for the peer's end or reset without reading what it sent before.
fn wait_until_gone(stream: &TcpStream) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut fds, Some(&PATIENCE.try_into().expect("seconds fit")))?;
    stream.take_error()?.map_or(Ok(()), Err)
}

/// Connects through `front` to a [`Behaviour::Greet`] and returns the session with the address that it names.
#[track_caller]
pub fn greeted(front: SocketAddr) -> (TcpStream, SocketAddr) {
    let mut stream = connect(front);
    let addr = read_greeting(&mut stream).unwrap_or_else(|error| panic!("no greeting: {error}"));
    (stream, addr)
}

/// Reads the line of a [`Behaviour::Greet`].
pub fn read_greeting(stream: &mut TcpStream) -> io::Result<SocketAddr> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            break;
        }
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).map_err(io::Error::other)?;
    line.parse().map_err(io::Error::other)
}
