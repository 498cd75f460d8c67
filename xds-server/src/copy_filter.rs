//! `toolward copy-filter`: brings the wasm module from Toolward's image into a pod of Envoy.
//!
//! Our image has no shell and no `cp`; Envoy's has no wasm module.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// Arguments of `toolward copy-filter`.
#[derive(Args, Clone, Debug)]
pub struct CopyFilterArgs {
    /// The filter's wasm module
    #[arg(long, value_name = "PATH", env = "TOOLWARD_WASM_FILE")]
    pub wasm_file: PathBuf,

    /// The folder into which it is copied, under its own name
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
#[error("can't copy {} into {}: {cause}", .args.wasm_file.display(), .args.folder.display())]
#[expect(missing_docs, reason = "the names say it")]
pub struct CopyError {
    pub args: CopyFilterArgs,
    pub cause: io::Error,
}

/// Copies, and replaces what is there as a whole: who opens the file sees the old or the new one.
///
/// # Errors
/// When the module can't be read or the folder not be written.
pub fn run(args: &CopyFilterArgs) -> Result<ExitCode, CopyError> {
    copy(args).map(|()| ExitCode::SUCCESS).map_err(|cause| CopyError { args: args.clone(), cause })
}

fn copy(args: &CopyFilterArgs) -> io::Result<()> {
    let name = args.wasm_file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let target = args.folder.join(name);
    let unfinished = target.with_extension("unfinished");
    std::fs::copy(&args.wasm_file, &unfinished)?;
    std::fs::rename(unfinished, target)
}
