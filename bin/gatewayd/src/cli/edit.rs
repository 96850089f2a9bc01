//! What may be typed to change a running gateway's configuration.

use std::time::Duration;

use clap::Args;
use lb_core::Weight;

use super::AdminAt;

/// How long a change lasts, and over what it is made.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// End by itself after so long
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = ahead)]
    pub(crate) expires: Option<Duration>,

    /// Keep it across a restart, beside `server.state_file`
    #[arg(long)]
    pub(crate) persist: bool,

    /// Change nothing unless this version is in force (`gatewayd edits` shows it)
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) const SWITCH_HELP: &str = "\
Requests under way end where they are; every later one goes to the other upstream. Back with another switch.
  gatewayd switch web green                            all of rule web's requests, at once
  gatewayd switch web blue                             back";

#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// The rule's name
    pub(crate) rule: String,

    /// The upstream that it leads to from now on
    pub(crate) upstream: String,

    #[command(flatten)]
    pub(crate) terms: Terms,
}

pub(super) const SPLIT_HELP: &str = "\
  gatewayd split web app=90 next=10                    a tenth of rule web's requests
  gatewayd split web app=90 next=10 --by cookie:user   and each user stays where they are
  gatewayd split web app=90 next=10 --expires 1h       for an hour
  gatewayd split web app=90 next=10 --max-error-rate 0.05   back by itself where more fails
  gatewayd switch web app                              back";

#[derive(Debug, Args)]
pub(crate) struct Split {
    /// The rule's name
    pub(crate) rule: String,

    /// Upstreams and their weights
    #[arg(value_name = "UPSTREAM=WEIGHT", required = true, value_parser = part)]
    pub(crate) parts: Vec<(String, f64)>,

    /// What keeps a request's part the same, such as cookie:user [default: as in the file]
    #[arg(long, value_name = "KEY")]
    pub(crate) by: Option<String>,

    /// The header in which a request may name its part [default: as in the file]
    #[arg(long, value_name = "NAME")]
    pub(crate) header: Option<String>,

    /// Take a smaller part back by itself once its share of failures lies so far above the largest part's, such as 0.05
    #[arg(long, value_name = "SHARE")]
    pub(crate) max_error_rate: Option<f64>,

    /// The same once its 99th percentile is more than so many times the largest part's, such as 2
    #[arg(long, value_name = "TIMES")]
    pub(crate) max_p99: Option<f64>,

    #[command(flatten)]
    pub(crate) terms: Terms,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The upstream's name
    pub(crate) upstream: String,

    /// The backend's URL
    pub(crate) backend: String,

    /// Its share of requests
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_parser = weight)]
    pub(crate) weight: f64,

    /// Use it only while no other can be used
    #[arg(long)]
    pub(crate) backup: bool,

    #[command(flatten)]
    pub(crate) terms: Terms,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The upstream's name
    pub(crate) upstream: String,

    /// The backend's URL as configured; it finishes what it has
    pub(crate) backend: String,

    #[command(flatten)]
    pub(crate) terms: Terms,
}

#[derive(Debug, Args)]
pub(crate) struct Edits {
    /// Take this one back
    #[arg(long, value_name = "ID")]
    pub(crate) revert: Option<u64>,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `app=90`
fn part(text: &str) -> Result<(String, f64), String> {
    let (upstream, share) = text.rsplit_once('=').ok_or("a part is an upstream and its weight: app=90")?;
    Ok((upstream.to_owned(), weight(share)?))
}

/// A share of requests.
pub(super) fn weight(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    Weight::try_from(number).map(Weight::get).map_err(|error| error.to_string())
}

/// A time ahead. What begins with a hyphen is taken for one, too, to say what is wrong with it.
pub(super) fn ahead(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("a time ahead is meant, such as 10m".to_owned());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; such as 10m"))
}
