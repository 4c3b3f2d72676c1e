//! The flag that says whose RBAC is meant, and the [`Snapshot`] it becomes.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{Error, cluster_args::ClusterArgs, exit};
use crate::rbac::{Objects, Snapshot, load};

/// Against which RBAC.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which RBAC")]
pub struct RbacArgs {
    /// Roles and bindings from this file or folder (manifests, or `kubectl get ... -o json`), or `live`;
    /// repeatable: of the same object the later counts [default: live]
    #[arg(long, value_name = "FILE|FOLDER|live")]
    pub rbac: Vec<PathBuf>,
}

/// The word for the cluster itself.
const LIVE: &str = "live";

/// A file of manifests that is larger is none.
const MAX_FILE: u64 = 1 << 30;
/// Folders below each other: more is a circle of links.
const MAX_DEPTH: usize = 32;

impl RbacArgs {
    /// Reads what is named, or else asks the cluster. What is odd is told on standard error.
    ///
    /// # Errors
    /// If a file cannot be read, holds nothing of RBAC, or the cluster does not answer.
    pub fn snapshot(&self, cluster: &ClusterArgs) -> Result<Snapshot, Error> {
        snapshot(&self.rbac, cluster)
    }
}

/// The snapshot of several places, later ones laid over earlier ones; of the cluster, if there are none.
///
/// # Errors
/// As [`RbacArgs::snapshot`].
pub fn snapshot(places: &[PathBuf], cluster: &ClusterArgs) -> Result<Snapshot, Error> {
    let mut objects = Objects::default();
    if places.is_empty() {
        objects = cluster.connect()?.rbac()?;
    }
    for place in places {
        objects.add(match place.as_os_str() == LIVE {
            true => cluster.connect()?.rbac()?,
            false => from_path(place)?,
        });
    }
    let snapshot = Snapshot::new(objects);
    snapshot.notes().iter().for_each(|it| exit::note(it));
    Ok(snapshot)
}

fn from_path(path: &Path) -> Result<Objects, Error> {
    let mut files = Vec::new();
    let name = path.display().to_string();
    let failed = |source| Error::RbacFile { name: name.clone(), source };
    if path.is_dir() {
        walk(path, 0, &mut files).map_err(failed)?;
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let mut objects = Objects::default();
    for file in files {
        let name = file.display().to_string();
        let bytes = read(&file).map_err(|source| Error::RbacFile { name: name.clone(), source })?;
        let (found, errors) = load::load(&bytes);
        for err in errors {
            exit::warning(&format!("{name}:{}: {}", err.line, err.message));
            objects.is_partial = true;
        }
        objects.add(found);
    }
    if objects.is_empty() {
        return Err(Error::NoRbac { name });
    }
    Ok(objects)
}

/// A file as it is, or unpacked if it is gzip.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    if bytes.starts_with(&[0x1F, 0x8B]) {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(&*bytes).take(MAX_FILE).read_to_end(&mut unpacked)?;
        return Ok(unpacked);
    }
    Ok(bytes)
}

/// The manifests in a folder and below.
fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if depth < MAX_DEPTH && !path.is_symlink() {
                walk(&path, depth + 1, files)?;
            }
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        if [".yaml", ".yml", ".json"].iter().any(|it| name.ends_with(it)) {
            files.push(path);
        }
    }
    Ok(())
}
