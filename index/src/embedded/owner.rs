//! The user that owns the cluster: Postgres refuses to run as root.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use tokio::process::Command;

use super::failure::{cluster_error, io_error};
use crate::error::Error;

/// Users that a root process starts Postgres as, in order of preference.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who runs the server.
#[derive(Debug)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
    /// Whether this process has to become that user first.
    change: bool,
}

impl Owner {
    /// Chooses this process's user, or an unprivileged one when it is root.
    pub(super) fn choose() -> Result<Self, Error> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid != 0 {
            return Ok(Self { uid, gid, change: false });
        }
        let users = users()?;
        UNPRIVILEGED
            .iter()
            .find_map(|name| users.iter().find(|user| user.name == *name))
            .map(|user| Self { uid: user.uid, gid: user.gid, change: true })
            .ok_or_else(|| {
                cluster_error(
                    "Postgres refuses to run as root, and there is no user postgres or nobody: add one, \
                     or start filmroom as another user",
                )
            })
    }

    /// Gives the directory to the owner and checks that the owner can reach it.
    pub(super) fn own(&self, directory: &Path) -> Result<(), Error> {
        if !self.change {
            return Ok(());
        }
        for parent in directory.ancestors().skip(1) {
            let meta = parent.metadata().map_err(io_error("look at the directories above the cluster"))?;
            let bits = if meta.uid() == self.uid {
                0o100
            } else if meta.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if meta.mode() & bits == 0 {
                return Err(cluster_error(format!(
                    "user {} cannot reach {}: run chmod o+x {}, or put the data directory elsewhere",
                    self.name()?,
                    directory.display(),
                    parent.display()
                )));
            }
        }
        self.hand_over(directory)
    }

    /// Makes a directory private to the owner.
    pub(super) fn hand_over(&self, directory: &Path) -> Result<(), Error> {
        if self.change {
            chown(directory, Some(self.uid), Some(self.gid)).map_err(io_error("give the cluster to its owner"))?;
        }
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
            .map_err(io_error("make the cluster's directory private"))
    }

    /// Tells whether a directory belongs to the owner and to nobody else.
    pub(super) fn has_to_itself(&self, directory: &Path) -> bool {
        std::fs::symlink_metadata(directory)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == self.uid && meta.mode() & 0o777 == 0o700)
    }

    /// Makes a command run as the owner, without this process's further groups.
    pub(super) fn run_as(&self, command: &mut Command) {
        if self.change {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Returns the owner's login name.
    pub(super) fn name(&self) -> Result<String, Error> {
        name_of(self.uid)
    }
}

/// Returns the login name of this process's user.
pub(super) fn current_name() -> Result<String, Error> {
    name_of(rustix::process::geteuid().as_raw())
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
}

fn name_of(uid: u32) -> Result<String, Error> {
    let user = users()?.into_iter().find(|user| user.uid == uid);
    user.map(|user| user.name).ok_or_else(|| {
        cluster_error(format!("user {uid} has no name in /etc/passwd, which peer authentication needs: add one"))
    })
}

fn users() -> Result<Vec<User>, Error> {
    let text = std::fs::read_to_string("/etc/passwd").map_err(io_error("read /etc/passwd"))?;
    let users = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        Some(User { name, uid, gid: fields.next()?.parse().ok()? })
    });
    Ok(users.collect())
}
