//! Small texts of revisions that keep the supervisor's contract.

use nodeweir_domain::config::ProxyKind;

/// What differs between the texts.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) port: u16,
    /// The fake node.
    pub(crate) node: u16,
    /// Where nobody listens.
    pub dead: u16,
    /// What `/text` says.
    pub text: String,
    /// Seconds that requests in flight may take after a reload or stop.
    pub shutdown: u64,
}

/// The text for `kind`: `/revision` on the admin socket; `/readyz`; `/text`; `/rpc/…` goes to the node with a secret
/// in its path; `/dead/…` goes with the same to nobody; everything else goes to the node as it is.
pub(crate) fn render(kind: ProxyKind, body: &Body) -> String {
    let Body { port, node, dead, text, shutdown } = body;
    match kind {
        ProxyKind::Nginx => format!(
            r#"include host-main.conf;
worker_processes 2;
worker_shutdown_timeout {shutdown}s;
events {{ worker_connections 512; }}
http {{
    include host-http.conf;
    client_body_temp_path tmp/body;
    proxy_temp_path tmp/proxy;
    fastcgi_temp_path tmp/fastcgi;
    scgi_temp_path tmp/scgi;
    uwsgi_temp_path tmp/uwsgi;
    access_log /dev/stdout;
    keepalive_timeout 75s;
    keepalive_min_timeout 20s;
    keepalive_requests 1000000;
    proxy_http_version 1.1;
    server {{
        listen unix:sock/admin.sock;
        access_log off;
        location = /revision {{ return 200 "@REVISION@"; }}
    }}
    server {{
        listen 127.0.0.1:{port};
        location = /readyz {{
            if (-f draining) {{ return 503 "draining"; }}
            return 200 "ready";
        }}
        location = /text {{ return 200 "{text}"; }}
        location /rpc/ {{ proxy_pass http://127.0.0.1:{node}/echo/${{NODE_KEY}}; }}
        location /dead/ {{ proxy_pass http://127.0.0.1:{dead}/v3/${{NODE_KEY}}; }}
        location /tls/ {{
            proxy_ssl_verify on;
            proxy_pass https://127.0.0.1:{dead};
        }}
        location / {{ proxy_pass http://127.0.0.1:{node}; }}
    }}
}}
"#
        ),
        ProxyKind::Haproxy => format!(
            r#"global
    hard-stop-after {shutdown}s
defaults
    mode http
    log global
    option httplog
    option idle-close-on-response
    timeout connect 1s
    timeout client 75s
    timeout server 75s
    retries 0
frontend admin
    bind unix@sock/admin.sock
    http-request set-log-level silent
    http-request return status 200 content-type text/plain string "@REVISION@" if {{ path /revision }}
    http-request set-var(proc.draining) bool(true) if {{ path /drain }} METH_POST
    http-request return status 204 if {{ path /drain }} METH_POST
frontend main
    bind 127.0.0.1:{port}
    http-request return status 503 content-type text/plain string "draining" if {{ path /readyz }} {{ var(proc.draining) -m bool }}
    http-request return status 200 content-type text/plain string "ready" if {{ path /readyz }}
    http-request return status 200 content-type text/plain string "{text}" if {{ path /text }}
    use_backend rpc if {{ path_beg /rpc/ }}
    use_backend dead if {{ path_beg /dead/ }}
    default_backend node
backend node
    server node 127.0.0.1:{node}
backend rpc
    http-request set-path /echo/${{NODE_KEY}}
    server node 127.0.0.1:{node}
backend dead
    http-request set-path /v3/${{NODE_KEY}}
    server nobody 127.0.0.1:{dead}
backend tls
    server nobody 127.0.0.1:{dead} ssl verify required ca-file "$NODEWEIR_CA_FILE" verifyhost localhost resolvers system
"#
        ),
    }
}

/// How many processes serve a text once all have been started.
pub(crate) fn processes(kind: ProxyKind) -> usize {
    match kind {
        // A master and its workers.
        ProxyKind::Nginx => 1 + 2,
        ProxyKind::Haproxy => 1 + 1,
    }
}

/// A text that `kind` does not accept, and whose fault quotes a secret.
pub(crate) fn broken(kind: ProxyKind, body: &Body) -> String {
    let end = match kind {
        ProxyKind::Nginx => "bogus_${NODE_KEY} on;\n",
        ProxyKind::Haproxy => "    bogus_${NODE_KEY} on\n",
    };
    render(kind, body) + end
}
