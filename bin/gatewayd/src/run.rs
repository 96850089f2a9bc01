//! `gatewayd run`: load a configuration, serve it, drain.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use lb_config::{Loaded, Sources};

use crate::exit::{self, Failure};
use crate::reload::{Cause, Source};
use crate::signals::{Asked, Hangup, Stop};
use crate::wire::{Home, Running, Shutdown};
use crate::{Outcome, cli, demo, inherit, systemd, upgrade, watch};

/// `gatewayd run` and `gatewayd start`.
pub(crate) fn run(args: &cli::Run) -> Outcome {
    let named = args.config.clone().or_else(|| args.file.clone());
    let path = named.or_else(lb_config::find_config).ok_or_else(|| {
        no_file("name one with `gatewayd run -c FILE`, or see `gatewayd demo` and `gatewayd proxy --to URL`")
    })?;
    let source = Source { path, strategy: args.strategy.clone() };
    // Before it is read, so that a change while it is being read is seen.
    let seen = args.watch.then(|| watch::Seen::of(&source));
    let loaded = source.load()?;
    control_runtime()?.block_on(async {
        let stop = Stop::listen()?;
        let mut hangup = Hangup::listen()?;
        let running = Running::start(loaded, Home::Plain, Some(source.clone())).await?;
        let by_signal = Arc::clone(running.reloading());
        if let Some(seen) = seen {
            tokio::spawn(watch::watch(Arc::clone(running.reloading()), source, seen));
        }
        tokio::spawn(async move {
            loop {
                hangup.next().await;
                systemd::reloading();
                // What is wrong with it has been said.
                drop(by_signal.reload(Cause::Signal).await);
                systemd::ready();
            }
        });
        until_stopped(running, stop).await
    })
}

/// There is no file to read, and what to do then.
pub(crate) fn no_file(help: &str) -> Failure {
    Failure::Refused(format!(
        "no configuration found: looked for gatewayd.toml, .yaml, .yml and .json here and in /etc/gatewayd\n  help: {help}"
    ))
}

/// `gatewayd` alone.
pub(crate) fn run_or_demo(args: &cli::Run) -> Outcome {
    match lb_config::find_config() {
        Some(_) => run(args),
        None => {
            exit::say("no configuration found here or in /etc/gatewayd: running the built-in demo");
            demo::demo()
        }
    }
}

/// Loads a file as `run` does; `check` goes the same way.
pub(crate) fn load(path: PathBuf, strategy: Option<&str>) -> Result<Loaded, Failure> {
    Ok(lb_config::load(&sources(path, strategy))?)
}

/// What `run` reads.
pub(crate) fn sources(path: PathBuf, strategy: Option<&str>) -> Sources {
    Sources::file(path).environment(lb_config::process_environment()).strategy(strategy)
}

/// Serves a configuration that has no file until a signal, then drains.
pub(crate) fn serve(loaded: Loaded) -> Outcome {
    control_runtime()?.block_on(async {
        let stop = Stop::listen()?;
        let running = Running::start(loaded, Home::Plain, None).await?;
        until_stopped(running, stop).await
    })
}

/// Runs until the first signal, drains, and ends at once on a second; or until another process serves in place of this one,
/// then the same.
pub(crate) async fn until_stopped(running: Running, mut stop: Stop) -> Outcome {
    let upgrader = Arc::clone(running.upgrader());
    systemd::ready();
    inherit::ready()?;
    let is_succeeded = loop {
        tokio::select! {
            asked = stop.asked() => match asked {
                Asked::Stop => break false,
                Asked::Replace => {
                    let upgrader = Arc::clone(&upgrader);
                    // What came of it is said.
                    tokio::spawn(async move { drop(upgrader.upgrade("SIGUSR2", upgrade::PATIENCE).await) });
                }
            },
            _ = upgrader.succeeded() => break true,
        }
    };
    let Shutdown { timeout, delay } = running.shutdown();
    match (is_succeeded, delay.is_zero()) {
        (true, _) => {
            tracing::info!(?timeout, "draining: requests in flight finish, new ones are the other's");
        }
        (false, true) => tracing::info!(?timeout, "draining: no new connections, requests in flight finish"),
        (false, false) => {
            tracing::info!(?timeout, ?delay, "not ready any more: listeners close after drain_delay");
        }
    }
    if !is_succeeded {
        systemd::stopping();
    }
    let ending = async {
        match is_succeeded {
            true => running.leave().await,
            false => running.shut_down().await,
        }
    };
    tokio::select! {
        drained = ending => {
            if !drained {
                tracing::warn!(?timeout, "requests still in flight after shutdown_timeout were cut");
            }
        }
        () = stop.next() => tracing::warn!("second signal: ending at once"),
    }
    Ok(())
}

/// The control side's runtime: signals, names, admin. The data path has its own.
pub(crate) fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .context("cannot start the control runtime")
}
