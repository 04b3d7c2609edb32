"""As bench/http-server.mjs, by gevent.pywsgi."""
import json
import os
import socket
import sys
import threading

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer

large = b"x" * 10_000


def answer(environ, start_response):
    path = environ["PATH_INFO"]
    body, kind = b"hello", "text/plain; charset=utf-8"
    if path == "/json":
        body = json.dumps(json.loads(environ["wsgi.input"].read()), separators=(",", ":")).encode()
        kind = "application/json"
    elif path == "/large":
        body = large
    elif path == "/backend":
        gevent.sleep(0.005)
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


class Handler(WSGIHandler):
    def __init__(self, connection, address, server, rfile=None):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(connection, address, server, rfile)


def end_with_input():
    sys.stdin.read()
    os._exit(0)


server = WSGIServer(("0.0.0.0", 0), answer, backlog=4096, log=None, handler_class=Handler)
server.start()
print(server.server_port, flush=True)
threading.Thread(target=end_with_input, daemon=True).start()
server.serve_forever()
