use std::{
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bellwether_hub_core::recipe::{Recipe, RenderFacts, Rendering};
use bellwether_sources::ProcessGroup;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::OnceCell,
    time::timeout,
};

use super::{
    PluginError, Plugins, RenderError,
    artifact::StoredFile,
    isolation::Isolation,
    wire::{Answer, Failure, Request},
};

/// Of what a program says beside its answer, this much is read.
const MAX_COMPLAINT_BYTES: u64 = 4 << 10;
/// Takes the network away; from util-linux, which every Debian has.
const UNSHARE: &str = "unshare";
/// Where system programs are: the hub's own PATH may be anything.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What one rendering may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time on the wall.
    pub time: Duration,
    /// Time of processors.
    pub cpu_seconds: u64,
    /// Memory.
    pub memory_mib: u64,
    /// Size of the answer.
    pub answer_mib: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            cpu_seconds: 30,
            memory_mib: 512,
            answer_mib: 32,
        }
    }
}

/// The program that renders, started once per rendering.
#[derive(Debug)]
pub struct Renderer {
    program: PathBuf,
    limits: Limits,
    plugins: Plugins,
    started: OnceCell<Started>,
}

/// How the program is started here.
#[derive(Clone, Debug)]
struct Started {
    version: String,
    isolation: Isolation,
}

impl Renderer {
    /// Uses that program; absent = `bellwether-renderer` beside the hub's own.
    #[must_use]
    pub fn new(program: Option<PathBuf>, limits: Limits) -> Self {
        let beside = || {
            let own = std::env::current_exe().unwrap_or_default();
            own.with_file_name("bellwether-renderer")
        };
        Self {
            program: program.unwrap_or_else(beside),
            limits,
            plugins: Plugins::default(),
            started: OnceCell::new(),
        }
    }

    /// Has the programs that the operator registered run too.
    #[must_use]
    pub fn with_plugins(self, plugins: Plugins) -> Self {
        Self { plugins, ..self }
    }

    /// The programs that the operator registered.
    #[must_use]
    pub const fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// The program's version, which is part of what a rendering is kept under.
    ///
    /// # Errors
    /// The program cannot be started.
    pub async fn version(&self) -> Result<&str, RenderError> {
        Ok(&self.started().await?.version)
    }

    /// Renders a recipe for clusters of these facts. `files` is JSON, as artifacts are stored.
    ///
    /// # Errors
    /// [`RenderError`]; whether trying again may help is said by [`RenderError::is_lasting`].
    pub async fn render(
        &self,
        files: &[u8],
        recipe: &Recipe,
        facts: &RenderFacts,
    ) -> Result<Rendering, RenderError> {
        let broken = |error: serde_json::Error| RenderError::Broken(error.to_string());
        let files: Vec<StoredFile> = serde_json::from_slice(files).map_err(broken)?;
        let isolation = self.started().await?.isolation;
        let plugin = match &recipe.plugin {
            // Of what a program does no library takes care.
            Some(call) if isolation == Isolation::NONE => {
                let name = call.name.clone();
                return Err(PluginError::NotIsolated { name }.into());
            }
            Some(call) => Some(self.plugins.running(call, &recipe.artifact)?),
            None => None,
        };
        let request = Request::new(&files, recipe, facts, plugin);
        let request = serde_json::to_vec(&request).map_err(broken)?;
        let answer = self.ask(isolation, request).await?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(broken)?;
        answer.into_rendering(recipe).map_err(RenderError::Refused)
    }

    async fn ask(&self, isolation: Isolation, request: Vec<u8>) -> Result<Vec<u8>, RenderError> {
        let limits = self.limits;
        let arguments = [
            format!("--memory-mib={}", limits.memory_mib),
            format!("--cpu-seconds={}", limits.cpu_seconds),
            format!("--answer-mib={}", limits.answer_mib),
        ];
        let mut child = self.spawn(isolation, &arguments)?;
        // A program that was registered may have started others.
        let group = ProcessGroup::of(&child);
        let (answer, complaint, status) =
            timeout(limits.time, converse(&mut child, request, limits))
                .await
                .map_err(|_| RenderError::TimedOut {
                    seconds: limits.time.as_secs(),
                })?
                .map_err(|error| RenderError::Broken(error.to_string()))?;
        group.disarm();
        if answer.len() as u64 > limits.answer_mib << 20 {
            let message = format!("what it renders is larger than {} MiB", limits.answer_mib);
            return Err(RenderError::Refused(Failure::new("TooLarge", message)));
        }
        if status.success() {
            return Ok(answer);
        }
        Err(self.verdict(status, &complaint))
    }

