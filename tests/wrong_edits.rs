//! A wrong edit, saved in whatever way editors save, while `wrk` asks: nothing comes of it but a message that says what is wrong, where,
//! and how to mend it. What is mended is in force.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lb_testkit::{Backend, Gateway, Launch, PATIENCE, Process, eventually, fetch};
use serde_json::Value;

use crate::support::launch;

/// How the file gets another text.
#[derive(Debug, Clone, Copy)]
enum Save {
    /// Cut to nothing, and written.
    InPlace,
    /// The same, with a pause in its middle.
    Haltingly,
    /// Another file is moved over it.
    Rename,
    /// It is moved away, another is written in its place, and it is removed.
    Vim,
    /// The same, with a link that leads nowhere beside it meanwhile; what was stays as it is called with `~`.
    Emacs,
    /// It is a link into a directory that is a link, which is switched.
    Kubernetes,
}

impl Save {
    fn save(self, file: &Path, text: &str) {
        let beside = |name: &str| file.with_file_name(name);
        match self {
            Self::InPlace => fs::write(file, text).unwrap(),
            Self::Haltingly => {
                use std::io::Write;
                let (first, second) = text.split_at(text.len() / 2);
                let mut file = fs::File::create(file).unwrap();
                file.write_all(first.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(40));
                file.write_all(second.as_bytes()).unwrap();
            }
            Self::Rename => {
                fs::write(beside("gatewayd.toml.tmp"), text).unwrap();
                fs::rename(beside("gatewayd.toml.tmp"), file).unwrap();
            }
            Self::Vim => {
                // It tries whether it can write here.
                fs::write(beside("4913"), "").unwrap();
                fs::remove_file(beside("4913")).unwrap();
                fs::rename(file, beside("gatewayd.toml~")).unwrap();
                fs::write(file, text).unwrap();
                fs::remove_file(beside("gatewayd.toml~")).unwrap();
            }
            Self::Emacs => {
                symlink("somebody@here.4711:1790000000", beside(".#gatewayd.toml")).unwrap();
                fs::rename(file, beside("gatewayd.toml~")).unwrap();
                fs::write(file, text).unwrap();
                fs::remove_file(beside(".#gatewayd.toml")).unwrap();
            }
            Self::Kubernetes => {
                let version = tempfile::Builder::new().prefix("..2026_").tempdir_in(file.parent().unwrap());
                let version = version.unwrap().keep();
                open_to_all(&version);
                fs::write(version.join("gatewayd.toml"), text).unwrap();
                let link = |to: &Path, name: &str| {
                    symlink(to, beside("..data_tmp")).unwrap();
                    fs::rename(beside("..data_tmp"), beside(name)).unwrap();
                };
                link(Path::new(version.file_name().unwrap()), "..data");
                if !file.is_symlink() {
                    link(Path::new("..data/gatewayd.toml"), "gatewayd.toml");
                }
            }
        }
    }
}

/// A gateway that follows its file, as somebody who is not root, and `wrk` at it.
struct Scene {
    backends: [Backend; 2],
    gateway: Gateway,
    wrk: Process,
    /// Configurations so far that were good, and that were not.
    good: usize,
    wrong: usize,
}

impl Scene {
    fn start() -> Self {
        let backends = ["a", "b"].map(Backend::echo);
        let gateway = launch_unprivileged(&config(&backends, 0)).start();
        let script = gateway.directory().join("wrk.lua");
        // Enough to notice anything, and no more than machines of two cores stand.
        fs::write(&script, "function delay() return 5 end").unwrap();
        let mut wrk = Command::new("wrk");
        wrk.args(["-t", "1", "-c", "8", "-d", "170s", "--timeout", "10s", "-s"]).arg(script);
        let wrk = Process::spawn(wrk.arg(format!("http://{}/", gateway.address())));
        eventually("wrk asks", PATIENCE, || backends[0].hits() > 0);
        Self { backends, gateway, wrk, good: 0, wrong: 0 }
    }

    fn file(&self) -> PathBuf {
        self.gateway.config_file()
    }

    /// The text that is in force.
    fn text(&self) -> String {
        self.gateway.filled(&config(&self.backends, self.good))
    }

    fn admin(&self, path: &str) -> String {
        fetch(self.gateway.address_of("admin"), "GET", path, &[]).text()
    }

    fn reloads(&self) -> (usize, usize) {
        let metrics = self.admin("/metrics");
        let count = |result: &str| {
            let row = format!("gatewayd_config_reloads_total{{result=\"{result}\"}} ");
            let value = metrics.lines().find_map(|line| line.strip_prefix(&row)).unwrap();
            value.parse().unwrap()
        };
        (count("ok"), count("rejected"))
    }

