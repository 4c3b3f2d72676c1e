//! Ctrl-C while a log is followed: the end of the input, not of the program.

use std::{io, thread};

use crate::pipeline::Stop;

/// From now on, an interrupt or a request to terminate stops this.
///
/// # Errors
/// If the system does not let us know.
pub fn stop(stop: Stop) -> io::Result<()> {
    once(move || stop.stop())
}

/// From now on, an interrupt or a request to terminate does this, once.
///
/// # Errors
/// If the system does not let us know.
pub fn once(then: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wait = {
        let _guard = runtime.enter();
        Signals::new()?
    };
    thread::spawn(move || {
        runtime.block_on(wait.any());
        then();
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn any(mut self) {
        let (interrupt, terminate) = (self.interrupt.recv(), self.terminate.recv());
        let (interrupt, terminate) = (std::pin::pin!(interrupt), std::pin::pin!(terminate));
        futures::future::select(interrupt, terminate).await;
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Signals> {
        tokio::signal::windows::ctrl_c().map(Signals)
    }

    async fn any(mut self) {
        self.0.recv().await;
    }
}
