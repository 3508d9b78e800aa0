//! What the roles of the stack allow its functions and tasks: moto allows everything, so the harness denies what they do
//! not.

use jiff::Timestamp;
use nodeweir_emulator::{Client, Permission, Proxy};
use serde_json::{Value, json};

use crate::carrier::{Carrier, run};
use crate::chain::PROMPT;
use crate::nodes::{Anvil, HEAD};
use crate::template::{config, network};
use crate::world::{World, between, good, head};

/// Lets a function or another caller do what its role allows and nothing else.
pub(crate) async fn enforce(client: &Client, aws: &Proxy, caller: &str, role_arn: &str) {
    let role = role_arn.rsplit('/').next().unwrap();
    let version = ("Version", "2010-05-08");
    let told = good(client.form("iam", "ListRolePolicies", &[version, ("RoleName", role)]).await).text();
    let names = between(&told, "<PolicyNames>", "</PolicyNames>").unwrap();
    let mut permissions = Vec::new();
    for name in names.split("<member>").skip(1).map(|rest| rest.split('<').next().unwrap()) {
        let asked = [version, ("RoleName", role), ("PolicyName", name)];
        let told = good(client.form("iam", "GetRolePolicy", &asked).await).text();
        let document = between(&told, "<PolicyDocument>", "</PolicyDocument>").unwrap();
        let document =
            url::form_urlencoded::parse(document.replace('+', "%2B").as_bytes()).next().unwrap().0.into_owned();
        let document: Value = serde_json::from_str(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
        for statement in document["Statement"].as_array().unwrap() {
            permissions.extend(of_statement(statement));
        }
    }
    assert!(!permissions.is_empty(), "{role} may do nothing");
    aws.permit(caller, permissions);
}

/// What the program itself needs; the rest is for Lambda and ECS: to write logs and dead letters, read streams, join the
/// network, pull an image.
fn of_statement(statement: &Value) -> Vec<Permission> {
    if statement["Effect"] != "Allow" {
        return Vec::new();
    }
    let leading = match &statement["Condition"] {
        Value::Null => Vec::new(),
        condition => {
            let leading = &condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
            let known = json!({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": leading}});
            assert_eq!(*condition, known, "nobody thought of it");
            texts(leading)
        }
    };
    let mut permissions = Vec::new();
    for action in texts(&statement["Action"]) {
        for arn in texts(&statement["Resource"]) {
            let after = |mark: &str| arn.split_once(mark).map(|(_, rest)| rest.to_owned());
            let resource = match action.split(':').next().unwrap() {
                // An index is called `table/index/name`.
                "dynamodb" => after(":table/").filter(|rest| !rest.contains("/stream/")),
                "s3" => after(":::"),
                "ecs" => after(":service/").and_then(|rest| rest.rsplit('/').next().map(str::to_owned)),
                "lambda" => after(":function:"),
                "secretsmanager" => Some(arn.clone()),
                "logs" | "sqs" | "ec2" | "ecr" => None,
                other => panic!("nobody thought of {other}"),
            };
            let permission = |resource| Permission { action: action.clone(), resource, leading: leading.clone() };
            permissions.extend(resource.map(permission));
        }
    }
    permissions
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// No permission of this caller is left that it never used.
pub(crate) fn needs_what_it_may(aws: &Proxy, caller: &str) {
    let unused = aws.unused(caller);
    // Without it, AWS says "denied" and not "not found" of an object that is not there yet; moto does not.
    let unused: Vec<_> = unused.iter().filter(|permission| permission.action != "s3:ListBucket").collect();
    assert!(unused.is_empty(), "{caller} never needs {unused:?}");
}

/// Everything that can be asked of a stage happens, and no permission is left that was good for nothing.
#[tokio::test]
async fn each_function_needs_what_it_may() {
    let (leader, a, b) = tokio::join!(Anvil::start(), Anvil::start(), head(HEAD));
    let world = World::deploy(&config(&network("ethereum", leader.port), PROMPT)).await;
    let mut carrier = Carrier::new(&world).await;
    run(&world, &world.rollout).await.unwrap();
    world.add("ethereum", "a", a.port).await;
    run(&world, &world.probe).await.unwrap();
    carrier.settle(&world).await;
    let url = format!("http://127.0.0.1:{b}/${{INFURA_KEY}}");
    world.write(json!({"network": {"S": "ethereum"}, "node": {"S": "b"}, "url": {"S": url}})).await;
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["a", "b"]);
    // A rollback that has ended.
    let pin = json!({"revision": 1, "rosters": {}, "by": "me", "why": "", "at": Timestamp::UNIX_EPOCH,
        "until": Timestamp::UNIX_EPOCH});
    let row = json!({"kind": {"S": "pin"}, "id": {"S": "pin"}, "value": {"S": pin.to_string()}});
    let body = json!({"TableName": world.outputs["HistoryTable"], "Item": row});
    world.json("dynamodb", "DynamoDB_20120810.PutItem", &body).await;
    let body =
        json!({"TableName": world.outputs["NodesTable"], "Key": {"network": {"S": "ethereum"}, "node": {"S": "a"}}});
    world.json("dynamodb", "DynamoDB_20120810.DeleteItem", &body).await;
    run(&world, &world.probe).await.unwrap();
    carrier.settle(&world).await;
    assert_eq!(world.serving("ethereum").await, ["b"]);
    for flow in ["Probe", "Publish", "Rollout"] {
        needs_what_it_may(&world.aws, &world.outputs[&format!("{flow}Function")]);
    }
}
