//! A real Postgres for tests: one private server a test program, one database a test.
//!
//! The server lies in a directory of its own under the temporary one and ends with the test
//! program, however that ends: a small shell waits on a pipe that only the program holds.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    BlobCipher, Store, StoreOptions,
    postgres::{Embedded, EmbeddedConfig},
};

const TEMPLATE: &str = "migrated";

struct Server {
    embedded: Embedded,
    // Its end of the pipe closes with this program.
    _reaper: Child,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();

/// A database of one test, migrated and empty.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Its URL.
    pub url: String,
}

impl TestDatabase {
    /// Makes a database on this program's server, which the first call starts.
    ///
    /// # Panics
    /// When Postgres is not installed or refuses: a test cannot go on without.
    pub async fn create() -> Self {
        let server = SERVER.get_or_init(start).await;
        let name = format!("test_{}", Uuid::new_v4().simple());
        run(
            &server.embedded,
            format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"),
        )
        .await;
        Self {
            url: server.embedded.url_of_database(&name),
        }
    }

    /// Connects to the database, as one hub would; each call is another hub. The key that seals
    /// Secrets is always the same.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn store(&self) -> Store {
        connect(&self.url).await
    }

    /// Fails the write of that number from now on, from 1, as though whoever makes it had died just
    /// before; absent = none. Gives how many were begun since the last call.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn cut_at_write(&self, number: Option<u64>) -> u64 {
        let options: PgConnectOptions = self.url.parse().expect("the URL is ours");
        let mut connection = options.connect().await.expect("the database answers");
        let is_new: bool = sqlx::query_scalar("SELECT to_regclass('test_writes') IS NULL")
            .fetch_one(&mut connection)
            .await
            .expect("it is our database");
        if is_new {
            sqlx::raw_sql(CUT)
                .execute(&mut connection)
                .await
                .expect("it is our database");
        }
        // Counting is part of no transaction: what is undone counts too.
        let at = number.map_or(i64::MAX, |number| i64::try_from(number).expect("a number"));
        let begun: i64 = sqlx::query_scalar(
            "SELECT greatest(last_value - 1, 0) FROM test_writes, setval('test_limit', $1) AS told",
        )
        .bind(at)
        .fetch_one(&mut connection)
        .await
        .expect("it is our database");
        sqlx::raw_sql("SELECT setval('test_writes', 1)")
            .execute(&mut connection)
            .await
            .expect("it is our database");
        connection.close().await.expect("the database answers");
        u64::try_from(begun).expect("it counts up")
    }
}

/// Stops this program's server, which cuts every store of it off, until [`start_server`]. For a test that
/// is alone in its process.
///
/// # Panics
/// When it does not stop.
pub async fn stop_server() {
    let server = SERVER.get_or_init(start).await;
    server.embedded.halt().await.expect("it stops");
}

/// Starts what [`stop_server`] has stopped.
///
/// # Panics
/// When it does not start.
pub async fn start_server() {
    let server = SERVER.get_or_init(start).await;
    let revived = server.embedded.revive().await;
    assert!(revived.expect("it starts"), "it ran");
}

/// Which version of each row of a table there is, so that two readings differ when anything was written.
/// `table` is a word of the test's own.
///
/// # Panics
/// When the database does not answer.
pub async fn row_versions(store: &Store, table: &'static str) -> Vec<String> {
    let query = format!("SELECT ctid::text || ' ' || xmin::text FROM {table} ORDER BY 1");
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(&store.pool)
        .await
        .expect("the database answers")
}
/// Has every table count its writes and fail the one that is to fail.
const CUT: &str = r"
CREATE SEQUENCE test_writes MINVALUE 0;
CREATE SEQUENCE test_limit MINVALUE 0;
CREATE FUNCTION test_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('test_writes') - 1 = (SELECT last_value FROM test_limit) THEN
        RAISE EXCEPTION 'the hub died here';
    END IF;
    RETURN NULL;
END $$;
DO $$
DECLARE one regclass;
BEGIN
    FOR one IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP
        EXECUTE format('CREATE TRIGGER test_write BEFORE INSERT OR UPDATE OR DELETE
            ON %s FOR EACH STATEMENT EXECUTE FUNCTION test_write()', one);
    END LOOP;
END $$;
";

/// A store on a database of its own.
///
/// # Panics
/// As [`TestDatabase::create`].
pub async fn store() -> Store {
    TestDatabase::create().await.store().await
}

async fn connect(url: &str) -> Store {
    let options = StoreOptions {
        max_connections: 20,
        ..StoreOptions::new(url)
    };
    Store::connect(options, BlobCipher::from_key(&[7; 32]))
        .await
        .expect("the database answers")
}

async fn start() -> Server {
    let dir = std::env::temp_dir().join(format!("bellwether-test-{}", Uuid::new_v4().simple()));
    fs::create_dir_all(&dir).expect("the temporary directory can be written");
    // The server's user must be able to enter.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("the directory is ours");
    let config = EmbeddedConfig::new(dir.join("postgres")).without_fsync();
    let embedded = Embedded::start(&config)
        .await
        .expect("a private Postgres starts");
    let reaper = reaper(&dir, &embedded);
    run(&embedded, format!("CREATE DATABASE {TEMPLATE}")).await;
    let template = connect(&embedded.url_of_database(TEMPLATE)).await;
    template.migrate().await.expect("the migrations run");
    template.close().await;
    Server {
        embedded,
        _reaper: reaper,
    }
}

async fn run(embedded: &Embedded, statement: String) {
    let url = embedded.url_of_database("postgres");
    let options: PgConnectOptions = url.parse().expect("the URL is ours");
    let mut connection = options.connect().await.expect("the server answers");
    // The statement holds names of our own making alone.
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("it is our server");
    connection.close().await.expect("the server answers");
}

/// Ends the server and removes its files when this program is gone.
fn reaper(dir: &Path, embedded: &Embedded) -> Child {
    const SCRIPT: &str = r#"
        read -r _
        pid=$(head -n 1 "$1/postgres/postmaster.pid" 2>/dev/null)
        if [ -n "$pid" ]; then
            kill -QUIT "$pid" 2>/dev/null
            for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
        fi
        rm -rf "$1" "$2""#;
    Command::new("sh")
        .args(["-c", SCRIPT, "reaper"])
        .arg(dir)
        .arg(&embedded.layout().socket_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("there is a shell")
}
