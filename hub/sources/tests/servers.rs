//! Sources against real servers on this machine: Git over HTTP and SSH, a registry, a Helm repository.

#[path = "servers/charts.rs"]
mod charts;
#[path = "servers/client_certificates.rs"]
mod client_certificates;
#[path = "servers/git.rs"]
mod git;
#[path = "servers/git_refusals.rs"]
mod git_refusals;
#[path = "servers/git_ssh.rs"]
mod git_ssh;
#[path = "servers/helm.rs"]
mod helm;
#[path = "servers/http_server.rs"]
mod http_server;
#[path = "servers/oci.rs"]
mod oci;
#[path = "servers/registry.rs"]
mod registry;
#[path = "servers/repository.rs"]
mod repository;
#[path = "servers/ssh_server.rs"]
mod ssh_server;
#[path = "servers/subject.rs"]
mod subject;
