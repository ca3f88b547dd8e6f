//! How `git` speaks SSH: with one key, to known hosts, and nothing else.

use std::{
    ffi::OsString, fs::OpenOptions, io::Write, net::IpAddr, os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::location::Location;
use crate::{Credentials, SourceError};

/// Writes key, known hosts and configuration into a directory of this fetch alone, and returns the
/// command that uses them.
pub(super) fn prepare(
    directory: &Path,
    location: &Location,
    credentials: &Credentials,
    address: IpAddr,
) -> Result<OsString, SourceError> {
    let Some(ssh) = &credentials.ssh else {
        return Err(SourceError::Unauthorised {
            host: location.host_and_port(),
            what: location.shown().to_owned(),
            why: "SSH needs credentials with identity (a private key) and known_hosts".to_owned(),
        });
    };
    let mut key = ssh.private_key.expose().trim_end().to_owned();
    // OpenSSH reads no key whose last line does not end.
    key.push('\n');
    let configuration = directory.join("ssh_config");
    let write = |name: &str, contents: &str| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join(name))
            .and_then(|mut file| file.write_all(contents.as_bytes()))
            .map_err(|source| SourceError::Local {
                doing: "write what a fetch by SSH needs",
                source,
            })
    };
    write("identity", &key)?;
    write("known_hosts", &ssh.known_hosts)?;
    write(
        "ssh_config",
        &configuration_of(directory, location, address),
    )?;
    let mut command = OsString::from("ssh -F ");
    command.push(quoted(&configuration.to_string_lossy()));
    Ok(command)
}

fn configuration_of(directory: &Path, location: &Location, address: IpAddr) -> String {
    let file = |name: &str| directory.join(name).to_string_lossy().replace('%', "%%");
    // The key is looked up by the name that the user wrote, though an address is what is connected to.
    let alias = match location.port {
        22 => location.host.clone(),
        port => format!("[{}]:{port}", location.host),
    };
    format!(
        "Host *\n\
         HostName {address}\n\
         HostKeyAlias {alias}\n\
         CheckHostIP no\n\
         StrictHostKeyChecking yes\n\
         UserKnownHostsFile \"{known_hosts}\"\n\
         GlobalKnownHostsFile /dev/null\n\
         UpdateHostKeys no\n\
         IdentityFile \"{identity}\"\n\
         IdentitiesOnly yes\n\
         IdentityAgent none\n\
         PreferredAuthentications publickey\n\
         BatchMode yes\n\
         ClearAllForwardings yes\n\
         ForwardAgent no\n\
         ForwardX11 no\n\
         PermitLocalCommand no\n\
         ProxyCommand none\n\
         ControlMaster no\n\
         ControlPath none\n\
         ConnectTimeout 10\n\
         ServerAliveInterval 15\n\
         ServerAliveCountMax 2\n\
         LogLevel ERROR\n",
        known_hosts = file("known_hosts"),
        identity = file("identity"),
    )
}

/// Quotes a word for the shell that `git` gives the command to.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("/a b/c"), "'/a b/c'");
        assert_eq!(quoted("/it's"), r"'/it'\''s'");
    }

    #[test]
    fn a_host_is_known_by_its_name_and_port() {
        let address = "203.0.113.7".parse().expect("an address");
        let configuration = |url: &str| {
            let location = Location::parse(url).expect(url);
            configuration_of(Path::new("/d"), &location, address)
        };
        let usual = configuration("git@git.example:a");
        assert!(usual.contains("HostKeyAlias git.example\n"), "{usual}");
        assert!(usual.contains("HostName 203.0.113.7\n"), "{usual}");
        let other = configuration("ssh://git@git.example:2222/a");
        assert!(
            other.contains("HostKeyAlias [git.example]:2222\n"),
            "{other}"
        );
    }
}