    /// What can be told of the configuration from outside.
    fn in_force(&self) -> (Value, String) {
        let status: Value = serde_json::from_str(&self.admin("/proxy-status")).unwrap();
        let figures = [
            "/listeners/0/address",
            "/listeners/1",
            "/upstreams/0/backends/0/url",
            "/upstreams/1/backends/0/url",
        ];
        let found: Vec<_> = figures.iter().map(|at| status.pointer(at).cloned()).collect();
        (serde_json::json!(found), self.gateway.get("/").backend())
    }

    /// What is said of this harm, once, and nothing else comes of it.
    #[track_caller]
    fn wrong(&mut self, what: &str, harm: impl FnOnce()) -> String {
        let before = self.in_force();
        harm();
        self.wrong += 1;
        eventually(what, PATIENCE, || self.reloads().1 >= self.wrong);
        assert_eq!(self.reloads(), (self.good, self.wrong), "{what}");
        assert_eq!(self.in_force(), before, "{what}");
        let is_it = |line: &Value| line["component"] == "reload" && line["level"] == "ERROR";
        let mut said = Vec::new();
        eventually("it is said", PATIENCE, || {
            said = self.gateway.log().into_iter().filter(is_it).collect();
            said.len() == self.wrong
        });
        let last = said.pop().unwrap();
        assert!(last["message"].as_str().unwrap().ends_with("the one before stays in force"), "{last}");
        last["diagnostics"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn mended(&mut self, save: Save) {
        self.good += 1;
        save.save(&self.file(), &self.text());
        let name = ["a", "b"][self.good % 2];
        eventually(&format!("what is mended is in force ({save:?})"), PATIENCE, || {
            self.gateway.get("/").backend() == name
        });
        assert_eq!(self.reloads(), (self.good, self.wrong), "{save:?}");
    }

    #[track_caller]
    fn end(mut self) {
        self.wrk.signal("INT");
        assert!(self.wrk.wait(PATIENCE).is_some_and(|status| status.success()), "{}", self.wrk.errors());
        let said = self.wrk.output();
        assert!(said.contains("Requests/sec"), "{said}");
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    }
}

/// As `nobody` where the tests run as root, whom no file is closed to.
fn launch_unprivileged(config: &str) -> Launch {
    let arguments = ["run", "--watch", "-c", "{dir}/gatewayd.toml"];
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return launch().config(config).args(&arguments);
    }
    let launch = Launch::new("setpriv");
    let program = launch.directory().join("gatewayd");
    // What it is built in may be closed to others.
    fs::copy(env!("CARGO_BIN_EXE_gatewayd"), &program).unwrap();
    open_to_all(launch.directory());
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "{dir}/gatewayd"];
    launch.config(config).args(&[&user[..], &arguments].concat())
}

fn open_to_all(directory: &Path) {
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
}

/// The good configuration of this number: of two backends one is asked for `/`, in turn.
fn config(backends: &[Backend; 2], number: usize) -> String {
    let [app, api] = [number, number + 1].map(|number| backends[number % 2].url());
    format!(
        r#"[[listeners]]
name = "web"
address = "{{listen}}"

[admin]
address = "{{admin}}"

[upstreams.app]
backends = ["{app}"]

[upstreams.api]
load_balancing = "least_connections"
backends = [{{ url = "{api}", weight = 2 }}]

[[rules]]
name = "api"
path_prefix = "/api"
upstream = "api"
timeout = "5s"

[[rules]]
name = "site"
upstream = "app"
"#
    )
}

/// Line and column of the last place where a text has this.
fn place(text: &str, needle: &str) -> String {
    let before = &text[..text.rfind(needle).unwrap()];
    let line = before.rsplit('\n').next().unwrap();
    format!("gatewayd.toml:{}:{}", 1 + before.matches('\n').count(), 1 + line.chars().count())
}

