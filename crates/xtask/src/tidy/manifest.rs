//! As much of Cargo.toml as the rules need: which dependencies it names, and a few keys.

/// A parsed manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Names under `[dependencies]` and `[build-dependencies]`, for whatever target.
    pub dependencies: Vec<String>,
    /// Names under `[dev-dependencies]`.
    pub dev_dependencies: Vec<String>,
    /// Whether it takes the workspace's lints.
    pub inherits_lints: bool,
}

impl Manifest {
    /// Reads `text`, passing over what it doesn't know.
    pub fn parse(text: &str) -> Manifest {
        let mut manifest = Manifest::default();
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']').to_owned();
                // `[dependencies.name]` names one by itself.
                if let Some((table, name)) = section.rsplit_once('.')
                    && let Some(list) = manifest.list(table)
                {
                    list.push(unquoted(name));
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let key = key.trim();
            if section == "lints" && key == "workspace" && value.trim() == "true" {
                manifest.inherits_lints = true;
            }
            if let Some(list) = manifest.list(&section) {
                // A renamed dependency is what it is renamed from.
                let package = value.split_once("package").and_then(|(_, rest)| {
                    rest.trim_start().strip_prefix('=')?.split('"').nth(1).map(str::to_owned)
                });
                let name = unquoted(key.split('.').next().unwrap_or(key));
                list.push(package.unwrap_or(name));
            }
        }
        manifest
    }

    fn list(&mut self, section: &str) -> Option<&mut Vec<String>> {
        // `target.'cfg(unix)'.dependencies` as well.
        match section.rsplit('.').next().unwrap_or(section) {
            "dependencies" | "build-dependencies" => Some(&mut self.dependencies),
            "dev-dependencies" => Some(&mut self.dev_dependencies),
            _ => None,
        }
    }
}

fn unquoted(name: &str) -> String {
    name.trim().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_dependency() {
        let manifest = Manifest::parse(
            "[package]\nname = \"x\"\n[dependencies]\n# old = \"1\"\nbase.workspace = true\n\
             serde = { version = \"1\", features = [\"derive\"] }\n\
             alias = { package = \"tokio\", version = \"1\" }\n\
             [dependencies.axum]\nversion = \"0.8\"\n\
             [target.'cfg(unix)'.dependencies]\nnix = \"0.30\"\n[build-dependencies]\ncc = \"1\"\n\
             [dev-dependencies]\nproptest = \"1\"\n[lints]\nworkspace = true\n",
        );
        let names = ["base", "serde", "tokio", "axum", "nix", "cc"];
        assert_eq!(manifest.dependencies, names);
        assert_eq!(manifest.dev_dependencies, ["proptest"]);
        assert!(manifest.inherits_lints);
        assert!(!Manifest::parse("[lints.rust]\nworkspace = true").inherits_lints);
    }
}
