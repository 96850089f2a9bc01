//! `cargo xtask release`: the program as it is given out, built twice: once to write down what it does under load, and once more
//! laid out by that (profile-guided optimisation), packed with what belongs to it.
//!
//! Without a fitting `llvm-profdata` it is built once, and says so. The archive holds no times or owners of the machine
//! that packs it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench;

/// What to build.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build once, without a profile of load.
    #[arg(long)]
    no_pgo: bool,
    /// Seconds of load for each kind of traffic that the profile is made of.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Directory for the archive and its checksum.
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rustc = Rustc::ask()?;
    let profdata = if args.no_pgo { None } else { rustc.profdata() };
    let program = match &profdata {
        Some(profdata) => guided(&rustc, profdata, args.seconds)?,
        None => {
            if !args.no_pgo {
                eprintln!(
                    "no llvm-profdata of LLVM {0} here: building without a profile. `rustup component add llvm-tools` or \
                     `apt-get install llvm-{0}` brings it.",
                    rustc.llvm
                );
            }
            build(&rustc, "release", "")?
        }
    };
    let archive = pack(&rustc, &program, &args.out)?;
    println!("{}\n{}", program.display(), archive.display());
    Ok(())
}

/// What the compiler says of itself.
struct Rustc {
    host: String,
    /// The major version of its LLVM: profiles are of one version alone.
    llvm: String,
    sysroot: PathBuf,
}

impl Rustc {
    fn ask() -> Result<Self> {
        let text = output(Command::new("rustc").arg("-vV"))?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let llvm = field("LLVM version:").and_then(|version| version.split('.').next());
        Ok(Self {
            host: field("host:").context("rustc does not tell its host")?.to_owned(),
            llvm: llvm.context("rustc does not tell its LLVM")?.to_owned(),
            sysroot: output(Command::new("rustc").args(["--print", "sysroot"]))?.trim().into(),
        })
    }

    /// The toolchain's own, or else the system's where its version is the same.
    fn profdata(&self) -> Option<PathBuf> {
        let own = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/llvm-profdata");
        let of_system = [format!("llvm-profdata-{}", self.llvm), "llvm-profdata".to_owned()];
        [own].into_iter().chain(of_system.map(PathBuf::from)).find(|program| {
            output(Command::new(program).arg("--version"))
                .is_ok_and(|text| text.contains(&format!("version {}.", self.llvm)))
        })
    }
}

/// Build to learn, learn, build by what was learnt.
fn guided(rustc: &Rustc, profdata: &Path, seconds: u64) -> Result<PathBuf> {
    let folder = env::current_dir()?.join("target/pgo");
    let raw = folder.join("raw");
    if raw.exists() {
        fs::remove_dir_all(&raw)?;
    }
    fs::create_dir_all(&raw)?;

    eprintln!("building gatewayd to write down what it does");
    let program = build(rustc, "learn", &format!("-Cprofile-generate={}", raw.display()))?;
    eprintln!("load:");
    bench::train::run(&program, seconds)?;

    let written: Vec<PathBuf> = fs::read_dir(&raw)?.flatten().map(|entry| entry.path()).collect();
    ensure!(!written.is_empty(), "the program wrote no profile under {}", raw.display());
    let merged = folder.join("merged.profdata");
    let status = Command::new(profdata)
        .arg("merge")
        .arg("-o")
        .arg(&merged)
        .args(&written)
        .status()
        .context("llvm-profdata")?;
    ensure!(status.success(), "llvm-profdata failed ({status})");

    eprintln!("building gatewayd by what it did");
    build(rustc, "guided", &format!("-Cprofile-use={}", merged.display()))
}

/// Into a directory of its own, so that flags do not throw other builds away. With a target named, flags are not for build scripts.
fn build(rustc: &Rustc, name: &str, flags: &str) -> Result<PathBuf> {
    let directory = Path::new("target/pgo").join(name);
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "-p", "gatewayd", "--target", &rustc.host, "--target-dir"])
        .arg(&directory)
        .env("RUSTFLAGS", flags)
        // Names stay, for profiles and backtraces; lines of source are not worth their size.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "gatewayd does not build");
    Ok(directory.join(&rustc.host).join("release/gatewayd"))
}

/// One folder in one archive, with its checksum beside it.
fn pack(rustc: &Rustc, program: &Path, out: &Path) -> Result<PathBuf> {
    let version = output(Command::new(program).arg("--version"))?;
    let version = version.split_whitespace().nth(1).context("gatewayd does not tell its version")?;
    let name = format!("gatewayd-{version}-{}", rustc.host);
    let folder = out.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for part in ["config", "completions", "man"] {
        fs::create_dir_all(folder.join(part))?;
    }
    fs::copy(program, folder.join("gatewayd"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(file, folder.join(file))?;
    }
    copy_tree(Path::new("config"), &folder.join("config"))?;
    for (shell, file) in [("bash", "gatewayd.bash"), ("zsh", "_gatewayd"), ("fish", "gatewayd.fish")] {
        let script = output(Command::new(program).args(["completions", shell]))?;
        fs::write(folder.join("completions").join(file), script)?;
    }
    fs::write(folder.join("man/gatewayd.1"), output(Command::new(program).arg("man"))?)?;

    let archive = out.join(format!("{name}.tar.gz"));
    // Times and owners of this machine are nobody's business.
    let time =
        output(Command::new("git").args(["log", "-1", "--format=%ct"])).unwrap_or_else(|_| "0".to_owned());
    let packed = Command::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .arg(format!("--mtime=@{}", time.trim()))
        .args(["--use-compress-program=gzip -n -9", "-cf"])
        .arg(&archive)
        .arg("-C")
        .arg(out)
        .arg(&name)
        .status()
        .context("tar does not start")?;
    ensure!(packed.success(), "tar failed ({packed})");
    let sum = output(Command::new("sha256sum").arg(format!("{name}.tar.gz")).current_dir(out))?;
    fs::write(out.join(format!("{name}.tar.gz.sha256")), sum)?;
    Ok(archive)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// What a program prints, where it ends well.
fn output(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("{} does not start", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{} failed ({})", command.get_program().display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
