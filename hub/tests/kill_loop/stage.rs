//! What the hub was doing when it was killed, from the bytes it had written to a socket of this process.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

/// In the child: one byte per stage; the kernel keeps it when the process dies.
pub(crate) fn mark(mut pipe: &UnixStream, stage: u8) {
    pipe.write_all(&[stage]).unwrap();
}

/// Follows one child.
pub(crate) struct Stages {
    listener: UnixListener,
    stream: Option<UnixStream>,
    appending: bool,
    durable_unsent: bool,
    checkpointing: bool,
    trimming: bool,
    records: u64,
    last: u8,
}

impl Stages {
    pub(crate) fn listen(dir: &Path) -> Self {
        let path = dir.join("stage.sock");
        drop(std::fs::remove_file(&path));
        Self {
            listener: UnixListener::bind(path).unwrap(),
            stream: None,
            appending: false,
            durable_unsent: false,
            checkpointing: false,
            trimming: false,
            records: 0,
            last: 0,
        }
    }

    /// Waits until the child serves.
    pub(crate) fn ready(&mut self, child: &mut Child) {
        self.listener.set_nonblocking(true).unwrap();
        let began = Instant::now();
        while self.last != b'r' {
            assert!(child.try_wait().unwrap().is_none(), "the hub did not start");
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the hub does not start"
            );
            if self.stream.is_none()
                && let Ok((stream, _)) = self.listener.accept()
            {
                stream.set_nonblocking(true).unwrap();
                self.stream = Some(stream);
            }
            if !self.step_until(|last| last == b'r') {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Reads on: a full socket would hold up the hub.
    pub(crate) fn follow(&mut self) {
        self.step_until(|_| false);
    }

    /// Kills when the stage drawn comes: anywhere, or right after the bytes that begin or end an append or a checkpoint.
    pub(crate) fn kill_at(&mut self, draw: u64, child: &mut Child) {
        let wanted = [0, 0, b'a', b'd', b'c', b't'][draw as usize];
        self.step_until(|_| false);
        let began = Instant::now();
        while wanted != 0 && began.elapsed() < Duration::from_millis(1500) {
            if self.step_until(|last| last == wanted) && self.stream_is_dry() {
                break;
            }
        }
        child.kill().unwrap();
    }

    /// The next bytes have not come yet: the child is still where the last one says.
    fn stream_is_dry(&mut self) -> bool {
        let before = self.records;
        let last = self.last;
        self.step_until(|_| false);
        self.records == before && self.last == last
    }

    /// Reads what is there, until `stop` says so of a byte. False when it ran dry first.
    fn step_until(&mut self, stop: impl Fn(u8) -> bool) -> bool {
        let mut byte = [0];
        while let Some(Ok(1)) = self.stream.as_mut().map(|stream| stream.read(&mut byte)) {
            self.step(byte[0]);
            if stop(byte[0]) {
                return true;
            }
        }
        false
    }

    fn step(&mut self, byte: u8) {
        self.last = byte;
        match byte {
            b'a' => self.appending = true,
            b'd' => {
                (self.appending, self.durable_unsent) = (false, true);
                self.records += 1;
            }
            b's' => self.durable_unsent = false,
            b'c' | b'C' => self.checkpointing = byte == b'c',
            b't' | b'T' => self.trimming = byte == b't',
            _ => {}
        }
    }

    /// The stage at the death of the child.
    pub(crate) fn finish(mut self) -> String {
        let mut byte = [0];
        loop {
            match self.stream.as_mut().unwrap().read(&mut byte) {
                Ok(0) => break,
                Ok(_) => self.step(byte[0]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => break,
            }
        }
        let journal = match (self.appending, self.durable_unsent) {
            (true, true) => "in an append, the record before it durable and unsent",
            (true, false) => "in an append",
            (false, true) => "durable, nothing of it sent",
            (false, false) => "between commits",
        };
        let behind = match (self.checkpointing, self.trimming) {
            (true, _) => " + in a checkpoint",
            (false, true) => " + in a trim",
            (false, false) => "",
        };
        format!("{journal}{behind}")
    }
}
