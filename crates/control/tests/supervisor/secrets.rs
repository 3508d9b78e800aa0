//! Secrets are in one file and nowhere else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nodeweir_domain::config::ProxyKind;

use crate::rig::{Rig, SECRET, until};

const CLIENT: &str = "nw_cl1en7kEyOfSomebody";

/// Files below `folder` that hold `secret`, with their modes.
fn holders(folder: &Path, secret: &str, found: &mut Vec<(String, u32)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            holders(&entry.path(), secret, found);
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                found.push((entry.file_name().into_string().unwrap(), mode));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_one_file_and_never_in_lines() {
    for kind in ProxyKind::ALL {
        let mut rig = Rig::new(kind).await;
        let mut supervisor = rig.started().await;
        supervisor.apply("2-two", &rig.text("two")).await.unwrap();
        assert_eq!(rig.get("/rpc/").await.unwrap().body, format!("/echo/{SECRET}"), "the node gets it");
        let dead = rig.get(&format!("/dead/v3/{CLIENT}")).await.unwrap();
        assert!([502, 503].contains(&dead.status), "{}", dead.status);

        let mut said = Vec::new();
        until("the failed request is logged", || {
            said.extend(rig.said());
            let logged = said.iter().any(|line| line.contains("/dead/v3/[redacted]"));
            async move { logged }
        })
        .await;
        if kind == ProxyKind::Nginx {
            until("the error log tells both paths", || {
                said.extend(rig.said());
                let both = |line: &String| line.contains("upstream: ") && line.matches("/v3/[redacted]").count() == 2;
                let logged = said.iter().any(both);
                async move { logged }
            })
            .await;
        }
        let mut found = Vec::new();
        holders(&rig.folder(), SECRET, &mut found);
        assert_eq!(found, [(kind.file_name().to_owned(), 0o600)]);
        supervisor.stop().await.unwrap();
        let mut found = Vec::new();
        holders(&rig.folder(), SECRET, &mut found);
        assert_eq!(found, [], "nothing is left of it after a stop");
        said.extend(rig.said());
        for secret in [SECRET, CLIENT] {
            assert!(!said.iter().any(|line| line.contains(secret)), "{said:#?}");
        }
    }
}
