//! The Rust SDK as a server and as a client.
//!
//! ```text
//! sdk serve                  listens on the port that the variable PORT says
//! sdk use URL TOKEN VERSION  does what every client of the tests does, and prints what came of it as JSON
//! ```
#![allow(deprecated, reason = "the old era is to be shown too")]

mod client;
mod server;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve"] => server::serve(&std::env::var("PORT")?).await,
        ["use", url, token, version] => {
            println!("{}", client::run(url, token, version).await?);
            Ok(())
        }
        _ => Err("usage: sdk serve | use URL TOKEN VERSION".into()),
    }
}
