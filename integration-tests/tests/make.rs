//! What make says to somebody who is not root.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

#[test]
fn without_root_make_says_what_it_needs_before_it_builds() {
    let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Makefile");
    // Of its own, so that another user may read it wherever this repository lies.
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
    fs::copy(makefile, folder.path().join("Makefile")).expect("the Makefile");
    for goal in ["demo", "test", "test-fleet", "bench"] {
        let mut make = Command::new("make");
        make.arg(goal).current_dir(folder.path());
        make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        if nix::unistd::geteuid().is_root() {
            make.uid(NOBODY).gid(NOBODY);
        }
        let output = make.output().expect("make is installed");
        let (said, told) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(!output.status.success(), "{goal}: {said}");
        assert_eq!(said, "", "{goal} must do nothing first");
        assert!(
            told.contains(&format!("make {goal} needs root"))
                && told.contains(&format!("sudo make {goal}")),
            "{told}"
        );
    }
}
