//! `settle --ledger`. Without the feature the option says how to get it; with it, and with the stand-in for the device
//! (`hub/tests/ledger-device/run`), the whole way from the command line to the packets on the wire.

#[cfg(not(feature = "ledger"))]
#[test]
fn without_the_feature_ledger_says_how_to_build_it() {
    let me = ["--evidence", "me.json", "--rpc-url", "http://127.0.0.1:1"];
    let base = [&["dispute"][..], &me].concat();
    for more in [
        &["--ledger"][..],
        &["--ledger", "3", "--broadcast"],
        &["--ledger=m/44'/60'/0'/0"],
    ] {
        crate::cli::settle(&[&base, more].concat())
            .exits(2)
            .says("--features ledger")
            .says("libudev");
    }
    let wrong: [(&[&str], &str); 3] = [
        (&["--ledger", "m/x"], "m/44'/60'/0'/0/0"),
        (&["--ledger", "--key-env", "KEY"], "cannot be used with"),
        (
            &["--ledger", "--signer", "http://127.0.0.1:1"],
            "cannot be used with",
        ),
    ];
    for (more, says) in wrong {
        crate::cli::settle(&[&base, more].concat()).exits(2).says(says);
    }
}

#[cfg(feature = "ledger")]
mod device {
    use crate::{
        cli::{Output, settle_env},
        vouchers::{CLIENT, CLIENT_SIGNER, PERIOD_S, STRANGER, key},
        world::World,
    };
    use protocol_spec::Package;

    /// Runs with a device that behaves so.
    fn settle(behaviour: &str, args: &[&str]) -> Output {
        settle_env(args, &[("CHANNELHUB_LEDGER", behaviour)])
    }

    /// Whether the device is the stand-in: else there is none on the machine that runs the tests, or a person at it.
    fn stands_in() -> bool {
        std::env::var_os("CHANNELHUB_LEDGER_STAND_IN").is_some()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_ledger_signs_transactions_long_and_short_and_a_liar_changes_nothing() {
        let Some(world) = World::on_anvil().await.filter(|_| stands_in()) else {
            return;
        };
        world.stale_dispute().await;
        let file = world.named("me.json", &world.received(5, 900));
        let client = key(CLIENT).address();
        let before = world.nonce(client).await;
        let run = |behaviour: &str, verb: &str, more: &[&str]| {
            let base = [
                verb,
                "--evidence",
                &file,
                "--rpc-url",
                &world.url,
                "--broadcast",
                "--wait",
                "--signer-timeout",
                "1",
            ];
            settle(behaviour, &[&base, more].concat())
        };
        let failures = [
            ("absent", 10, "device not found"),
            ("busy", 10, "used by another program"),
            ("locked", 10, "unlocked"),
            ("nonsense", 10, "makes no sense"),
            ("declines", 10, "declined on the device"),
            ("sees", 10, "blind signing"),
            ("sleeps", 10, "within 1 s"),
            ("short", 10, "expected 65"),
            ("dead", 10, "too short"),
            ("other-key", 3, "another key"),
            ("other-thing", 3, "something else was signed"),
        ];
        for (behaviour, code, says) in failures {
            let run = run(behaviour, "submit", &["--ledger"]);
            assert!(run.stderr.contains(says), "{behaviour}: {}", run.stderr);
            run.exits(code).says("nothing was sent");
        }
        let another = key(STRANGER).address().to_string();
        run("", "submit", &["--ledger", "--signer-address", &another])
            .exits(3)
            .says(&format!("has {client} at m/44'/60'/0'/0/0, expected {another}"));
        assert_eq!(
            world.nonce(client).await,
            before,
            "after all that nothing has left"
        );
        let submitted = run(
            "",
            "submit",
            &["--ledger", "--signer-address", &client.to_string()],
        )
        .exits(0);
        submitted.says("confirm on the device");
        assert_eq!(world.nonce(client).await, before + 1);
        world.pass(PERIOD_S).await;
        run("", "finalize", &["--ledger", "m/44h/60h/0h/0/0"]).exits(0);
        assert_eq!(world.balance(client).await, 1400);
    }

    /// The device's second account is the client's signer.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_ledger_countersigns_a_package_as_typed_data() {
        let Some(world) = World::on_anvil().await.filter(|_| stands_in()) else {
            return;
        };
        let file = world.named("me.json", &world.received(5, 900));
        let path = world.dir.path().join("package.json");
        let (out, submitter) = (path.display().to_string(), key(STRANGER).address().to_string());
        let export = |behaviour: &str| {
            let args = [
                "export",
                "--evidence",
                &file,
                "--submitter",
                &submitter,
                "--out",
                &out,
                "--ledger",
                "1",
                "--signer-timeout",
                "1",
            ];
            settle(behaviour, &args)
        };
        for (behaviour, code, says) in [
            ("old", 10, "too old"),
            ("declines", 10, "declined on the device"),
            ("sees", 10, "blind signing"),
            ("sleeps", 10, "within 1 s"),
            ("other-key", 3, "another key"),
            ("other-thing", 3, "something else was signed"),
        ] {
            export(behaviour).exits(code).says(says);
            assert!(!path.exists(), "{behaviour}");
        }
        export("").exits(0);
        let package: Package = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let signer = key(CLIENT_SIGNER).address();
        package
            .countersignature
            .verify(&world.parties.domain, signer)
            .unwrap();
        settle("absent", &["verify", "--evidence", &out]).exits(0);
    }
}
