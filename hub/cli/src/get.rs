//! The reading commands: `get`, `describe`, `tree`, `why`, `events`.

use std::collections::BTreeMap;

use anyhow::bail;
use bellwether_api::{
    call::{EventList, Item, ItemList, ListMeta, RunList, UnitList, Why},
    view::RunView,
};
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::{
    args::{EventsArgs, Format, GetArgs, Global, TargetArgs},
    client::Client,
    failure::{Code, Failure},
    kind::{Kind, one_target, run_name, run_path, segment, target},
    output::{Screen, document, full_name, note, print},
    render::{self, list},
    watch::{Follow, Until, code_of, follow},
};

/// `get`.
///
/// # Errors
/// What the hub refused.
pub async fn get(client: &Client, global: &Global, args: &GetArgs) -> anyhow::Result<Code> {
    let screen = Screen::new(global);
    let (kind, name) = target(&args.kind, args.name.as_deref())?;
    match (kind, name) {
        (Kind::Event, name) => {
            let args = EventsArgs {
                name,
                cluster: None,
                watch: args.watch,
                limit: 100,
                output: args.output,
            };
            events(client, global, &args).await
        }
        (Kind::Rollout, Some(name)) if args.watch => {
            let how = Follow {
                until: Until::Ended,
                format: args.output,
                timeout: args.timeout,
            };
            follow(client, global, &screen, &name, how).await
        }
        (Kind::Rollout, Some(name)) if !matches!(args.output, Some(Format::Name)) => {
            show_run(client, global, &screen, &name, args.output).await?;
            Ok(Code::Done)
        }
        (kind, name) if args.watch => watch_list(client, global, args, kind, name).await,
        (kind, Some(name)) => {
            let item: Item = client.get(&kind.path(&global.namespace, &name)).await?;
            show_items(kind, &[item], args.output, true, &screen)?;
            Ok(Code::Done)
        }
        (kind, None) => {
            let items = list(client, global, args, kind).await?;
            show_items(kind, &items, args.output, false, &screen)?;
            Ok(Code::Done)
        }
    }
}

/// Prints the newest run of an application once.
///
/// # Errors
/// What the hub refused.
pub async fn show_run(
    client: &Client,
    global: &Global,
    screen: &Screen,
    name: &str,
    format: Option<Format>,
) -> anyhow::Result<Code> {
    let view: RunView = client.get(&run_path(global, name, "status")).await?;
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => document(&view, format)?,
        _ => {
            let viewport = render::run::Viewport {
                height: None,
                ..screen.viewport()
            };
            print(&render::run::run(
                &view,
                viewport,
                Timestamp::now(),
                screen.style,
            ))?;
        }
    }
    Ok(code_of(view.state))
}

/// Prints past runs.
///
/// # Errors
/// What the hub refused.
pub async fn history(
    client: &Client,
    global: &Global,
    name: &str,
    format: Option<Format>,
) -> anyhow::Result<Code> {
    let runs: RunList = client.get(&run_path(global, name, "history")).await?;
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => document(&runs, format)?,
        _ => {
            let style = Screen::new(global).style;
            print(&list::history(&runs, Timestamp::now(), style))?;
            let item = item_of(client, global, Kind::Rollout, run_name(name)).await?;
            if let Some(draft) = render::tree::draft(&item) {
                note(&format!("draft: {draft}"));
            }
        }
    }
    Ok(Code::Done)
}

async fn list(
    client: &Client,
    global: &Global,
    args: &GetArgs,
    kind: Kind,
) -> anyhow::Result<Vec<Item>> {
    let namespace = (!args.all_namespaces).then_some(global.namespace.as_str());
    let base = kind.list_path(namespace);
    let mut items = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let mut path = format!("{base}?limit=500");
        if let Some(selector) = &args.selector {
            path.push_str(&format!("&labelSelector={}", segment(selector)));
        }
        if let Some(next) = &next {
            path.push_str(&format!("&continue={}", segment(next)));
        }
        let page: ItemList = client.get(&path).await?;
        items.extend(page.items);
        next = page.metadata.continue_;
        if next.is_none() {
            return Ok(items);
        }
    }
}

