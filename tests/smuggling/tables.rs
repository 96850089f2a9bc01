//! The rows of `smuggling.rs`: what desync is made of, one spelling a row.

/// Names that some server takes for Transfer-Encoding.
pub(super) const CODING_NAMES: &[&str] = &[
    "Transfer-Encoding ", "Transfer-Encoding\t", " Transfer-Encoding", "\tTransfer-Encoding", "Transfer Encoding",
    "Transfer-Encoding\u{b}", "Transfer-Encoding\u{c}", "Transfer-Encoding\0", "\0Transfer-Encoding",
    "Transfer\u{b}Encoding", "X: y\rTransfer-Encoding", "X: y\nTransfer-Encoding", "X: y\n\rTransfer-Encoding",
    "X: y\r\r\nTransfer-Encoding", "\"Transfer-Encoding\"", "(Transfer-Encoding", "Transfer-Encoding\\",
    "Transfer-Encoding:\r\n", "X: y\r\n Transfer-Encoding", "X: y\r\n\tTransfer-Encoding",
    "Transfer-Encod\u{130}ng", "Transf\u{e9}r-Encoding", "Transfer-Encoding\u{7f}", "Transfer-Encoding/",
];

/// Values that some server takes for `chunked`, and some other does not.
pub(super) const CODINGS: &[&str] = &[
    "", ",", "chunked,", ",chunked", ", chunked", "chunked,,", "chunked, chunked", "chunked, identity",
    "identity, chunked", "identity", "gzip, chunked", "chunked, gzip", "xchunked", "chunkedx", "chunke", "cow",
    "x chunked", "chunked x", "chun ked", "\"chunked\"", "'chunked'", "(chunked)", "chunked;", "chunked;q=1",
    "chunked;foo=bar", "chunked; ext=\"val\"", ";chunked", "chunked:", ": chunked", "chunked=", "\0chunked",
    "chunked\0", "\u{b}chunked", "chunked\u{b}", "\u{c}chunked", "chunked\u{c}", "\u{a0}chunked", "chunked\u{a0}",
    "\u{feff}chunked", "chunked\u{ff}", "chun\u{212a}ed", "chunked\u{7f}", "chunked\u{1}", "\u{8}chunked",
    "\r\n chunked", "\r\n\tchunked", "chunked\r\n ", "chunked\r\n , identity", "\rchunked", "chunked\r", "\nchunked",
    "chunked\n", "chunked\r\n\u{b}x", "{chunked}", "[chunked]", "c\u{68}unked%20", "%63hunked", "chunked\\", "chunked#",
    "deflate", "chunked, cow", "cow, chunked", "chunked, ", "chunked ,", "chunked , chunked",
];

/// Values of Content-Length that some server takes for 4, or for none.
pub(super) const LENGTHS: &[&str] = &[
    "", " ", "+4", "-4", "-0", "+0", "0x4", "0X4", "4h", "4x", "x4", "0o4", "04", "00", "004", "4.0", "4.", ".4", "4e0",
    "4 4", "4\t4", "4,", ",4", "4,4", "4, 4", "4, 5", "5, 4", "4;4", "4;", "4_0", "4'0", "\"4\"", "'4'", "(4)", "4\0",
    "\u{0}4", "\u{b}4", "4\u{b}", "\u{c}4", "4\u{a0}", "\u{664}", "\u{ff14}", "4\r\n 0", "\r\n 4", "4\r\n\t4", "\r4",
    "4\r", "4\n", "\n4", "4\u{7f}", "9223372036854775808", "18446744073709551616", "18446744073709551620",
    "4294967300\u{0}", "99999999999999999999999999", "1e400", "NaN", "Infinity", "null", "true", "four", "0b100",
];

/// Names that some server takes for Content-Length.
pub(super) const LENGTH_NAMES: &[&str] = &[
    "Content-Length ", "Content-Length\t", " Content-Length", "Content Length", "Content-Length\0", "Content-Length\u{b}",
    "X: y\rContent-Length", "X: y\nContent-Length", "\"Content-Length\"", "Content-Length:\r\n", "X: y\r\n Content-Length",
    "Content-L\u{131}ngth", "Content-Length\u{c}", "Content\0-Length", "Content-Length=",
];