/// What is written in place of what; where it is wrong; what is said of it, and how to mend it.
type Edit = (Save, &'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const EDITS: &[Edit] = &[
    (Save::InPlace, "path_prefix", "path_prefx", "path_prefx", "unknown key `path_prefx`", "did you mean `path_prefix`?"),
    (Save::Rename, "upstream = \"app\"", "upstream = \"ap\"", "\"ap\"", "there is no upstream `ap`", "did you mean `app` or `api`?"),
    (Save::Vim, "weight = 2", "weight = \"heavy\"", "\"heavy\"", "`weight` expects a number, found the string `heavy`", "write a number without quotes, such as `2`"),
    (Save::Emacs, "name = \"site\"", "name = \"api\"", "\"api\"\nupstream = \"app\"", "two rules are named `api`", "give one of them another name"),
    (Save::Kubernetes, "[[listeners]]", "schema_version = 99\n[[listeners]]", "schema_version", "unknown key `schema_version` at the root", concat!("gatewayd ", env!("CARGO_PKG_VERSION"), " knows these keys here: ")),
    (Save::Kubernetes, "timeout = \"5s\"", "timeout = \"${TIMEOUT_OF_API}\"", "\"${TIMEOUT_OF_API}\"", "`TIMEOUT_OF_API` is not set", "set it, or write `${TIMEOUT_OF_API:-default}`"),
    (Save::Haltingly, "\"web\"", "“web”", "“web”", "string values must be quoted", "quotes are the plain ones"),
    (Save::InPlace, "[upstreams.api]", concat!("<<<<<<<", " HEAD\n[upstreams.api]\n=======\n[upstreams.apis]\n>>>>>>> apis"), "<<<<<<<", "a merge has left a conflict", "keep one of the two sides"),
];

#[test]
fn a_wrong_edit_does_nothing_but_say_what_is_wrong_where_and_how_to_mend_it() {
    let mut scene = Scene::start();
    for (save, from, to, at, says, help) in EDITS.iter().copied() {
        let (file, good) = (scene.file(), scene.text());
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let said = scene.wrong(says, || save.save(&file, &text));
        let at = place(&text, at);
        assert!([&at, says, "= help: ", help].iter().all(|words| said.contains(*words)), "{at}: {said}");
        scene.mended(save);
    }
    // A port that another process has.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("{}[[listeners]]\nname = \"second\"\naddress = \"{address}\"\n", scene.text());
    let file = scene.file();
    let said = scene.wrong("a port is taken", || Save::Rename.save(&file, &text));
    let wanted =
        format!("{}: listener second: {address} is in use by another process", place(&text, "address"));
    assert!(
        said.contains(&wanted) && said.contains("give this listener another address"),
        "{wanted}: {said}"
    );
    scene.mended(Save::Vim);
    scene.end();
}

#[test]
fn whatever_becomes_of_the_file_it_is_said_and_requests_go_on() {
    let mut scene = Scene::start();
    let file = scene.file();
    let says = |said: &str, words: &[&str]| {
        let file = file.display().to_string();
        assert!(said.contains(&file) && words.iter().all(|words| said.contains(words)), "{words:?}: {said}");
    };

    let text = scene.text();
    let half = text.find("path_prefix").unwrap();
    let said = scene.wrong("half of it", || Save::InPlace.save(&file, &text[..half + 4]));
    // Behind the last letter.
    let end = place(&format!("{}!", &text[..half + 4]), "!");
    says(&said, &[&end, "= help: ", "it may have been cut off"]);
    scene.mended(Save::Haltingly);

    let said = scene.wrong("nothing of it", || Save::InPlace.save(&file, ""));
    says(&said, &["gatewayd.toml:1:1", "there is no rule, so nothing would be served", "= help: add one"]);
    scene.mended(Save::InPlace);

    let said = scene.wrong("it is gone", || fs::rename(&file, file.with_extension("toml.bak")).unwrap());
    says(
        &said,
        &["cannot read the configuration: no such file", "= help: did you mean `gatewayd.toml.bak`?"],
    );
    fs::remove_file(file.with_extension("toml.bak")).unwrap();
    scene.mended(Save::InPlace);

    let said = scene.wrong("it may not be read", || {
        fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    });
    says(
        &said,
        &["permission denied", "= help: ", "with mode 0000, and this is user ", "`chown` or `chmod`"],
    );
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    scene.mended(Save::Rename);

    let directory = file.parent().unwrap();
    let said = scene.wrong("its directory may not be entered", || {
        fs::set_permissions(directory, Permissions::from_mode(0o600)).unwrap();
    });
    says(&said, &["permission denied", "the directory `", "the right to enter it, by `chown` or `chmod`"]);
    open_to_all(directory);
    scene.mended(Save::Vim);

    let said = scene.wrong("it is a directory", || {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
    });
    says(&said, &["it is a directory", "= help: name a file in it"]);
    fs::remove_dir(&file).unwrap();
    scene.mended(Save::Kubernetes);

    let said = scene.wrong("it leads nowhere", || fs::remove_file(directory.join("..data")).unwrap());
    says(&said, &["no such file", "is a link to `..data/gatewayd.toml`, which is not there"]);
    scene.mended(Save::Kubernetes);

    let wide: Vec<u8> = scene.text().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let said = scene.wrong("it is UTF-16", || fs::write(&file, [&[0xff, 0xfe], &wide[..]].concat()).unwrap());
    says(&said, &["this file is UTF-16", "= help: save it as UTF-8"]);
    scene.mended(Save::Emacs);
    scene.end();
}
