//! The normal form of paths: it is a fixed point, and no backend can read a dot segment, a NUL or a backslash in it.
#![no_main]

use lb_router::target::normalize_path;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    for merge in [true, false] {
        let Ok(path) = normalize_path(raw, merge) else { continue };
        assert!(path.starts_with('/') && path.is_ascii(), "{path:?}");
        assert_eq!(normalize_path(&path, merge).as_deref(), Ok(&*path), "not a fixed point");
        assert!(!merge || !path.contains("//"), "{path:?}");
        is_safe(&path);
    }
});

/// However a backend decodes, cuts at `;` and splits, it finds no way up.
fn is_safe(path: &str) {
    assert!(!path.contains(['\\', '\0', '?', '#', ' ']), "{path:?}");
    let decoded = decode(path.as_bytes());
    assert!(!decoded.contains(&0), "{path:?}");
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "{path:?}");
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((&first, behind)) = rest.split_first() {
        let pair = behind.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if first == b'%' => {
                out.push(byte);
                rest = &behind[2..];
            }
            _ => {
                out.push(first);
                rest = behind;
            }
        }
    }
    out
}
