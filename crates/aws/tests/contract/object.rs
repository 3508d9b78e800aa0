//! The published object in S3.

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use nodeweir_aws::{KEY, S3Object};
use nodeweir_control::edges::{Looked, PublishedObject as _};
use nodeweir_emulator::{Answer, Fault, Moto, On, Proxy};

use crate::emulator::{name, sdk, sdk_at};

async fn bucket() -> (Client, String) {
    bucket_at(&sdk().await).await
}

async fn bucket_at(sdk: &SdkConfig) -> (Client, String) {
    let client = Client::from_conf(aws_sdk_s3::config::Builder::from(sdk).force_path_style(true).build());
    let bucket = name("bucket");
    let place = aws_sdk_s3::types::BucketLocationConstraint::EuCentral1;
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(place).build();
    client.create_bucket().bucket(&bucket).create_bucket_configuration(place).send().await.unwrap();
    (client, bucket)
}

#[tokio::test]
async fn only_who_knows_what_is_there_may_replace_it() {
    let (client, bucket) = bucket().await;
    let object = S3Object::new(&sdk().await, bucket.clone());
    assert_eq!(object.get().await.unwrap(), None);
    assert!(object.put(None, "one").await.unwrap());
    assert!(!object.put(None, "two").await.unwrap(), "there is one already");
    let (etag, text) = object.get().await.unwrap().unwrap();
    assert_eq!(text, "one");
    assert!(object.put(Some(&etag), "two").await.unwrap());
    assert!(!object.put(Some(&etag), "three").await.unwrap(), "it is another by now");
    assert_eq!(
        object.look(Some(&etag)).await.unwrap(),
        Looked::New(object.get().await.unwrap().unwrap().0, "two".into())
    );
    let (etag, text) = object.get().await.unwrap().unwrap();
    assert_eq!(text, "two");
    assert_eq!(object.look(Some(&etag)).await.unwrap(), Looked::Same);
    client.delete_object().bucket(&bucket).key(KEY).send().await.unwrap();
    assert!(!object.put(Some(&etag), "three").await.unwrap(), "it is gone");
    assert_eq!(object.get().await.unwrap(), None);
    assert_eq!(object.look(Some(&etag)).await.unwrap(), Looked::Nothing);
    assert!(object.put(None, "three").await.unwrap());
}

/// S3 says so when another write is on its way; moto never does.
#[tokio::test]
async fn a_write_beside_another_is_a_race_that_was_lost() {
    let aws = Proxy::start(Moto::shared());
    let sdk = sdk_at(&aws.url()).await;
    let (_, bucket) = bucket_at(&sdk).await;
    let object = S3Object::new(&sdk, bucket);
    aws.fault(On::call("s3", "PutObject"), Fault::Instead(Answer::error(409, "ConditionalRequestConflict")));
    assert!(!object.put(None, "one").await.unwrap());
    aws.heal();
    assert!(object.put(None, "one").await.unwrap());
}

#[tokio::test]
async fn of_many_writers_one_wins() {
    let (_, bucket) = bucket().await;
    let object = S3Object::new(&sdk().await, bucket);
    let texts: Vec<String> = (0..10).map(|index| index.to_string()).collect();
    let done = futures_util::future::join_all(texts.iter().map(|text| object.put(None, text))).await;
    assert_eq!(done.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn what_is_no_text_is_still_read() {
    let (client, bucket) = bucket().await;
    client.put_object().bucket(&bucket).key(KEY).body(vec![0xff, 0xfe, b'a'].into()).send().await.unwrap();
    let (_, text) = S3Object::new(&sdk().await, bucket).get().await.unwrap().unwrap();
    assert!(text.ends_with('a'));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error_and_not_an_empty_one() {
    let object = S3Object::new(&sdk().await, "no-such-bucket".to_owned());
    let error = object.get().await.unwrap_err().to_string();
    assert!(error.starts_with("reading s3://no-such-bucket/revision.conf: NoSuchBucket"), "{error}");
    assert!(object.put(None, "one").await.is_err());
}
