"""As bench/net-server.mjs, by gevent's StreamServer."""
import os
import socket
import sys
import threading

from gevent.server import StreamServer

operation = sys.argv[1]
piece = b"x" * 65536


def echo(connection, _address):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(65536):
        connection.sendall(data)


def send_for_ever(connection, _address):
    try:
        while True:
            connection.sendall(piece)
    except OSError:
        pass  # The client has had enough.


def end_with_input():
    sys.stdin.read()
    os._exit(0)


server = StreamServer(("0.0.0.0", 0), send_for_ever if operation == "bulk" else echo, backlog=4096)
server.start()
print(server.server_port, flush=True)
threading.Thread(target=end_with_input, daemon=True).start()
server.serve_forever()
