//! The schema on the real engine.

use warehouse::testing::Engine;

#[tokio::test]
async fn migrations_can_be_repeated_and_raced() {
    let engine = Engine::start().await;
    let one = engine.warehouse("control_tower").await;
    one.migrate().await.unwrap();
}
