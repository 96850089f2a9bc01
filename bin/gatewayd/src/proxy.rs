//! `gatewayd proxy`: a proxy without a file, by way of the file that would do the same.

use lb_config::{Format, Sources};
use serde_json::json;

use crate::{Outcome, cli, exit, run};

/// Serves, or prints the configuration it would serve.
pub(crate) fn proxy(args: &cli::Proxy) -> Outcome {
    let text = configuration(args);
    let sources = Sources::text("gatewayd proxy", Format::Toml, text.as_str())
        .environment(lb_config::process_environment())
        .strategy(args.strategy.as_deref());
    let loaded = lb_config::load(&sources)?;
    if args.print_config {
        exit::print(text.trim_end());
        return Ok(());
    }
    run::serve(loaded)
}

/// The TOML that these arguments stand for. A JSON string is a TOML string.
fn configuration(args: &cli::Proxy) -> String {
    let backends: Vec<String> = args.to.iter().map(|url| json!(url).to_string()).collect();
    let strategy = args.strategy.as_ref().map(|name| format!("load_balancing = {}\n\n", json!(name)));
    format!(
        "{}[[listeners]]\nname = \"web\"\naddress = {}\n\n[[rules]]\nname = \"proxy\"\nbackends = [{}]\n",
        strategy.unwrap_or_default(),
        json!(args.listen),
        backends.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_would_run() {
        let args = cli::Proxy {
            to: vec!["127.0.0.1:3000".into(), "http://localhost:3001".into()],
            listen: "127.0.0.1:8080".parse().unwrap(),
            strategy: Some("random".into()),
            print_config: true,
        };
        let loaded = lb_config::load(&Sources::text("x", Format::Toml, configuration(&args))).unwrap();
        assert_eq!(loaded.config.upstreams[0].backends.len(), 2);
        assert_eq!(loaded.config.upstreams[0].strategy.name, "random");
        assert_eq!(loaded.config.listeners[0].address, args.listen);
    }
}
