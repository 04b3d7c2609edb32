//! bench/http-server.mjs by hyper, on one thread.
use std::convert::Infallible;
use std::io::Read;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

static LARGE: [u8; 10_000] = [b'x'; 10_000];

fn response(kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    const TEXT: &str = "text/plain; charset=utf-8";
    Ok(match request.uri().path() {
        "/json" => {
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            response("application/json", serde_json::to_vec(&value).expect("JSON").into())
        }
        "/large" => response(TEXT, Bytes::from_static(&LARGE)),
        "/backend" => {
            tokio::time::sleep(Duration::from_millis(5)).await;
            response(TEXT, Bytes::from_static(b"hello"))
        }
        _ => response(TEXT, Bytes::from_static(b"hello")),
    })
}

async fn serve(stream: TcpStream) {
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let service = service_fn(answer);
    // Fails when the client has gone.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    runtime.block_on(async {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a listener");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream));
        }
    });
}
