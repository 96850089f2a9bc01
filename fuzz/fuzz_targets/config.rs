//! Configuration files: whatever stands in one, loading ends, and what it complains of can be shown.
#![no_main]

use lb_config::{Format, load_str};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((format, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (name, format) = match format % 3 {
        0 => ("f.toml", Format::Toml),
        1 => ("f.yaml", Format::Yaml),
        _ => ("f.json", Format::Json),
    };
    // Names of files would be read.
    if text.contains("file:") {
        return;
    }
    if let Err(problems) = load_str(name, format, text) {
        assert!(!problems.to_string().is_empty());
    }
});
