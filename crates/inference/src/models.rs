//! Where a model's files lie, searched in the same way as the engine's library.
//!
//! A model is a directory with `config.json`, `tokenizer.json` and `model.safetensors`. `cargo xtask models` puts the default one
//! into the user's cache, where every clone and every binary finds it.

use crate::ModelError;
use std::path::{Path, PathBuf};

/// The default embedder's directory name: the model, and the version of the package that its weights come in.
pub const EMBEDDER: &str = "all-minilm-l6-v2-0.1.0";

/// The weights; a directory that holds this file is taken for a model.
pub const WEIGHTS: &str = "model.safetensors";

/// The environment variable of `inference.model_dir`.
pub const MODEL_DIR: &str = "CONTROL_TOWER__INFERENCE__MODEL_DIR";

/// The default embedder's directory: `configured` when given; else the first that exists of `models/` beside the binary,
/// `DATA_DIR/models`, the directory that the environment names, and the user's cache.
pub fn find(configured: Option<&Path>, data_dir: Option<&Path>) -> Result<PathBuf, ModelError> {
    find_named(EMBEDDER, configured, data_dir)
}

/// Like [`find`], for a model of another name.
pub fn find_named(
    name: &'static str,
    configured: Option<&Path>,
    data_dir: Option<&Path>,
) -> Result<PathBuf, ModelError> {
    // Tests, benches and library users have no configuration file to name these in.
    let set = |key| std::env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    let binary = std::env::current_exe().ok();
    let cache_home = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let named = set(MODEL_DIR);
    let candidates = searched_places(
        name,
        configured,
        &Surroundings {
            binary: binary.as_deref(),
            data_dir,
            named: named.as_deref(),
            cache_home: cache_home.as_deref(),
        },
    );
    candidates
        .iter()
        .find(|dir| dir.join(WEIGHTS).is_file())
        .cloned()
        .ok_or(ModelError::NotFound { name, searched: candidates })
}

/// What the search knows of the machine; whatever is `None` is left out.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings<'a> {
    binary: Option<&'a Path>,
    data_dir: Option<&'a Path>,
    named: Option<&'a Path>,
    cache_home: Option<&'a Path>,
}

fn searched_places(name: &str, configured: Option<&Path>, around: &Surroundings<'_>) -> Vec<PathBuf> {
    // A configured directory is meant: another one found elsewhere would hide the mistake.
    if let Some(configured) = configured {
        return vec![configured.to_owned()];
    }
    let beside = around.binary.and_then(Path::parent).map(|dir| dir.join("models").join(name));
    let in_data = around.data_dir.map(|dir| dir.join("models").join(name));
    let named = around.named.map(Path::to_owned);
    let in_cache = around.cache_home.map(|dir| dir.join("control-tower/models").join(name));
    [beside, in_data, named, in_cache].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_directory_is_the_only_one_searched() {
        let around = Surroundings { data_dir: Some(Path::new("/data")), ..Surroundings::default() };
        assert_eq!(searched_places("m", Some(Path::new("/mine")), &around), [PathBuf::from("/mine")]);
    }

    #[test]
    fn places_are_searched_from_near_to_far() {
        let around = Surroundings {
            binary: Some(Path::new("/opt/bin/control-tower")),
            data_dir: Some(Path::new("/data")),
            named: Some(Path::new("/named")),
            cache_home: Some(Path::new("/home/u/.cache")),
        };
        let expected =
            ["/opt/bin/models/m", "/data/models/m", "/named", "/home/u/.cache/control-tower/models/m"];
        assert_eq!(searched_places("m", None, &around), expected.map(PathBuf::from));
    }

    #[test]
    fn a_missing_model_names_every_place_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(Some(dir.path()), None).unwrap_err().to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        assert!(error.contains("cargo xtask models") && error.contains(MODEL_DIR), "{error}");
    }
}
