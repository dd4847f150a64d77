//! Configuration, secrets, the command line and the operator's door.
#![allow(
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that fails should say so loudly"
)]

#[path = "../src/stage/free_address.rs"]
mod free_address;

use free_address::free_address;
use hub::{
    cli::serve::{ServeArgs, Started, prepare, serve_with},
    driver::{Ask, SettleNow, Settled},
    engine::{Engine, Outboxes},
    ops::{Config, SecretRef, config::DEFAULT_TEXT, secrets},
    session::SessionLimits,
};
use protocol_spec::{Address, message::HubInfo};
use std::{
    fs::Permissions,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const LITERAL: &str = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/base")).map_err(|error| error.to_string())
}

/// The default file with one line replaced or, after a section's head, added.
fn with(from: &str, to: &str) -> Result<Config, String> {
    assert!(DEFAULT_TEXT.contains(from), "{from}");
    parse(&DEFAULT_TEXT.replacen(from, to, 1))
}

#[test]
fn the_default_file_parses_and_its_comments_show_the_defaults() {
    let config = parse(DEFAULT_TEXT).unwrap();
    assert_eq!(config.limits, SessionLimits::DEFAULT);
    assert_eq!(config.data_dir, Path::new("/base/data"));
    assert_eq!(config.keys.owner, SecretRef::File("/base/keys/owner.key".into()));
    // What is commented out as a default is the default.
    let uncommented: String = DEFAULT_TEXT
        .lines()
        .map(|line| {
            let setting = line.strip_prefix("# ").filter(|rest| {
                let key = rest.split(" = ").next().unwrap_or_default();
                rest.contains(" = ") && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            // The default of the confirmations depends on the chain.
            let example = [
                "adjudicator",
                "address",
                "reserve",
                "lock_min",
                "send_min",
                "locked_max",
                "fees",
                "capacity",
                "value_at_risk",
                "checkpoint_above",
                "gas_price_max_wei",
                "confirmations",
                "more_rpc_urls",
                "agree",
                "worth",
                "max_fee_gwei",
                // As much as the machine has room for.
                "remembered_max",
                "dir",
            ];
            let shown = setting.filter(|rest| !example.iter().any(|name| rest.starts_with(name)));
            shown.unwrap_or(line).to_owned() + "\n"
        })
        .collect();
    assert!(uncommented.contains("\nconnections_max = "));
    assert_eq!(parse(&uncommented).unwrap(), config);
}

#[test]
fn every_problem_names_its_key_and_what_is_allowed() {
    let table = [
        (
            "# dir = \"/mnt/backup/hub\"",
            "dir = \"/mnt/backup/hub\"",
            "backup.dir: the embedded chain is not kept",
        ),
        (
            "# confirmations = 12",
            "confirmations = 0",
            "chain.confirmations: is 0, must be 1 to 10000",
        ),
        (
            "# confirmations = 12",
            "confirmations = \"x\"",
            "chain.confirmations: is string \"x\"",
        ),
        (
            "# confirmations = 12",
            "confirmation = 1",
            "unknown key `confirmation`; known here: rpc_url",
        ),
        (
            "# challenge_period_s = 86400",
            "challenge_period_s = 60",
            "must be 3600 to 2592000",
        ),
        (
            "# lag_s = 600",
            "lag_s = 86400",
            "must be more than lag_s + act_s = 88200",
        ),
        (
            "# resolvers = []",
            "resolvers = [\"0x0000000000000000000000000000000000000000\"]",
            "locks.resolvers: the zero address is no contract",
        ),
        (
            "# retention_s = 604800",
            "retention_s = 3600",
            "retention.retention_s: is 3600, must be 86400 to",
        ),
        (
            "rpc_url = \"embedded\"",
            "rpc_url = \"ftp://x\"",
            "chain.rpc_url: must be \"embedded\" or start with http://",
        ),
        (
            "rpc_url = \"embedded\"",
            "rpc_url = \"http://x\"",
            "chain.adjudicator: is missing",
        ),
        (
            "rpc_url = \"embedded\"",
            "rpc_url = \"http://x\"",
            "tokens: is empty",
        ),
        ("\"127.0.0.1:9945\"", "\"0.0.0.0:9945\"", "ops.allow_remote"),
        (
            "\"127.0.0.1:9945\"",
            "\"127.0.0.1:9944\"",
            "server.listen already",
        ),
        (
            "name = \"localhost\"",
            "name = \"Not A Name\"",
            "server.name: is \"Not A Name\"",
        ),
        (
            "ppm = 0",
            "ppm = 1000001",
            "fees.ppm: is 1000001, must be 0 to 1000000",
        ),
        ("flat = \"0\"", "flat = \"-1\"", "fees.flat"),
        (
            "# idle_timeout_s = 60",
            "idle_timeout_s = 20",
            "must be more than ping_after_s = 20",
        ),
        (
            "# bytes_per_s = 8388608",
            "bytes_per_s = 1000",
            "limits.bytes_per_s: is 1000, must be 524288",
        ),
        ("data_dir = \"data\"", "", "`data_dir` is missing"),
    ];
    for (from, to, expected) in table {
        let text = with(from, to).unwrap_err();
        assert!(text.contains(expected), "{to}: {text}");
    }
    let both = DEFAULT_TEXT
        .replace("ppm = 0", "ppm = 2000000")
        .replace("# confirmations = 12", "confirmations = 0");
    let text = parse(&both).unwrap_err();
    assert!(
        text.contains("fees.ppm") && text.contains("chain.confirmations"),
        "all at once: {text}"
    );
}

#[test]
fn reserves_are_checked_per_token() {
    let token = |reserve: &str| {
        parse(&format!(
            "{DEFAULT_TEXT}\n[[tokens]]\naddress = \"{}\"\nreserve = {{ {reserve} }}\n",
            Address::repeat_byte(9)
        ))
    };
    let good = token("initial = \"100\", low_watermark = \"20\", target = 50").unwrap();
    assert_eq!(good.tokens[0].reserve.target.unwrap().0, 50);
    let text = token("initial = \"10\", low_watermark = \"20\", high_watermark = \"9\"").unwrap_err();
    assert!(
        text.contains("tokens[0].reserve.low_watermark: is 20, must be 0 to the target, 10"),
        "{text}"
    );
    assert!(
        text.contains("tokens[0].reserve.high_watermark: is 9, must be 0 (never) or at least target"),
        "{text}"
    );
    let text = token(&format!("initial = \"{}\", low_watermark = \"0\"", u128::MAX)).unwrap_err();
    assert!(text.contains("tokens[0].reserve.initial"), "{text}");
}

#[test]
fn a_key_in_the_configuration_is_refused_and_not_repeated() {
    for literal in [LITERAL, &LITERAL[2..], &format!("env:{LITERAL}")] {
        let text = with("file:keys/owner.key", literal).unwrap_err();
        assert!(
            text.contains("keys.owner") && text.contains("never as itself"),
            "{text}"
        );
        assert!(!text.contains(&LITERAL[10..30]), "{text}");
    }
    let text = with(
        "hub_signer = \"file:keys/hub_signer.key\"",
        "hub_signer = 12345678901234",
    )
    .unwrap_err();
    assert!(
        text.contains("keys.hub_signer") && !text.contains("12345678"),
        "{text}"
    );
}

#[test]
fn key_files_must_be_private_and_hold_a_key() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.key");
    let made = secrets::create_key(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let reference = SecretRef::File(path.clone());
    assert_eq!(reference.load().unwrap().address(), made.address());
    assert!(secrets::create_key(&path).is_err(), "never overwritten");
    for mode in [0o640, 0o604, 0o644, 0o660] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let text = reference.load().unwrap_err().to_string();
        assert!(text.contains("chmod 600"), "{text}");
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    for content in [
        "",
        "xyz",
        &"0".repeat(64),
        &"f".repeat(64),
        &LITERAL[..40],
        &LITERAL.repeat(9),
    ] {
        std::fs::write(&path, content).unwrap();
        let text = reference.load().unwrap_err().to_string();
        assert!(text.contains("64 hex digits"), "{text}");
        assert!(content.len() < 40 || !text.contains(&content[10..30]));
    }
    std::fs::write(&path, format!("{LITERAL}\n")).unwrap();
    reference.load().unwrap();
    assert!(SecretRef::File(dir.path().into()).load().is_err());
    assert!(SecretRef::File(dir.path().join("none")).load().is_err());
    assert!(
        "env:HUB_SECRET_NOT_SET"
            .parse::<SecretRef>()
            .unwrap()
            .load()
            .is_err()
    );
}

fn hub(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hub"))
        .current_dir(dir)
        .args(arguments)
        .env("RUST_LOG", "trace")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn init_writes_once_and_check_accepts_it() {
    let dir = TempDir::new().unwrap();
    let made = hub(dir.path(), &["init", "--dir", "my/hub"], &[]);
    assert!(made.status.success(), "{}", both(&made));
    let stdout = String::from_utf8(made.stdout.clone()).unwrap();
    let names: Vec<_> = stdout
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["config", "backup_key", "hub_signer", "owner"]);
    assert!(String::from_utf8_lossy(&made.stderr).contains("hub serve --config my/hub/hub.toml"));
    let checked = hub(
        dir.path(),
        &["serve", "--check", "--config", "my/hub/hub.toml"],
        &[],
    );
    assert!(checked.status.success(), "{}", both(&checked));
    let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
    let addresses = shown.strip_prefix("database embedded\n").expect(&shown);
    assert!(stdout.ends_with(addresses), "the same addresses");
    for name in ["hub_signer.key", "owner.key", "backup.key"] {
        let secret = std::fs::read_to_string(dir.path().join("my/hub/keys").join(name)).unwrap();
        let shown = both(&made) + &both(&checked);
        assert!(
            !shown.contains(&secret.trim()[..16]),
            "no key bytes on any stream"
        );
    }
    let before = std::fs::read(dir.path().join("my/hub/keys/owner.key")).unwrap();
    std::fs::remove_file(dir.path().join("my/hub/hub.toml")).unwrap();
    let again = hub(dir.path(), &["init", "--dir", "my/hub"], &[]);
    assert_eq!(again.status.code(), Some(3));
    assert!(both(&again).contains("never overwritten"));
    assert_eq!(
        std::fs::read(dir.path().join("my/hub/keys/owner.key")).unwrap(),
        before
    );
}

#[test]
fn the_environment_overrides_the_file_and_leaks_nothing() {
    let dir = TempDir::new().unwrap();
    assert!(hub(dir.path(), &["init"], &[]).status.success());
    let check = |environment: &[(&str, &str)]| hub(dir.path(), &["serve", "--check"], environment);
    let output = check(&[("HUB_CHAIN__CONFIRMATIONS", "0")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        both(&output).contains("chain.confirmations: is 0, must be"),
        "{}",
        both(&output)
    );
    let output = check(&[("HUB_CHAIN__AGREE", "2")]);
    assert!(
        both(&output).contains("chain.agree: must be 1 to 1"),
        "{}",
        both(&output)
    );
    let output = check(&[("HUB_CHAIN__MORE_RPC_URLS", "[\"http://127.0.0.1:1\"]")]);
    assert!(both(&output).contains("embedded"), "{}", both(&output));
    let output = check(&[("HUB_CHIAN__CONFIRMATIONS", "3")]);
    assert!(
        both(&output).contains("unknown key `chian` (set by the variable HUB_CHIAN__CONFIRMATIONS)"),
        "typos are not ignored: {}",
        both(&output)
    );
    let output = check(&[("HUB_PORT", "9944")]);
    assert!(both(&output).contains("(set by the variable HUB_PORT)"));
    // In a cluster with a service that is called `hub`.
    let output = check(&[
        ("HUB_PORT", "tcp://10.0.0.11:9944"),
        ("HUB_PORT_9944_TCP_ADDR", "10.0.0.11"),
        ("HUB_SERVICE_HOST", "10.0.0.11"),
    ]);
    assert!(output.status.success(), "{}", both(&output));
    let output = check(&[("HUB_FEES__FLAT", "7"), ("HUB_SECRET_ANYTHING", LITERAL)]);
    assert!(output.status.success(), "{}", both(&output));
    let output = check(&[
        ("HUB_KEYS__OWNER", "env:HUB_SECRET_OWNER"),
        ("HUB_SECRET_OWNER", LITERAL),
    ]);
    assert!(output.status.success(), "{}", both(&output));
    for name in ["HUB_KEYS__OWNER", "HUB_KEYS"] {
        let output = check(&[(name, LITERAL)]);
        assert_eq!(output.status.code(), Some(3));
        assert!(!both(&output).contains(&LITERAL[10..30]), "{}", both(&output));
    }
    let output = hub(
        dir.path(),
        &["demo", "--rpc-url", "http://x", "--funding-key", LITERAL],
        &[],
    );
    assert_eq!(output.status.code(), Some(3));
    assert!(!both(&output).contains(&LITERAL[10..30]), "{}", both(&output));
}

#[test]
fn help_teaches_and_usage_errors_are_2() {
    let dir = TempDir::new().unwrap();
    for arguments in [
        &["--help"][..],
        &["init", "--help"],
        &["serve", "--help"],
        &["demo", "--help"],
    ] {
        let output = hub(dir.path(), arguments, &[]);
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("\n  hub "),
            "examples"
        );
    }
    assert_eq!(hub(dir.path(), &["dance"], &[]).status.code(), Some(2));
    assert_eq!(
        hub(dir.path(), &["serve"], &[]).status.code(),
        Some(3),
        "no configuration here"
    );
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    Some(reply)
}

/// The whole reply to `POST /settle-now`, with one more header line.
fn settle_now(address: SocketAddr, header: &str) -> String {
    let body = r#"{"token":null,"channel":null,"checkpoints":false}"#;
    let length = body.len();
    let request = format!(
        "POST /settle-now HTTP/1.0\r\n{header}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// The driver hears of nothing but what came with the token.
fn the_desk_wants_its_token(address: SocketAddr, token: &str, mut asks: tokio::sync::mpsc::Receiver<Ask>) {
    for header in [
        String::new(),
        "x-hub-operator: 1\r\n".to_owned(),
        format!("x-hub-operator: {}\r\n", "0".repeat(64)),
    ] {
        let reply = settle_now(address, &header);
        assert!(reply.starts_with("HTTP/1.0 403"), "{header}: {reply}");
        assert!(asks.try_recv().is_err(), "nobody was asked");
    }
    let header = format!("x-hub-operator: {token}\r\n");
    let asking = std::thread::spawn(move || settle_now(address, &header));
    match asks.blocking_recv().unwrap() {
        Ask::SettleNow(what, answer) => {
            assert_eq!(what, SettleNow::default());
            answer.send(Ok(Settled::default())).unwrap();
        }
        other => panic!("{other:?}"),
    }
    assert!(asking.join().unwrap().starts_with("HTTP/1.0 200"));
}

#[test]
fn the_commands_say_what_is_wrong_with_the_token() {
    let dir = TempDir::new().unwrap();
    hub::ops::init(dir.path()).unwrap();
    let token = dir.path().join("data/operator.token");
    let fails = |expected: &str| {
        for command in ["liquidity", "settle-now"] {
            let output = hub(dir.path(), &[command], &[]);
            assert_eq!(output.status.code(), Some(1));
            assert!(both(&output).contains(expected), "{}", both(&output));
        }
    };
    fails("the hub is not running with this configuration");
    std::fs::create_dir(&token).unwrap();
    fails("of mode 600 that belongs to the user who runs the hub");
    std::fs::remove_dir(&token).unwrap();
    std::fs::write(&token, "1\r\nmore: 1").unwrap();
    fails("must hold 64 hex digits");
}

fn wait_for(address: SocketAddr, path: &str, expected: &str) -> String {
    let start = Instant::now();
    loop {
        if let Some(reply) = get(address, path).filter(|reply| reply.contains(expected)) {
            return reply;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{path} never said {expected}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The only test that may call `serve_with`: logs and metrics are the process's.
#[test]
fn serve_opens_both_doors_and_drains_on_sigterm() {
    let dir = TempDir::new().unwrap();
    hub::ops::init(dir.path()).unwrap();
    let file = dir.path().join("hub.toml");
    let (sessions, ops) = (free_address().unwrap(), free_address().unwrap());
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replace("127.0.0.1:9944", &sessions.to_string())
        .replace("127.0.0.1:9945", &ops.to_string());
    std::fs::write(&file, text).unwrap();
    let prepared = prepare(&ServeArgs {
        config: file,
        check: false,
    })
    .unwrap();
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let (finished, finish) = std::sync::mpsc::channel();
    let (hears, heard) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve_with(prepared, |prepared, _, _| async move {
            gate.await?;
            let hub = prepared.owner.address();
            let info = HubInfo {
                server: prepared.config.server.name.clone(),
                chain_id: 1,
                adjudicator: hub,
                hub,
                hub_signer: prepared.hub_signer.address(),
                hub_public_key: prepared.hub_signer.public().to_compressed().to_vec(),
                tokens: vec![],
                challenge_period_s: prepared.config.chain.challenge_period_s,
                confirmations: 1,
                now: protocol_spec::UnixSeconds(0),
            };
            let (inbound, calls) = tokio::sync::mpsc::channel(8);
            let engine = Engine {
                inbound,
                outboxes: Outboxes::default(),
                info: Arc::new(info),
            };
            let finish = Box::pin(async move {
                drop(calls);
                finished.send(())?;
                Ok(())
            });
            let (operator, asks) = hub::driver::Operator::new();
            hears.send(asks)?;
            Ok(Started {
                engine,
                operator,
                finish,
            })
        }))
    });
    wait_for(ops, "/readyz", "engine: starting");
    assert!(wait_for(ops, "/readyz", "sessions").starts_with("HTTP/1.1 503"));
    assert!(wait_for(ops, "/livez", "ok").starts_with("HTTP/1.1 200"));
    go.send(()).unwrap();
    assert!(wait_for(ops, "/readyz", "engine: ok").contains("engine: ok"));
    wait_for(ops, "/readyz", "HTTP/1.1 200");
    assert!(get(sessions, "/").unwrap().starts_with("HTTP/1.1 426"));
    let asked = get(ops, "/liquidity").unwrap();
    assert!(
        asked.starts_with("HTTP/1.1 403"),
        "a web page cannot ask: {asked}"
    );
    let token = std::fs::read_to_string(dir.path().join("data/operator.token")).unwrap();
    the_desk_wants_its_token(ops, &token, heard.recv().unwrap());
    assert!(
        get(ops, "/metrics")
            .unwrap()
            .contains("\nhub_session_handshakes_refused_total 1\n")
    );
    let start = Instant::now();
    let pid = std::process::id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    server.join().unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    finish
        .try_recv()
        .expect("the engine was finished after the drain");
    assert!(
        get(sessions, "/").is_none() && get(ops, "/livez").is_none(),
        "both doors are closed"
    );
}
