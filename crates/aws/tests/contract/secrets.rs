//! Values of secrets.

use nodeweir_aws::read_secrets;
use nodeweir_domain::config::Config;
use nodeweir_emulator::{Moto, Proxy};
use serde_json::json;

use crate::emulator::sdk_at;

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_others_are_there() {
    let aws = Proxy::start(Moto::shared());
    let mut arns = Vec::new();
    for secret in [json!({"Name": "text", "SecretString": "s3cret"}), json!({"Name": "binary", "SecretBinary": "AAEC"})]
    {
        let made = aws.client().json("secretsmanager", "secretsmanager.CreateSecret", &secret).await.unwrap().json();
        arns.push(made["ARN"].as_str().unwrap().to_owned());
    }
    let account = aws.account();
    arns.push(format!("arn:aws:secretsmanager:eu-central-1:{account}:secret:gone-AbCdEf"));
    let secret = json!({"hosts": ["example.com"]});
    let config = json!({
        "default_network": "ethereum",
        "networks": {"ethereum": {"chain_id": 1, "block_time": "12s", "leader": {"url": "http://example.com"}}},
        "secrets": {"TEXT": secret, "BINARY": secret, "GONE": secret},
        "proxy": {"listen": "0.0.0.0:8080"},
        "aws": {
            "account": account,
            "region": "eu-central-1",
            "vpc": "vpc-0123456789abcdef0",
            "subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
            "security_groups": {"probe": ["sg-0123456789abcdef0"], "proxy": ["sg-0123456789abcdef1"]},
            "cluster": "main",
            "load_balancer": {
                "listener": format!("arn:aws:elasticloadbalancing:eu-central-1:{account}:listener/app/main/0123456789abcdef/fedcba9876543210"),
                "host": "rpc.example.com",
            },
            "image": "registry.example.com/jsonrpc-proxy:0.1.0",
            "secrets": {"TEXT": arns[0], "BINARY": arns[1], "GONE": arns[2]},
        },
    });
    let config = Config::read(&config.to_string()).unwrap();
    let (values, errors) = read_secrets(&sdk_at(&aws.url()).await, &config.aws.unwrap()).await;
    let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(values, [("TEXT", "s3cret")]);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for (name, why) in [("BINARY", "plain text is expected"), ("GONE", "ResourceNotFoundException")] {
        assert!(
            errors.iter().any(|error| error.contains(&format!("${{{name}}}")) && error.contains(why)),
            "{errors:?}"
        );
    }
}