/// Chunk sizes that some server takes for 4.
pub(super) const CHUNK_SIZES: &[&str] = &[
    "", " ", " 4", "\t4", "4 ", "4\t", "+4", "-4", "0x4", "0X4", "x4", "4h", "4_0", "4.0", "\"4\"", "4,", "4\0", "\u{0}4",
    "\u{b}4", "4\u{b}", "4\u{c}", "4\u{a0}", "\u{664}", "4\r", "\r4", "4\n", "4\n\n", "4\r\r\n", "4 4", "0x", "-0", "+0",
    "8000000000000000", "ffffffffffffffff", "10000000000000004", "fffffffffffffff4", "00000000000000000000004",
    "100000004\0", "4;a\rb", "4;a\nb", "4;\n", "4;\0", "4;a=\u{1}", "4;a=\"b", "4;a=\"b\nc\"", "4;=b", "4;;", "4;a=;b",
    "4 ;a b", "4;a=b c", "4:a", "4=a", "g", "four", "4;a[=b", "4; ", "4;",
];

/// Chunked bodies that some server takes for whole ones.
pub(super) const CHUNKED_BODIES: &[&str] = &[
    "4\r\nabcde\r\n0\r\n\r\n", "4\r\nabcd0\r\n\r\n", "4\r\nabcd\n0\r\n\r\n", "4\r\nabcd\r0\r\n\r\n",
    "4\r\nabcd\r\n\r\n0\r\n\r\n", "4\r\nabcd\r\n0\n\r\n", "4\r\nabcd\r\n0\r\n\n", "4\r\nabcd\r\n0\r\r\n\r\n",
    "4\r\nabcd\r\n0\r\n \r\n\r\n", "4\r\nabcd\r\n0\r\nX\r\n\r\n", "4\r\nabcd\r\n0\r\nX : y\r\n\r\n",
    "4\r\nabcd\r\n0\r\nX: y\r\n z\r\n\r\n", "4\r\nabcd\r\n0\r\nX: y\n\r\n", "4\r\nabcd\r\n0\r\nX: \0\r\n\r\n",
    "4\r\nabcd\r\n-0\r\n\r\n", "4\r\nabcd\r\n0 \r\n\r\n", "4\r\nabcd\r\n0x0\r\n\r\n", "4\r\nabcd\r\n\n0\r\n\r\n",
];

/// Heads whose lines do not end as they must.
pub(super) const HEADS: &[&str] = &[
    "GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n",
    "GET / HTTP/1.1\rHost: x\r\r", "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", " GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\n X: y\r\n\r\n", "GET / HTTP/1.1\r\n\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
    "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "\r\rGET / HTTP/1.1\r\nHost: x\r\n\r\n",
];

/// Values of Host that are no host, or more than one.
pub(super) const HOSTS: &[&str] = &[
    "", " ", "a,b", "a, b", "a b", "u@a", "u:p@a", "a@", "@a", "a/b", "a?b", "a#b", "a\\b", "a:b", "a:-1", "a:+80",
    "a:65536", "a:80:80", ":80", "[::1", "::1]", "[::1]x", "[x]", "[fe80::1%25eth0]", "a%2eb", "a%00", "\"a\"", "a;b",
    "<a>", "a|b", "a^b", "{a}", "caf\u{e9}", "a\u{a0}", "a!b", "a$b", "a&b", "a'b", "a(b)", "a*b", "a+b", "a=b",
];

/// Targets that are of no form, or of another place than the Host beside them (`b`).
pub(super) const TARGETS: &[&str] = &[
    "http://a/", "http://a:80/", "http://b:8080/", "https://a/", "http:///", "http://u@b/", "http://b,c/", "http://b#/", "http://b/#f",
    "ftp://b/", "file:///etc/passwd", "gopher://b/", "javascript:alert(1)", "b", "b/c", "*", "b:80", "?x", "#", "/#", "/a#b",
    "/a?b#c", "/\\", "/a\\..\\b", "/caf\u{e9}", "/a<b", "/a>b", "/a`b", "/a/..;/b", "/%00",
    "/%", "/%2", "/%zz", "/a/%2e%2e%2fb", "/a/..%5cb", "http://b\\@c/", "http:/b/", "http:b", "http://", "http://[::1",
];
