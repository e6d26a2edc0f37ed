//! What can be wrong with a model: each error names the file, the key and what was expected.

use std::path::PathBuf;

/// Why a model cannot be found, loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model's directory is nowhere.
    #[error(
        "the model {name} was not found. Looked for: {}. Run `cargo xtask models` to download it, or set inference.model_dir \
         (CONTROL_TOWER__INFERENCE__MODEL_DIR) to a directory with config.json, tokenizer.json and model.safetensors",
        list(searched)
    )]
    NotFound {
        /// The model.
        name: &'static str,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// A file of the model cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the model is not what its name says.
    #[error("{} is not {expected}: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should hold, such as "a tokenizer in JSON".
        expected: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// A key of `config.json` has a value that this encoder cannot honour.
    #[error("{}: {key} is {found}, expected {expected}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A tensor is not among the weights.
    #[error("{}: no tensor {key}, expected one of shape {expected:?}", path.display())]
    MissingTensor {
        /// Which file.
        path: PathBuf,
        /// The tensor's name.
        key: String,
        /// The shape that config.json asks for.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than config.json asks for.
    #[error("{}: tensor {key} has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// Which file.
        path: PathBuf,
        /// The tensor's name.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that config.json asks for.
        expected: Vec<usize>,
    },
    /// An option has a value that makes no sense.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A text could not be split into tokens.
    #[error("could not split a text of {bytes} bytes into tokens: {reason}")]
    Tokenize {
        /// The text's length.
        bytes: usize,
        /// What the tokenizer says.
        reason: String,
    },
    /// The device failed to compute.
    #[error("could not {action} on the device")]
    Device {
        /// What was tried.
        action: &'static str,
        /// What candle says.
        source: candle_core::Error,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