fn show_items(
    kind: Kind,
    items: &[Item],
    format: Option<Format>,
    single: bool,
    screen: &Screen,
) -> anyhow::Result<()> {
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => match (single, items) {
            (true, [only]) => document(only, format),
            _ => document(
                &ItemList {
                    api_version: bellwether_api::API_VERSION.to_owned(),
                    kind: format!("{}List", kind.word()),
                    metadata: ListMeta::default(),
                    items: items.to_vec(),
                },
                format,
            ),
        },
        Some(Format::Name) => print(
            &items
                .iter()
                .map(|item| format!("{}\n", full_name(item)))
                .collect::<String>(),
        ),
        format => {
            if items.is_empty() {
                note(&format!("no {}s here", kind.word().to_lowercase()));
                return Ok(());
            }
            let wide = matches!(format, Some(Format::Wide));
            print(&list::table(
                kind.word(),
                items,
                wide,
                Timestamp::now(),
                screen.style,
            ))
        }
    }
}

/// Follows a list: the table again whenever something changes, or one JSON object a line.
async fn watch_list(
    client: &Client,
    global: &Global,
    args: &GetArgs,
    kind: Kind,
    name: Option<String>,
) -> anyhow::Result<Code> {
    let screen = Screen::new(global);
    let mut path = format!("/api/v1/watch?kinds={}", kind.word());
    if !args.all_namespaces && kind.is_namespaced() {
        path.push_str(&format!("&namespace={}", segment(&global.namespace)));
    }
    if let Some(selector) = &args.selector {
        path.push_str(&format!("&labelSelector={}", segment(selector)));
    }
    let deadline = args
        .timeout
        .map(|timeout| tokio::time::Instant::now() + timeout);
    let mut shown: BTreeMap<(String, String), Item> = BTreeMap::new();
    let mut stream = client.events(&path).await?;
    loop {
        let next = match deadline {
            Some(deadline) => match tokio::time::timeout_at(deadline, stream.next()).await {
                Ok(next) => next,
                Err(_) => bail!(Failure::Timeout(
                    "watched for as long as --timeout says".into()
                )),
            },
            None => stream.next().await,
        };
        let Some(event) = next else {
            bail!("the hub ended the watch; ask again")
        };
        let event = event?;
        let known = matches!(event.event.as_str(), "added" | "modified" | "deleted");
        if known {
            let item: Item = serde_json::from_str(&event.data)?;
            if name
                .as_ref()
                .is_some_and(|name| *name != item.metadata.name)
            {
                continue;
            }
            let key = (
                item.metadata.namespace.clone().unwrap_or_default(),
                item.metadata.name.clone(),
            );
            match args.output {
                Some(Format::Json) => print(&format!("{}\n", serde_json::to_string(&item)?))?,
                Some(Format::Name) => print(&format!("{} {}\n", full_name(&item), event.event))?,
                _ => {}
            }
            if event.event == "deleted" {
                shown.remove(&key);
            } else {
                shown.insert(key, item);
            }
        }
        let settled = matches!(
            event.event.as_str(),
            "synced" | "modified" | "deleted" | "added"
        );
        if settled && !matches!(args.output, Some(Format::Json | Format::Name)) {
            if event.event == "added" && !screen.redraws {
                continue;
            }
            if screen.redraws {
                print("\x1b[H\x1b[2J")?;
            }
            let items: Vec<Item> = shown.values().cloned().collect();
            show_items(kind, &items, args.output, false, &screen)?;
        }
    }
}

/// `describe`.
///
/// # Errors
/// What the hub refused.
pub async fn describe(client: &Client, global: &Global, args: &TargetArgs) -> anyhow::Result<Code> {
    let (kind, name) = one_target(&args.kind, args.name.as_deref())?;
    let screen = Screen::new(global);
    let item = item_of(client, global, kind, &name).await?;
    if let Some(format @ (Format::Json | Format::Yaml)) = args.output {
        document(&item, format)?;
        return Ok(Code::Done);
    }
    print(&crate::output::yaml(&serde_json::to_value(&item)?)?)?;
    if kind == Kind::Cluster {
        let path = format!(
            "/api/v1/events?cluster={}&limit=20&newest=true",
            segment(&name)
        );
        return last_events(client, &path, &screen).await;
    }
    if matches!(kind, Kind::Application | Kind::Rollout) {
        print("\n")?;
        if let Err(error) = show_run(client, global, &screen, &name, None).await {
            note(&format!("no run: {error:#}"));
        }
        let path = format!("{}?limit=20&newest=true", run_path(global, &name, "events"));
        return last_events(client, &path, &screen).await;
    }
    Ok(Code::Done)
}

