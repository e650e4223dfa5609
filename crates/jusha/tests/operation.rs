//! What operators and their users meet: TLS from the first command to a paid job, and which of
//! several settings holds. The real program, in every role.

mod stage;

use std::path::Path;

use stage::{Process, Ran, Scene, guest};

fn given(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/certificates").join(name);
    path.to_str().unwrap().to_owned()
}

fn ok(ran: Ran) -> String {
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_over_tls_with_an_authority_of_its_own() {
    let scene = Scene::new();
    let data = scene.arg("exchange");
    let listen = ["exchange", "--data", &data, "--listen", "127.0.0.1:0"];
    let certificate =
        ["--tls-certificate", &given("server.pem"), "--tls-key", &given("server.key")];
    let command = scene.jusha(&[&listen[..], &certificate].concat());
    let mut exchange = Process::start(command, &scene.path("exchange.log"));
    let line = exchange.line().await;
    let url = line.strip_prefix("listening on ").unwrap().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");

    // The operator's commands, with and without trust.
    let ca = given("ca.pem");
    let add = ["exchange", "account", "add", "ada", "--credits", "10", "--json", "--data", &data];
    let refused = scene.run(&add, b"").await;
    assert_ne!(refused.status, 0);
    assert!(refused.stderr.contains("is not trusted"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: check the URL"), "{}", refused.stderr);
    let opened = ok(scene.run(&[&add[..], &["--ca", &ca]].concat(), b"").await);
    let opened: serde_json::Value = serde_json::from_str(&opened).unwrap();
    let token = opened["token"].as_str().unwrap();

    // A login remembers whom to trust; a machine does, too.
    ok(scene.run(&["login", &url, token, "--ca", &ca], b"").await);
    let join = ok(scene.run(&["machine", "join"], b"").await);
    let join = join.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let seller = ["provide", "--always", "--data", &scene.arg("machine"), "--slots", "1"];
    let mut command = scene.jusha(&[&seller[..], &[join]].concat());
    command.env("JUSHA_CA", &ca);
    let machine = Process::start(command, &scene.path("machine.log"));
    let buyer = [&add[..3], &["bob"], &add[4..]].concat();
    let opened = ok(scene.run(&[&buyer[..], &["--ca", &ca]].concat(), b"").await);
    let opened: serde_json::Value = serde_json::from_str(&opened).unwrap();
    let noop = guest("exit");
    let run = ["run", noop.to_str().unwrap(), "--", "7", "bye"];
    let buy = async || {
        let mut command = scene.jusha(&run);
        command.env("JUSHA_URL", &url).env("JUSHA_CA", &ca);
        command.env("JUSHA_TOKEN", opened["token"].as_str().unwrap());
        let ran = scene.finish(command, b"").await;
        assert_eq!(ran.status, 7, "{ran:?}");
    };
    buy().await;
    machine.terminate();
    assert!(machine.exit().await.success());
    // The feed goes over TLS, too: two snapshots, and the machine's ask when it is back.
    let watch = ["market", "watch", "--account", "--json", "--count", "1"];
    let mut watch = Process::start(scene.jusha(&watch), &scene.path("watch.log"));
    for _ in 0..2 {
        let line = watch.line().await;
        assert!(line.contains("snapshot"), "{line}");
    }
    let machine = Process::start(scene.jusha(&seller), &scene.path("machine.log"));
    assert!(watch.exit().await.success(), "{}", scene.read("watch.log"));
    buy().await;
    machine.terminate();
    assert!(machine.exit().await.success());
    let earned = ok(scene.run(&["wallet", "statement", "--csv"], b"").await);
    assert_eq!(earned.matches(",settlement,").count(), 2, "{earned}");
    exchange.terminate();
    assert!(exchange.exit().await.success());
    let audit = ok(scene.run(&["exchange", "audit", "--data", &data], b"").await);
    assert!(audit.ends_with("sound\n"), "the same, of files: {audit}");
}

/// Sets one value in each of three places, and looks at what the program makes of it.
#[tokio::test]
async fn an_option_goes_before_a_variable_that_before_the_file_that_before_the_default() {
    let scene = Scene::new();
    let data = scene.arg("exchange");
    let holds = async |option: Option<&str>, variable: Option<&str>, file: Option<&str>| {
        match file {
            Some(value) => {
                scene.write("exchange/exchange.toml", format!("heartbeat_ms = {value}\n"));
            }
            None => {
                let _ = std::fs::remove_file(scene.path("exchange/exchange.toml"));
            }
        }
        let mut args = vec!["exchange", "check", "--data", &data];
        if let Some(value) = option {
            args.extend(["--heartbeat-ms", value]);
        }
        let mut command = scene.jusha(&args);
        if let Some(value) = variable {
            command.env("JUSHA_EXCHANGE_HEARTBEAT_MS", value);
        }
        let said = ok(scene.finish(command, b"").await);
        let line = said.lines().find(|line| line.starts_with("heartbeat_ms ")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    for option in [None, Some("111")] {
        for variable in [None, Some("222")] {
            for file in [None, Some("333")] {
                let expected = option.or(variable).or(file).unwrap_or("2000");
                assert_eq!(holds(option, variable, file).await, expected);
            }
        }
    }

    let traded = "[[instrument]]\nname = \"cpu.2g.any\"\nmemory_mib = 2048\n";
    let traded = scene.write("traded.toml", traded).to_str().unwrap().to_owned();
    // Each setting by itself, and every one has all three places.
    let settings = [
        ("listen", "127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"),
        ("public_url", "http://a", "http://b", "http://c"),
        ("tls_certificate", &given("server.pem"), "b", "c"),
        ("tls_key", &given("server.key"), "b", "c"),
        ("heartbeat_ms", "101", "102", "103"),
        ("lapse_ms", "7001", "7002", "7003"),
        ("reconnect_grace_ms", "1001", "1002", "1003"),
        ("probe_ms", "201", "202", "203"),
        ("keep_ended_ms", "301", "302", "303"),
        ("sign_up", "true", "false", "false"),
        ("requests_per_second", "11", "12", "13"),
        ("connections", "21", "22", "23"),
        ("blob_quota_bytes", "31", "32", "33"),
        ("trusted_proxies", "10.0.0.1", "10.0.0.2", "10.0.0.3"),
        ("instruments", &traded, "b", "c"),
        ("log", "json", "text", "text"),
    ];
    let mut file = String::new();
    for (name, _, _, value) in &settings {
        let bare = value.parse::<u64>().is_ok() || *value == "false";
        let value = match *name {
            "trusted_proxies" => format!("[\"{value}\"]"),
            _ if bare => (*value).to_owned(),
            _ => format!("\"{value}\""),
        };
        file.push_str(&format!("{name} = {value}\n"));
    }
    scene.write("exchange/exchange.toml", file);
    let mut all: Vec<String> = ["exchange", "check", "--data", &data].map(str::to_owned).to_vec();
    for (name, value, _, _) in &settings {
        all.extend([format!("--{}", name.replace('_', "-")), (*value).to_owned()]);
    }
    let args: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut command = scene.jusha(&args);
    for (name, _, value, _) in &settings {
        command.env(format!("JUSHA_EXCHANGE_{}", name.to_uppercase()), value);
    }
    let said = ok(scene.finish(command, b"").await);
    let lines: Vec<Vec<&str>> =
        said.lines().map(|line| line.split_whitespace().collect()).collect();
    for (name, value, _, _) in &settings {
        assert!(lines.contains(&vec![*name, *value]), "{name}: {said}");
    }
    assert_eq!(lines.len(), settings.len() + 1, "a setting is not in this test: {said}");

    // A file that was named is the file; one that says what nobody knows is none.
    let other = scene.write("other.toml", "heartbeat_ms = 444\n");
    let other = other.to_str().unwrap();
    let said = ok(scene.run(&[&args[..4], &["--config", other]].concat(), b"").await);
    assert!(said.contains("444") && said.contains("127.0.0.1:7480"), "{said}");
    scene.write("other.toml", "heartbeats = 4\n");
    let refused = scene.run(&[&args[..4], &["--config", other]].concat(), b"").await;
    assert!(refused.status != 0 && refused.stderr.contains("unknown field"), "{refused:?}");
}
