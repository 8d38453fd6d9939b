//! A Redis server of its own, without persistence, gone when dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::port::free_addr;
use super::program;
use super::socket::{connect, try_connect};
use super::wait::{SOON, wait_until};

/// A running server.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    addr: SocketAddr,
    /// Its working directory.
    _directory: TempDir,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let addr = free_addr();
        let child = Command::new(program::find("redis-server", "redis-server", []))
            .args(["--bind", &addr.ip().to_string(), "--port", &addr.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        wait_until("Redis answers", SOON, || {
            try_connect(addr).is_ok_and(|mut stream| command(&mut stream, "PING").contains("PONG"))
        });
        Self { child, addr, _directory: directory }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Commands that it has processed, the one that asks not included.
    pub fn commands_processed(&self) -> u64 {
        let stats = command(&mut connect(self.addr), "INFO stats");
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.and_then(|count| count.trim().parse().ok()).expect("INFO stats counts commands")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Sends one inline command and returns the answer: a line, or the text of a bulk string.
#[track_caller]
pub fn command(stream: &mut TcpStream, command: &str) -> String {
    write!(stream, "{command}\r\n").expect("Redis takes a command");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("Redis answers");
    let Some(length) = line.strip_prefix('$') else { return line };
    let length: usize = length.trim().parse().expect("the length of a bulk string");
    let mut text = vec![0; length + 2];
    reader.read_exact(&mut text).expect("Redis sends the whole string");
    String::from_utf8(text).expect("INFO is text")
}

/// The port of the server that answers on `stream`, whatever it was reached through.
#[track_caller]
pub fn server_port(stream: &mut TcpStream) -> u16 {
    let info = command(stream, "INFO server");
    let port = info.lines().find_map(|line| line.strip_prefix("tcp_port:"));
    port.and_then(|port| port.trim().parse().ok()).expect("INFO server names the port")
}