/// Prints the events that stand at `path` below what was described.
async fn last_events(client: &Client, path: &str, screen: &Screen) -> anyhow::Result<Code> {
    print("\nevents\n")?;
    let events: EventList = client.get(path).await?;
    for event in &events.items {
        let line = render::events::event(event, screen.style);
        print(&format!("  {line}\n"))?;
    }
    Ok(Code::Done)
}

/// Reads an object; a rollout may be named by its application, whose rollout may be inline.
async fn item_of(client: &Client, global: &Global, kind: Kind, name: &str) -> anyhow::Result<Item> {
    let asked = client.get(&kind.path(&global.namespace, name)).await;
    let missing = asked.as_ref().err().is_some_and(|error: &anyhow::Error| {
        matches!(error.downcast_ref(), Some(Failure::Refused(problem)) if problem.status == 404)
    });
    if kind == Kind::Rollout && missing {
        return client
            .get(&Kind::Application.path(&global.namespace, name))
            .await
            .or(asked);
    }
    asked
}

/// `tree`.
///
/// # Errors
/// What the hub refused.
pub async fn tree(client: &Client, global: &Global, args: &TargetArgs) -> anyhow::Result<Code> {
    let (kind, name) = one_target(&args.kind, args.name.as_deref())?;
    let style = Screen::new(global).style;
    let now = Timestamp::now();
    match kind {
        Kind::Fleet => {
            let item: Item = client.get(&kind.path("", &name)).await?;
            print(&render::tree::fleet(&item, now, style))?;
        }
        Kind::Application | Kind::Rollout => {
            let units: UnitList = client.get(&run_path(global, &name, "clusters")).await?;
            if let Some(format @ (Format::Json | Format::Yaml)) = args.output {
                document(&units, format)?;
                return Ok(Code::Done);
            }
            let item = item_of(client, global, kind, &name).await?;
            let run: Option<RunView> = client.get(&run_path(global, &name, "status")).await.ok();
            let waves = run.map(|run| run.waves).unwrap_or_default();
            let tree = render::tree::application(&item, &waves, &units.items, now, style);
            print(&tree)?;
        }
        Kind::Cluster
        | Kind::MetricTemplate
        | Kind::Repository
        | Kind::AlertProvider
        | Kind::Event => {
            bail!(Failure::Usage(
                "tree shows a fleet, an application or a rollout".into()
            ))
        }
    }
    Ok(Code::Done)
}

/// `why`.
///
/// # Errors
/// What the hub refused.
pub async fn why(client: &Client, global: &Global, args: &TargetArgs) -> anyhow::Result<Code> {
    // `why shop` is `why rollout shop`.
    let (kind, name) = match (Kind::parse(&args.kind), &args.name) {
        (Err(_), None) if !args.kind.contains('/') => (Kind::Rollout, args.kind.clone()),
        _ => one_target(&args.kind, args.name.as_deref())?,
    };
    if !matches!(kind, Kind::Application | Kind::Rollout) {
        bail!(Failure::Usage(
            "why explains an application or a rollout".into()
        ));
    }
    let answer: Why = client.get(&run_path(global, &name, "why")).await?;
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => document(&answer, format)?,
        _ => print(&render::why::why(
            &answer,
            Timestamp::now(),
            Screen::new(global).style,
        ))?,
    }
    Ok(Code::Done)
}

/// `events`.
///
/// # Errors
/// What the hub refused.
pub async fn events(client: &Client, global: &Global, args: &EventsArgs) -> anyhow::Result<Code> {
    let style = Screen::new(global).style;
    let base = match &args.name {
        Some(name) => run_path(global, run_name(name), "events"),
        None => "/api/v1/events".to_owned(),
    };
    let cluster = args
        .cluster
        .as_ref()
        .map(|name| format!("&cluster={}", segment(name)))
        .unwrap_or_default();
    let mut path = format!(
        "{base}?limit={}&newest=true{cluster}",
        args.limit.clamp(1, 500)
    );
    loop {
        let page: EventList = client.get(&path).await?;
        if let (false, Some(format @ (Format::Json | Format::Yaml))) = (args.watch, args.output) {
            document(&page, format)?;
            return Ok(Code::Done);
        }
        for event in &page.items {
            match args.output {
                Some(Format::Json) => print(&format!("{}\n", serde_json::to_string(event)?))?,
                _ => print(&format!("{}\n", render::events::event(event, style)))?,
            }
        }
        if !args.watch {
            if page.items.is_empty() {
                note("no events");
            }
            return Ok(Code::Done);
        }
        if let Some(next) = &page.metadata.continue_ {
            path = format!("{base}?limit=500{cluster}&continue={}", segment(next));
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
