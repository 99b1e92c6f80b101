//! Servers that run on Java: their jars from Maven Central, and the node that a test starts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use xxhash_rust::xxh3::xxh3_64;

/// Where the jars of a server are, cached outside the checkout under a name that changes with the files that make it.
///
/// `folder` holds a `pom.xml` that names the jars; `program` is a Java file that starts the server, compiled with `javac`. Zip files among
/// the jars are unpacked, and of their jars those are taken that are not there yet.
pub fn jars(folder: &Path, program: &Path, javac: &Path) -> Result<PathBuf> {
    let name = folder.file_name().context("a folder of a server has a name")?.to_string_lossy().into_owned();
    let (pom, source) = (fs::read(folder.join("pom.xml"))?, fs::read(program)?);
    let compiler = javac.display().to_string();
    let key = xxh3_64(&[&pom, b"\0".as_slice(), &source, b"\0", compiler.as_bytes()].concat());
    let servers = cache()?.join("servers");
    fs::create_dir_all(&servers)?;
    let home = servers.join(format!("{name}-{key:016x}"));
    // Test programs run side by side: one fetches, the others wait.
    let lock = File::create(servers.join(format!("{name}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if home.join("done").exists() {
        return Ok(home);
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(home.join("classes"))?;
    fs::copy(folder.join("pom.xml"), home.join("pom.xml"))?;
    println!("fetching the jars of {name} from Maven Central");
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", "-f"]).arg(home.join("pom.xml")).arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", home.join("lib").display())).arg("-DincludeScope=runtime");
    succeed(&mut maven)?;
    unpack(&home)?;
    let mut compile = Command::new(javac);
    compile.arg("-d").arg(home.join("classes")).arg("-cp").arg(home.join("lib/*")).arg(program);
    succeed(&mut compile)?;
    File::create(home.join("done"))?;
    Ok(home)
}

/// Where everything is kept that is fetched or built once.
pub fn cache() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(std::env::var_os("WAYBILL_CACHE").map_or_else(|| PathBuf::from(home).join(".cache/waybill"), PathBuf::from))
}

/// Takes from the zip files in `lib` the jars that it lacks, whatever their versions.
fn unpack(home: &Path) -> Result<()> {
    let lib = home.join("lib");
    let plain = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let end = name.match_indices('-').find(|(at, _)| name[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
        end.map_or(name.clone(), |(at, _)| name[..at].to_owned())
    };
    let list = |folder: &Path| -> Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()
    };
    let is = |path: &Path, end: &str| path.extension().is_some_and(|e| e == end);
    for zip in list(&lib)?.into_iter().filter(|path| is(path, "zip")) {
        let target = home.join("unpacked");
        succeed(Command::new("unzip").arg("-qo").arg(&zip).arg("-d").arg(&target))?;
        let had: Vec<String> = list(&lib)?.iter().filter(|path| is(path, "jar")).map(|path| plain(path)).collect();
        for jar in list(&target)?.into_iter().filter(|path| is(path, "jar")) {
            if !had.contains(&plain(&jar)) {
                fs::copy(&jar, lib.join(jar.file_name().context("a jar has a name")?))?;
            }
        }
        fs::remove_file(zip)?;
    }
    Ok(())
}

/// Runs a program to its end; an error with what it said if that is none.
pub fn succeed(command: &mut Command) -> Result<()> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {command:?}"))?;
    ensure!(
        done.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

/// A folder of a Java development kit of at least this version: that of `JAVA_HOME`, or one under `/usr/lib/jvm`, the oldest that will do.
pub fn java(least: u32) -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    for home in std::env::var_os("JAVA_HOME").map(PathBuf::from).into_iter().chain(installed) {
        if home.join("bin/javac").exists()
            && let Some(version) = version(&home)
        {
            found.push((version, home));
        }
    }
    found.sort();
    match found.into_iter().find(|(version, _)| *version >= least) {
        Some((_, home)) => Ok(home),
        None => bail!("no Java development kit of version {least} or newer is installed"),
    }
}

/// The major version, from the file `release` that every kit has.
fn version(home: &Path) -> Option<u32> {
    let release = BufReader::new(File::open(home.join("release")).ok()?);
    let line =
        release.lines().map_while(Result::ok).find_map(|l| l.strip_prefix("JAVA_VERSION=").map(str::to_owned))?;
    line.trim_matches('"').split(['.', '-', '+']).next()?.parse().ok()
}