    /// Says of which limit a program died.
    fn verdict(&self, status: ExitStatus, complaint: &str) -> RenderError {
        let limits = self.limits;
        if complaint.contains("out of memory") || complaint.contains("cannot allocate memory") {
            return RenderError::Exceeded(format!("{} MiB of memory", limits.memory_mib));
        }
        let killed = [nix::libc::SIGXCPU, nix::libc::SIGKILL];
        if status
            .signal()
            .is_some_and(|signal| killed.contains(&signal))
        {
            return RenderError::Exceeded(format!("{} s of processor time", limits.cpu_seconds));
        }
        let first = complaint.lines().next().unwrap_or_default();
        RenderError::Broken(format!("{status}: {first}"))
    }

    fn spawn(&self, isolation: Isolation, arguments: &[String]) -> Result<Child, RenderError> {
        let mut command = if isolation.unshare.is_empty() {
            Command::new(&self.program)
        } else {
            let mut command = Command::new(UNSHARE);
            command.args(isolation.unshare);
            command.arg("--").arg(&self.program);
            command
        };
        if isolation.sealed {
            command.arg("--sealed");
        }
        command
            .args(arguments)
            .env_clear()
            .env("PATH", SYSTEM_PATH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| RenderError::NoProgram {
                program: self.program.display().to_string(),
                source,
            })
    }

    /// Finds out once what the program is and whether its network can be taken away.
    async fn started(&self) -> Result<&Started, RenderError> {
        self.started
            .get_or_try_init(|| async {
                for isolation in Isolation::ALL {
                    if let Ok(version) = self.ask_version(isolation).await {
                        return Ok(Started { version, isolation });
                    }
                }
                let isolation = Isolation::NONE;
                let version = self.ask_version(isolation).await?;
                tracing::warn!(
                    "renderings keep the hub's network: neither seccomp nor `unshare --net` is possible here"
                );
                Ok(Started { version, isolation })
            })
            .await
    }

    async fn ask_version(&self, isolation: Isolation) -> Result<String, RenderError> {
        let mut child = self.spawn(isolation, &["--version".to_owned()])?;
        let asked = converse(&mut child, Vec::new(), self.limits);
        let (answer, complaint, status) = timeout(self.limits.time, asked)
            .await
            .map_err(|_| RenderError::TimedOut {
                seconds: self.limits.time.as_secs(),
            })?
            .map_err(|error| RenderError::Broken(error.to_string()))?;
        let version = String::from_utf8_lossy(&answer).trim().to_owned();
        if !status.success() || version.is_empty() {
            let first = complaint.lines().next().unwrap_or_default();
            return Err(RenderError::Broken(format!("{status}: {first}")));
        }
        Ok(version)
    }
}

/// Writes the request and reads the answer at the same time: either side's pipe may be full.
async fn converse(
    child: &mut Child,
    request: Vec<u8>,
    limits: Limits,
) -> std::io::Result<(Vec<u8>, String, ExitStatus)> {
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // Who ends without reading says why on its own.
            let _ = stdin.write_all(&request).await;
        }
    };
    let read = async {
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            let limit = (limits.answer_mib << 20) + 1;
            stdout.take(limit).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>(answer)
    };
    let complain = async {
        let mut complaint = Vec::new();
        if let Some(stderr) = stderr {
            stderr
                .take(MAX_COMPLAINT_BYTES)
                .read_to_end(&mut complaint)
                .await?;
        }
        Ok::<_, std::io::Error>(complaint)
    };
    let ((), answer, complaint) = tokio::join!(write, read, complain);
    let (answer, complaint) = (answer?, complaint?);
    let status = child.wait().await?;
    let complaint = String::from_utf8_lossy(&complaint).into_owned();
    Ok((answer, complaint, status))
}
